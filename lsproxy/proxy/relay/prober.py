"""
Is this backend up, as far as its checks tell?

Checks go out in the rhythm of `core.rhythm`. Where there is a command, a check passes only while that says well too:
as long as its verdict is unknown, passed checks say nothing, so that a server whose ports are back before it serves
is waited for; when the ports are down, the verdict is forgotten.
"""

from collections.abc import Callable
from typing import Final, Protocol

import msgspec
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lsproxy.core import rhythm as beat
from lsproxy.core.health import Down, Health, Unchecked
from lsproxy.core.rhythm import Rhythm, Timing
from lsproxy.metrics.buckets import PROBE_BOUNDS, Buckets
from lsproxy.proxy.relay.commandprobe import Ill, Unknown, Verdict
from lsproxy.proxy.relay.portcheck import Failed, Passed, Result, Undecided

JITTER: Final = 0.1
REMIND_SECONDS: Final = 60.0

log = Logger()


class Command(Protocol):
    """A command that is run beside the checks, as `CommandProbe`."""

    @property
    def verdict(self) -> Verdict:
        """What it says."""

    def start(self, changed: Callable[[], None]) -> None:
        """Run it regularly, unless that is done already."""

    def stop(self) -> None:
        """Run it no more, and know nothing."""


class Asking(Protocol):
    """The checks of a backend, as `Checks`."""

    @property
    def command(self) -> Command | None:
        """The command that is run beside them."""

    def ask(self) -> Deferred[Result]:
        """Begin one."""


class Listening(Protocol):
    """Who is told how the checks end."""

    def check_passed(self) -> None:
        """All that was asked answered in time."""

    def check_failed(self, reason: str, *, is_lost: bool) -> None:
        """Something did not, for this reason; `is_lost`: the connection was refused or reset."""


class Prober:
    """Watches one backend by its `checks`."""

    def __init__(
        self,
        reactor: IReactorTime,
        checks: Asking,
        timing: Timing,
        random: Callable[[], float],
        listening: Listening,
    ) -> None:
        self._reactor = reactor
        self._checks = checks
        self._timing = timing
        self._random = random
        self._listening = listening
        self._rhythm = Rhythm()
        self._open: dict[int, _Open] = {}
        self._waiting: list[Deferred[bool]] = []
        self._timer: IDelayedCall | None = None
        self._undecided_said: float | None = None
        self.is_running = False
        self.latency: float | None = None
        """Seconds that the last passed check took; None before the first one."""
        self.latencies = Buckets(PROBE_BOUNDS)
        """How long passed checks took."""

    @property
    def complaint(self) -> str | None:
        """What the command said last, if it says that something is wrong."""
        command = self._checks.command
        if command is not None and isinstance(command.verdict, Ill):
            return command.verdict.reason
        return None

    def start(self, health: Health = Unchecked()) -> None:  # noqa: B008 - immutable
        """Begin to check, now; `health` is what is known of the server."""
        if self.is_running:
            return
        self.is_running = True
        self._rhythm = Rhythm(health)
        command = self._checks.command
        if command is not None and command.verdict != Unknown():
            command.start(self.suspect)
        self._plan()

    def stop(self) -> None:
        """Check no more; what is open is ended, and answered to those who wait by False."""
        self.is_running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._checks.command is not None:
            self._checks.command.stop()
        waiting, self._waiting = self._waiting, []
        for answer in waiting + self._discard(list(self._open)):
            answer.callback(False)

    def suspect(self) -> None:
        """Check soon, beside the regular checks: somebody saw something."""
        if self.is_running and not self._rhythm.is_wanted:
            self._rhythm = beat.wanted(self._rhythm)
            self._plan()

    def verify(self) -> Deferred[bool]:
        """Fires when a check that begins after this call has ended: whether it passed."""
        if not self.is_running:
            return succeed(False)
        answer: Deferred[bool] = Deferred()
        self._waiting.append(answer)
        self.suspect()
        return answer

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = beat.next_at(self._rhythm, self._timing)
        if due is not None:
            self._timer = self._reactor.callLater(max(0.0, due - self._reactor.seconds()), self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._rhythm = beat.begun(self._rhythm, self._reactor.seconds(), JITTER * self._random())
        number = self._rhythm.newest
        waiting, self._waiting = self._waiting, []
        check = self._checks.ask()
        self._open[number] = _Open(check, waiting)
        self._plan()
        check.addCallback(self._ended, number)
        check.addErrback(_unless_cancelled)

    def _ended(self, result: Result, number: int) -> None:
        waiting = self._open.pop(number).waiting
        match result:
            case Failed(reason, is_certain):
                self._failed(number, reason, is_certain=is_certain, is_lost=is_certain)
                if self._checks.command is not None and isinstance(self._rhythm.health, Down):
                    self._checks.command.stop()
                is_well = False
            case Passed(seconds):
                self.latency = seconds
                self.latencies.observe(seconds)
                waiting += self._discard([older for older in self._open if older < number])
                is_well = self._answered(number)
            case Undecided(reason):
                self._rhythm = beat.withheld(self._rhythm, number)
                self._plan()
                self._say_undecided(reason)
                is_well = True
        for answer in waiting:
            answer.callback(is_well and self.is_running)

    def _say_undecided(self, reason: str) -> None:
        now = self._reactor.seconds()
        if self._undecided_said is None or now - self._undecided_said >= REMIND_SECONDS:
            self._undecided_said = now
            log.warn(
                "no check can be made, what was known of the servers goes on to count: {reason}",
                event="checks_stopped",
                reason=reason,
            )

    def _answered(self, number: int) -> bool:
        """All ports have. Whether the command has nothing against it."""
        command = self._checks.command
        match None if command is None else command.verdict:
            case Ill(reason):
                self._failed(number, reason, is_certain=True, is_lost=False)
                return False
            case Unknown():
                self._rhythm = beat.withheld(self._rhythm, number)
                self._plan()
                assert command is not None
                command.start(self.suspect)
                return True
            case _:
                self._rhythm = beat.passed(self._rhythm, number, self._timing)
                self._plan()
                self._listening.check_passed()
                return True

    def _failed(self, number: int, reason: str, *, is_certain: bool, is_lost: bool) -> None:
        self._rhythm = beat.failed(self._rhythm, number, self._timing, is_certain=is_certain)
        self._plan()
        self._listening.check_failed(reason, is_lost=is_lost)

    def _discard(self, numbers: list[int]) -> list[Deferred[bool]]:
        """End these checks; who waits for them."""
        ended = [self._open.pop(number) for number in numbers]
        for one in ended:
            one.check.cancel()
        return [answer for one in ended for answer in one.waiting]


class _Open(msgspec.Struct, frozen=True):
    """A check that has not ended, and who waits for it."""

    check: Deferred[Result]
    waiting: list[Deferred[bool]]


def _unless_cancelled(failure: Failure) -> None:
    if not failure.check(CancelledError):
        log.failure("while a check's end was told", failure)
