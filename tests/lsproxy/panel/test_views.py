"""What the first page shows."""

from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from lsproxy.panel.remarks import Remark
from lsproxy.panel.views import MOST_BARS, Seats, Sight, bars, card, glance, stamp
from lsproxy.panel.words import clock
from lsproxy.proxy.snapshot import Said
from lsproxy.seat.messages import FeatureUsage
from tests.lsproxy.admin.pictures import backend, pool

NOW = 1_000_000_000.0
CLOCK = clock(UTC)
BLOCKED = Said("blocked", 3, "b1f0", "sha256:00", 12, 17, 60.0, "0.1.0")
counts = st.integers(min_value=0, max_value=10_000)


def usage(feature="cad", issued=10, in_use=3, queued=0):
    return FeatureUsage(feature, "2027.0", "acme", issued, in_use, 0, queued, None)


def sight(seats=None, **changes):
    return Sight(pool(**changes), seats, {"lic-b": None})


def test_a_card_says_by_whom_and_since_when():
    """Name and address, the moment and how long ago that is."""
    one = card(sight(), NOW, CLOCK)
    assert (one.word, one.standing, one.serving, one.address) == (
        "Served",
        "Served by lic-a",
        "lic-a",
        "127.0.0.1:27101",
    )
    assert (one.since, one.lasting, one.clients) == ("2001-09-08 23:45", "2 h 01 min", "5 clients")


def test_states_have_words():
    """Never a colour alone."""
    assert card(sight(serving=None, reason="r"), NOW, CLOCK).word == "Not served"
    conflict = card(sight(conflicts=["c"]), NOW, CLOCK)
    assert (conflict.word, conflict.standing) == ("Conflict", "Served by lic-a, conflict")
    assert card(sight(note="n"), NOW, CLOCK).standing == "Served by lic-a, degraded"
    blocked = card(sight(backends=[backend("lic-a", said=BLOCKED)]), NOW, CLOCK)
    assert (blocked.word, blocked.level, blocked.standing) == ("Blocked", "bad", "Served by lic-a, blocked")
    expired = card(sight(is_expired=True), NOW, CLOCK)
    assert (expired.word, expired.level, expired.standing) == ("Expired", "bad", "Served by lic-a, expired")
    assert card(sight(waiting=2), NOW, CLOCK).clients == "5 clients, 2 of them waiting for a server"


def test_the_sentence_names_who_needs_somebody():
    """The pools in need stand first."""
    well, odd, bad = sight(), sight(pool="odd", note="n"), sight(pool="bad", serving=None)
    assert glance([well], [], NOW, CLOCK).sentence == "Every pool is served, and nothing is degraded"
    assert glance([well, odd], [], NOW, CLOCK).sentence == "Every pool is served. To be looked at: odd"
    barren = sight(pool="barren", backends=[backend("lic-a", said=BLOCKED)])
    assert glance([well, barren], [], NOW, CLOCK).sentence == "Needs attention now: barren"
    shown = glance([well, odd, bad], [], NOW, CLOCK)
    assert (shown.level, shown.sentence) == ("bad", "Needs attention now: bad")
    assert [one.name for one in shown.cards] == ["bad", "odd", "acme"]


def test_a_trouble_of_lsproxy_itself_stands_above_all_pools():
    """The page is not green then."""
    shown = glance([sight()], ["the history is not kept"], NOW, CLOCK)
    assert (shown.level, shown.sentence) == ("odd", "Every pool is served. To be looked at: lsproxy itself")
    assert shown.remarks == [Remark("odd", "the history is not kept")]


def test_seats_that_are_not_known_are_not_zero():
    """Nor are those of before shown as those of now."""
    unknown = card(sight(Seats([], 0.0, "pool acme is not served")), NOW, CLOCK)
    assert unknown.seats_note == "The seats are not known: pool acme is not served"
    old = card(sight(Seats([usage()], 40.0, "late")), NOW, CLOCK)
    assert old.seats_note == "Seats as of 01:46:00: late"
    assert card(sight(Seats([usage()], 0.4)), NOW, CLOCK).seats_note is None


@given(st.lists(st.builds(usage, issued=counts, in_use=counts, queued=counts), max_size=20))
def test_bars_fit_and_tell_the_truth(features):
    """From 0 to 100, all of them, a queue is never green, and the fullest stand first among those without one."""
    made = bars(features)
    assert len(made) == len(features)
    for bar in made:
        assert 0 <= bar.share <= 100
        assert (bar.level == "bad") == (bar.queued > 0 or bar.used > bar.issued)
    calm = [bar.share for bar in made if not bar.queued]
    assert calm == sorted(calm, reverse=True)
    shown = card(sight(Seats(features, 0.0)), NOW, CLOCK)
    assert len(shown.bars) + shown.more_bars == len(features)
    assert len(shown.bars) <= MOST_BARS


def test_the_stamp_has_its_zone():
    """Times without one are a riddle."""
    assert stamp(CLOCK(NOW)) == "01:46:40 UTC"
