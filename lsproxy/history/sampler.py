"""When is a sample of the pools taken, and of what? Once a minute, of what happened since the one before."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from lsproxy.errors import LsproxyError
from lsproxy.history.history import History
from lsproxy.history.lookout import PoolLookout
from lsproxy.history.samples import FeatureSample, PoolSample, Sample
from lsproxy.proxy.operator import Operator
from lsproxy.proxy.pool import Pool
from lsproxy.proxy.seatpool import SeatPool

SAMPLE_SECONDS: Final = 60.0

log = Logger()


class Service(Protocol):
    """What is sampled."""

    @property
    def pools(self) -> Mapping[str, Pool]:
        """The pools by name."""

    @property
    def operators(self) -> Mapping[str, Operator]:
        """The operator's side of each."""


class Sampler:
    """Samples the pools of `service` into `history`; `wall` is seconds since 1970."""

    def __init__(self, reactor: IReactorTime, service: Service, history: History, wall: Callable[[], float]) -> None:
        self._clock = reactor
        self._service = service
        self._history = history
        self._wall = wall
        self._lookouts: dict[str, PoolLookout] = {}
        self._sampling = LoopingCall(self._sample)
        self._sampling.clock = reactor

    def start(self) -> None:
        """The first sample in a minute: the pools know their servers by then. They are looked at from now on."""
        self._look_at_all()
        self._sampling.start(SAMPLE_SECONDS, now=False)

    def stop(self) -> None:
        """No more samples."""
        if self._sampling.running:
            self._sampling.stop()
        for lookout in self._lookouts.values():
            lookout.stop()
        self._lookouts = {}

    def _sample(self) -> Deferred[None]:
        taking: Deferred[None] = Deferred.fromCoroutine(self.take())
        return taking.addErrback(lambda failure: log.failure("a sample for the history was not taken", failure))

    async def take(self) -> None:
        """Take one sample now, and keep it."""
        time = self._wall()
        pools = [await self._pool(lookout) for lookout in self._look_at_all()]
        await self._history.record(Sample(time, pools))

    def _look_at_all(self) -> list[PoolLookout]:
        """The lookouts of the pools that there are now; a reload may have changed which."""
        pools = self._service.pools
        for name, lookout in list(self._lookouts.items()):
            if pools.get(name) is not lookout.pool:
                self._lookouts.pop(name).stop()
        for name, pool in pools.items():
            if name not in self._lookouts:
                self._lookouts[name] = PoolLookout(self._clock, pool)
        return list(self._lookouts.values())

    async def _pool(self, lookout: PoolLookout) -> PoolSample:
        pool, sample = lookout.pool, lookout.tell()
        if not isinstance(pool, SeatPool) or pool.serving is None:
            return sample
        return msgspec.structs.replace(sample, features=await self._features(pool.name))

    async def _features(self, name: str) -> list[FeatureSample]:
        try:
            usage = await self._service.operators[name].usage(holders=False)
        except (LsproxyError, KeyError):
            return []  # it does not answer just now, or a reload took the pool out
        return [FeatureSample(one.feature, one.issued, one.in_use, one.queued) for one in usage.features]
