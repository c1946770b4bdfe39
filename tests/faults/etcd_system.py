"""A system whose license servers keep their journal in a real etcd cluster."""

from pathlib import Path
from typing import Any

from tests.faults.system import System
from tests.licserver.journal.etcd_cluster import EtcdCluster


class EtcdSystem(System):
    """As `System`, on a cluster that runs already; each under a prefix of its own."""

    def __init__(self, folder: Path, cluster: EtcdCluster, prefix: str = "acme", **settings: Any) -> None:
        self._url = cluster.url(prefix)
        super().__init__(folder, **settings)

    def configure(self, name: str, **changes: Any) -> Path:
        return super().configure(name, **{"journal": self._url, **changes})
