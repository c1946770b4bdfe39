"""
What are people told of a takeover: once when something changed, and at any time when they look?

`news` compares the states before and after an event, so what is told once is told
by the server that decided the event and by nobody who reads it later.
"""

from typing import Final

import msgspec

from licserver.core.events import Reading
from licserver.core.takeover import Counted, Returned, State, Whole, remaining_seconds, warning_between
from licserver.core.usage import rfc3339
from lsproxy.seat.messages import Notice, TakeoverStatus

_HOUR: Final = 3600.0
_MINUTE: Final = 60


class Announce(msgspec.Struct, frozen=True):
    """A redundant server serves under takeover `number`, with so many seconds `remaining`."""

    number: int
    remaining: float


class Warn(msgspec.Struct, frozen=True):
    """No more than `hours` remain, to be precise so many seconds."""

    hours: int
    remaining: float


class Block(msgspec.Struct, frozen=True):
    """All that was `granted`, in seconds, is spent: no new seats; a healthy primary gets the name back."""

    granted: float


class Extend(msgspec.Struct, frozen=True):
    """A key added `hours` while there was time; so many seconds are `remaining`."""

    hours: float
    remaining: float


class Unblock(msgspec.Struct, frozen=True):
    """A key ended the block for `hours`."""

    hours: float


class Restore(msgspec.Struct, frozen=True):
    """The primary was in control for long enough: the limit is whole; the next takeover is `number`."""

    number: int


News = Announce | Warn | Block | Extend | Unblock | Restore


def event_name(told: News) -> str:
    """What programs that read the log call it."""
    match told:
        case Announce() | Warn():
            return "takeover_hours"
        case Block():
            return "blocked"
        case Extend() | Unblock():
            return "unblocked"
        case Restore():
            return "takeover_restored"


def news(before: State, after: State) -> News | None:
    """What an event changed for people, None if nothing."""
    match before, after:
        case Counted(), Counted():
            return _counted_on(before, after)
        case _, Counted(granted=granted) if after.is_spent:
            return Block(granted)
        case _, Counted(number, spent=spent, granted=granted):
            return Announce(number, granted - spent)
        case Returned(), Whole(number):
            return Restore(number)
        case _:
            return None


def sentence(told: News) -> str:
    """The news as a person reads it."""
    match told:
        case Announce(number, remaining):
            return (
                f"takeover {number}: this redundant server serves in the primary's place; {_duration(remaining)} left"
            )
        case Warn(_, remaining):
            return _left(remaining)
        case Block(granted):
            return _blocked(granted)
        case Extend(hours, remaining):
            return f"the activation key added {hours:g} h; {_left(remaining)}"
        case Unblock(hours):
            return f"the activation key ended the block; redundant server: {_duration(hours * _HOUR)} left"
        case Restore(number):
            return f"the primary was in control for long enough: the takeover limit is whole again (takeover {number})"


def notice(state: State, now: Reading) -> Notice | None:
    """What heartbeats and status say while a redundant server has the name; seconds in `remaining`."""
    if not isinstance(state, Counted):
        return None
    if state.is_spent:
        return Notice("blocked", _blocked(state.granted), 0.0)
    remaining = remaining_seconds(state, now)
    return Notice("takeover", _left(remaining), remaining)


def blocked_sentence(state: State) -> str:
    """Why new and waiting checkouts are refused as `blocked`, and what to do; "" if they are not."""
    return _blocked(state.granted) if isinstance(state, Counted) and state.is_spent else ""


def shown_in_status(state: State, now: Reading) -> TakeoverStatus | None:
    """`takeover` in the reply to `status`, None unless a redundant server has the name."""
    if not isinstance(state, Counted):
        return None
    remaining = remaining_seconds(state, now)
    return TakeoverStatus(state.number, rfc3339(state.since), state.granted - remaining, remaining)


def _counted_on(before: Counted, after: Counted) -> News | None:
    remaining = after.granted - after.spent
    more = (after.granted - before.granted) / _HOUR
    if more > 0:
        return Unblock(more) if before.is_spent else Extend(more, remaining)
    if after.is_spent:
        return None if before.is_spent else Block(after.granted)
    hours = warning_between(before, after)
    return None if hours is None else Warn(hours, remaining)


def _left(remaining: float) -> str:
    return f"redundant server: {_duration(remaining)} left"


def _blocked(granted: float) -> str:
    return (
        f"the takeover limit of {_duration(granted)} is spent: bring the primary back, or send the vendor the request "
        "key that `licserver request-key` prints and give the answer to `licserver activate`"
    )


def _duration(seconds: float) -> str:
    """Seconds as people say them: `71 h 12 min`, `12 min`, `40 s`; what has begun is not said to be over."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(int(seconds // _MINUTE), _MINUTE)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes:02d} min" if minutes else f"{hours} h"
