"""
Whether one backend may be given clients.

A backend goes down after `fall` failed checks in a row and comes up after
`rise` passed ones, so one lost packet moves nothing. The first passed check
after the start decides alone: a proxy that was restarted serves at once.

    Unchecked --pass--> Up --fall failures--> Down
    Unchecked --first failures--> Down --rise passes--> Up
"""

from typing import assert_never

import msgspec


class Thresholds(msgspec.Struct, frozen=True):
    """
    Checks in a row, each at least 1: `rise` passed ones bring up, `fall` failed ones bring down, and `first` failed
    ones bring down a backend of which nothing is known.
    """

    rise: int
    fall: int
    first: int = 1


class Unchecked(msgspec.Struct, frozen=True):
    """No check passed yet, the last `failures` failed: nothing is known, also not that nobody claims the name."""

    failures: int = 0


class Up(msgspec.Struct, frozen=True):
    """It answers; the last `failures` checks failed."""

    failures: int = 0


class Down(msgspec.Struct, frozen=True):
    """It does not answer; the last `passes` checks passed."""

    passes: int = 0


Health = Unchecked | Up | Down


def check_passed(health: Health, thresholds: Thresholds) -> Health:
    """The health after one passed check."""
    match health:
        case Unchecked() | Up():
            return Up()
        case Down(passes) if passes + 1 >= thresholds.rise:
            return Up()
        case Down(passes):
            return Down(passes + 1)
        case _:
            assert_never(health)


def check_failed(health: Health, thresholds: Thresholds) -> Health:
    """The health after one failed check."""
    match health:
        case Up(failures) if failures + 1 >= thresholds.fall:
            return Down()
        case Up(failures):
            return Up(failures + 1)
        case Unchecked(failures) if failures + 1 < thresholds.first:
            return Unchecked(failures + 1)
        case Unchecked() | Down():
            return Down()
        case _:
            assert_never(health)
