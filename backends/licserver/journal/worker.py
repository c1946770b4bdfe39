"""
How does blocking work leave the reactor thread, and its result come back?

A worker is one thread that does one job after the other in the order they
came. Whatever it opened (a SQLite connection) never meets another thread.

[Fair turns] A thread that wants Python's lock is woken each time the reactor thread
lets go of it, which is at every callback and for a microsecond; mostly it comes
too late, and it insists only after the switch interval of 5 ms without being
woken. Seen beside a reactor that is never idle: an append that took 18 s, with
an interval of 0.1 ms 10 ms.
"""

import sys
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

Result = TypeVar("Result")

SWITCH_SECONDS = 0.0001

log = Logger()


class ThreadReactor(Protocol):
    """What a thread needs of the reactor."""

    def callFromThread(self, call: Callable[..., Any], /, *args: Any) -> None:
        """Have `call` called in the reactor thread, soon."""

    def seconds(self) -> float:
        """The reactor's clock."""


class Worker:
    """A thread named `name`. Between jobs it does `chore` every `chore_seconds`, if there is one."""

    def __init__(
        self, reactor: ThreadReactor, name: str, chore: Callable[[], None] | None = None, chore_seconds: float = 60.0
    ) -> None:
        self._reactor = reactor
        self._chore = chore
        self._chore_seconds = chore_seconds
        self._chore_at = time.monotonic() + chore_seconds
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Deferred[Any]] | None] = SimpleQueue()
        sys.setswitchinterval(min(SWITCH_SECONDS, sys.getswitchinterval()))  # See [Fair turns]
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, job: Callable[[], Result]) -> Deferred[Result]:
        """What `job` returns or raises in the thread, after everything that was asked before."""
        answer: Deferred[Result] = Deferred()
        self._jobs.put((job, answer))
        return answer

    def stop(self) -> None:
        """End the thread after what was asked before. Nothing may be asked after."""
        self._jobs.put(None)

    def _run(self) -> None:
        while True:
            try:
                asked = self._next()
            except Empty:
                continue
            if asked is None:
                return
            job, answer = asked
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 - every error is the asker's, whatever it is
                self._reactor.callFromThread(answer.errback, error)
            else:
                self._reactor.callFromThread(answer.callback, result)

    def _next(self) -> tuple[Callable[[], Any], Deferred[Any]] | None:
        """The next job, None for the end; raises Empty after a chore."""
        if self._chore is None:
            return self._jobs.get()
        if time.monotonic() >= self._chore_at:
            try:
                self._chore()
            except Exception as error:  # noqa: BLE001 - the jobs go on, whatever is wrong with the chore
                self._reactor.callFromThread(_report, error)
            self._chore_at = time.monotonic() + self._chore_seconds
        return self._jobs.get(timeout=max(0.0, self._chore_at - time.monotonic()))


def do_once(reactor: ThreadReactor, name: str, job: Callable[[], Result]) -> Deferred[Result]:
    """What `job` returns or raises in a thread of its own."""
    worker = Worker(reactor, name)
    answer = worker.do(job)
    worker.stop()
    return answer


def _report(error: Exception) -> None:
    log.failure("a journal thread's chore failed", Failure(error))
