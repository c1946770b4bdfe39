"""What is known of a pool between two samples."""

from types import SimpleNamespace

import pytest
from twisted.internet.task import Clock

from lsproxy.history.lookout import PoolLookout
from lsproxy.history.samples import PoolSample
from tests.lsproxy.admin.pictures import backend, pool


class Server:
    """A backend that is as it is told to be."""

    def __init__(self, name):
        self.name, self.health, self.admin = name, "up", "ready"

    def snapshot(self, connections):
        return backend(self.name, health=self.health, admin=self.admin, connections=connections)


class Site:
    """A pool of two, by a clock of its own, and its lookout."""

    name = "acme"

    def __init__(self):
        self.clock, self.unserved_seconds, self.serving = Clock(), 0.0, "lic-a"
        self.backends = {name: Server(name) for name in ("lic-a", "lic-b")}
        self.traffic = SimpleNamespace(clients=3, waiting=0)
        self.watchers = []
        self.lookout = PoolLookout(self.clock, self)

    def watch(self, changed):
        self.watchers.append(changed)
        return lambda: self.watchers.remove(changed)

    def snapshot(self):
        shown = [one.snapshot(0) for one in self.backends.values()]
        return pool(serving=self.serving, clients=self.traffic.clients, waiting=self.traffic.waiting, backends=shown)

    def set(self, name, **changes):
        """It is decided anew."""
        vars(self.backends[name]).update(changes)
        for changed in self.watchers:
            changed()


@pytest.fixture
def site():
    return Site()


def test_an_outage_of_40_s_between_two_samples_is_told_to_the_second(site):
    """And only once."""
    site.clock.advance(10)
    site.set("lic-a", health="down")
    site.clock.advance(40)
    site.unserved_seconds = 39.5
    site.set("lic-a", health="up")
    site.clock.advance(10)
    well = {"lic-a": "up", "lic-b": "up"}
    outage = PoolSample("acme", None, 3, 0, {**well, "lic-a": "down"}, [], 39.5, {"lic-a": 40.0})
    assert site.lookout.tell() == outage
    site.clock.advance(60)
    assert site.lookout.tell() == PoolSample("acme", "lic-a", 3, 0, well, [])


def test_an_outage_over_a_sample_is_in_both(site):
    """Each with its part, and several within one are added up."""
    site.clock.advance(55)
    site.set("lic-b", health="down")
    site.clock.advance(5)
    assert site.lookout.tell().down == {"lic-b": 5.0}
    site.clock.advance(20)
    site.set("lic-b", health="up")
    site.clock.advance(10)
    site.set("lic-b", health="down")
    site.clock.advance(3)
    site.set("lic-b", health="up")
    assert site.lookout.tell().down == {"lic-b": 23.0}


def test_maint_and_unchecked_are_told_as_they_are(site):
    """Neither is an outage; a server that lsproxy does not look at any more is not told."""
    site.set("lic-a", health="unchecked")
    site.set("lic-a", health="up")
    site.set("lic-b", health="down", admin="maint")
    site.clock.advance(60)
    told = site.lookout.tell()
    assert (told.backends, told.down) == ({"lic-a": "up", "lic-b": "maint"}, {})
    site.set("lic-b", admin="ready")
    site.clock.advance(30)
    del site.backends["lic-b"]
    told = site.lookout.tell()
    assert (told.backends, told.down) == ({"lic-a": "up"}, {})


def test_the_most_clients_are_told(site):
    """As many as there were at any decision."""
    site.traffic.clients, site.traffic.waiting = 9, 8
    site.set("lic-a")
    site.traffic.clients, site.traffic.waiting = 2, 0
    told = site.lookout.tell()
    assert (told.clients, told.waiting) == (9, 8)
    told = site.lookout.tell()
    assert (told.clients, told.waiting) == (2, 0)


def test_it_looks_no_more_when_it_is_stopped(site):
    """The pool forgets it."""
    site.lookout.stop()
    assert not site.watchers
