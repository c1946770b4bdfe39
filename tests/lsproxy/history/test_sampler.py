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
from lsproxy.history.samples import FeatureSample, PoolSample, Sample
from lsproxy.proxy.memory import InMemory
from lsproxy.services import Services
from tests.faults.system import System

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
def services(tmp_path):
    """The pool acme of one license server that runs and one that does not."""
    system = System(tmp_path, has_proxy=True)
    system.create_journal()
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
    yield ensureDeferred(sampler.take())
    features = [FeatureSample("cad", 10, 0, 0), FeatureSample("mesh", 3, 0, 0)]
    backends = {"lic-a": "up", "lic-b": "down"}
    assert kept.samples == [Sample(NOW, [PoolSample("acme", "lic-a", 0, 0, backends, features)])]
    unasked = Sampler(reactor, SimpleNamespace(pools=services.pools, operators={}), kept, lambda: NOW)
    yield ensureDeferred(unasked.take())  # as when a reload takes the pool out meanwhile
    assert kept.samples.pop().pools[0].features == []
    yield services.operators["acme"].set_state("lic-a", Admin.MAINT)
    yield ensureDeferred(sampler.take())
    backends = {"lic-a": "maint", "lic-b": "down"}
    assert kept.samples[1:] == [Sample(NOW, [PoolSample("acme", None, 0, 0, backends, [])])]


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
