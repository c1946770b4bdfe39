"""Which cells there are, and when they go."""

import math

from hypothesis import given
from hypothesis import strategies as st

from lsproxy.history.grid import (
    DAY,
    FORGET_SECONDS,
    KEPT_SECONDS,
    MINUTE,
    TEN_MINUTES,
    Slots,
    cell,
    forget_before,
)

NOW = 1_790_000_000.0

times = st.floats(0, 4e9)


@given(times, st.sampled_from([MINUTE, TEN_MINUTES]))
def test_a_time_falls_into_its_cell(time, grid):
    """A cell begins at a multiple of its grid, at or before the time, and ends after it."""
    begin = cell(time, grid)
    assert begin % grid == 0
    assert begin <= time < begin + grid


@given(times, times, st.sampled_from([MINUTE, TEN_MINUTES]))
def test_what_is_young_enough_is_not_forgotten(now, oldest, grid):
    """Nothing younger than its grid keeps is to go, and never more than an hour's of the oldest."""
    first = cell(oldest, grid)
    bound = forget_before(now, first, grid)
    assert bound <= now - KEPT_SECONDS[grid] + grid
    assert bound <= first + FORGET_SECONDS


@given(st.floats(0, 90 * DAY), st.floats(1, 90 * DAY), st.integers(1, 2000))
def test_slots_are_as_many_as_asked_for(ago, span, points):
    """At most one more than the points asked for, each a multiple of the grid that is read."""
    slots = Slots(NOW - ago, NOW - ago + span, points, NOW)
    assert slots.seconds % slots.grid == 0
    assert slots.since % slots.seconds == 0
    assert slots.since <= NOW - ago
    assert math.ceil((slots.until - slots.since) / slots.seconds) <= points + 2


def test_minutes_are_read_where_there_are_any():
    """A day is drawn from minutes, what is older than they are kept from tens of minutes."""
    assert Slots(NOW - DAY, NOW, 300, NOW).grid == MINUTE
    assert Slots(NOW - 8 * DAY, NOW - 8 * DAY + 600, 10, NOW).grid == TEN_MINUTES
    assert Slots(NOW - 6 * DAY, NOW, 100, NOW).grid == TEN_MINUTES
