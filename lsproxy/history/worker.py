"""How does work on a slow disk leave the reactor's thread? One daemon thread, one job after the other."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

Result = TypeVar("Result")


class ThreadReactor(Protocol):
    """What a thread needs of the reactor."""

    def callFromThread(self, call: Callable[..., Any], /, *args: Any) -> None:
        """Have `call` called in the reactor thread, soon."""


class Worker:
    """A thread named `name`, which nothing waits for at the end of the process."""

    def __init__(self, reactor: ThreadReactor, name: str) -> None:
        self._reactor = reactor
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Deferred[Any]] | None] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def do(self, job: Callable[[], Result]) -> Deferred[Result]:
        """What `job` returns or raises in the thread, after everything that was asked before."""
        answer: Deferred[Result] = Deferred()
        self._jobs.put((job, answer))
        return answer

    def stop(self) -> None:
        """End the thread after what was asked before. Nothing may be asked after."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (asked := self._jobs.get()) is not None:
            job, answer = asked
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 - every error is the asker's, whatever it is
                self._reactor.callFromThread(answer.errback, error)
            else:
                self._reactor.callFromThread(answer.callback, result)
