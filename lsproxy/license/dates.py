"""
What the dates of license files mean in POSIX seconds.

A date is `dd-mmm-yyyy` with English months in any case. It stands for the whole
day in UTC: a line starts with the first moment of its day and expires with the
last. Year 0 means permanent.
"""

import re
from datetime import UTC, date, datetime
from typing import Final

DAY_SECONDS: Final = 86400.0
PERMANENT: Final = "permanent"

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE: Final = re.compile(r"([0-9]{1,2})-([a-z]{3})-([0-9]{1,4})")
_EPOCH_DAY: Final = datetime.fromtimestamp(0, UTC).toordinal()
_FIRST_YEAR: Final = 1000
_MOST_DAYS: Final = 31


class Permanent:
    """An expiry that never comes: `permanent`, or a date in the year 0."""


def parse_date(text: str) -> date | None:
    """The day `text` names, or None where it is not a `dd-mmm-yyyy` of the calendar with a four-digit year."""
    match = _DATE.fullmatch(text.lower())
    if match is None or match[2] not in _MONTHS or int(match[3]) < _FIRST_YEAR:
        return None
    try:
        return date(int(match[3]), _MONTHS.index(match[2]) + 1, int(match[1]))
    except ValueError:
        return None


def parse_expiry(text: str) -> date | Permanent | None:
    """The last day, or Permanent, or None where `text` is no expiry."""
    lower = text.lower()
    if lower == PERMANENT:
        return Permanent()
    match = _DATE.fullmatch(lower)
    if match and int(match[3]) == 0 and match[2] in _MONTHS and int(match[1]) <= _MOST_DAYS:
        return Permanent()
    return parse_date(lower)


def day_begins_at(day: date) -> float:
    """The first moment of `day` in UTC, POSIX seconds."""
    return (day.toordinal() - _EPOCH_DAY) * DAY_SECONDS


def day_ends_at(day: date) -> float:
    """The first moment after `day` in UTC, POSIX seconds."""
    return day_begins_at(day) + DAY_SECONDS
