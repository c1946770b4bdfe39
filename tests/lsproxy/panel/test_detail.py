"""What the page of one pool shows."""

from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from lsproxy.history.samples import HealthSpan, SeatPoint
from lsproxy.panel.detail import denied, holding, rows, seats_sentence, strip
from lsproxy.panel.words import clock
from lsproxy.proxy.denials import Denial
from lsproxy.seat.messages import HolderUsage
from tests.lsproxy.admin.pictures import backend, pool

CLOCK = clock(UTC)
DAY = 86_400.0
moments = st.floats(min_value=-DAY, max_value=2 * DAY)
healths = st.sampled_from(["up", "down", "maint", "unchecked"])


def test_the_served_backend_is_marked_and_cannot_be_switched_to():
    """One that stands by can, one that could not take over cannot."""
    first, second = rows(pool(), {"lic-b": None}, {}, 0.0, DAY, CLOCK)
    assert (first.is_serving, first.may_switch) == (True, False)
    assert (second.is_serving, second.may_switch) == (False, True)
    assert not rows(pool(), {"lic-b": "does not answer"}, {}, 0.0, DAY, CLOCK)[1].may_switch


def test_a_backend_that_never_answered_has_dashes():
    """Not knowing is not zero."""
    (row,) = rows(pool(backends=[backend("lic-a", said=None)]), {}, {}, 0.0, DAY, CLOCK)
    assert {row.role, row.epoch, row.sessions, row.seats, row.latency} == {"\u2013"}


def test_third_party_backends_show_ports_and_how_quick_they_are():
    """What there is of them."""
    one = backend("fn-a", ports={"lmgrd": "fn-a:27000"}, latency=0.0123, said=None)
    (row,) = rows(pool(backends=[one]), {}, {}, 0.0, DAY, CLOCK)
    assert (row.ports, row.latency) == ("lmgrd fn-a:27000", "12.3 ms")


def test_a_strip_says_in_words_what_it_shows():
    """Of the time that is known."""
    spans = [
        HealthSpan(0.0, 7200.0, "up", 0),
        HealthSpan(7200.0, 7920.0, "down", 720),
        HealthSpan(7920.0, DAY, "up", 0),
    ]
    shown = strip(spans, 0.0, DAY, CLOCK)
    assert shown.summary == "up 99.2%, down 1 time, 12 min in all"
    assert shown.stretches[1].words == "down from Thu 02:00 to Thu 02:12"
    assert strip([], 0.0, DAY, CLOCK).summary == "no history yet"


def test_an_outage_with_a_minute_that_was_missed_is_one():
    """A sample came late; what is apart by more are two."""
    spans = [HealthSpan(0.0, 60.0, "down", 60), HealthSpan(120.0, 180.0, "down", 60), HealthSpan(180.0, 600.0, "up", 0)]
    assert "down 1 time, 2 min in all" in strip(spans, 0.0, DAY, CLOCK).summary
    later = [*spans, HealthSpan(600.0, 660.0, "down", 60)]
    assert "down 2 times, 3 min in all" in strip(later, 0.0, DAY, CLOCK).summary


def test_a_blip_is_seen_and_told_by_its_seconds():
    """It colours its minute, and is no minute down."""
    spans = [HealthSpan(0.0, 60.0, "up", 0), HealthSpan(60.0, 120.0, "down", 5.2), HealthSpan(120.0, DAY, "up", 0)]
    shown = strip(spans, 0.0, DAY, CLOCK)
    assert shown.summary == "up over 99.9%, down 1 time, 5 s in all"
    assert [one.health for one in shown.stretches] == ["up", "down", "up"]
    assert shown.stretches[1].words == "down for 5 s between Thu 00:01 and Thu 00:02"
    moment = [HealthSpan(0.0, 60.0, "down", 0.2)]
    assert strip(moment, 0.0, DAY, CLOCK).summary == "up 99.7%, down 1 time, 1 s in all"


@given(st.lists(st.tuples(moments, moments, healths, st.floats(0, DAY))))
def test_a_strip_stays_in_its_frame(spans):
    """Whatever the history says, and however its clock was set."""
    shown = strip([HealthSpan(*span) for span in spans], 0.0, DAY, CLOCK)
    for stretch in shown.stretches:
        assert 0 <= stretch.x <= 1000
        assert 0 <= stretch.width <= 1000.01 - stretch.x


def test_a_holder_is_told_by_name_place_and_time():
    """What is empty leaves no dot behind."""
    holder = HolderUsage(7, "alice", "ws1", "", 115, "192.0.2.1", 2, "2026.1", "1970-01-01T00:00:00Z", "held")
    shown = holding("cad", holder, 3600.0, CLOCK)
    assert (shown.program, shown.since, shown.lasting) == ("process 115", "00:00:00", "1 h")


def test_denials_are_told_by_the_wall_clock_the_newest_first():
    """Theirs is that of the reactor."""
    first, second = (Denial(at, "alice", "ws1", "cad", 1, "no_seats", "m") for at in (5.0, 65.0))
    assert [one.when for one in denied([first, second], 3600.0, 4000.0, CLOCK)] == ["01:01:05", "01:00:05"]


def test_a_chart_has_its_sentence():
    """The peak, the limit, the longest queue; nothing where there is nothing."""
    points = [SeatPoint(0.0, 3, 1, 0, 10), SeatPoint(60.0, 7, 2, 2, 10)]
    assert seats_sentence(points) == "at most 7 of 10 seats in use; at most 2 checkouts waited"
    assert seats_sentence([SeatPoint(0.0, 1, 0, 0, None)]) == "at most 1 seats in use"
    assert seats_sentence([]) == ""
