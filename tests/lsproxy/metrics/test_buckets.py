"""Durations, counted by hand."""

from hypothesis import given
from hypothesis import strategies as st

from lsproxy.metrics.buckets import APPEND_BOUNDS, PROBE_BOUNDS, SWITCH_BOUNDS, Buckets


@given(st.lists(st.floats(0, 400)), st.sampled_from([APPEND_BOUNDS, PROBE_BOUNDS, SWITCH_BOUNDS]))
def test_each_duration_is_counted_once(durations, bounds):
    """Up to each bound are as many as took at most so long; beyond the last bound are all."""
    buckets = Buckets(bounds)
    for seconds in durations:
        buckets.observe(seconds)
    told = buckets.cumulative()
    assert told == [
        *((str(bound), sum(seconds <= bound for seconds in durations)) for bound in bounds),
        ("+Inf", len(durations)),
    ]
    assert buckets.sum == sum(durations)


def test_bounds_ascend():
    """Otherwise a duration would fall into the wrong one."""
    for bounds in (APPEND_BOUNDS, PROBE_BOUNDS, SWITCH_BOUNDS):
        assert list(bounds) == sorted(set(bounds))
