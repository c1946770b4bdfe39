"""
Which third-party server does a pool use, and what is done before another one is used?

What is seen of the servers goes in, `core.succession` decides, and the decision
is carried out: the former server is fenced, its connections are cut, the next
one is activated, clients are admitted. Each step ends before the next begins.
"""

from collections.abc import Callable, Mapping
from typing import assert_never

import msgspec
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lsproxy.config import model
from lsproxy.core.choice import Admin, Failback
from lsproxy.core.succession import (
    Activate,
    Candidate,
    Fence,
    Nobody,
    Situation,
    Use,
    conflict_of,
    decide,
    state,
    why_not,
)
from lsproxy.errors import LsproxyError
from lsproxy.proxy.arrival import Arrival
from lsproxy.proxy.memory import PoolMemory, Remembered
from lsproxy.proxy.pool import Announce, Pool
from lsproxy.proxy.relay.backend import Place, RelayBackend
from lsproxy.proxy.relay.hooks import Hooks
from lsproxy.proxy.relay.relay import Relays
from lsproxy.proxy.snapshot import PoolSnapshot

FENCE_AGAIN_SECONDS = 60.0
SWITCH_SECONDS = 10.0

log = Logger()


class RelayPlan(msgspec.Struct, frozen=True):
    """
    All that a pool is made of: its part of the configuration, and what was opened and read for it. `shared_name` is the
    name under which only one of its backends may answer, if there is one; `places` has one entry for each backend.
    """

    name: str
    config: model.RelayPool
    shared_name: str | None
    places: Mapping[str, Place]


class RelayPool(Pool):
    """Third-party servers of which one at a time is used."""

    def __init__(
        self,
        reactor: IReactorTime,
        plan: RelayPlan,
        memory: PoolMemory,
        random: Callable[[], float],
        announce: Announce,
    ) -> None:
        super().__init__(reactor, plan.name, plan.config, memory, random, announce)
        self.plan = plan
        self.config: model.RelayPool = plan.config
        self._relays = Relays(reactor, self.traffic, self.verify, plan.config.health.timeout)
        self._former = self.chosen
        self._is_activated = self._remembered.is_activated
        self._is_fenced = False
        self._unfenced: str | None = None
        self._fence_again_at = 0.0
        self._starts_until = 0.0
        self._heir: str | None = None
        self._failure: str | None = None
        self._hook: Deferred[str | None] | None = None
        self._doing: str | None = None
        self._switching_to: str | None = None
        self._backends: dict[str, RelayBackend] = {}
        self._take_on(plan, {})

    @property
    def backends(self) -> dict[str, RelayBackend]:
        """The backends by name, in order of preference."""
        return self._backends

    def start(self) -> None:
        """As `Pool.start`."""
        known = self._remembered
        if self.config.on_deactivate and known.address is not None and known.address != self._address:
            self._is_activated = False
            self.announce(
                "not_fenced",
                f"{known.chosen} at {known.address} was in use when lsproxy ended, and is not in the configuration any"
                " more: it was not fenced",
            )
        super().start()

    def stop(self) -> Deferred[None]:
        """As `Pool.stop`; a command that runs is ended."""
        if self._hook is not None:
            self._hook.cancel()
        return super().stop()

    def connection(self, arrival: Arrival) -> IProtocol:
        """The protocol of a client's connection."""
        return self._relays.connection(arrival)

    def verify(self, backend: str) -> Deferred[bool]:
        """Fires when a check of `backend` that begins now has ended: whether it passed, and it is the one in use."""
        if backend not in self.backends or not self._is_running:
            return succeed(False)
        return self.backends[backend].verify().addCallback(lambda passed: passed and self._is_in_use(backend))

    def _is_in_use(self, backend: str) -> bool:
        """Whether who is connected to it may stay, though new clients may have to wait."""
        return self.chosen == backend and self._is_activated and not self._is_fenced

    def refuse(self, plan: RelayPlan) -> None:
        """Raises LsproxyError where `plan` takes away the backend in use, which would then go on unfenced."""
        chosen = self.chosen
        if self.config.on_deactivate and chosen in self.backends and not _is_there(self.plan, plan, chosen):
            raise LsproxyError(
                f"pools.{self.name}.backends.{chosen}: is in use and could not be fenced any more when it is changed or"
                " taken out: switch to another one first"
            )

    def apply(self, plan: RelayPlan) -> None:
        """Go on with another configuration; clients of backends that stay are not touched."""
        before, former = self.plan, self._backends
        self.plan = plan
        self.config = plan.config
        self.traffic.hold = plan.config.hold
        self._relays.unanswered.seconds = plan.config.health.timeout
        moved = [name for name in former if not _is_there(before, plan, name)]
        if self._serving in moved:
            self._halt(f"{self._serving} was changed or taken out by a reload")
        self._take_on(plan, {name: backend for name, backend in former.items() if name not in moved})
        for backend in former.values():
            backend.stop()
        for name in moved:
            self.traffic.cut(name)
        if self._serving is not None:
            self.traffic.direct(self._backends[self._serving].target)
        self.judge()

    def snapshot(self) -> PoolSnapshot:
        """The pool as it is now."""
        connections = self.traffic.connections()
        return PoolSnapshot(
            pool=self.name,
            kind=self.config.kind,
            server_name=self.plan.shared_name,
            serving=self._serving,
            address=None if self._serving is None else self.backends[self._serving].address,
            serving_for=self.serving_for,
            epoch=0,
            journal=None,
            reason=self._reason,
            note=self._note,
            conflicts=list(self._said),
            switching_to=self._switching_to,
            clients=self.traffic.clients,
            waiting=self.traffic.waiting,
            failback=self.config.failback,
            hold=self.config.hold,
            expiring=list(self.expiring),
            is_expired=self.is_expired,
            unsaved=self.unsaved,
            backends=[backend.snapshot(connections.get(name, 0)) for name, backend in self.backends.items()],
        )

    # --- what an operator asks ----------------------------------------------------------

    def want(self, backend: str) -> None:
        """An operator switches to it."""
        self.wanted = backend
        self._unfenced = self._failure = None
        self.backends[backend].rest_no_more()
        self.judge()

    def force(self, backend: str) -> None:
        """Choose `backend` without fencing the former one."""
        if self._serving == backend:
            return
        fault = why_not(self.backends[backend].candidate(), self._situation())
        if fault is not None:
            raise LsproxyError(f"{backend} {fault}, so it cannot be switched to, not even by force")
        self.wanted = None
        self.backends[backend].rest_no_more()
        self._activate(backend)
        self.judge()

    @property
    def switch_seconds(self) -> float:
        """How long a switch may take that an operator waits for."""
        config = self.config
        commands = len(config.on_deactivate) + len(config.on_activate)
        started = config.hook_timeout if config.on_activate else 0.0
        return SWITCH_SECONDS + commands * config.hook_timeout * (config.hook_retries + 1) + started

    @property
    def busy(self) -> str | None:
        """Which commands run, or who answers that must not."""
        if self._doing is not None:
            return f"{self._doing}: wait for its end, `lsproxy status` shows it"
        return self._said[0] if self._said and self.config.conflict == "refuse" else None

    def given_up(self, backend: str) -> str | None:
        """Why a switch to `backend` that was wanted is over without success; None while it may still come."""
        if self.wanted == backend or self._hook is not None or (self.chosen == backend and self._is_activated):
            return None
        return self._failure or self._reason

    def why_not(self, backend: str) -> str | None:
        """Why it could not be switched to: the end of a sentence that begins with its name. None if it could."""
        return why_not(self.backends[backend].candidate(), self._situation())

    def state(self, backend: str) -> str:
        """Why it is not used: the end of a sentence that begins with its name."""
        return state(self.backends[backend].candidate())

    # --- deciding -------------------------------------------------------------------

    def _situation(self) -> Situation:
        now = self._reactor.seconds()
        if now >= self._fence_again_at:
            self._unfenced = None
        return Situation(
            now=now,
            chosen=self.chosen,
            wanted=self.wanted,
            failback=Failback(self.config.failback),
            failback_after=self.config.failback_after,
            heir=self._heir,
            fenced=self._is_fenced,
            unfenced=self._unfenced,
            is_activated=self._is_activated,
            starts_until=self._starts_until,
            can_activate=bool(self.config.on_activate),
            shared_name=self.plan.shared_name,
            refuse_conflict=self.config.conflict == "refuse",
            pool=self.name,
        )

    def _candidates(self) -> list[Candidate]:
        return [backend.candidate() for backend in self.backends.values()]

    def _judge_once(self) -> None:
        if self._hook is None:
            self._look_for_life()
        candidates, situation = self._candidates(), self._situation()
        conflict = conflict_of(candidates, situation)
        self._note_conflicts(() if conflict is None else (conflict,))
        decision = decide(candidates, situation)
        if self._hook is not None:
            self._while_busy(decision)
            return
        self._switching_to = None
        match decision:
            case Use(backend, note):
                self._use(backend, note)
            case Fence(former, heir, meanwhile, leave):
                if meanwhile is not None:
                    self._use(meanwhile.backend, meanwhile.note)
                else:
                    self._halt(f"{former} is to be fenced", leave)
                self._fence(former, heir)
            case Activate(heir):
                self._activate(heir)
            case Nobody(reason, leave):
                self._halt(reason, leave)
            case _:
                assert_never(decision)
        for one in self.backends.values():
            if one.admin is Admin.MAINT and one.is_watched:
                one.stop()

    def _while_busy(self, decision: Use | Fence | Activate | Nobody) -> None:
        """A command runs: whoever is served may go on, nobody else begins."""
        used = decision.meanwhile if isinstance(decision, Fence) else decision
        if not isinstance(used, Use) or used.backend != self._serving:
            self._halt(self._doing or "", decision.leave if isinstance(decision, Nobody) else None)

    def _use(self, backend: str, note: str | None) -> None:
        self.backends[backend].rest_no_more()
        self._starts_until = 0.0
        for one in self.backends.values():
            one.forget_failures()
        former, self._former = self._former, backend
        self._serve(backend, note, former)

    def _fence(self, former: str, heir: str) -> None:
        self._switching_to = self._heir = heir
        self._keep_out_if_lost(former)
        hooks = self._hooks("on_deactivate", self.config.on_deactivate)
        if not hooks.are_there:
            self._is_fenced = True
            self._is_news = True
            return
        doing = f"{former} is being fenced, so that {heir} may take over"
        self.announce("fencing", doing, backend=former)
        if self._serving != former:
            self._halt(doing)
        self._run(hooks, former, doing, self._fence_ended)

    def _fence_ended(self, former: str, failure: str | None) -> None:
        backend = self.backends.get(former)
        if failure is None:
            self._is_fenced = self.chosen == former
            self.announce("fenced", f"{former} was fenced", backend=former)
            if backend is not None:
                backend.forget()
        else:
            self._unfenced = failure
            self._fence_again_at = self._reactor.seconds() + FENCE_AGAIN_SECONDS
            self._failure = (
                f"{former} could not be fenced, nothing is switched: {failure}; if it is off for certain:"
                f" lsproxy switch {self.name} --to {self.wanted or self._heir} --force"
            )
            self.wanted = None
            self.announce("fencing_failed", f"{former} could not be fenced, nothing is switched: {failure}")
        if backend is not None:
            backend.fencing = failure or "fenced"

    def _activate(self, heir: str) -> None:
        self._switching_to = heir
        self._heir = None
        self.chosen = heir
        self._is_fenced = self._is_activated = False
        self._unfenced = None
        self._starts_until = 0.0
        doing = f"{heir} is being activated"
        self._halt(doing)  # first of all: whoever is cut below seeks the next one at once
        self._save_soon()
        self._save()  # before anything is done to it: should this process die now, the heir is the one to be fenced
        for name in self.backends:
            if name != heir:
                self.traffic.cut(name)
        hooks = self._hooks("on_activate", self.config.on_activate)
        if not hooks.are_there:
            self._is_activated = True
            self._is_news = True
            return
        self._run(hooks, heir, doing, self._activation_ended)

    def _activation_ended(self, heir: str, failure: str | None) -> None:
        backend = self.backends.get(heir)
        if backend is None:
            return
        if failure is None:
            backend.activation = "activated"
            self._is_activated = self.chosen == heir
            self._starts_until = self._reactor.seconds() + self.config.hook_timeout
            self.announce("activated", f"{heir} was activated", backend=heir)
            if not backend.is_answering:
                backend.forget()
        else:
            self._activation_failed(backend, failure)

    def _activation_failed(self, backend: RelayBackend, failure: str) -> None:
        self.wanted = None
        self._is_activated = False
        backend.activation = failure
        backend.rest(f"could not be activated: {failure}")
        self._failure = f"{backend.name} could not be activated: {failure}"
        self.announce("activation_failed", self._failure, backend=backend.name)

    def _look_for_life(self) -> None:
        """One that does not answer in time after its activation is as good as one whose activation failed."""
        heir = self.backends.get(self.chosen or "")
        if not self._starts_until or self._reactor.seconds() < self._starts_until or heir is None:
            return
        self._starts_until = 0.0
        if not heir.is_answering:
            self._activation_failed(heir, f"it did not answer within {self.config.hook_timeout:g} s")

    def _hooks(self, key: str, commands: tuple[tuple[str, ...], ...]) -> Hooks:
        config = self.config
        return Hooks(self._reactor, key, commands, config.hook_timeout, config.hook_retries)

    def _run(self, hooks: Hooks, name: str, doing: str, ended: Callable[[str, str | None], None]) -> None:
        first = next(iter(self.config.backends[name].doors.values()))
        values = {"backend": name, "address": str(first), "host": first.host, "pool": self.name}
        self._doing = doing
        self._hook = hook = hooks.run(values)
        hook.addCallback(self._hook_ended, name, ended)  # at once, where a program cannot be started
        hook.addErrback(_unless_cancelled)

    def _hook_ended(self, failure: str | None, name: str, ended: Callable[[str, str | None], None]) -> None:
        self._hook = self._doing = None
        if self._is_running:
            ended(name, failure)
            self.judge()

    # --- backends ----------------------------------------------------------------------

    def _take_on(self, plan: RelayPlan, former: Mapping[str, RelayBackend]) -> None:
        """Backends of `plan`; those that go on as `former` ones keep what is known of them."""
        self._backends = {}
        for name, place in plan.places.items():
            self._backends[name] = backend = RelayBackend(self._reactor, name, place, plan.config, self._random, self)
            if name in former:
                backend.inherit(former[name])
            else:
                backend.admin = Admin(self._remembered.admin.get(name, Admin.READY))
                backend.is_kept_out = name in self._remembered.kept_out
                backend.remember(self._remembered.lively.get(name, ()))
            if self._is_running and backend.admin is not Admin.MAINT:
                backend.start()

    def _remember(self) -> Remembered:
        return Remembered(
            chosen=self.chosen,
            admin={b.name: b.admin.value for b in self.backends.values() if b.admin is not Admin.READY},
            kept_out=tuple(b.name for b in self.backends.values() if b.is_kept_out),
            is_activated=self._is_activated,
            address=self._address,
            lively={b.name: b.lively for b in self.backends.values() if b.lively},
        )

    @property
    def _address(self) -> str | None:
        return self.backends[self.chosen].address if self.chosen in self.backends else None


def _unless_cancelled(failure: Failure) -> None:
    if not failure.check(CancelledError):
        log.failure("while a command's end was judged", failure)


def _is_there(before: RelayPlan, after: RelayPlan, name: str) -> bool:
    """Whether connections to the backend `name` can go on."""
    if name not in after.config.backends:
        return False
    old, new = before.config.backends[name], after.config.backends[name]
    return (old.doors, old.tls, old.send_proxy_protocol) == (new.doors, new.tls, new.send_proxy_protocol)
