"""
How is a coroutine of the loop's run when every connection needs two of them?

As a task would run it, but its first part at once rather than in the next turn, and without the register of all tasks.
"""

from asyncio import Future
from collections.abc import Callable, Coroutine
from typing import Any


class Eager:
    """Runs `coroutine`; `done` is called with None when it has returned, or with what it raised."""

    __slots__ = ("_awaited", "_coroutine", "_done")

    def __init__(
        self, coroutine: Coroutine[Future[Any], None, object], done: Callable[[BaseException | None], None]
    ) -> None:
        self._coroutine = coroutine
        self._done = done
        self._awaited: Future[Any] | None = None
        self._step(None)

    def cancel(self) -> None:
        """Have what it awaits raise CancelledError, in the next turn."""
        if self._awaited is not None:
            self._awaited.cancel()

    def _step(self, _awaited: Future[Any] | None) -> None:
        self._awaited = None
        try:
            awaited = self._coroutine.send(None)
        except StopIteration:
            self._end(None)
        except BaseException as error:  # noqa: BLE001 - it is the answer
            self._end(error)
        else:
            awaited._asyncio_future_blocking = False  # noqa: SLF001 - how a future is told that its await was seen
            self._awaited = awaited
            awaited.add_done_callback(self._step)

    def _end(self, error: BaseException | None) -> None:
        done = self._done
        del self._done, self._coroutine  # both may lead back here
        done(error)
