"""
What does a person's command say of this backend?

    Unknown or Ill --passed--> Well
    Unknown or Well --`fall` failures in a row--> Ill

A run that fails is repeated at once, up to `fall` in a row; all others follow `command_interval` after the one before.
"""

import math
import re
from collections.abc import Callable
from typing import Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lsproxy.commands import CommandError, Outcome, fill, run
from lsproxy.config import model
from lsproxy.net.address import Address

OUTPUT_BYTES: Final = 1 << 20  # searched: the list of a large site's users is long, and what is looked for on top
JITTER: Final = 0.1

log = Logger()


class Unknown(msgspec.Struct, frozen=True):
    """It has said nothing certain since the backend answered."""


class Well(msgspec.Struct, frozen=True):
    """It passed."""


class Ill(msgspec.Struct, frozen=True):
    """It failed; `reason` is a sentence."""

    reason: str


Verdict = Unknown | Well | Ill


class CommandProbe:
    """
    The command of `probe`, run again and again while started.

    Raises CommandError for a name in braces that stands for nothing.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        probe: model.Probe,
        first: Address,
        fall: int,
        random: Callable[[], float],
    ) -> None:
        self._reactor = reactor
        self.argv = fill(probe.command, {"host": first.host, "port": str(first.port)})
        self.expect = re.compile(probe.command_expect, re.MULTILINE)
        self._interval = probe.command_interval
        self._timeout = probe.command_timeout
        self._fall = fall
        self._random = random
        self.failures = 0
        self.began = -math.inf
        self._running: Deferred[Outcome] | None = None
        self._timer: IDelayedCall | None = None
        self._changed: Callable[[], None] | None = None
        self.verdict: Verdict = Unknown()

    def inherit(self, former: "CommandProbe") -> None:
        """Go on, from the start, with the verdict of `former`, where that is a probe by the same command."""
        if (self.argv, self.expect) == (former.argv, former.expect):
            self.verdict = former.verdict
            self.failures = former.failures
            self.began = -math.inf if former.is_running else former.began

    @property
    def is_running(self) -> bool:
        """Whether a run has not ended."""
        return self._running is not None

    def start(self, changed: Callable[[], None]) -> None:
        """Run it regularly, unless that is done already; `changed` is called when there is another verdict."""
        if self._changed is not None:
            return
        self._changed = changed
        pause = self._pause()
        if pause > 0:
            self._timer = self._reactor.callLater(pause, self._run)
        else:
            self._run()

    def stop(self) -> None:
        """Run it no more, end it, and know nothing."""
        self._changed = None
        self.failures = 0
        self.began = -math.inf
        self.verdict = Unknown()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running is not None:
            self._running.cancel()

    def _run(self) -> None:
        self._timer = None
        self.began = self._reactor.seconds()
        running = run(self._reactor, self.argv, self._timeout, output_bytes=OUTPUT_BYTES)
        self._running = running
        running.addCallbacks(self._ended, self._not_run)
        running.addErrback(lambda failure: log.failure("while a command's outcome was judged", failure))

    def _ended(self, outcome: Outcome) -> None:
        self._running = None
        if outcome.problem is not None:
            self._conclude(f"{self.argv[0]} {outcome.problem}")
        elif not self.expect.search(outcome.output):
            last = f', its last line is "{outcome.last_line}"' if outcome.last_line else ""
            self._conclude(f'{self.argv[0]} printed nothing that "{self.expect.pattern}" finds{last}')
        else:
            self._conclude(None)

    def _not_run(self, failure: Failure) -> None:
        self._running = None
        if failure.trap(CommandError, CancelledError) is CommandError:
            self._conclude(failure.getErrorMessage())

    def _conclude(self, problem: str | None) -> None:
        before, changed = self.verdict, self._changed
        assert changed is not None
        self.failures = 0 if problem is None else self.failures + 1
        if problem is None:
            self.verdict = Well()
        elif self.failures >= self._fall:
            self.verdict = Ill(problem)
        self._timer = self._reactor.callLater(self._pause(), self._run)
        if type(self.verdict) is not type(before):
            changed()

    def _pause(self) -> float:
        if 0 < self.failures < self._fall:
            return 0.0
        due = self.began + self._interval * (1 - JITTER * self._random())
        return max(0.0, due - self._reactor.seconds())
