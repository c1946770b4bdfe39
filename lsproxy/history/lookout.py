"""
What happened to a pool since it was told last? It is looked at after every decision, so that nothing short is missed.

An outage that begins and ends between two samples is in the second one. What is
no outage, maint and not yet checked, is told as it is at the moment.
"""

from typing import Final

from twisted.internet.interfaces import IReactorTime

from lsproxy.history.samples import Health, PoolSample
from lsproxy.proxy.pool import Pool
from lsproxy.proxy.snapshot import BackendSnapshot

_HEALTH: Final[dict[str, Health]] = {"up": "up", "down": "down", "unchecked": "unchecked"}


class PoolLookout:
    """Looks at `pool` from now on until `stop`."""

    def __init__(self, clock: IReactorTime, pool: Pool) -> None:
        self._clock = clock
        self._stop = pool.watch(self._look)
        self._unserved_before = pool.unserved_seconds
        self._down_since: dict[str, float] = {}
        self._down: dict[str, float] = {}
        self._clients = self._waiting = 0
        self.pool = pool
        self._look()

    def stop(self) -> None:
        """Look no more."""
        self._stop()

    def tell(self) -> PoolSample:
        """The worst since it was told before, without the features' seats."""
        self._look()
        picture = self.pool.snapshot()
        unserved_before, self._unserved_before = self._unserved_before, self.pool.unserved_seconds
        unserved = self._unserved_before - unserved_before
        sample = PoolSample(
            pool=self.pool.name,
            serving=None if unserved else picture.serving,
            clients=self._clients,
            waiting=self._waiting,
            backends={one.name: "down" if one.name in self._down else _health(one) for one in picture.backends},
            features=[],
            unserved=unserved,
            down={one.name: self._down[one.name] for one in picture.backends if one.name in self._down},
        )
        self._down = dict.fromkeys(self._down_since, 0.0)
        self._clients, self._waiting = picture.clients, picture.waiting
        return sample

    def _look(self) -> None:
        now, traffic = self._clock.seconds(), self.pool.traffic
        self._clients = max(self._clients, traffic.clients)
        self._waiting = max(self._waiting, traffic.waiting)
        down = {name for name, backend in self.pool.backends.items() if _health(backend.snapshot(0)) == "down"}
        for name, since in self._down_since.items():
            self._down[name] += now - since
        self._down_since = dict.fromkeys(down, now)
        self._down = dict.fromkeys(down, 0.0) | self._down


def _health(backend: BackendSnapshot) -> Health:
    return "maint" if backend.admin == "maint" else _HEALTH[backend.health]
