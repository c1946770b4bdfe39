"""When a primary gets its name back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licserver.core.handback import (
    LONGEST_STABLE_SECONDS,
    NEAR_SECONDS,
    STABLE_AT_THE_LIMIT_SECONDS,
    STABLE_SECONDS,
    Seen,
    is_well,
    may_hand_back,
    next_stable,
)

WELL = {"role": "standby", "part": "primary", "fault": "", "journal": "j", "epoch": 3, "slot": 10}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"slot": 11}, True),
        ({"slot": 9}, False),
        ({"epoch": 2}, False),
        ({"journal": "k"}, False),
        ({"role": "isolated"}, False),
        ({"part": "redundant"}, False),
        ({"fault": "no license"}, False),
    ],
)
def test_well(change, expected):
    """A primary is well that stands by on this journal, may serve, and has caught up."""
    assert is_well(Seen(**{**WELL, **change}), "j", 3, 10) is expected


@given(st.floats(0, 1e4), st.floats(STABLE_SECONDS, LONGEST_STABLE_SECONDS), st.floats(0, 1e6), st.booleans())
def test_hand_back(well_for, stable, remaining, outside):
    """After a stable while, half a minute at most at the limit; before it only where nobody else switches."""
    may = may_hand_back(well_for, stable, remaining, is_switched_from_outside=outside)
    if remaining <= NEAR_SECONDS:
        assert may == (well_for >= min(stable, STABLE_AT_THE_LIMIT_SECONDS))
    else:
        assert may == (well_for >= stable and not outside)


def test_stable():
    """Each loss soon after the name was given back doubles the while, up to its bound; one much later does not."""
    stable, whiles = STABLE_SECONDS, []
    for _ in range(9):
        stable = next_stable(stable, 1.0)
        whiles.append(stable)
    assert whiles == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    assert next_stable(600.0, LONGEST_STABLE_SECONDS + 1) == next_stable(600.0, None) == STABLE_SECONDS
