"""
How is a backend asked to take the active name?

Politely where there is time: the holder is asked to stand down first. One
asking at a time, each bounded, so that a silent server costs TAKEOVER_SECONDS
and not a failover. Asking the wrong one is harmless: the journal decides.
"""

from twisted.internet.defer import Deferred, TimeoutError, succeed  # noqa: A004 - Twisted's name
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from lsproxy.proxy.backend import Backend, Watching
from lsproxy.seat.messages import StandDown, Takeover

STAND_DOWN_SECONDS = 1.0
TAKEOVER_SECONDS = 1.0
SHORTEST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
MOST_DOUBLINGS = 10
LONGEST_POLITE_PAUSE = 60.0  # each polite asking that fails after the holder stood down is an outage


class Takeovers:
    """`asked` is the backend that is asked just now, until its status says that it is active, or it refused."""

    def __init__(self, reactor: IReactorTime, watching: Watching) -> None:
        self._reactor = reactor
        self._watching = watching
        self._waiting: IDelayedCall | None = None
        self.asked: Backend | None = None

    def ask(
        self, heir: Backend, after_epoch: int, deposed: Backend | None, *, reason: str, force: bool = False
    ) -> None:
        """Ask `heir` to take over past `after_epoch`, and first `deposed`, if any, to stand down."""
        if self.asked is not None:
            return
        self.asked = heir
        first: Deferred[bytes] = succeed(b"")
        if deposed is not None:
            first = deposed.ask(StandDown, STAND_DOWN_SECONDS, reason=reason, to=heir.name)
            first.addErrback(lambda _: b"")  # the heir asks it again itself, and does not depend on its answer
        asking = first.addCallback(
            lambda _: heir.ask(Takeover, TAKEOVER_SECONDS, reason=reason, after_epoch=after_epoch, force=force)
        )
        asking.addCallbacks(
            self._granted, self._refused, callbackArgs=(heir, deposed), errbackArgs=(heir, deposed is not None)
        )

    def seen(self, active: str) -> None:
        """The status of `active` says that it is active."""
        if self.asked is not None and self.asked.name == active:
            self.asked.refusals = 0
            self.asked.refusal = None
            self.stop()

    def stop(self) -> None:
        """Wait for no answer any more."""
        self.asked = None
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _granted(self, _line: bytes, heir: Backend, deposed: Backend | None) -> None:
        if heir is not self.asked:
            return
        # A status asked before the takeover may still come and say standby: only time makes that a refusal.
        self._waiting = self._reactor.callLater(TAKEOVER_SECONDS, self._not_seen, heir, deposed is not None)
        heir.check()
        if deposed is not None:
            deposed.check()

    def _not_seen(self, heir: Backend, is_polite: bool) -> None:
        self._waiting = None
        self._put_off(heir, f"{heir.name} said it took over and is not active", is_polite=is_polite)

    def _refused(self, failure: Failure, heir: Backend, is_polite: bool) -> None:
        if heir is self.asked:
            is_late = failure.check(TimeoutError) is not None
            why = f"no answer within {TAKEOVER_SECONDS:g} s" if is_late else failure.getErrorMessage()
            self._put_off(heir, f"{heir.name} did not take over: {why}", is_polite=is_polite)

    def _put_off(self, heir: Backend, why: str, *, is_polite: bool) -> None:
        self.stop()
        heir.refusals = min(heir.refusals + 1, MOST_DOUBLINGS)
        heir.refusal = why
        now, pause = self._reactor.seconds(), SHORTEST_PAUSE * 2**heir.refusals
        heir.ask_after = now + min(pause, LONGEST_PAUSE)
        if is_polite:
            heir.ask_politely_after = now + min(pause, LONGEST_POLITE_PAUSE)
        self._watching.announce("takeover_refused", why, backend=heir.name)
        self._watching.judge()
