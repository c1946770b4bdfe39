"""
Which moments does the history keep apart, and for how long?

Every sample is kept twice: in the grid of minutes for a week, and in that of
tens of minutes for 90 days. A cell of a grid keeps the extremes of the samples
that fell into it, so whatever is forgotten, no peak and no outage is. A clock
that is set back fills the same cells again, which keeps their extremes too.

[A wrong clock] Each sample forgets at most FORGET_SECONDS of the oldest cells. A clock that
is years ahead for some minutes then costs some hours of the history, not all of it.
"""

import math
from typing import Final

MINUTE: Final = 60
TEN_MINUTES: Final = 600
DAY: Final = 86_400
KEPT_SECONDS: Final = {MINUTE: 7 * DAY, TEN_MINUTES: 90 * DAY}
FORGET_SECONDS: Final = 3600


def cell(time: float, grid: int) -> int:
    """When the cell begins into which `time` falls."""
    return math.floor(time / grid) * grid


def forget_before(now: float, oldest: int, grid: int) -> int:
    """Cells of `grid` that begin before this are to go; `oldest` is the first there is. See [A wrong clock]."""
    return min(cell(now, grid) - KEPT_SECONDS[grid], oldest + FORGET_SECONDS)


class Slots:
    """
    The time from `since` to `until`, cut into at most `points` slots (one more where the ends are no multiples).

    `seconds` is how long each is, and they begin at multiples of it, so that a chart drawn again does not tremble.
    `grid` is the one to read.
    """

    def __init__(self, since: float, until: float, points: int, now: float) -> None:
        wished = max(1.0, until - since) / max(1, points)
        is_coarse = wished > TEN_MINUTES or since < now - KEPT_SECONDS[MINUTE]
        self.grid = TEN_MINUTES if is_coarse else MINUTE
        self.seconds = math.ceil(wished / self.grid) * self.grid
        self.since = cell(since, self.seconds)
        self.until = math.ceil(until)
