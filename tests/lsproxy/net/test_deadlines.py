"""Many deadlines on one timer, on a clock that is told."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from lsproxy.net.deadlines import Deadlines


def started(seconds=3.0):
    clock, late = Clock(), []
    return clock, Deadlines(clock, seconds, late.append), late


def test_each_is_late_after_its_own_time():
    """Who was added later is late later; nobody is late twice."""
    clock, deadlines, late = started()
    deadlines.add("one")
    clock.advance(1)
    deadlines.add("two")
    deadlines.add("one")
    clock.advance(2)
    assert late == ["one"]
    clock.advance(1)
    assert late == ["one", "two"]
    clock.advance(10)
    assert late == ["one", "two"]
    assert clock.getDelayedCalls() == []


def test_who_is_in_time_is_not_late():
    """Of one that was discarded nothing is heard, and the timer ends when nobody is left."""
    clock, deadlines, late = started()
    deadlines.add("one")
    deadlines.discard("one")
    deadlines.discard("one")
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(3)
    assert late == clock.getDelayedCalls() == []


def test_late_may_add_again():
    """What is called with a late one may give it its time anew."""
    clock = Clock()
    late = []
    deadlines = Deadlines(clock, 1.0, lambda one: (late.append(one), deadlines.add(one)))
    deadlines.add("one")
    for _ in range(3):
        clock.advance(1)
    assert late == ["one"] * 3
    assert len(clock.getDelayedCalls()) == 1


@given(st.lists(st.tuples(st.sampled_from("+-."), st.integers(0, 5), st.integers(1, 9)), max_size=40))
def test_nobody_is_late_too_early_or_forgotten(steps):
    """Whatever is added, discarded and waited for, each is late exactly when its time is up."""
    clock, due, seen = Clock(), {}, []
    deadlines = Deadlines(clock, 4, lambda one: seen.append((one, clock.seconds())))
    for what, one, wait in steps:
        if what == "+":
            due.setdefault(one, clock.seconds() + 4)
            deadlines.add(one)
        elif what == "-":
            due.pop(one, None)
            deadlines.discard(one)
        else:
            seen.clear()
            for _ in range(wait):
                clock.advance(1)
            expected = sorted((one, when) for one, when in due.items() if when <= clock.seconds())
            assert sorted(seen) == expected
            due = {one: when for one, when in due.items() if when > clock.seconds()}
