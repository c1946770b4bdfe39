"""What does the first page show of each pool? From pictures of the pools to what stands on it; no I/O, no clock."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from lsproxy.panel.remarks import Level, Remark, level_of, remarks
from lsproxy.panel.words import Clock, counted, duration, moment
from lsproxy.proxy.snapshot import PoolSnapshot
from lsproxy.seat.messages import FeatureUsage

MOST_BARS: Final = 8
NEARLY_FULL: Final = 90.0
FULL: Final = 100.0

KINDS: Final = {
    "licserver": "licserver",
    "flexnet": "FlexNet",
    "rlm": "RLM",
    "citrix": "Citrix",
    "lmx": "LM-X",
    "tcp": "TCP",
}
_WORDS: Final[Mapping[Level, str]] = {"good": "Served", "odd": "Degraded", "bad": "Not served"}
MARKS: Final[Mapping[Level, str]] = {"good": "✓", "odd": "!", "bad": "✕", "info": "i"}


class Seats(msgspec.Struct, frozen=True):
    """The features of a pool as they were `age` seconds ago; `problem` says why they are not newer, or unknown."""

    features: Sequence[FeatureUsage]
    age: float
    problem: str | None = None


class Sight(msgspec.Struct, frozen=True):
    """
    All that is known of a pool at one moment. `seats` is None where the license servers are of another make.
    `standby` says of each other backend why it could not take over, None for one that could.
    """

    pool: PoolSnapshot
    seats: Seats | None
    standby: Mapping[str, str | None]


class Bar(msgspec.Struct, frozen=True):
    """Seats of one feature: `share` is how full it is, 0 to 100."""

    feature: str
    used: int
    issued: int
    queued: int
    share: float
    level: Level


class Card(msgspec.Struct, frozen=True):
    """One pool at a glance."""

    name: str
    kind: str
    server_name: str | None
    level: Level
    mark: str
    word: str
    standing: str
    serving: str | None
    address: str | None
    since: str
    lasting: str
    clients: str
    remarks: list[Remark]
    bars: list[Bar]
    more_bars: int
    seats_note: str | None


class Glance(msgspec.Struct, frozen=True):
    """All pools, the ones in need first; `remarks` are on lsproxy itself."""

    level: Level
    mark: str
    sentence: str
    cards: list[Card]
    remarks: list[Remark]


def glance(sights: Sequence[Sight], troubles: Sequence[str], now: float, clock: Clock) -> Glance:
    """The first page at `now`, seconds since 1970. `troubles` are sentences on lsproxy itself."""
    cards = [card(sight, now, clock) for sight in sights]
    in_need = [one.name for one in cards if one.level == "bad"]
    degraded = [one.name for one in cards if one.level == "odd"]
    if in_need:
        level: Level = "bad"
        sentence = f"Needs attention now: {', '.join(in_need)}"
    elif degraded or troubles:
        looked_at = [*degraded, *(["lsproxy itself"] if troubles else [])]
        level, sentence = "odd", f"Every pool is served. To be looked at: {', '.join(looked_at)}"
    else:
        level, sentence = "good", "Every pool is served, and nothing is degraded"
    order: Mapping[Level, int] = {"bad": 0, "odd": 1, "good": 2, "info": 2}
    found = [Remark("odd", trouble) for trouble in troubles]
    return Glance(level, MARKS[level], sentence, sorted(cards, key=lambda one: order[one.level]), found)


def card(sight: Sight, now: float, clock: Clock) -> Card:
    """One pool at `now`."""
    pool = sight.pool
    found = remarks(pool, sight.standby)
    level = level_of(pool, found)
    all_bars = bars([] if sight.seats is None else sight.seats.features)
    word = _word(pool, level)
    return Card(
        name=pool.pool,
        kind=KINDS.get(pool.kind, pool.kind),
        server_name=pool.server_name,
        level=level,
        mark=MARKS[level],
        word=word,
        standing=_standing(pool, level, word),
        serving=pool.serving,
        address=pool.address,
        since=moment(clock(now - pool.serving_for), clock(now)),
        lasting=duration(pool.serving_for),
        clients=_clients(pool),
        remarks=found,
        bars=all_bars[:MOST_BARS],
        more_bars=max(0, len(all_bars) - MOST_BARS),
        seats_note=_seats_note(sight.seats, now, clock),
    )


def bars(features: Sequence[FeatureUsage]) -> list[Bar]:
    """The fullest first; those that people wait for before all others."""
    made = [_bar(feature) for feature in features]
    return sorted(made, key=lambda bar: (-bool(bar.queued), -bar.share, bar.feature))


def _bar(feature: FeatureUsage) -> Bar:
    used = feature.in_use
    share = min(FULL, used / feature.issued * FULL) if feature.issued else (FULL if used else 0.0)
    level: Level = "good"
    if feature.queued or used > feature.issued:
        level = "bad"
    elif share >= NEARLY_FULL:
        level = "odd"
    return Bar(feature.feature, used, feature.issued, feature.queued, round(share, 2), level)


def _word(pool: PoolSnapshot, level: Level) -> str:
    if pool.serving is None:
        return _WORDS["bad"]
    if pool.conflicts:
        return "Conflict"
    return _WORDS[level] if pool.barrenness is None else pool.barrenness.capitalize()


def _standing(pool: PoolSnapshot, level: Level, word: str) -> str:
    """The state in words that a page of its own has room for."""
    if pool.serving is None:
        return word
    also = "" if level == "good" else f", {word.lower()}"
    return f"Served by {pool.serving}{also}"


def _clients(pool: PoolSnapshot) -> str:
    clients = counted(pool.clients, "client")
    return f"{clients}, {pool.waiting} of them waiting for a server" if pool.waiting else clients


def _seats_note(seats: Seats | None, now: float, clock: Clock) -> str | None:
    if seats is None or seats.problem is None:
        return None
    if not seats.features:
        return f"The seats are not known: {seats.problem}"
    return f"Seats as of {clock(now - seats.age).strftime('%H:%M:%S')}: {seats.problem}"


def stamp(now: datetime) -> str:
    """When the page was made: the time of day, and the zone's name."""
    return f"{now.strftime('%H:%M:%S')} {now.tzname() or ''}".strip()
