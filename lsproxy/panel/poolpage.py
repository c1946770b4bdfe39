"""What is gathered for the page of one pool, and for its charts?"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec
from msgspec import UNSET
from twisted.internet.interfaces import IReactorTime

from lsproxy.admin.api import Service
from lsproxy.admin.events import Events
from lsproxy.admin.exchange import Asked
from lsproxy.errors import LsproxyError
from lsproxy.history.samples import HealthSpan, PoolPoint, SeatPoint
from lsproxy.panel.actions import LONGEST_NUMBER
from lsproxy.panel.charts import DAY, chart
from lsproxy.panel.detail import Holding, denied, holding, rows, seats_sentence
from lsproxy.panel.eventlist import Filters, event_list
from lsproxy.panel.facts import LicenseFacts, Line, is_of_a_pair, to_copy
from lsproxy.panel.sights import Sights
from lsproxy.panel.views import bars, card
from lsproxy.panel.words import Clock, counted
from lsproxy.proxy.pool import Pool
from lsproxy.proxy.seatpool import SeatPool

SPANS: Final[Mapping[str, float]] = {"day": DAY, "week": 7 * DAY}
MOST_CHARTS: Final = 4
HOLDERS: Final = 100
MOST_BARS: Final = 200
MOST_TERMS: Final = 200
MOST_TROUBLES: Final = 8
MOST_DENIALS: Final = 12

_POINTS: Final = 288
_STRIP_POINTS: Final = 2880  # more than there are minutes in a day: every sample by itself, none told for others
_MINUTE: Final = 60


class Past(Protocol):
    """What the panel needs of the history; `trouble` says why it is not kept now."""

    trouble: str | None

    async def seats(self, pool: str, since: float, until: float, points: int) -> Mapping[str, Sequence[SeatPoint]]:
        """The seats of each feature."""

    async def health(self, pool: str, since: float, until: float, points: int) -> Mapping[str, Sequence[HealthSpan]]:
        """The health of each backend."""

    async def pools(self, pool: str, since: float, until: float, points: int) -> Sequence[PoolPoint]:
        """Who served, and the clients."""


class Figure(msgspec.Struct, frozen=True):
    """A chart over one span, and what it shows in words."""

    span: str
    words: str


class Charts(msgspec.Struct, frozen=True):
    """The charts of one feature, or of a pool's clients."""

    title: str
    feature: str
    figures: list[Figure]


class PoolPage:
    """Gathers. `wall` is seconds since 1970."""

    def __init__(
        self,
        reactor: IReactorTime,
        service: Service,
        sights: Sights,
        events: Events,
        past: Past,
        wall: Callable[[], float],
        clock: Clock,
    ) -> None:
        self._reactor = reactor
        self._service = service
        self._sights = sights
        self._events = events
        self._past = past
        self._wall = wall
        self._clock = clock
        self._facts = LicenseFacts()

    async def shown(self, pool: Pool, asked: Asked) -> dict[str, Any]:
        """What the template `pool.html` shows."""
        now, name = self._wall(), pool.name
        ago = now - self._reactor.seconds()
        sight = await self._sights.of(pool)
        features = [] if sight.seats is None else sight.seats.features
        feature = asked.query.get("feature", "")
        wanted = [one for one in features if feature in {"", one.feature}]
        spans = await self._past.health(name, now - DAY, now, _STRIP_POINTS)
        all_bars, facts = bars(wanted), self._facts.of(pool)
        charts, left_out = await self._charts(pool, [bar.feature for bar in all_bars], now)
        page = await self._holders(pool, asked, now)
        troubles = event_list(self._events.after(None), Filters(pool=name), self._clock(now), self._clock).entries
        return {
            "card": card(sight, now, self._clock),
            "pool": sight.pool,
            "is_seats": isinstance(pool, SeatPool),
            "has_keys": is_of_a_pair(pool),
            "rows": rows(sight.pool, sight.standby, spans, now - DAY, now, self._clock),
            "bars": all_bars[:MOST_BARS],
            "more_bars": max(0, len(all_bars) - MOST_BARS),
            "features": sorted(one.feature for one in features),
            "feature": feature,
            "charts": charts,
            "charts_left_out": left_out,
            "chart_minute": int(now // _MINUTE),
            "troubles": [entry for entry in troubles if entry.level != "info"][:MOST_TROUBLES],
            "denials": denied(list(pool.traffic.denials.kept)[-MOST_DENIALS:], ago, now, self._clock),
            "facts": msgspec.structs.replace(facts, terms=facts.terms[:MOST_TERMS]),
            "more_terms": max(0, len(facts.terms) - MOST_TERMS),
            "today": datetime.fromtimestamp(now, UTC).date(),
            "commands": self._to_copy(pool),
            **page,
        }

    async def chart(self, pool: Pool, feature: str, span: str) -> bytes:
        """The chart of a feature's seats, or, where the seats are not known here, of the clients."""
        now = self._wall()
        since = now - SPANS[span]
        if isinstance(pool, SeatPool):
            points = (await self._past.seats(pool.name, since, now, _POINTS)).get(feature, ())
            used = [(point.time, float(point.used_max)) for point in points]
            limit = [(point.time, float(point.issued)) for point in points if point.issued is not None]
        else:
            used = [(p.time, float(p.clients)) for p in await self._past.pools(pool.name, since, now, _POINTS)]
            limit = []
        return chart(used, limit, since, now, SPANS[span] / _POINTS, self._clock)

    async def holder(self, pool: Pool, seat: int) -> str | None:
        """Who has seat number `seat`, None where nobody has, or nobody can be asked."""
        try:
            usage = await self._service.operators[pool.name].usage(None, seat - 1, 1, holders=True)
        except LsproxyError:
            return None
        for feature in usage.features:
            for one in [] if feature.holders is UNSET else feature.holders:
                if one.seat == seat:
                    what = "waits for" if one.state == "queued" else "has"
                    return f"{one.user} on {one.host} {what} {counted(one.count, 'seat')} of {feature.feature}"
        return None

    def _to_copy(self, pool: Pool) -> list[Line]:
        try:
            return to_copy(pool, self._service.client_config(pool.name, None))
        except LsproxyError as problem:  # a third party's license file that cannot be read any more
            return [Line(str(problem), f"lsproxy client-config {pool.name}")]

    async def _holders(self, pool: Pool, asked: Asked, now: float) -> dict[str, Any]:
        feature, given = asked.query.get("feature", ""), asked.query.get("after", "")
        after = int(given) if given.isascii() and given.isdigit() and len(given) <= LONGEST_NUMBER else 0
        shown: dict[str, Any] = {"holders": [], "holders_problem": None, "after": after, "next_after": None}
        if not isinstance(pool, SeatPool):
            return shown
        try:
            usage = await self._service.operators[pool.name].usage(feature or None, after, HOLDERS, holders=True)
        except LsproxyError as problem:
            return {**shown, "holders_problem": f"Who holds what is not known: {problem}"}
        found: list[Holding] = []
        for one in usage.features:
            holders = [] if one.holders is UNSET else one.holders
            found += [holding(one.feature, holder, now, self._clock) for holder in holders]
        return {**shown, "holders": sorted(found, key=lambda one: one.seat), "next_after": usage.next}

    async def _charts(self, pool: Pool, features: Sequence[str], now: float) -> tuple[list[Charts], int]:
        if not isinstance(pool, SeatPool):
            return await self._client_charts(pool, now), 0
        past = {span: await self._past.seats(pool.name, now - seconds, now, _POINTS) for span, seconds in SPANS.items()}
        found = []
        for feature in features[:MOST_CHARTS]:
            figures = [Figure(span, seats_sentence(points.get(feature, ()))) for span, points in past.items()]
            if any(figure.words for figure in figures):
                found.append(Charts(feature, feature, [figure for figure in figures if figure.words]))
        return found, max(0, len(features) - MOST_CHARTS)

    async def _client_charts(self, pool: Pool, now: float) -> list[Charts]:
        figures = []
        for span, seconds in SPANS.items():
            points = await self._past.pools(pool.name, now - seconds, now, _POINTS)
            if points:
                figures.append(Figure(span, f"at most {counted(max(point.clients for point in points), 'client')}"))
        return [Charts("Clients", "", figures)] if figures else []
