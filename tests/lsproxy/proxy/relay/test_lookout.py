"""Tests of when a backend is looked at, and whether it may be used meanwhile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from lsproxy.core.binding import Bound, Unbound, Unknown
from lsproxy.proxy.relay.lookout import LOOK_SECONDS, Lookout

BOUND, UNBOUND, UNKNOWN = Bound("line 1"), Unbound("line 2"), Unknown("no card is seen")
BARRED = "the license file is not bound to it"


class Looks:
    """Looks that last until the test ends them; `proven` has for each whether the certificate was proven."""

    def __init__(self):
        self.proven = []
        self.open = []
        self.given_up = 0

    def __call__(self, *, is_proven):
        self.proven.append(is_proven)
        self.open.append(Deferred(self._given_up))
        return self.open[-1]

    def _given_up(self, look):
        self.open.remove(look)
        self.given_up += 1

    def end(self, result):
        self.open.pop(0).callback(result)


class World:
    """A lookout; `said` has each binding before a look's end."""

    def __init__(self, policy="enforce", looks=None):
        self.clock = Clock()
        self.looks = looks or Looks()
        self.said = []
        self.lookout = Lookout(self.clock, self.looks, policy, self.said.append)

    def known(self):
        """Whether it may be activated while it is down, and used while it is up."""
        return self.lookout.is_known(is_up=False), self.lookout.is_known(is_up=True)


@pytest.fixture
def world():
    return World()


def test_nobody_is_used_before_it_was_looked_at(world):
    """Not yet looked at, it is neither to be activated nor used; then the look decides."""
    assert world.known() == (False, False)
    world.lookout.look(is_up=True)
    assert world.known() == (False, False)
    world.looks.end(BOUND)
    assert world.known() == (True, True)
    assert (world.lookout.bar(is_up=True), world.said) == (None, [Unknown("it has not been looked at yet")])


def test_what_is_seen_of_one_that_is_down_is_not_all(world):
    """When it comes up it is looked at anew and not used before, as only then its card and certificate are seen."""
    world.lookout.look(is_up=False)
    world.looks.end(UNKNOWN)
    assert world.known() == (True, False)
    world.lookout.look_anew(is_up=True)
    world.looks.end(UNBOUND)
    assert world.known() == (True, True)
    assert world.lookout.bar(is_up=True) == BARRED
    assert world.looks.proven == [False, True]


def test_one_whose_name_the_certificate_proves_is_not_barred_before(world):
    """Looked at while it was down, its name was not proven: it is barred as a heir, but not yet as one in use."""
    world.lookout.look(is_up=False)
    world.looks.end(UNBOUND)
    assert (world.lookout.bar(is_up=False), world.lookout.bar(is_up=True)) == (BARRED, None)
    assert world.known() == (True, False)
    world.lookout.look_anew(is_up=True)
    world.looks.end(BOUND)
    assert world.lookout.bar(is_up=True) is None
    assert world.known() == (True, True)


def test_one_that_is_bound_while_it_is_down_is_used_at_once(world):
    """More that is seen takes nothing away from a binding."""
    world.lookout.look(is_up=False)
    world.looks.end(BOUND)
    world.lookout.look_anew(is_up=True)
    assert world.known() == (True, True)


def test_a_look_from_before_it_came_up_is_given_up(world):
    """It is looked at at once when it comes up, also when a slow look is under way, which does not count any more."""
    world.lookout.look(is_up=False)
    world.lookout.look_anew(is_up=True)
    assert world.looks.given_up == 1
    assert world.known() == (False, False)
    world.looks.end(UNKNOWN)
    assert world.known() == (True, True)


def test_a_look_that_fails_counts_as_unknown(world):
    """Also one that cannot be begun; unknown is served."""
    world.lookout.look(is_up=True)
    world.looks.open.pop().errback(OSError("no more threads"))
    assert world.lookout.binding == Unknown("it could not be looked at: no more threads")
    assert world.known() == (True, True)

    def broken(**_):
        raise RuntimeError("can't start new thread")

    other = World(looks=broken)
    other.lookout.look(is_up=True)
    assert other.lookout.binding == Unknown("it could not be looked at: can't start new thread")
    assert other.known() == (True, True)


def test_it_is_looked_at_once_a_minute(world):
    """Checks come often, looks do not; one that was given up is due at once."""
    for _ in range(3):
        world.lookout.look(is_up=True)
    assert len(world.looks.proven) == 1
    world.lookout.look_away()
    assert not world.looks.open
    world.lookout.look(is_up=True)
    world.looks.end(BOUND)
    world.clock.advance(LOOK_SECONDS - 1)
    world.lookout.look(is_up=True)
    assert len(world.looks.proven) == 2
    world.clock.advance(1)
    world.lookout.look(is_up=True)
    assert len(world.looks.proven) == 3
    assert world.lookout.binding == BOUND


@pytest.mark.parametrize("policy", ["off", "warn"])
def test_where_nobody_is_kept_out(policy):
    """Nobody waits for a look, and nobody is barred; without a binding nobody is looked at."""
    world = World(policy)
    assert world.known() == (True, True)
    world.lookout.look(is_up=True)
    assert len(world.looks.proven) == (policy == "warn")
    if world.looks.open:
        world.looks.end(UNBOUND)
    assert world.lookout.bar(is_up=True) is None


def test_without_a_license_file():
    """There is nothing to look for."""
    lookout = Lookout(Clock(), None, "enforce", lambda _before: None)
    lookout.look(is_up=True)
    assert (lookout.policy, lookout.is_known(is_up=True), lookout.bar(is_up=True)) == ("off", True, None)


def test_the_same_license_is_not_looked_at_again(world):
    """After a reload that leaves the license as it is, what was seen counts, and so does when."""
    world.lookout.look(is_up=True)
    world.looks.end(UNBOUND)
    heir = Lookout(world.clock, world.looks, "enforce", world.said.append)
    heir.inherit(world.lookout)
    heir.look(is_up=True)
    assert not world.looks.open
    assert heir.bar(is_up=True) == BARRED


def test_another_license_is_looked_at_at_once(world):
    """Until that look has ended the former binding counts: a file that was corrected lets it in, and nobody is cut."""
    world.lookout.look(is_up=True)
    world.looks.end(UNBOUND)
    after = World()
    after.lookout.inherit(world.lookout)
    assert after.known() == (True, True)
    after.lookout.look(is_up=True)
    assert after.lookout.bar(is_up=True) == BARRED
    after.looks.end(BOUND)
    assert after.lookout.bar(is_up=True) is None


def test_a_look_under_way_is_taken_anew(world):
    """What the former one had not seen to the end is looked at by its heir."""
    world.lookout.look(is_up=True)
    heir = Lookout(world.clock, world.looks, "enforce", world.said.append)
    heir.inherit(world.lookout)
    world.lookout.look_away()
    assert not heir.is_known(is_up=True)
    heir.look(is_up=True)
    assert len(world.looks.open) == 1


def test_one_that_was_used_unseen_stays_in_use():
    """Where unbound ones are kept out from now on, who is used already stays until the look has ended."""
    before, after = World("off"), World()
    after.lookout.inherit(before.lookout)
    assert after.known() == (True, True)
    after.lookout.look(is_up=True)
    after.looks.end(UNBOUND)
    assert after.lookout.bar(is_up=True) == BARRED


steps = st.lists(st.sampled_from(["up", "down", "check", "bound", "unbound", "unknown", "minute"]), max_size=30)


@given(steps)
def test_nobody_unbound_is_ever_used(steps):
    """Whatever comes in whatever order: who is used was looked at while it answered, or is bound."""
    world, is_up, seen_up = World(), False, False
    results = {"bound": BOUND, "unbound": UNBOUND, "unknown": UNKNOWN}
    for step in steps:
        if step in results and world.looks.open:
            seen_up |= world.looks.proven[-1] or step == "bound"
            world.looks.end(results[step])
        elif step == "up" and not is_up:
            is_up = True
            world.lookout.look_anew(is_up=True)
        elif step == "down":
            is_up = False
        elif step == "minute":
            world.clock.advance(LOOK_SECONDS)
        elif step == "check":
            world.lookout.look(is_up=is_up)
        assert len(world.looks.open) <= 1
        if world.lookout.is_known(is_up=True):
            assert seen_up
            is_barred = world.lookout.bar(is_up=True) is not None
            assert is_barred == isinstance(world.lookout.binding, Unbound)
