"""Which events does the event page show, for the filters that were chosen?"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from lsproxy.admin.events import Event
from lsproxy.eventnames import TROUBLES, URGENT
from lsproxy.panel.remarks import Level
from lsproxy.panel.words import Clock, moment

MOST_SHOWN: Final = 200


class Filters(msgspec.Struct, frozen=True):
    """What is looked for; an empty one lets everything through. `text` may stand anywhere, in any case."""

    pool: str = ""
    kind: str = ""
    text: str = ""


class Entry(msgspec.Struct, frozen=True):
    """One event."""

    id: str
    when: str
    kind: str
    pool: str
    message: str
    level: Level


class EventList(msgspec.Struct, frozen=True):
    """The newest first. `pools` and `kinds` are what can be chosen; `left_out` older ones are not shown."""

    entries: list[Entry]
    pools: list[str]
    kinds: list[str]
    found: int
    left_out: int


def event_list(events: Iterable[Event], filters: Filters, now: datetime, clock: Clock) -> EventList:
    """What of `events`, the oldest first, is to be shown."""
    kept = list(events)
    found = [event for event in reversed(kept) if _fits(event, filters)]
    shown = [entry(event, now, clock) for event in found[:MOST_SHOWN]]
    return EventList(
        entries=shown,
        pools=_choices((event.pool or "" for event in kept), filters.pool),
        kinds=_choices((event.event for event in kept), filters.kind),
        found=len(found),
        left_out=len(found) - len(shown),
    )


def entry(event: Event, now: datetime, clock: Clock) -> Entry:
    """How one is shown."""
    when = clock(datetime.fromisoformat(event.time).timestamp())
    return Entry(event.id, moment(when, now), event.event, event.pool or "", event.message, _level(event.event))


def latest_id(events: Sequence[Event]) -> str:
    """The id of the newest, from which a page goes on listening."""
    return events[-1].id if events else ""


def _fits(event: Event, filters: Filters) -> bool:
    if filters.pool and event.pool != filters.pool:
        return False
    if filters.kind and event.event != filters.kind:
        return False
    return filters.text.casefold() in f"{event.pool or ''} {event.event} {event.message}".casefold()


def _choices(there: Iterable[str], chosen: str) -> list[str]:
    return sorted({one for one in (*there, chosen) if one})


def _level(event: str) -> Level:
    if event in URGENT:
        return "bad"
    return "odd" if event in TROUBLES else "info"
