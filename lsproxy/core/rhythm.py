"""
When does the next check of a backend go out?

    all is well, or it is down          `interval` after the one before
    not down, one unanswered or failed  `timeout / fall` after the one before, if that is sooner
    not down, one refused or reset      SOONEST_SECONDS after the one before
    coming up                           a quarter of `interval` after the one before
    somebody saw something              SOONEST_SECONDS after the one before; but while a check that went out for such
                                        a reason is open, `timeout / fall`

So a server that falls silent is down `interval + timeout + (fall - 1) * timeout / fall` seconds later at the latest,
and one that refuses is down `(fall - 1) * SOONEST_SECONDS` and `fall` answers after somebody saw it.

Invariant: at most `fall` checks are open at once. A check that passes makes those before it moot: the server answers.
"""

import math
from typing import Final

import msgspec

from lsproxy.core.health import Down, Health, Thresholds, Unchecked, Up, check_failed, check_passed

SOONEST_SECONDS: Final = 0.01
"""Between two checks: thousands of clients that lose a server at once have one thing to say."""

RISING: Final = 4  # times as often, so that a server that is back is used soon


class Timing(msgspec.Struct, frozen=True):
    """
    Seconds between checks and for each of them; `rise` passed ones bring up, `fall` failed ones bring down, also a
    server of which nothing is known: it may be the one in use.
    """

    interval: float
    timeout: float
    rise: int
    fall: int

    @property
    def thresholds(self) -> Thresholds:
        """For `core.health`."""
        return Thresholds(self.rise, self.fall, first=self.fall)

    @property
    def spacing(self) -> float:
        """Seconds between the checks of a server in doubt."""
        return min(self.interval, self.timeout / self.fall)


class Check(msgspec.Struct, frozen=True):
    """A check that has not ended; `is_wanted`: it went out because somebody saw something."""

    number: int
    is_wanted: bool


class Rhythm(msgspec.Struct, frozen=True):
    """
    What the next check depends on. `begun_at` is when the last one went out, `newest` its number, `jitter` the share of
    the pause after it that is left out; `is_certain`: the last failure leaves no doubt.
    """

    health: Health = Unchecked()
    open: tuple[Check, ...] = ()
    newest: int = 0
    begun_at: float = -math.inf
    jitter: float = 0.0
    is_certain: bool = False
    is_wanted: bool = False


def next_at(rhythm: Rhythm, timing: Timing) -> float | None:
    """When the next check is to go out, minus infinity for the first one; None: not before one has ended."""
    if len(rhythm.open) >= timing.fall:
        return None
    pause = _pause(rhythm, timing) * (1 - rhythm.jitter)
    if rhythm.is_wanted:
        is_being_looked_at = any(check.is_wanted for check in rhythm.open)
        pause = min(pause, timing.spacing if is_being_looked_at else SOONEST_SECONDS)
    return rhythm.begun_at + pause


def begun(rhythm: Rhythm, now: float, jitter: float) -> Rhythm:
    """A check goes out now, with the number `newest` of what this returns; `jitter` is under 1."""
    check = Check(rhythm.newest + 1, rhythm.is_wanted)
    return Rhythm(rhythm.health, (*rhythm.open, check), check.number, now, jitter)


def passed(rhythm: Rhythm, number: int, timing: Timing) -> Rhythm:
    """The check `number` passed; those that went out before it are not open any more."""
    return msgspec.structs.replace(
        rhythm,
        health=check_passed(rhythm.health, timing.thresholds),
        open=tuple(check for check in rhythm.open if check.number > number),
        is_certain=False,
    )


def failed(rhythm: Rhythm, number: int, timing: Timing, *, is_certain: bool) -> Rhythm:
    """The check `number` failed; `is_certain`: the server refused or reset it."""
    return msgspec.structs.replace(
        rhythm,
        health=check_failed(rhythm.health, timing.thresholds),
        open=tuple(check for check in rhythm.open if check.number != number),
        is_certain=is_certain,
    )


def withheld(rhythm: Rhythm, number: int) -> Rhythm:
    """The check `number` passed, which does not count as long as something else is not known."""
    return msgspec.structs.replace(rhythm, open=tuple(check for check in rhythm.open if check.number > number))


def wanted(rhythm: Rhythm) -> Rhythm:
    """Somebody saw something: a check that goes out from now on shall tell."""
    return msgspec.structs.replace(rhythm, is_wanted=True)


def _pause(rhythm: Rhythm, timing: Timing) -> float:
    match rhythm.health:
        case Unchecked(failures) | Up(failures) if failures and rhythm.is_certain:
            return min(SOONEST_SECONDS, timing.interval)
        case Unchecked(failures) | Up(failures) if failures or rhythm.open:
            return timing.spacing
        case Down(passes) if passes:
            return timing.interval / RISING
        case _:
            return timing.interval
