"""A page in Prometheus' text format."""

import math

import pytest

from lsproxy.metrics.buckets import Buckets
from lsproxy.metrics.page import Named, Page

CATALOG = (
    Named("t_temperature", "gauge", "How warm it is.", ("room",)),
    Named("t_steps_total", "counter", "Steps."),
    Named("t_wait_seconds", "histogram", "Waits.", ("door",)),
    Named("t_state", "gauge", "1 for the state.", ("room", "state")),
    Named("t_silent", "gauge", "Nothing was put here."),
)


def test_what_was_put_is_written():
    """Help, type and a line for each; one without a number has its name there all the same."""
    page = Page(CATALOG)
    page.put("t_temperature", math.inf, 'a "hall"\\n')
    page.put("t_steps_total", 7)
    page.put_one_of("t_state", ("open", "shut"), "shut", "hall")
    buckets = Buckets((0.5, 1.0))
    for seconds in (0.25, 0.75, 3.0):
        buckets.observe(seconds)
    page.put_buckets("t_wait_seconds", buckets, "front")
    assert page.text().decode() == (
        "# HELP t_temperature How warm it is.\n# TYPE t_temperature gauge\n"
        't_temperature{room="a \\"hall\\"\\\\n"} +Inf\n'
        "# HELP t_steps_total Steps.\n# TYPE t_steps_total counter\nt_steps_total 7.0\n"
        "# HELP t_wait_seconds Waits.\n# TYPE t_wait_seconds histogram\n"
        't_wait_seconds_bucket{door="front",le="0.5"} 1.0\n'
        't_wait_seconds_bucket{door="front",le="1.0"} 2.0\n'
        't_wait_seconds_bucket{door="front",le="+Inf"} 3.0\n'
        't_wait_seconds_count{door="front"} 3.0\nt_wait_seconds_sum{door="front"} 4.0\n'
        "# HELP t_state 1 for the state.\n# TYPE t_state gauge\n"
        't_state{room="hall",state="open"} 0.0\nt_state{room="hall",state="shut"} 1.0\n'
        "# HELP t_silent Nothing was put here.\n# TYPE t_silent gauge\n"
    )


def test_what_the_catalog_does_not_name_cannot_be_put():
    """So the catalog is the list of all there are."""
    with pytest.raises(KeyError):
        Page(CATALOG).put("t_other", 1)
