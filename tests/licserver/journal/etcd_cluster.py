"""A real etcd cluster for tests: members as child processes on 127.0.0.1, their data in memory, gone with the test."""

import json
import shutil
import signal
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from licserver.journal.etcd_place import EtcdPlace
from lsproxy.net.address import Address
from tests.faults.process import Child, wait_for
from tests.faults.system import free_port

MEMORY = Path("/dev/shm")  # noqa: S108 a tmpfs; the folder in it is made by mkdtemp
TOKEN = "licserver-test"  # noqa: S105 the name of a cluster


class EtcdCluster:
    """
    Members `m0`, `m1`, …; a context. `options` are more options of every member, `scheme` that of clients; `places`
    are each member's host, and what stands before its command to put it there.
    """

    def __init__(
        self,
        size: int,
        options: Sequence[str] = (),
        scheme: str = "http",
        places: Sequence[tuple[str, Sequence[str]]] = (),
    ) -> None:
        places = places or [("127.0.0.1", ())] * size
        self.folder = Path(tempfile.mkdtemp(prefix="etcd-", dir=MEMORY if MEMORY.is_dir() else None))
        self.scheme = scheme
        self.addresses = [Address(host, free_port()) for host, _ in places]
        self.peer_ports = [free_port() for _ in places]
        peers = [f"http://{host}:{port}" for (host, _), port in zip(places, self.peer_ports, strict=True)]
        cluster = ",".join(f"m{at}={peer}" for at, peer in enumerate(peers))
        self.members = []
        for at, (address, peer) in enumerate(zip(self.addresses, peers, strict=True)):
            client = f"{scheme}://{address}"
            name = f"m{at}"
            command = [*places[at][1], "etcd", "--name", name, "--data-dir", str(self.folder / name)]
            command += ["--initial-cluster", cluster]
            command += ["--listen-client-urls", client, "--advertise-client-urls", client]
            command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            command += ["--initial-cluster-token", TOKEN, *options]
            self.members.append(Child(name, command, self.folder / f"{name}.log"))

    def start(self) -> Self:
        """Start all, and wait for a leader."""
        for member in self.members:
            member.start()
        if self.scheme == "http":
            wait_for(lambda: self.leader() is not None, "etcd has a leader")
        return self

    @property
    def ports(self) -> list[int]:
        """Where members are reached, by clients and by each other."""
        return [*(address.port for address in self.addresses), *self.peer_ports]

    def restore(self) -> None:
        """Let all members go on or start again, and wait until each of them says the same leader."""
        for member in self.members:
            member.signal(signal.SIGCONT)
            if not member.is_running:
                member.start()
        wait_for(self._is_whole, "etcd is whole again")

    def place(self, prefix: str) -> EtcdPlace:
        """Where a journal is."""
        return EtcdPlace(tuple(self.addresses), prefix)

    def url(self, prefix: str) -> str:
        """The same, as it is configured."""
        return str(self.place(prefix))

    def leader(self) -> int | None:
        """The number of the member that leads, as far as the members that answer say."""
        for at in range(len(self.members)):
            status = self.call(at, "/v3/maintenance/status", {})
            if status is not None and status.get("leader"):
                ids = [self._id(each) for each in range(len(self.members))]
                return ids.index(status["leader"]) if status["leader"] in ids else None
        return None

    def call(self, at: int, path: str, request: dict[str, Any]) -> dict[str, Any] | None:
        """What a member answers within a second, None for nothing and for a refusal."""
        body = json.dumps(request).encode()
        try:
            with urllib.request.urlopen(  # noqa: S310 the URL is ours
                f"{self.scheme}://{self.addresses[at]}{path}", data=body, timeout=1.0
            ) as reply:
                answer: dict[str, Any] = json.loads(reply.read())
                return answer
        except OSError:
            return None

    def end(self) -> None:
        """Kill the members, delete their data."""
        for member in self.members:
            member.signal(signal.SIGKILL)
        for member in self.members:
            if member.is_running:
                member.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.end()
            raise

    def __exit__(self, *_: object) -> None:
        self.end()

    def _is_whole(self) -> bool:
        said = [self.call(at, "/v3/maintenance/status", {}) for at in range(len(self.members))]
        leaders = {None if status is None else status.get("leader") for status in said}
        return len(leaders) == 1 and leaders != {None}

    def _id(self, at: int) -> str:
        status = self.call(at, "/v3/maintenance/status", {})
        return "" if status is None else str(status["header"]["member_id"])
