"""When lsproxy is ready, by the pools it has, on a clock of the test's."""

from types import SimpleNamespace

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from lsproxy.readiness import first_known, is_known, standing


def pool(*backends, serving=None):
    """Backends as (health, admin)."""
    found = [SimpleNamespace(health=health, admin=admin) for health, admin in backends]
    return SimpleNamespace(serving=serving, snapshot=lambda: SimpleNamespace(backends=found))


def test_a_pool_is_known_when_it_is_served_or_nobody_is_left():
    """A backend that answers may still take over, one that was not asked yet too; one in maint is not asked."""
    assert is_known(pool(("up", "ready"), ("unchecked", "ready"), serving="lic-a"))
    assert is_known(pool(("down", "ready"), ("unchecked", "maint")))
    assert not is_known(pool(("down", "ready"), ("unchecked", "ready")))
    assert not is_known(pool(("down", "ready"), ("up", "ready")))


def test_the_first_pool_decides():
    """However many others are not known yet."""
    clock = Clock()
    pools = {"acme": pool(("unchecked", "ready")), "mcad": pool(("unchecked", "ready"))}
    ready = Deferred.fromCoroutine(first_known(clock, lambda: pools, 5.0))
    clock.pump([0.1] * 10)
    assert not ready.called
    pools["mcad"] = pool(("up", "ready"), serving="fn-a")
    clock.pump([0.1])
    assert ready.called


def test_it_does_not_wait_for_ever():
    """At the limit it is ready, whatever is known, and no earlier."""
    clock = Clock()
    ready = Deferred.fromCoroutine(first_known(clock, lambda: {"acme": pool(("up", "ready"))}, 5.0))
    clock.pump([0.05] * 98)
    assert not ready.called
    clock.pump([0.05] * 3)
    assert ready.called


def test_the_standing_is_one_line():
    """Who serves what."""
    pools = {"acme": pool(serving="lic-a"), "mcad": pool()}
    assert standing(pools) == "acme: lic-a; mcad: NOT SERVED"
