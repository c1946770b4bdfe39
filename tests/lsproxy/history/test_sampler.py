"""What a sample holds, of a pool whose license servers are real processes."""

from types import SimpleNamespace

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock, deferLater

from lsproxy.config.check import load_config
from lsproxy.core.choice import Admin
from lsproxy.history.sampler import SAMPLE_SECONDS, Sampler
from lsproxy.history.samples import FeatureSample, PoolSample
from lsproxy.proxy.memory import InMemory
from lsproxy.services import Services
from tests.faults.system import System
from tests.lsproxy.history.test_lookout import Site

NOW = 1_790_000_000.0


class Kept:
    """A history that keeps the samples as they come."""

    def __init__(self):
        self.samples = []

    async def record(self, sample):
        self.samples.append(sample)


def run(coroutine):
    return pytest_twisted.blockon(Deferred.fromCoroutine(coroutine))


async def until(is_so):
    for _ in range(500):
        if is_so():
            return
        await deferLater(reactor, 0.02)
    raise AssertionError("not in time")


@pytest.fixture
def system(tmp_path):
    made = System(tmp_path, has_proxy=True)
    made.create_journal()
    return made


@pytest.fixture
def services(system, tmp_path):
    """The pool acme of one license server that runs and one that does not."""
    made = Services(reactor, load_config(tmp_path / "lsproxy.yaml"), InMemory(), lambda: 0.5, lambda *_: None, None)
    run(made.start())
    try:
        system.start_server("lic-a")
        run(until(lambda: made.pools["acme"].serving == "lic-a"))
        yield made
    finally:
        run(made.stop_listening())
        pytest_twisted.blockon(made.stop_pools())
        system.end()
    assert not system.faults_in_logs()


@pytest_twisted.inlineCallbacks
def test_a_sample_tells_the_pools(services):
    """Who serves, who is healthy, the seats of each feature; and while nobody is served no seats."""
    kept = Kept()
    sampler = Sampler(reactor, services, kept, lambda: NOW)
    pool = services.pools["acme"]
    yield ensureDeferred(until(lambda: pool.snapshot().backends[1].health == "down"))
    sampler.start()
    yield ensureDeferred(sampler.take())
    features = [FeatureSample("cad", 10, 0, 0), FeatureSample("mesh", 3, 0, 0)]
    backends = {"lic-a": "up", "lic-b": "down"}
    (first,) = kept.samples.pop().pools
    assert 0 <= first.down.pop("lic-b") < 1
    assert first == PoolSample("acme", "lic-a", 0, 0, backends, features)
    unasked = Sampler(reactor, SimpleNamespace(pools=services.pools, operators={}), kept, lambda: NOW)
    yield ensureDeferred(unasked.take())  # as when a reload takes the pool out meanwhile
    unasked.stop()
    assert kept.samples.pop().pools[0].features == []
    yield services.operators["acme"].set_state("lic-a", Admin.MAINT)
    yield ensureDeferred(sampler.take())
    ((after,),) = (one.pools for one in kept.samples)
    assert (after.serving, after.backends, after.features) == (None, {"lic-a": "maint", "lic-b": "down"}, [])
    assert 0 < after.unserved < 5
    sampler.stop()
    assert not pool._watchers


@pytest_twisted.inlineCallbacks
def test_an_outage_between_two_samples_is_in_the_second(services, system):
    """A license server that died and is back before the next sample was down, and nobody was served."""
    kept = Kept()
    sampler = Sampler(reactor, services, kept, lambda: NOW)
    sampler.start()
    yield ensureDeferred(sampler.take())
    pool = services.pools["acme"]
    system.servers["lic-a"].kill()
    yield ensureDeferred(until(lambda: pool.snapshot().backends[0].health == "down"))
    system.start_server("lic-a")
    yield ensureDeferred(until(lambda: pool.serving == "lic-a" and pool.snapshot().backends[0].health == "up"))
    for _ in range(2):
        yield ensureDeferred(sampler.take())
    before, outage, after = (one.pools[0] for one in kept.samples)
    sampler.stop()
    assert [one.serving for one in (before, outage, after)] == ["lic-a", None, "lic-a"]
    assert [one.backends["lic-a"] for one in (before, outage, after)] == ["up", "down", "up"]
    assert 0 < outage.down["lic-a"] < 10
    assert 0 < outage.unserved < 10
    assert after.unserved == 0
    assert "lic-a" not in after.down


def test_pools_come_and_go():
    """As reloads have it: what is gone is not looked at any more, what took its name is."""
    clock, kept = Clock(), Kept()
    first, second = Site(), Site()
    pools = {"acme": first}
    sampler = Sampler(clock, SimpleNamespace(pools=pools, operators={}), kept, lambda: NOW)
    first.lookout.stop()
    second.lookout.stop()
    sampler.start()
    assert first.watchers
    for pools["acme"] in (second, first):
        clock.advance(SAMPLE_SECONDS)
    assert (len(first.watchers), len(second.watchers)) == (1, 0)
    pools.clear()
    clock.advance(SAMPLE_SECONDS)
    assert not first.watchers
    assert [len(one.pools) for one in kept.samples] == [1, 1, 0]
    sampler.stop()


def test_a_sample_is_taken_each_minute():
    """From the first minute on, until it is stopped."""
    clock, kept = Clock(), Kept()
    sampler = Sampler(clock, SimpleNamespace(pools={}, operators={}), kept, lambda: NOW)
    sampler.start()
    for taken in range(4):
        assert len(kept.samples) == taken
        clock.advance(SAMPLE_SECONDS)
    sampler.stop()
    sampler.stop()
    clock.advance(SAMPLE_SECONDS)
    assert len(kept.samples) == 4
