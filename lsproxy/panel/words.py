"""How are spans, moments and numbers said in the panel? All moments are in the time zone of lsproxy's machine."""

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from typing import Final

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_EXACT_FROM: Final = 60

Clock = Callable[[float], datetime]
"""A moment in seconds since 1970, in the zone in which people are told it."""


def clock(zone: tzinfo | None) -> Clock:
    """Moments in `zone`; None is the machine's own."""
    return lambda moment: datetime.fromtimestamp(moment, UTC).astimezone(zone)


def duration(seconds: float) -> str:
    """A span by its two largest units: `2 h 03 min`, `3 d 4 h`, `12 s`."""
    whole = max(0, int(seconds))
    for (size, unit), (part, smaller) in pairwise(_UNITS):
        if whole >= size:
            rest = whole % size // part
            is_small = size == _EXACT_FROM  # seconds beside minutes only make a display restless
            digits = f"{rest:02d}" if smaller == "min" else f"{rest}"
            return f"{whole // size} {unit}" if is_small or not rest else f"{whole // size} {unit} {digits} {smaller}"
    return f"{whole} s"


def moment(when: datetime, now: datetime) -> str:
    """`14:02:07` today, `2026-11-21 14:02` on another day."""
    return when.strftime("%H:%M:%S") if when.date() == now.date() else when.strftime("%Y-%m-%d %H:%M")


def counted(number: int, one: str, several: str | None = None) -> str:
    """`1 client`, `3 clients`."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"
