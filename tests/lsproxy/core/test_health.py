"""Tests of when a backend is up."""

from hypothesis import given
from hypothesis import strategies as st

from lsproxy.core.health import Down, Thresholds, Unchecked, Up, check_failed, check_passed

TWO = Thresholds(rise=2, fall=2)


def after(checks, thresholds=TWO):
    health = Unchecked()
    for passed in checks:
        health = (check_passed if passed else check_failed)(health, thresholds)
    return health


def test_first_check_decides_alone():
    """A proxy that was just started serves after one passed check, and knows after one failed."""
    assert after([True]) == Up()
    assert after([False]) == Down()


def test_one_failure_moves_nothing():
    """A single failed check between passed ones leaves a backend up, however often."""
    assert after([True, False, True, False, True]) == Up()


def test_down_after_fall_and_up_after_rise():
    """`fall` failures in a row bring down, `rise` passes in a row bring up."""
    assert after([True, False, False]) == Down()
    assert after([True, False, False, True]) == Down(1)
    assert after([True, False, False, True, False]) == Down()
    assert after([True, False, False, True, True]) == Up()


@given(st.lists(st.booleans(), min_size=1), st.integers(1, 5), st.integers(1, 5))
def test_state_is_that_of_the_last_run(checks, rise, fall):
    """What counts is the last run of `rise` passes or `fall` failures, whichever came later."""
    is_up = checks[0]
    for end in range(1, len(checks) + 1):
        tail = checks[:end]
        if len(tail) >= rise and all(tail[-rise:]):
            is_up = True
        elif len(tail) >= fall and not any(tail[-fall:]):
            is_up = False
    assert isinstance(after(checks, Thresholds(rise, fall)), Up) == is_up
