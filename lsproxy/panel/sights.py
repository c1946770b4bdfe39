"""
What is known of the pools now, without anybody waiting long for it?

A license server is asked for its seats at most once a second, however many
look, and a page waits PATIENCE_SECONDS for the answer at most: then it shows
the figures of before, and says so.
"""

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred, TimeoutError, maybeDeferred  # noqa: A004 - Twisted's name
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lsproxy.admin.api import Service
from lsproxy.errors import LsproxyError
from lsproxy.panel.views import Seats, Sight
from lsproxy.proxy.pool import Pool
from lsproxy.proxy.seatpool import SeatPool
from lsproxy.seat.messages import FeatureUsage, UsageReply

FRESH_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 0.7

log = Logger()


class Sights:
    """Looks at the pools of `service`."""

    def __init__(self, reactor: IReactorTime, service: Service) -> None:
        self._reactor = reactor
        self._service = service
        self._known: dict[str, _Known] = {}

    async def everything(self) -> list[Sight]:
        """All pools, in their order."""
        pools = list(self._service.pools.values())
        for pool in pools:
            self._refresh(pool)  # all are asked before the first is waited for
        self._known = {name: known for name, known in self._known.items() if name in self._service.pools}
        return [await self.of(pool) for pool in pools]

    async def of(self, pool: Pool) -> Sight:
        """One pool."""
        known = self._refresh(pool)
        if known is not None:
            await known.wait(self._reactor)
        standby = {name: pool.why_not(name) for name in pool.backends if name != pool.serving}
        return Sight(pool.snapshot(), None if known is None else known.seats(self._reactor.seconds()), standby)

    def _refresh(self, pool: Pool) -> "_Known | None":
        if not isinstance(pool, SeatPool):
            return None
        known = self._known.setdefault(pool.name, _Known())
        if not known.is_asking and self._reactor.seconds() - known.at >= FRESH_SECONDS:
            operator = self._service.operators[pool.name]
            known.ask(lambda: operator.usage(holders=False), self._reactor)
        return known


class _Known:
    """The seats of one pool as they were last heard of, `at` seconds of the reactor."""

    def __init__(self) -> None:
        self.at = float("-inf")
        self.is_asking = False
        self._features: list[FeatureUsage] = []
        self._heard_at = float("-inf")
        self._problem: str | None = None
        self._waiting: list[Deferred[None]] = []

    def ask(self, usage: Callable[[], Deferred[UsageReply]], reactor: IReactorTime) -> None:
        """Ask now; whoever waits is told."""
        self.is_asking = True

        def answered(reply: UsageReply) -> None:
            self._features, self._problem = reply.features, None
            self._heard_at = reactor.seconds()

        def refused(failure: Failure) -> None:
            if failure.check(LsproxyError):
                self._problem = failure.getErrorMessage()
            else:
                self._problem = "a fault of lsproxy, its log says which"
                log.failure("asking for the seats failed", failure)

        def done(_: object) -> None:
            self.is_asking = False
            self.at = reactor.seconds()
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)

        maybeDeferred(usage).addCallbacks(answered, refused).addBoth(done)

    async def wait(self, reactor: IReactorTime) -> None:
        """Until the answer is there, or patience is at its end."""
        if not self.is_asking:
            return
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        try:
            await waiting.addTimeout(PATIENCE_SECONDS, reactor)
        except TimeoutError:
            self._problem = "the license server has not answered yet"

    def seats(self, now: float) -> Seats:
        """What is known at `now`."""
        return Seats(self._features, max(0.0, now - self._heard_at), self._problem)
