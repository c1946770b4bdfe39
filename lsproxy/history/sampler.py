"""When is a sample of the pools taken, and of what? Once a minute, of what the pools and their servers say."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from lsproxy.errors import LsproxyError
from lsproxy.history.history import History
from lsproxy.history.samples import FeatureSample, Health, PoolSample, Sample
from lsproxy.proxy.operator import Operator
from lsproxy.proxy.pool import Pool
from lsproxy.proxy.seatpool import SeatPool
from lsproxy.proxy.snapshot import BackendSnapshot

SAMPLE_SECONDS: Final = 60.0

_HEALTH: Final[dict[str, Health]] = {"up": "up", "down": "down", "unchecked": "unchecked"}

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
        self._service = service
        self._history = history
        self._wall = wall
        self._sampling = LoopingCall(self._sample)
        self._sampling.clock = reactor

    def start(self) -> None:
        """The first sample in a minute: the pools know their servers by then."""
        self._sampling.start(SAMPLE_SECONDS, now=False)

    def stop(self) -> None:
        """No more samples."""
        if self._sampling.running:
            self._sampling.stop()

    def _sample(self) -> Deferred[None]:
        taking: Deferred[None] = Deferred.fromCoroutine(self.take())
        return taking.addErrback(lambda failure: log.failure("a sample for the history was not taken", failure))

    async def take(self) -> None:
        """Take one sample now, and keep it."""
        time = self._wall()
        pools = [await self._pool(name, pool) for name, pool in list(self._service.pools.items())]
        await self._history.record(Sample(time, pools))

    async def _pool(self, name: str, pool: Pool) -> PoolSample:
        picture = pool.snapshot()
        features = await self._features(name) if isinstance(pool, SeatPool) and pool.serving is not None else []
        return PoolSample(
            pool=name,
            serving=picture.serving,
            clients=picture.clients,
            waiting=picture.waiting,
            backends={backend.name: _health(backend) for backend in picture.backends},
            features=features,
        )

    async def _features(self, name: str) -> list[FeatureSample]:
        try:
            usage = await self._service.operators[name].usage(holders=False)
        except (LsproxyError, KeyError):
            return []  # it does not answer just now, or a reload took the pool out
        return [FeatureSample(one.feature, one.issued, one.in_use, one.queued) for one in usage.features]


def _health(backend: BackendSnapshot) -> Health:
    return "maint" if backend.admin == "maint" else _HEALTH[backend.health]
