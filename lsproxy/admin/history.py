"""What does `GET /api/v1/history` answer: what was in use, waited and was healthy, in POINTS points for each line?"""

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

from lsproxy.admin.bodies import Past
from lsproxy.admin.exchange import BAD_REQUEST, RefusedError
from lsproxy.history.history import History
from lsproxy.history.samples import HealthSpan, PoolPoint, SeatPoint

POINTS: Final = 300
LAST_SECOND: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


class PoolHistory(msgspec.Struct, frozen=True):
    """One pool's: `points` its own, `seats` those of each feature, `health` of each backend."""

    points: list[PoolPoint]
    seats: dict[str, list[SeatPoint]]
    health: dict[str, list[HealthSpan]]


class Answer(msgspec.Struct, frozen=True):
    """From `since` to `until`, seconds since 1970."""

    since: float
    until: float
    pools: dict[str, PoolHistory]


async def answer(history: History, wanted: Past, pools: Iterable[str], now: float) -> Answer:
    """What is wanted of `pools`; `now` is the end where none is named. Raises RefusedError, 400."""
    since = _time("since", wanted.since)
    until = now if wanted.until is None else _time("until", wanted.until)
    if since >= until:
        raise _refused(f"since ({_rfc3339(since)}) is to be before until ({_rfc3339(until)})")
    return Answer(since, until, {pool: await _of(history, pool, since, until) for pool in pools})


async def _of(history: History, pool: str, since: float, until: float) -> PoolHistory:
    return PoolHistory(
        await history.pools(pool, since, until, POINTS),
        await history.seats(pool, since, until, POINTS),
        await history.health(pool, since, until, POINTS),
    )


def _time(key: str, text: str) -> float:
    """A `+` of an offset that was not written %2B has become a space in a query."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text.replace(" ", "+"))
            seconds = math.nan if moment.tzinfo is None else moment.timestamp()
        except (ValueError, OverflowError):
            seconds = math.nan
    if not 0 <= seconds <= LAST_SECOND:
        raise _refused(
            f"{key} is to be a time such as 2026-11-21T20:48:00Z, or seconds since 1970, and is {text[:64]!r}"
        )
    return seconds


def _refused(message: str) -> RefusedError:
    return RefusedError(BAD_REQUEST, "bad_request", message)


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
