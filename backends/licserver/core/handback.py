"""
When does a redundant server that has the name give it back to its primary?

The primary is well while it stands by on the same journal, may serve the
license in force, and has caught up. It gets the name back once it was well for a
while. As long as somebody switches from outside, such as lsproxy, that is
done here only where the redundant server may not serve for longer.

[While] A primary that was given the name and lost it soon is trusted for twice as long a while; at the limit, where
nobody else can serve, half a minute is enough.
"""

from typing import Final

import msgspec

STABLE_SECONDS: Final = 5.0
LONGEST_STABLE_SECONDS: Final = 600.0
NEAR_SECONDS: Final = 5.0
STABLE_AT_THE_LIMIT_SECONDS: Final = 30.0


class Seen(msgspec.Struct, frozen=True):
    """
    What a server that was asked said of itself: its `role` in the name and its `part` in the pair, why it could not
    serve ("" if it could), the id of its `journal`, the epoch it knows, the newest slot it holds.
    """

    role: str
    part: str
    fault: str
    journal: str
    epoch: int
    slot: int


def is_well(seen: Seen, journal: str, epoch: int, slot: int) -> bool:
    """Whether it could take the name that this server has in `epoch`; it is to hold `slot` and all before."""
    is_primary = seen.part == "primary" and seen.role == "standby" and not seen.fault
    return is_primary and (seen.journal, seen.epoch) == (journal, epoch) and seen.slot >= slot


def may_hand_back(well_for: float, stable: float, remaining: float, *, is_switched_from_outside: bool) -> bool:
    """
    Whether to give the name to a primary that has been well for so many seconds, when `stable` are enough and so many
    are `remaining` of the takeover limit.
    """
    if remaining <= NEAR_SECONDS:
        return well_for >= min(stable, STABLE_AT_THE_LIMIT_SECONDS)
    return well_for >= stable and not is_switched_from_outside


def next_stable(stable: float, since_handed_back: float | None) -> float:
    """How long the primary is to be well now that it was lost, so many seconds after it got the name back. [While]"""
    if since_handed_back is None or since_handed_back > LONGEST_STABLE_SECONDS:
        return STABLE_SECONDS
    return min(2 * stable, LONGEST_STABLE_SECONDS)
