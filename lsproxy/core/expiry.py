"""
Which license lines expire soon, and what of that has not been said yet?

It is said at 30, 14, 7, 3 and 1 days, on the last day, and when it is over: once each. Days are counted in UTC, a
line is good to the end of its last one.

    far off --30--> 30 --14--> 14 --7--> 7 --3--> 3 --1--> 1 --0--> today --> over
                    |__ each step is said; at a start, where one stands ____|

Where lines say how many seats they are for (INCREMENT), seats add up, so each line that ends takes its own along;
where they do not, the line that lasts longest is the feature's. An expired line counts only when it was the last of
its feature: files keep those that were renewed.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

import msgspec

STAGES: Final = (30, 14, 7, 3, 1, 0)
OVER: Final = -1

_MOST_NAMED: Final = 3


class Term(msgspec.Struct, frozen=True):
    """A line of `file`: `seats` (None: not known) of `feature`, until the end of the day `expires`, None for ever."""

    file: str
    feature: str
    expires: date | None
    seats: int | None = None


class Due(msgspec.Struct, frozen=True):
    """What of one file ends on the day `expires`. `what` names each feature, and its seats where not all of it ends."""

    file: str
    expires: date
    features: tuple[str, ...]
    what: tuple[str, ...]


Said = Mapping[tuple[str, date, tuple[str, ...]], int]
"""What was said of each, and at which stage."""


def due(terms: Iterable[Term], today: date) -> list[Due]:
    """What has ended or ends within the first of STAGES, the earliest first."""
    of_feature: dict[tuple[str, str], list[Term]] = {}
    for term in terms:
        of_feature.setdefault((term.file, term.feature), []).append(term)
    ending: dict[tuple[str, date], dict[str, str]] = {}
    for (file, feature), lines in of_feature.items():
        for day, what in _endings(feature, lines, today):
            if (day - today).days <= STAGES[0]:
                ending.setdefault((file, day), {})[feature] = what
    ordered = sorted(ending.items(), key=lambda entry: (entry[0][1], entry[0][0]))
    return [Due(file, day, tuple(of), tuple(of.values())) for (file, day), of in ordered]


def stage(expires: date, today: date) -> int:
    """The last of STAGES that was reached, OVER after the last day. Raises ValueError where none was."""
    days = (expires - today).days
    return OVER if days < 0 else min(step for step in STAGES if step >= days)


def news(found: Iterable[Due], said: Said, today: date) -> tuple[list[Due], Said]:
    """What of it is to be said now, and all that will have been said then."""
    fresh: list[Due] = []
    now: dict[tuple[str, date, tuple[str, ...]], int] = {}
    for one in found:
        key = (one.file, one.expires, one.features)
        now[key] = stage(one.expires, today)
        if key not in said or now[key] < said[key]:
            fresh.append(one)
    return fresh, now


def sentence(one: Due, today: date) -> str:
    """What people are told of it."""
    more = f" and {len(one.what) - _MOST_NAMED} more" if len(one.what) > _MOST_NAMED else ""
    what = f"{', '.join(one.what[:_MOST_NAMED])}{more}"
    days = (one.expires - today).days
    expire = "expires" if one.what == one.features and len(one.what) == 1 else "expire"
    if days < 0:
        when = f"expired on {one.expires}"
    elif days == 0:
        when = f"{expire} today, {one.expires}"
    else:
        when = f"{expire} on {one.expires}, in {days} {'day' if days == 1 else 'days'}"
    return f"{one.file}: {what} {when}: ask the vendor for a renewal"


def _endings(feature: str, lines: list[Term], today: date) -> Iterable[tuple[date, str]]:
    """On which days something of the feature ends, and what."""
    days = [line.expires for line in lines if line.expires is not None]
    is_for_ever = len(days) < len(lines)
    if not days:
        return
    if any(line.seats is None for line in lines):
        if not is_for_ever:
            yield max(days), feature
        return
    if not is_for_ever and max(days) < today:
        yield max(days), feature
        return
    going = [line for line in lines if line.expires is None or line.expires >= today]
    left = sum(line.seats or 0 for line in going)
    for day in sorted({day for day in days if day >= today}):
        ends = sum(line.seats or 0 for line in going if line.expires == day)
        is_all = all(line.expires == day for line in going)
        yield day, feature if is_all else f"{ends} of {left} seats of {feature}"
