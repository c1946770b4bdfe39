"""
Which pools and listeners run, and how do they become those of another configuration?

A change is prepared whole before any of it is applied: files are read, new
addresses listened on. What fails while preparing leaves everything as it was.
"""

import hashlib
import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from lsproxy.changes import describe, refuse_fixed
from lsproxy.config import model
from lsproxy.config.relations import do_collide
from lsproxy.errors import LsproxyError
from lsproxy.net.address import Address
from lsproxy.net.passed import PassedSockets
from lsproxy.net.reactor import BoottimeReactor
from lsproxy.proxy.accesslog import AccessLog
from lsproxy.proxy.build import Plan, build_listener, build_pool, plan_pool
from lsproxy.proxy.listener import Listener, Room, Tally
from lsproxy.proxy.memory import PoolMemory
from lsproxy.proxy.operator import Operator
from lsproxy.proxy.pool import Announce, Pool
from lsproxy.proxy.relay.pool import RelayPlan, RelayPool
from lsproxy.proxy.seatpool import SeatPlan, SeatPool

T = TypeVar("T")

log = Logger()


class LicenseLostError(LsproxyError):
    """A license file that was good is not any more."""


class Services:
    """The pools and listeners of `config`, once started; `random` is a number from 0 to 1."""

    def __init__(
        self,
        reactor: BoottimeReactor,
        config: model.LsproxyConfig,
        memory: PoolMemory,
        random: Callable[[], float],
        announce: Announce,
        access_log: AccessLog | None,
        passed: PassedSockets | None = None,
    ) -> None:
        self._reactor = reactor
        self._access_log = access_log
        self._passed = passed or PassedSockets({})
        self._room = Room(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._memory = memory
        self._random = random
        self._announce = announce
        self._listeners: dict[str, Listener] = {}
        self._tallies: dict[str, Tally] = {}
        self._shown: dict[str, bytes] = {}
        self.config = config
        self.pools: dict[str, SeatPool | RelayPool] = {}
        self.operators: dict[str, Operator] = {}

    @property
    def tallies(self) -> Mapping[str, Tally]:
        """The clients of each listener that there is or was, by its name."""
        return self._tallies

    async def start(self) -> None:
        """Watch the backends and accept clients. Raises LsproxyError."""
        for name, plan in self._plans(self.config).items():
            self._add_pool(name, plan)
        self._shown = {name: _certificates(listener) for name, listener in self.config.listen.items()}
        started = await self._listen(
            {
                name: self._build(name, self.config, self.pools, self._passed.endpoint(self._reactor, listener.address))
                for name, listener in self.config.listen.items()
            }
        )
        self._listeners = started
        for pool in self.pools.values():
            pool.start()

    async def change(self, config: model.LsproxyConfig, access_log: AccessLog | None) -> list[str]:
        """
        Go on with `config`; the changes, each in a few words. Raises LsproxyError, and then nothing has changed.
        Who connects from now on is written to `access_log`.

        Listeners accept before old ones stop, except on an address that overlaps an old one; who is connected stays
        connected.
        """
        former, self._access_log = self._access_log, access_log
        try:
            return await self._change(config, former)
        except BaseException:
            self._access_log = former
            raise

    async def _change(self, config: model.LsproxyConfig, former_log: AccessLog | None) -> list[str]:
        old = self.config
        refuse_fixed(old, config)
        is_other_log = self._access_log is not former_log
        plans = self._plans(config)
        self._refuse_lost_licenses(plans)
        for name, pool in self.pools.items():
            _refuse(pool, plans.get(name))
        added = {name: self._new_pool(plan) for name, plan in plans.items() if name not in self.pools}
        pools = {**self.pools, **added}
        shown = {name: _certificates(listener) for name, listener in config.listen.items()}
        renewed = [
            name
            for name, listener in config.listen.items()
            if is_other_log
            or name not in self._listeners
            or listener != old.listen[name]
            or shown[name] != self._shown[name]
        ]
        inherited = {name: self._inherited(config.listen[name].address) for name in renewed}
        built = {name: self._build(name, config, pools, inherited[name]) for name in renewed}
        former = [listener.address for listener in old.listen.values()]
        free = [
            name
            for name in renewed
            if inherited[name] or not any(do_collide(config.listen[name].address, one) for one in former)
        ]
        fresh = await self._listen({name: built[name] for name in free})
        stopped = [name for name in self._listeners if name in renewed or name not in config.listen]
        for name in stopped:
            await self._listeners.pop(name).stop()
        try:
            rest = await self._listen({name: built[name] for name in renewed if name not in fresh})
        except LsproxyError:
            for listener in fresh.values():
                await listener.stop()
            self._access_log = former_log
            self._listeners |= await self._listen({name: self._build(name, old, self.pools) for name in stopped})
            raise
        self._listeners |= fresh | rest
        self.config = config
        self._shown = shown
        said = describe(old, config)
        said += [change for change in self._renewed_tokens(plans) if change not in said]
        self._change_pools(plans, added)
        return said

    async def stop_listening(self) -> None:
        """Accept no more; who is connected stays connected."""
        listeners, self._listeners = self._listeners, {}
        for listener in listeners.values():
            await listener.stop()

    def stop_pools(self) -> Deferred[list[None]]:
        """Close all clients cleanly; fires when they are gone."""
        return gatherResults([pool.stop() for pool in self.pools.values()])

    def _plans(self, config: model.LsproxyConfig) -> dict[str, Plan]:
        return {name: plan_pool(self._reactor, name, pool, self._random) for name, pool in config.pools.items()}

    def _new_pool(self, plan: Plan) -> SeatPool | RelayPool:
        return build_pool(self._reactor, plan, self._memory, self._random, self._announce)

    def _in_thread(self, job: Callable[..., T], *given: Any) -> Deferred[T]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), job, *given)

    def _add_pool(self, name: str, plan: Plan) -> None:
        self.pools[name] = pool = self._new_pool(plan)
        self.operators[name] = Operator(self._reactor, pool, self._in_thread)

    def _build(
        self,
        name: str,
        config: model.LsproxyConfig,
        pools: Mapping[str, Pool],
        inherited: IStreamServerEndpoint | None = None,
    ) -> Listener:
        listener = config.listen[name]
        return build_listener(
            self._reactor,
            name,
            listener,
            pools[listener.pool],
            self._access_log,
            self._room,
            tally=self._tallies.setdefault(name, Tally()),
            inherited=inherited,
        )

    def _inherited(self, address: Address) -> IStreamServerEndpoint | None:
        """Where the listener that runs on this very address, or the service manager, leaves it to the next one."""
        for name, listener in self.config.listen.items():
            if listener.address == address and name in self._listeners:
                return self._listeners[name].heir_endpoint()
        return self._passed.endpoint(self._reactor, address)

    async def _listen(self, listeners: Mapping[str, Listener]) -> dict[str, Listener]:
        """All of them, or none."""
        started: dict[str, Listener] = {}
        try:
            for name, listener in listeners.items():
                await listener.start()
                started[name] = listener
        except BaseException:
            for listener in started.values():
                await listener.stop()
            raise
        return started

    def _refuse_lost_licenses(self, plans: Mapping[str, Plan]) -> None:
        for name, pool in self.pools.items():
            plan = plans.get(name)
            if not isinstance(pool, SeatPool) or not isinstance(plan, SeatPlan):
                continue
            for backend in plan.places:
                was_good = backend in pool.plan.places and pool.plan.licenses.of(backend).good
                verified = plan.licenses.of(backend)
                if was_good and not verified.good:
                    why = f": {verified.problems[0]}" if verified.problems else ""
                    raise LicenseLostError(f"{verified.license.file} has no validly signed line any more{why}")

    def _renewed_tokens(self, plans: Mapping[str, Plan]) -> list[str]:
        """Of pools that go on, in the words of `describe`: what stands in a token's file is no configuration."""
        return [
            f"pools.{name}.token_file: changed"
            for name, pool in self.pools.items()
            if isinstance(pool, SeatPool)
            and isinstance(plan := plans.get(name), SeatPlan)
            and plan.token != pool.plan.token
        ]

    def _change_pools(self, plans: Mapping[str, Plan], added: Mapping[str, SeatPool | RelayPool]) -> None:
        for name in [name for name in self.pools if name not in plans]:
            del self.operators[name]
            self.pools.pop(name).stop().addErrback(lambda failure: log.failure("a removed pool did not stop", failure))
        for name, pool in self.pools.items():
            _apply(pool, plans[name])
        for name, pool in added.items():
            self.pools[name] = pool
            self.operators[name] = Operator(self._reactor, pool, self._in_thread)
            pool.start()


def _refuse(pool: SeatPool | RelayPool, plan: Plan | None) -> None:
    match pool, plan:
        case RelayPool(), RelayPlan():
            pool.refuse(plan)


def _apply(pool: SeatPool | RelayPool, plan: Plan) -> None:
    """A running pool keeps its kind, so the plan is of its sort."""
    match pool, plan:
        case SeatPool(), SeatPlan():
            pool.apply(plan)
        case RelayPool(), RelayPlan():
            pool.apply(plan)


def _certificates(listener: model.Listener) -> bytes:
    """A digest of the TLS files: a renewed certificate makes a listener another one."""
    tls = listener.tls
    files = [] if tls is None else [tls.certificate, tls.key, *([] if tls.client_ca is None else [tls.client_ca])]
    return hashlib.sha256(b"".join(hashlib.sha256(_content(file)).digest() for file in files)).digest()


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise LsproxyError(f"{file} cannot be read: {error.strerror}") from error
