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


def test_one_that_may_be_in_use_gets_its_time():
    """With `first`, so many failed checks in a row are needed where nothing is known; one passed check is enough."""
    patient = Thresholds(rise=2, fall=4, first=3)
    assert after([False, False], patient) == Unchecked(2)
    assert after([False, False, False], patient) == Down()
    assert after([False, False, True], patient) == Up()
    assert after([False, False, True, False, False, False], patient) == Up(3)


def test_one_failure_moves_nothing():
    """A single failed check between passed ones leaves a backend up, however often."""
    assert after([True, False, True, False, True]) == Up()


def test_down_after_fall_and_up_after_rise():
    """`fall` failures in a row bring down, `rise` passes in a row bring up."""
    assert after([True, False, False]) == Down()
    assert after([True, False, False, True]) == Down(1)
    assert after([True, False, False, True, False]) == Down()
    assert after([True, False, False, True, True]) == Up()


@given(st.lists(st.booleans(), min_size=1), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
def test_state_is_that_of_the_last_run(checks, rise, fall, first):
    """What counts is the last run of `rise` passes or `fall` failures, whichever came later, after a first run."""
    state = Unchecked
    for end in range(1, len(checks) + 1):
        tail = checks[:end]
        ups, downs = (1, first) if state is Unchecked else (rise, fall)
        if len(tail) >= ups and all(tail[-ups:]):
            state = Up
        elif len(tail) >= downs and not any(tail[-downs:]):
            state = Down
    assert isinstance(after(checks, Thresholds(rise, fall, first)), state)
