"""
What may an operator do with a pool, and when is it refused?

Each call answers with a Deferred that fires when the thing is done, and fails
with an LsproxyError whose sentence is for the operator.
"""

from collections.abc import Callable
from datetime import date
from typing import Any, NoReturn, TypeVar

import msgspec
from twisted.internet.defer import (
    Deferred,
    TimeoutError,  # noqa: A004 - Twisted's name
    fail,
    gatherResults,
    maybeDeferred,
    succeed,
)
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from lsproxy.core.binding import Unbound, bind
from lsproxy.core.choice import Admin
from lsproxy.errors import LsproxyError
from lsproxy.license.offer import shortfalls
from lsproxy.license.signature import VerifiedLicense
from lsproxy.proxy.backend import Backend
from lsproxy.proxy.pool import Pool, Watched
from lsproxy.proxy.seatpool import SeatPool
from lsproxy.seat.lines import REQUEST_LIMIT
from lsproxy.seat.messages import (
    PROTOCOL,
    UNREADABLE,
    Activate,
    Install,
    Remove,
    RequestKey,
    RequestKeyReply,
    Unblocked,
    Usage,
    UsageReply,
)

REQUEST_SECONDS = 5.0
MOST_LICENSE_BYTES = REQUEST_LIMIT - 64  # what is around it in a request

R = TypeVar("R", bound=msgspec.Struct)
InThread = Callable[..., Deferred[Any]]


class OperationRefusedError(LsproxyError):
    """It cannot be done as things are."""


class Installed(msgspec.Struct, frozen=True):
    """
    Where a license was put: `digest` is in force on `active`; `problems` holds a sentence for each other place that it
    did not reach, `warnings` what it does not grant though somebody may count on it.
    """

    digest: str
    active: str
    problems: list[str]
    warnings: list[str] = []


class Operator:
    """The operator's side of `pool`. `in_thread` calls what takes long, and does so at once where it is not said."""

    def __init__(self, reactor: IReactorTime, pool: Pool, in_thread: InThread = maybeDeferred) -> None:
        self._reactor = reactor
        self._pool = pool
        self._in_thread = in_thread

    def switch(self, to: str | None = None, *, force: bool = False) -> Deferred[None]:
        """
        Planned switchover to the backend `to`, or to the next that stands by; fires when it is served.

        `force` asks nobody: it forgets the remembered journal and epoch and goes on with what `to` has.
        """
        pool = self._pool
        try:
            name = self._next() if to is None else self._known(to).name
            if pool.busy is not None:
                raise OperationRefusedError(pool.busy)
            if force:
                pool.force(name)
            elif name != pool.serving:
                fault = pool.why_not(name)
                if fault is not None:
                    raise OperationRefusedError(f"{name} cannot take over: it {fault}")
                pool.want(name)
        except LsproxyError as refused:
            return fail(refused)

        def failed(failure: Failure) -> Failure:
            if pool.wanted == name:
                pool.wanted = None
            return failure

        why = f"{name} did not take over within {pool.switch_seconds:g} s"
        return self._until(lambda: pool.serving == name, why, name).addErrback(failed)

    def set_state(self, name: str, admin: Admin) -> Deferred[None]:
        """
        Say that a backend is ready, to be drained, or in maint. Drain fires when its clients are served by another,
        and is refused while there is none; maint is at once.
        """
        try:
            backend = self._known(name)
            was_serving = self._pool.serving == name
            if admin is Admin.DRAIN and self._pool.busy is not None:
                raise OperationRefusedError(self._pool.busy)
            if admin is Admin.DRAIN and was_serving:
                self._next()
        except LsproxyError as refused:
            return fail(refused)
        if admin is not backend.admin or backend.is_kept_out:
            self._pool.announce("backend_state", f"{name} is set to {admin.value}", backend=name, state=admin.value)
        backend.admin = admin
        if admin is Admin.READY:
            backend.is_kept_out = False
            backend.start()
        self._pool.judge()
        self._pool.save_now()
        if admin is not Admin.DRAIN:
            return succeed(None)
        gone = {name, None} if was_serving else {name}
        return self._until(lambda: self._pool.serving not in gone, f"{name} could not be drained", name)

    def remove(self, seat: int, reason: str) -> Deferred[None]:
        """Take seat number `seat` back from its holder."""
        return self._ask_serving(Remove, seat=seat, reason=reason).addCallback(lambda _: None)

    def usage(
        self, feature: str | None = None, after: int = 0, limit: int = 200, *, holders: bool = True
    ) -> Deferred[UsageReply]:
        """One page of who holds what, as protocol.md says of `usage`."""
        asked = self._ask_serving(Usage, feature=feature, after=after, limit=limit, holders=holders)
        return asked.addCallback(_decoded, UsageReply).addCallback(_checked)

    def request_key(self) -> Deferred[RequestKeyReply]:
        """The key with which the vendor is asked for more hours for the redundant server that serves."""
        return self._ask_serving(RequestKey).addCallback(_decoded, RequestKeyReply)

    def activate(self, key: str) -> Deferred[Unblocked]:
        """Count the hours of the vendor's activation key."""
        return self._ask_serving(Activate, key=key).addCallback(_decoded, Unblocked)

    def foresee(self, text: str, today: date) -> Deferred[list[str]]:
        """What a license would not grant on `today`, in UTC, though somebody may count on it; nothing is changed."""

        def examined(found: tuple[Backend, VerifiedLicense]) -> Deferred[list[str]]:
            _, verified = found

            def seen(usage: UsageReply) -> list[str]:
                return shortfalls(verified, {one.feature: one.in_use for one in usage.features}, today)

            def unseen(failure: Failure) -> list[str]:
                failure.trap(LsproxyError)
                return shortfalls(verified, {}, today)

            return self.usage(holders=False).addCallbacks(seen, unseen)

        return self._examined(text).addCallback(examined)

    def install(self, text: str) -> Deferred[Installed]:
        """Verify a license, put it in force on the active server, send it to the others and to the proxy's file."""

        def ask(found: tuple[Backend, VerifiedLicense]) -> Deferred[Installed]:
            active, verified = found
            put = self._ask(active, Install, license=text)
            return put.addCallback(lambda _line: self._spread(text, verified.digest, active))

        return self._examined(text).addCallback(ask)

    def _spread(self, text: str, digest: str, active: Backend) -> Deferred[Installed]:
        """`text`, with that digest, is in force on `active`: it goes everywhere else."""
        pool = self._seat_pool()
        licenses = pool.plan.licenses
        problems: list[str] = []

        def not_replaced(failure: Failure) -> None:
            failure.trap(LsproxyError)
            problems.append(failure.getErrorMessage())

        def replaced(_: object) -> Deferred[list[str | None]]:
            for backend in pool.backends.values():
                backend.check_against(licenses)
            pool.announce("license_installed", f"license {digest} is in force on {active.name}")
            return gatherResults([self._install(b, text) for b in pool.backends.values() if b is not active])

        replacing = self._in_thread(licenses.replace, text)
        replacing.addErrback(not_replaced).addCallback(replaced)
        return replacing.addCallback(lambda said: Installed(digest, active.name, [*problems, *filter(None, said)]))

    def _examined(self, text: str) -> Deferred[tuple[Backend, VerifiedLicense]]:
        """The license, where the server that serves could serve it too."""
        length = len(msgspec.json.encode(text))
        try:
            self._serving()
            licenses = self._seat_pool().plan.licenses
            # A longer request would end the connection, by which the server is known to live.
            if length > MOST_LICENSE_BYTES:
                raise OperationRefusedError(
                    f"the new license has {length} bytes, and a license server takes at most {MOST_LICENSE_BYTES} by"
                    " the network: put the file on the machine of each license server, and run licserver reread there"
                )
        except LsproxyError as refused:
            return fail(refused)

        def bound(verified: VerifiedLicense) -> tuple[Backend, VerifiedLicense]:
            active = self._serving()  # another one may serve by now
            declared = self._seat_pool().plan.config.backends[active.name].hostids
            found = bind(verified, active.hostids, declared, active.name)
            if isinstance(found, Unbound):
                raise OperationRefusedError(f"{active.name} could not serve it: {found.reason}")
            return active, verified

        # Hundreds of signatures take longer than clients should wait.
        return self._in_thread(licenses.examine, text).addCallback(bound)

    def _install(self, backend: Backend, text: str) -> Deferred[str | None]:
        asked = self._ask(backend, Install, license=text)
        return asked.addCallbacks(lambda _: None, lambda failure: failure.getErrorMessage())

    def _known(self, name: str) -> Watched:
        backend = self._pool.backends.get(name)
        if backend is None:
            names = ", ".join(self._pool.backends)
            raise OperationRefusedError(f"pool {self._pool.name} has no backend {name}; it has {names}")
        return backend

    def _next(self) -> str:
        others = [name for name in self._pool.backends if name != self._pool.serving]
        able = [name for name in others if self._pool.why_not(name) is None]
        if not able:
            why = "; ".join(f"{name} {self._pool.state(name)}" for name in others) or "it has no other backend"
            raise OperationRefusedError(f"pool {self._pool.name} has nothing to switch to: {why}")
        return able[0]

    def _seat_pool(self) -> SeatPool:
        if not isinstance(self._pool, SeatPool):
            kind = self._pool.config.kind
            raise OperationRefusedError(
                f"pool {self._pool.name} is of kind {kind}, whose seats and licenses are its own servers' business:"
                " ask them, lsproxy passes their bytes on unread"
            )
        return self._pool

    def _serving(self) -> Backend:
        pool = self._seat_pool()
        if pool.serving is None:
            raise OperationRefusedError(f"pool {pool.name} is not served: {pool.snapshot().reason}")
        return pool.backends[pool.serving]

    def _ask_serving(self, kind: Callable[..., msgspec.Struct], **fields: Any) -> Deferred[bytes]:
        try:
            return self._ask(self._serving(), kind, **fields)
        except OperationRefusedError as refused:
            return fail(refused)

    def _ask(self, backend: Backend, kind: Callable[..., msgspec.Struct], **fields: Any) -> Deferred[bytes]:
        def late(failure: Failure) -> NoReturn:
            failure.trap(TimeoutError)
            raise OperationRefusedError(f"{backend.name} did not answer within {REQUEST_SECONDS:g} s")

        asked = backend.ask(kind, REQUEST_SECONDS, **fields)
        return asked.addErrback(late)

    def _until(self, is_done: Callable[[], bool], why_not: str, name: str) -> Deferred[None]:
        done: Deferred[None] = Deferred(lambda _: unwatch())

        def look() -> None:
            given_up = self._pool.given_up(name)
            if is_done():
                unwatch()
                done.callback(None)
            elif given_up is not None:
                unwatch()
                done.errback(OperationRefusedError(given_up))

        def late(failure: Failure) -> None:
            failure.trap(TimeoutError)
            error = self._pool.backends[name].last_error if name in self._pool.backends else None
            raise OperationRefusedError(f"{why_not}{f': {error}' if error else ''}")

        unwatch = self._pool.watch(look)
        done.addTimeout(self._pool.switch_seconds, self._reactor).addErrback(late)
        look()
        return done


def _decoded(line: bytes, kind: type[R]) -> R:
    try:
        return msgspec.json.decode(line, type=kind)
    except UNREADABLE as problem:
        raise OperationRefusedError(f"the license server's answer is none of {PROTOCOL}: {problem}") from problem


def _checked(usage: UsageReply) -> UsageReply:
    if usage.fault is not None:
        raise OperationRefusedError(f"the license server's answer is none of {PROTOCOL}: {usage.fault}")
    return usage
