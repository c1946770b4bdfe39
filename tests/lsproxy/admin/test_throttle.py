"""How long a source that offers wrong tokens must wait."""

from hypothesis import given
from hypothesis import strategies as st

from lsproxy.admin.throttle import FREE, LONGEST_SECONDS, MOST_SOURCES, failed, passed, pause


def after(failures, source="192.0.2.1", now=0.0):
    sources = {}
    for _ in range(failures):
        sources = failed(sources, source, now)
    return sources


def test_a_slip_costs_nothing():
    """The first wrong tokens are free."""
    assert pause(after(FREE), "192.0.2.1", 0.0) == 0


def test_guessing_costs_twice_as_much_each_time():
    """1, 2, 4 … seconds, at most a minute."""
    waits = [pause(after(FREE + n), "192.0.2.1", 0.0) for n in range(1, 10)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_another_source_is_not_held_up():
    """The pause is the source's own."""
    assert pause(after(50), "192.0.2.2", 0.0) == 0


def test_a_right_token_ends_it():
    """Whoever knows a token starts anew."""
    assert pause(passed(after(50), "192.0.2.1"), "192.0.2.1", 0.0) == 0


def test_an_old_failure_is_forgotten():
    """Ten quiet minutes, and the count begins again."""
    sources = failed(after(50), "192.0.2.1", 600.0)
    assert pause(sources, "192.0.2.1", 600.0) == 0


def test_a_host_of_many_ipv6_addresses_is_one_source():
    """Addresses of one /64 share their pause."""
    sources = {}
    for number in range(10):
        sources = failed(sources, f"2001:db8::{number:x}", 0.0)
    assert pause(sources, "2001:db8::ffff", 0.0) > 0
    assert pause(sources, "2001:db8:0:1::1", 0.0) == 0


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 1000)), max_size=60))
def test_a_pause_is_bounded_and_ends(failures):
    """Whatever fails when: nobody waits longer than a minute, and at the end of the pause may try."""
    sources = {}
    now = 0.0
    for source, passing in failures:
        now += passing
        sources = failed(sources, source, now)
        wait = pause(sources, source, now)
        assert 0 <= wait <= LONGEST_SECONDS
        assert pause(sources, source, now + wait) < 1e-6


def test_the_memory_is_bounded():
    """A source more than MOST_SOURCES pushes the oldest out."""
    sources = {}
    for number in range(MOST_SOURCES + 10):
        sources = failed(sources, f"host-{number}", 0.0)
    assert len(sources) == MOST_SOURCES
    assert "host-9" not in sources
    assert "host-10" in sources
