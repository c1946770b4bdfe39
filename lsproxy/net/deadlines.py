"""
Whose time is up, of many that are all given the same time?

One timer for all: who is added last is due last. It is left to run out when nobody is there any more, so to be in time
costs next to nothing.
"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T", bound=Hashable)


class Deadlines(Generic[T]):
    """`late` is called with each that was added `seconds` ago and was not discarded since."""

    def __init__(self, reactor: IReactorTime, seconds: float, late: Callable[[T], None]) -> None:
        self._reactor = reactor
        self._late = late
        self._since: dict[T, float] = {}
        self._timer: IDelayedCall | None = None
        self.seconds = seconds

    def add(self, one: T) -> None:
        """Its time begins, unless it has begun already."""
        if one not in self._since:
            self._since[one] = self._reactor.seconds()
            if self._timer is None:
                self._timer = self._reactor.callLater(self.seconds, self._look)

    def discard(self, one: T) -> None:
        """It is in time, or of no interest any more."""
        self._since.pop(one, None)

    def _look(self) -> None:
        now = self._reactor.seconds()
        try:
            while self._since:
                one, since = next(iter(self._since.items()))
                if since + self.seconds > now:
                    break
                del self._since[one]
                self._late(one)
        finally:
            self._timer = None
            if self._since:
                first = next(iter(self._since.values()))
                self._timer = self._reactor.callLater(max(0.0, first + self.seconds - now), self._look)
