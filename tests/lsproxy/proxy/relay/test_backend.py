"""Tests of what a pool knows of one third-party backend, and of what its heir after a reload knows."""

import math

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from lsproxy.config import model
from lsproxy.core.binding import Bound, Unbound
from lsproxy.core.choice import Admin
from lsproxy.core.health import Down, Unchecked, Up
from lsproxy.net.address import Address
from lsproxy.proxy.relay.backend import LONGEST_REST_SECONDS, Place, RelayBackend
from lsproxy.proxy.relay.portcheck import Failed, Passed

ADDRESS = Address("fn-a", 27000)
PASSED, REFUSED = Passed(0.01), Failed("fn-a:27000: connection refused", is_certain=True)


class Checks:
    """Checks that all end as `result` says."""

    command = None

    def __init__(self, result=PASSED):
        self.result = result
        self.asked = 0
        self.lively = ()

    def ask(self):
        self.asked += 1
        return succeed(self.result)

    def remember(self, lively):
        self.lively += tuple(lively)

    def inherit(self, former):
        self.remember(former.lively)


class World:
    """Backends by any configuration, and what they announced."""

    def __init__(self):
        self.clock = Clock()
        self.events = []
        self.judged = 0

    def judge(self):
        self.judged += 1

    def announce(self, event, _message, **_details):
        self.events.append(event)

    def backend(self, checks, *, bind=None, fall=3, binding="off"):
        pool = model.RelayPool(
            kind="flexnet",
            backends={"a": model.RelayBackend(address=ADDRESS)},
            health=model.RelayHealth(fall=fall),
            binding=binding,
        )
        place = Place({"": ADDRESS}, None, checks, bind)
        return RelayBackend(self.clock, "a", place, pool, lambda: 0.0, self)

    def reload(self, former, checks, **settings):
        """The heir of `former`, started, as a pool makes it."""
        heir = self.backend(checks, **settings)
        heir.inherit(former)
        former.stop()
        heir.start()
        return heir

    def go_on(self, *seconds):
        self.clock.pump(seconds or [0])


def running(result=PASSED, **settings):
    world = World()
    checks = Checks(result)
    backend = world.backend(checks, **settings)
    backend.start()
    world.go_on()
    return world, checks, backend


def test_one_that_may_be_in_use_is_not_lost_by_one_check():
    """After the start `fall` failed checks make it one that does not answer; before that, nothing is known."""
    world, checks, backend = running(REFUSED)
    assert backend.candidate().health == Unchecked(1)
    world.go_on(0.01)
    assert backend.candidate().health == Unchecked(2)
    world.go_on(0.01)
    assert backend.candidate().health == Down()
    assert world.events == ["backend_down"]
    assert checks.asked == 3


def test_a_pass_after_the_start_decides():
    """Serving begins with the first passed check, also after failed ones."""
    world, checks, backend = running(REFUSED)
    checks.result = PASSED
    world.go_on(0.01)
    assert backend.candidate().health == Up()
    assert world.events == ["backend_up"]


def test_after_a_reload_it_is_as_it_was():
    """The heir knows all that was known: nothing is announced, and nobody waits for a check."""
    world, _, backend = running()
    world.go_on(7)
    backend.admin, backend.is_kept_out = Admin.DRAIN, True
    backend.fencing, backend.activation = "fenced", "activated"
    backend.rest("could not be activated: no route")
    backend.remember(["vendor"])
    backend.checks.result = REFUSED
    world.go_on(2)
    before, shown = backend.candidate(), backend.snapshot(0)
    assert before.health == Up(1)
    heir = world.backend(Checks())
    heir.inherit(backend)
    backend.stop()
    assert heir.candidate() == before
    assert heir.snapshot(0) == shown
    assert heir.lively == ("vendor",)
    assert not backend.is_watched
    assert world.events == ["backend_up"]


def test_what_the_former_one_does_later_is_its_own():
    """The end of the former one takes nothing from its heir."""
    world, _, backend = running()
    heir = world.backend(Checks())
    heir.inherit(backend)
    backend.stop()
    assert isinstance(backend.candidate().health, Unchecked)
    assert heir.candidate().health == Up()
    assert heir.candidate().stable_since == 0.0


def test_the_heir_counts_on():
    """Failed checks in a row are counted through a reload, and the next one goes out at once."""
    world, checks, backend = running()
    checks.result = REFUSED
    world.go_on(2, 0.01)
    assert backend.candidate().health == Up(2)
    heir = world.reload(backend, Checks(REFUSED))
    world.go_on()
    assert heir.candidate().health == Down()


def test_one_failed_check_after_a_reload_moves_nothing():
    """The server in use stays so."""
    world, _, backend = running()
    after = Checks(REFUSED)
    heir = world.reload(backend, after)
    world.go_on()
    assert heir.candidate().health == Up(1)
    after.result = PASSED
    world.go_on(0.01)
    assert heir.candidate().health == Up()
    assert world.events == ["backend_up"]


def test_the_heir_of_one_that_is_down():
    """It is down, and comes up by `rise` passed checks."""
    world, _, backend = running(REFUSED)
    world.go_on(0.01, 0.01)
    heir = world.reload(backend, Checks())
    world.go_on()
    assert heir.candidate().health == Down(1)
    world.go_on(0.5)
    assert heir.candidate().health == Up()


def test_it_is_not_used_before_its_binding_was_looked_at():
    """It is unchecked for whoever decides, and up for whoever looks; nor would it be activated."""
    looking = Deferred()
    world, _, backend = running(bind=lambda *, is_proven: looking if is_proven else Deferred(), binding="enforce")
    held = backend.candidate()
    assert (held.health, held.bar, held.rests_until) == (Unchecked(), None, math.inf)
    assert backend.snapshot(0).health == "up"
    judged = world.judged
    looking.callback(Unbound("line 1: another host"))
    barred = backend.candidate()
    assert (barred.health, barred.bar, barred.rests_until) == (Up(), "the license file is not bound to it", 0.0)
    assert world.judged > judged
    assert world.events == ["backend_up", "backend_barred"]


def test_the_dead_are_dead_before_they_are_looked_at():
    """One that does not answer is not waited for, only not activated."""
    world, _, backend = running(REFUSED, bind=lambda **_: Deferred(), binding="enforce")
    world.go_on(0.01, 0.01)
    assert (backend.candidate().health, backend.candidate().rests_until) == (Down(), math.inf)


def test_it_is_looked_at_when_it_comes_up():
    """By a look of its own, which is told that the certificate was proven."""
    proven = []

    def bind(*, is_proven):
        proven.append(is_proven)
        return succeed(Bound("line 1"))

    world, _, _ = running(bind=bind, binding="enforce")
    world.go_on(2)
    assert proven == [False, True]


def test_a_stop_ends_the_look():
    """Whoever is stopped says nothing more; started again it is looked at at once."""
    looks = []

    def bind(**_):
        looks.append(Deferred())
        return looks[-1]

    world, _, backend = running(bind=bind, binding="enforce")
    backend.stop()
    judged = world.judged
    assert all(look.called for look in looks)
    assert world.judged == judged
    before = len(looks)
    backend.start()
    assert len(looks) == before + 1


def test_forgotten():
    """After it was fenced the checks decide anew, but its ports have to show the life they have shown."""
    world, checks, backend = running()
    backend.remember(["vendor"])
    backend.forget()
    assert backend.candidate().health == Unchecked()
    assert backend.lively == ("vendor",)
    checks.result = REFUSED
    world.go_on()
    assert backend.candidate().health == Unchecked(1)


def test_rests_grow_and_are_forgotten():
    """The rest doubles with each failure; when a server is in use and it is long over, the next one is short again."""
    world, _, backend = running()
    until = []
    for _ in range(6):
        backend.rest("could not be activated: no route")
        until.append(backend.candidate().rests_until)
    assert until == [5, 10, 20, 40, LONGEST_REST_SECONDS, LONGEST_REST_SECONDS]
    assert backend.last_error == "a could not be activated: no route"
    world.clock.advance(LONGEST_REST_SECONDS * 2 - 1)
    backend.forget_failures()
    assert backend.last_error is not None
    world.clock.advance(1)
    backend.forget_failures()
    assert backend.last_error is None
    backend.rest("could not be activated: no route")
    assert backend.candidate().rests_until == world.clock.seconds() + 5
    backend.rest_no_more()
    assert backend.candidate().rests_until == 0
