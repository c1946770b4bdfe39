"""How spans, moments and numbers are said."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.panel.words import clock, counted, duration, moment

BERLIN = timezone(timedelta(hours=1), "CET")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"), (-5, "0 s"), (59.9, "59 s"), (60, "1 min"), (119, "1 min"), (3600, "1 h"), (3660, "1 h 01 min"),
        (86_399, "23 h 59 min"), (86_400, "1 d"), (93_600, "1 d 2 h"), (8_640_000, "100 d"),
    ],
)  # fmt: skip
def test_a_span_is_said_by_its_two_largest_units(seconds, said):
    """Seconds only below a minute, so that a display is calm."""
    assert duration(seconds) == said


@given(st.floats(min_value=0, max_value=1e9))
def test_a_longer_span_is_never_said_shorter(seconds):
    """What is said, counted back, is at most the span and not far below it."""
    sizes = {"d": 86_400, "h": 3600, "min": 60, "s": 1}
    words = duration(seconds).split()
    back = sum(int(number) * sizes[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    assert back <= seconds
    assert seconds - back <= max(1, seconds * 0.5)


def test_moments_are_those_of_the_zone():
    """Of today the time alone, of another day with its date."""
    now = clock(BERLIN)(0.0)
    assert moment(clock(BERLIN)(60.0), now) == "01:01:00"
    assert moment(clock(BERLIN)(-7200.0), now) == "1969-12-31 23:00"
    assert clock(None)(0.0) == datetime.fromtimestamp(0, UTC)


def test_one_is_no_several():
    """Nor are none."""
    assert [counted(number, "client") for number in (0, 1, 2)] == ["0 clients", "1 client", "2 clients"]
