"""Dates of license files are whole days in UTC."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.license.dates import Permanent, day_begins_at, day_ends_at, parse_date, parse_expiry


@pytest.mark.parametrize("text", ["31-dec-2027", "31-DEC-2027", "31-Dec-2027"])
def test_any_case(text):
    """Months are read in any case."""
    assert parse_date(text) == date(2027, 12, 31)


@pytest.mark.parametrize(
    "text",
    ["31-feb-2027", "0-jan-2027", "32-jan-2027", "1-mai-2027", "1-1-2027", "2027-12-31", "1-jan-27", "1-jan-20270", "",
     "1-jan-2027 ", "\uff11-jan-2027", "29-feb-2027", "1-jan-0"],
)  # fmt: skip
def test_no_date(text):
    """A day that is on no calendar, another form and a year of two digits are no date."""
    assert parse_date(text) is None


@pytest.mark.parametrize("text", ["permanent", "PERMANENT", "1-jan-0", "1-jan-0000", "01-jan-00", "31-dec-000"])
def test_permanent(text):
    """`permanent` and a date in the year 0 never come."""
    assert isinstance(parse_expiry(text), Permanent)


@pytest.mark.parametrize("text", ["never", "32-jan-0", "1-foo-0", "1-jan-27", ""])
def test_no_expiry(text):
    """Anything else is no expiry."""
    assert parse_expiry(text) is None


def test_bounds_of_a_day():
    """A day begins at midnight UTC and ends a day later."""
    assert day_begins_at(date(1970, 1, 1)) == 0.0
    assert day_ends_at(date(2027, 12, 31)) == datetime(2028, 1, 1, tzinfo=UTC).timestamp()


@given(st.dates(date(1000, 1, 1), date(9999, 12, 31)))
def test_every_day(day):
    """Every day reads back from its spelling and is 86,400 seconds long, also the last of the year 9999."""
    assert parse_expiry(f"{day.day}-{day.strftime('%b')}-{day.year:04d}") == day
    assert day_ends_at(day) - day_begins_at(day) == 86400.0
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=day_begins_at(day)) == datetime(
        day.year, day.month, day.day, tzinfo=UTC
    )
