"""
How are people told of what happened: which events are passed to the commands of `notify`, and how many at once?

Nothing waits for them. One event at a time is passed on, in order; while one is, at most MOST_WAITING others wait, and
the newest beyond that are left out and counted in the log.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lsproxy.commands import CommandError, fill, run
from lsproxy.oneline import one_line

EVENTS: Final = frozenset(
    {
        "activation_failed",
        "backend_barred",
        "blocked",
        "conflict",
        "conflict_over",
        "fencing_failed",
        "not_fenced",
        "license_differs",
        "license_expiring",
        "takeover",
        "takeover_hours",
        "unserved",
    }
)
COMMAND_SECONDS: Final = 30.0
MOST_WAITING: Final = 100

log = Logger()


class Notify:
    """Passes events to `commands`, each an argument list with {event}, {pool} and {message} in it."""

    def __init__(self, reactor: IReactorTime, commands: Sequence[Sequence[str]]) -> None:
        self._reactor = reactor
        self.commands = commands
        self._waiting: deque[dict[str, str]] = deque()
        self._is_running = False
        self._is_stopped = False
        self._running: Deferred[None] | None = None

    def tell(self, event: str, pool: str | None, message: str) -> None:
        """Something happened."""
        if event not in EVENTS or not self.commands or self._is_stopped:
            return
        if len(self._waiting) >= MOST_WAITING:
            log.warn(
                "notify is too slow, {left_out} is not passed on: {what}",
                event="notify_failed",
                left_out=event,
                what=message,
            )
            return
        self._waiting.append({"event": event, "pool": pool or "", "message": message})
        if not self._is_running:
            self._is_running = True
            self._running = Deferred.fromCoroutine(self._pass_on())
            self._running.addErrback(_unexpected)

    def stop(self) -> None:
        """Pass on nothing more; what runs is ended."""
        self._is_stopped = True
        self._waiting.clear()
        if self._running is not None:
            self._running.cancel()

    async def _pass_on(self) -> None:
        try:
            while self._waiting:
                values = self._waiting.popleft()
                for command in self.commands:
                    await run_told(self._reactor, command, values)
        finally:
            self._is_running = False


async def run_told(reactor: IReactorTime, command: Sequence[str], values: Mapping[str, str]) -> None:
    """Run `command` with the `values` of an event, for at most COMMAND_SECONDS; what goes wrong is logged."""
    try:
        # No argument of a program holds a NUL, and what it prints may come to a terminal.
        told = {name: one_line(value) for name, value in values.items()}
        problem = (await run(reactor, fill(command, told), COMMAND_SECONDS)).problem
    except CommandError as error:
        log.warn("notify: {error}", event="notify_failed", error=str(error))
        return
    if problem is not None:
        log.warn("notify: {program} {problem}", event="notify_failed", program=command[0], problem=problem)


def _unexpected(failure: Failure) -> None:
    if not failure.check(CancelledError):
        log.failure("while notify ran", failure)
