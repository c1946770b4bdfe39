"""
What does lsproxy answer to `GET /metrics`?

Nothing is counted here but events: pools, listeners and backends count what
happens to them in plain integers, which are read when somebody asks. Seats are
asked of the license servers then; one that does not answer in time is left out.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from twisted.internet.defer import Deferred, DeferredList, TimeoutError  # noqa: A004 - Twisted's name
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from lsproxy.admin.events import Event, Events
from lsproxy.errors import LsproxyError
from lsproxy.history.history import History
from lsproxy.metrics.catalog import CATALOG
from lsproxy.metrics.fill import put_pool, put_seats
from lsproxy.metrics.page import Page
from lsproxy.net.reactor import BoottimeReactor
from lsproxy.proxy.listener import Tally
from lsproxy.proxy.operator import Operator
from lsproxy.proxy.pool import Pool
from lsproxy.proxy.seatpool import SeatPool
from lsproxy.seat.messages import FeatureUsage, UsageReply

ANSWER_SECONDS: Final = 3.0  # Prometheus waits 10 s, unless it is told otherwise
HOLDERS_A_PAGE: Final = 1000
MOST_PAGES: Final = 10

log = Logger()


class Service(Protocol):
    """What is measured."""

    @property
    def pools(self) -> Mapping[str, Pool]:
        """The pools by name."""

    @property
    def operators(self) -> Mapping[str, Operator]:
        """The operator's side of each."""

    @property
    def tallies(self) -> Mapping[str, Tally]:
        """The clients of each listener, by its name."""


class Metrics:
    """The numbers of `service`, its `history` and its `events`; `release` is this program's version."""

    def __init__(
        self, reactor: BoottimeReactor, service: Service, history: History, events: Events, release: str
    ) -> None:
        self._reactor = reactor
        self._service = service
        self._history = history
        self._release = release
        self._happened: Counter[tuple[str, str]] = Counter()
        events.follow(self._count)

    async def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        seats = await self._seats()
        page = Page(CATALOG)
        page.put("lsproxy_build_info", 1, self._release)
        for pool in self._service.pools.values():
            put_pool(page, pool, pool.snapshot())
        for name, tally in self._service.tallies.items():
            page.put("lsproxy_listener_connections", tally.connections, name)
            page.put("lsproxy_listener_accepted_total", tally.accepted, name)
            page.put_counts("lsproxy_listener_refused_total", tally.refused.items(), name)
            page.put_counts("lsproxy_listener_ended_total", tally.ended.items(), name)
        for (pool_name, event), count in self._happened.items():
            page.put("lsproxy_events_total", count, pool_name, event)
        page.put("lsproxy_history_bytes", self._history.size)
        page.put("lsproxy_history_lost_samples_total", self._history.lost)
        # Thousands of features or holders take tens of milliseconds, and clients do not wait for that.
        return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), _text, page, seats)

    def _count(self, event: Event) -> None:
        self._happened[event.pool or "", event.event] += 1

    async def _seats(self) -> dict[str, list[FeatureUsage]]:
        """The features of each pool that answers, asked at once."""
        served = [
            name
            for name, pool in self._service.pools.items()
            if isinstance(pool, SeatPool) and pool.serving is not None
        ]
        asked = [
            Deferred.fromCoroutine(_usage(self._service.operators[name])).addTimeout(ANSWER_SECONDS, self._reactor)
            for name in served
        ]
        answers = await DeferredList([one.addErrback(_unanswered) for one in asked])
        return {name: found for name, (_, found) in zip(served, answers, strict=True) if found is not None}


def _text(page: Page, seats: Mapping[str, Iterable[FeatureUsage]]) -> bytes:
    for name, features in seats.items():
        put_seats(page, name, features)
    return page.text()


async def _usage(operator: Operator) -> list[FeatureUsage]:
    """The features with their holders, of whom at most MOST_PAGES * HOLDERS_A_PAGE are named."""
    first: UsageReply = await operator.usage(limit=HOLDERS_A_PAGE)
    found = {one.feature: one for one in first.features}
    after = first.next
    for _ in range(MOST_PAGES - 1):
        if after is None:
            break
        page = await operator.usage(after=after, limit=HOLDERS_A_PAGE)
        after = page.next
        for one in page.features:
            if one.feature in found:
                found[one.feature].holders += one.holders  # type: ignore[operator] # asked for, so there
    return list(found.values())


def _unanswered(failure: Failure) -> None:
    if not failure.check(LsproxyError, TimeoutError):
        log.failure("the seats of a pool could not be counted", failure)
