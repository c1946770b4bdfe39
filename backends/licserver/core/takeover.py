"""
How much longer may a redundant server serve in its primary's place?

What is kept is what was spent, never a deadline, so that no clock that is set,
no restart and no edited configuration gives any of it back.

    Whole --redundant server takes the name--> Counted --primary takes it--> Returned
      ^                                          |  ^                         |   |
      |                                  spent,  |  +---redundant server------+   |
      |                              key accepted|         again                  |
      |                                          +-- Counted                      |
      +-------------- primary in control for `restore_seconds` -------------------+

Counting goes on while the server is down, and stops where the limit is spent
and while the primary is in control. Invariants, within one number: `spent` never
falls and never passes `granted`; `limit` never rises; `granted` rises by accepted
keys alone. The number rises with each restoring. A redundant server that the
journal does not know begins anew with nothing left.

[Floor] The journal keeps the active seconds of the name with every append and
confirmation, several times per `ttl`. So what was served is counted, whatever
the clocks of the machine say and however often it was killed or booted between two counts.

[Milliseconds] are counted whole and rounded up: a wake-up that comes a rounding
error too early has moved on, and however often one counts, nothing is lost. Sums
are rounded to them too, so that no mark is a rounding error above what is spent.
"""

import math
from typing import Final, assert_never

import msgspec

from licserver.core import events as ev

COUNT_SECONDS: Final = 30.0
"""Half of the minute in which what is spent has to be kept, because the journal may take its time."""

WARNING_HOURS: Final = (24, 8, 1)

_HOUR: Final = 3600.0


class Whole(msgspec.Struct, frozen=True, array_like=True, tag="whole"):
    """Nothing is spent; the next takeover is `number`."""

    number: int = 1


class Counted(msgspec.Struct, frozen=True, array_like=True, tag="counted"):
    """
    Takeover `number`, begun at `since` (POSIX seconds): of `granted` seconds so many were `spent` at `reading`.
    Once they are equal the server is blocked. `granted` is the `limit` and what the `extension` keys that were
    accepted added; `nonce` is the next request's.
    """

    number: int
    since: float
    limit: float
    granted: float
    spent: float
    reading: ev.Reading
    extension: int
    nonce: bytes

    @property
    def is_spent(self) -> bool:
        """Whether the server is blocked."""
        return self.spent >= self.granted


class Returned(msgspec.Struct, frozen=True, array_like=True, tag="returned"):
    """The primary has the name since `active` seconds; `takeover` goes on if it is lost before the limit is whole."""

    takeover: Counted
    active: float


State = Whole | Counted | Returned
Changes = tuple[ev.TakeoverChange, ...]


def limit_seconds(signed_hours: float, configured_hours: float | None) -> float:
    """A takeover's limit in whole milliseconds: the license's, or a lower one of the configuration."""
    hours = signed_hours if configured_hours is None else min(signed_hours, configured_hours)
    return round(hours * _HOUR, 3)


def taken_by_redundant(state: State, now: ev.Reading, limit: float, nonce: bytes) -> Changes:
    """
    A redundant server took the name, or has it and another license came into force: a limit that is begun only lowers.

    The changes belong into the batch of that. `limit` is that of `limit_seconds` now; `nonce` (8 random bytes) counts
    if a new takeover begins with it.
    """
    match state:
        case Whole(number):
            return (ev.TakeoverBegun(number, limit, nonce, now),)
        case Counted():
            return (_count(state, now), *_lowered(state, limit))
        case Returned(takeover):
            return (ev.TakeoverResumed(now), *_lowered(takeover, limit))
        case _:
            assert_never(state)


def taken_unseen(state: State, now: ev.Reading, limit: float, left: float, nonce: bytes) -> Changes:
    """
    A redundant server that the pair does not know took the name: it has no time, or of a whole limit so many seconds as
    were `left` under another license of the vendor.
    """
    spent = round(max(0.0, limit - left), 3) if isinstance(state, Whole) else limit
    return (ev.TakeoverBegun(number_of(state), limit, nonce, now, spent),)


def taken_by_primary(state: State, now: ev.Reading) -> Changes:
    """The primary took the name. Where it had it before, it only began anew: its time in control goes on."""
    match state:
        case Counted():
            return (ev.PrimaryReturned(_spent(state, now, elapsed_on_any_host(state.reading, now)), now.active),)
        case Whole() | Returned():
            return ()
        case _:
            assert_never(state)


def taken_by_another(state: State, now: ev.Reading) -> Changes:
    """A server that is not of this pair took the name: the primary's time in control ends with that."""
    return (ev.TakeoverResumed(now),) if isinstance(state, Returned) else ()


def time_passed(state: State, now: ev.Reading, restore_seconds: float) -> Changes:
    """What is to be kept now by the server that has the name, whichever it is."""
    match state:
        case Counted() if not state.is_spent and _spent(state, now) >= next_mark(state):
            return (_count(state, now),)
        case Returned(takeover, active) if _whole_milliseconds(now.active - active) >= restore_seconds:
            return (ev.TakeoverRestored(takeover.number + 1),)
        case _:
            return ()


def next_mark(takeover: Counted) -> float:
    """How much will have been spent when something is to be kept next: a count is due, hours begin, or all is spent."""
    marks = [_mark(takeover, hours) for hours in WARNING_HOURS]
    return min(takeover.spent + COUNT_SECONDS, takeover.granted, *(mark for mark in marks if mark > takeover.spent))


def key_accepted(takeover: Counted, hours: int, now: ev.Reading, nonce: bytes) -> Changes:
    """The vendor granted `hours` for the next extension of `takeover`; they add to what remains at this moment."""
    extended = ev.TakeoverExtended(takeover.number, takeover.extension + 1, hours, nonce)
    return (_count(takeover, now), extended)


def remaining_seconds(takeover: Counted, now: ev.Reading) -> float:
    """How much longer the redundant server may serve."""
    return takeover.granted - _spent(takeover, now)


def elapsed_seconds(before: ev.Reading, now: ev.Reading) -> float:
    """
    Within one boot believe the uptime clock, across boots the wall clock, never less than what was served. See [Floor].

    An uptime that ran backwards (a virtual machine set back, a time namespace) is not one boot's.
    """
    is_one_boot = now.boot_id == before.boot_id and now.uptime >= before.uptime
    elapsed = now.uptime - before.uptime if is_one_boot else now.wall - before.wall
    return max(elapsed, elapsed_on_any_host(before, now))


def elapsed_on_any_host(before: ev.Reading, now: ev.Reading) -> float:
    """What passed between readings of two hosts, whose wall clocks may differ: what was served, and no less."""
    is_one_boot = now.boot_id == before.boot_id
    return max(now.uptime - before.uptime if is_one_boot else 0.0, now.active - before.active, 0.0)


def applied(state: State, event: ev.TakeoverChange) -> State:
    """The state after an event. Raises ValueError for one that was not decided on this state."""
    match state, event:
        case _, ev.TakeoverBegun(number, limit, nonce, reading, spent) if number == number_of(state) and (
            spent == limit or (isinstance(state, Whole) and 0.0 <= spent < limit)
        ):
            return Counted(number, reading.wall, limit, limit, spent, reading, 0, nonce)
        case Counted(), ev.TakeoverCounted(spent, reading) if state.spent <= spent <= state.granted:
            return msgspec.structs.replace(state, spent=spent, reading=reading)
        case Counted(), ev.PrimaryReturned(spent, active) if state.spent <= spent <= state.granted:
            return Returned(msgspec.structs.replace(state, spent=spent), active)
        case Counted(), ev.TakeoverExtended(number, extension, hours, nonce) if (number, extension) == (
            state.number,
            state.extension + 1,
        ):
            granted = round(state.granted + hours * _HOUR, 3)
            return msgspec.structs.replace(state, granted=granted, extension=extension, nonce=nonce)
        case Counted(), ev.TakeoverLowered(limit) if limit < state.limit:
            granted = max(state.spent, round(state.granted - (state.limit - limit), 3))
            return msgspec.structs.replace(state, limit=limit, granted=granted)
        case Returned(takeover), ev.TakeoverResumed(reading):
            return msgspec.structs.replace(takeover, reading=reading)
        case Returned(takeover), ev.TakeoverRestored(number) if number == takeover.number + 1:
            return Whole(number)
        case _:
            raise ValueError(f"{event} does not follow {state}")


def number_of(state: State) -> int:
    """Of the takeover that goes on, rests, or is next."""
    return state.takeover.number if isinstance(state, Returned) else state.number


def warning_between(before: Counted, after: Counted) -> int | None:
    """Which of WARNING_HOURS began to be all that remains between two states; of several the last one."""
    return min(
        (hours for hours in WARNING_HOURS if _is_within(after, hours) and not _is_within(before, hours)), default=None
    )


def _lowered(takeover: Counted, limit: float) -> Changes:
    return (ev.TakeoverLowered(limit),) if limit < takeover.limit else ()


def _is_within(takeover: Counted, hours: int) -> bool:
    return takeover.spent >= _mark(takeover, hours)


def _count(takeover: Counted, now: ev.Reading) -> ev.TakeoverCounted:
    return ev.TakeoverCounted(_spent(takeover, now), now)


def _spent(takeover: Counted, now: ev.Reading, elapsed: float | None = None) -> float:
    """What is spent by now. See [Milliseconds]."""
    elapsed = elapsed_seconds(takeover.reading, now) if elapsed is None else elapsed
    return min(_whole_milliseconds(takeover.spent + elapsed), takeover.granted)


def _mark(takeover: Counted, hours: int) -> float:
    """How much is spent when `hours` remain. See [Milliseconds]."""
    return round(takeover.granted - hours * _HOUR, 3)


def _whole_milliseconds(seconds: float) -> float:
    return math.ceil(seconds * 1000.0) / 1000.0
