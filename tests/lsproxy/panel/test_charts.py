"""How figures are drawn over time."""

import xml.etree.ElementTree as ET
from datetime import UTC
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from lsproxy.panel.charts import DAY, _lasting, _levels, _runs, chart
from lsproxy.panel.words import clock

CLOCK = clock(UTC)
NOW = 1_000_000_000.0


def drawn(used, limit=(), since=NOW - DAY):
    return ET.fromstring(chart(used, limit, since, NOW, 300.0, CLOCK))  # noqa: S314 - our own


def test_a_chart_asks_nobody_for_anything():
    """No script, no link, no style of an element's own, no name of a host."""
    text = chart([(NOW - 60, 3.0), (NOW, 4.0)], [(NOW - 60, 10.0), (NOW, 10.0)], NOW - DAY, NOW, 300.0, CLOCK).decode()
    assert "<script" not in text
    assert "href" not in text
    assert " style=" not in text
    assert text.count("http") == text.count("http://www.w3.org/2000/svg")


def test_area_and_limit_are_drawn():
    """Each is a path; without a limit the area alone."""
    used, limit = [(NOW - 60, 3.0), (NOW, 4.0)], [(NOW - 60, 10.0), (NOW, 10.0)]
    for given_limit, paths in ((limit, 2), ((), 1)):
        lines = [e for e in drawn(used, given_limit).iter() if e.tag.endswith("path") and "line" in e.get("class", "")]
        assert len([line for line in lines if "reactive" in line.get("class")]) == paths


def test_hours_of_a_day_and_days_of_a_week():
    """At full hours, and at midnights, of the zone."""
    for since, label in ((NOW - DAY, "04:00"), (NOW - 7 * DAY, "Sun 09")):
        texts = [e.text for e in drawn([(NOW, 1.0)], since=since).iter() if e.tag.endswith("text")]
        assert label in texts


@settings(max_examples=15)
@given(st.lists(st.tuples(st.floats(NOW - DAY, NOW), st.integers(0, 10**6)), max_size=20))
def test_any_figures_can_be_drawn(points):
    """None at all, too."""
    assert drawn(sorted((at, float(value)) for at, value in points)) is not None


@given(st.integers(0, 10**9))
def test_levels_are_few_and_reach_the_top(highest):
    """Whole numbers at even distances, from 0."""
    levels = _levels(highest)
    assert levels[0] == 0
    assert levels[-1] >= highest
    assert 2 <= len(levels) <= 6
    assert len({after - before for before, after in pairwise(levels)}) == 1


def test_a_single_point_is_drawn():
    """It counts until the next would begin, but not beyond now."""
    assert _lasting([(NOW - 600, 3.0)], 300.0, NOW) == [(NOW - 600, 3.0), (NOW - 300, 3.0)]
    assert _lasting([(NOW - 60, 3.0)], 300.0, NOW)[-1] == (NOW, 3.0)
    lines = [e for e in drawn([(NOW - 600, 3.0)]).iter() if "reactive" in e.get("class", "")]
    assert len(lines) == 1


def test_a_hole_of_an_hour_stands_in_the_chart_of_a_day():
    """So do three steps; of the limit too. Two steps are a sample that came late."""
    for steps, parts in ((2, 1), (3, 2), (12, 2)):
        moments = [NOW - 9000, NOW - 8700, NOW - 8700 + 300 * steps, NOW - 8400 + 300 * steps]
        shown = drawn([(at, 3.0) for at in moments], [(at, 10.0) for at in moments])
        lines = [one.get("class") for one in shown.iter() if "line reactive" in one.get("class", "")]
        assert len([line for line in lines if "nofill" in line]) == parts
        assert len([line for line in lines if "nofill" not in line]) == parts


def test_no_line_is_drawn_through_the_unknown():
    """A gap ends a run."""
    assert _runs([(0.0, 1.0), (60.0, 1.0), (600.0, 2.0)], 100.0) == [[(0.0, 1.0), (60.0, 1.0)], [(600.0, 2.0)]]
