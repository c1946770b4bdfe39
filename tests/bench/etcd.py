"""
Three license servers on three etcd members, all on this machine, at default timing.

`python -m tests.bench.etcd NAME…` measures some: rates (checkouts a second), kills (of the active server), leader
(kills of etcd's), seats (a takeover with 100,000 of them held); without a name all.
"""

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.bench.clients import Client
from tests.bench.failover import check_seats, summary
from tests.bench.rig import FEATURE, SEATS, compile_load
from tests.bench.throughput import spread
from tests.faults.etcd_system import EtcdSystem
from tests.faults.process import wait_for
from tests.licserver.journal.etcd_cluster import EtcdCluster

KILLS, LEADER_KILLS, RUNS = 20, 10, 5
CONNECTIONS, SECONDS = 256, 4
HELD, HOLDERS, TOGETHER = 100_000, 20, 500
SETTLED_SECONDS = 2.5

Row = tuple[str, str, str]


class Triad:
    """Three servers, three members, lsproxy before them."""

    def __init__(self, folder: Path, cluster: EtcdCluster) -> None:
        self.cluster = cluster
        self.system = EtcdSystem(
            folder,
            cluster,
            names=("lic-a", "lic-b", "lic-c"),
            features={FEATURE: SEATS},
            redundancy="triad",
            heartbeat=15,
            resume=45,
            has_proxy=True,
        )

    @property
    def door(self) -> int:
        """The port of lsproxy."""
        return self.system.addresses["proxy"][1]

    def settled(self) -> str:
        """The active server, when the two others stand by and everybody has had time to see it."""
        names = list(self.system.servers)

        def roles() -> bool:
            found = [(self.system.status(name) or {}).get("role") for name in names]
            return sorted(map(str, found)) == ["active", "standby", "standby"]

        wait_for(roles, "one server is active and two stand by", 60)
        time.sleep(SETTLED_SECONDS)
        return self.system.wait_active()[0]


def rates(triad: Triad, folder: Path) -> Iterator[Row]:
    """Durable checkouts."""
    load = compile_load(folder)
    port = triad.system.addresses[triad.settled()][1]
    command = [str(load), "127.0.0.1", str(port), str(CONNECTIONS), "checkout", str(SECONDS), "1", FEATURE]
    found = []
    for _ in range(RUNS):
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        found.append(float(json.loads(done.stdout)["grants_per_second"]))
    yield f"durable checkouts/s, direct, {CONNECTIONS} connections", "5,000", spread(found)


def server_kills(triad: Triad, _: Path) -> Iterator[Row]:
    """Death of the active license server."""
    clients = [Client(triad.door) for _ in range(50)]
    for client in clients:
        client.checkout()
    taken = []
    for round_ in range(KILLS):
        taken.append(_kill_active(triad, clients[round_ % len(clients)]))
        check_seats(clients)
    yield "kill -9 of the active licserver, next grant through lsproxy", "300 ms", summary(taken)


def leader_kills(triad: Triad, _: Path) -> Iterator[Row]:
    """Death of etcd's leader, seen by a client that asks for a seat all the time."""
    client = Client(triad.door)
    pauses = []
    before = triad.system.wait_active()[1]
    for _ in range(LEADER_KILLS):
        wait_for(lambda: triad.cluster.leader() is not None, "etcd has a leader")
        time.sleep(SETTLED_SECONDS)
        leader = triad.cluster.leader()
        assert leader is not None
        asking = _Asking(client)
        time.sleep(0.2)
        triad.cluster.members[leader].kill()
        time.sleep(4.0)
        pauses.append(asking.end())
        triad.cluster.members[leader].start()
        check_seats([client])
    epochs = triad.system.wait_active()[1] - before
    yield f"kill -9 of etcd's leader, longest pause between grants ({epochs} takeovers)", "2,500 ms", summary(pauses)


def many_seats(triad: Triad, _: Path) -> Iterator[Row]:
    """A takeover with many seats held: to the first grant after it."""
    holders = [Client(triad.door) for _ in range(HOLDERS)]
    for client in holders:
        for _ in range(HELD // HOLDERS // TOGETHER):
            asked = [client.send({"op": "checkout", "feature": FEATURE}) for _ in range(TOGETHER)]
            for number in asked:
                reply = client.receive(number)
                assert reply["ok"], reply
                client.seats[reply["handle"]] = reply["seat"]
    probe = Client(triad.door)
    taken = [_kill_active(triad, probe) for _ in range(5)]
    for client in holders:
        reply = client.ask({"op": "heartbeat"})
        assert reply["seats"] == len(client.seats), reply
    yield f"kill -9 of the active licserver with {HELD:,} seats held, next grant", "1,000 ms", summary(taken)


class _Asking:
    """Takes seats one after the other in a thread, and notes the longest pause between two grants."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._is_over = False
        self._longest = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> float:
        self._is_over = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "no grant any more"
        return self._longest

    def _run(self) -> None:
        last = time.monotonic()
        while not self._is_over:
            reply = self._client.checkout()
            assert reply["ok"], reply
            now = time.monotonic()
            self._longest, last = max(self._longest, now - last), now
            time.sleep(0.005)


def _kill_active(triad: Triad, client: Client) -> float:
    """Seconds from the kill to this client's next grant; the victim is started again."""
    victim = triad.settled()
    began = time.monotonic()
    triad.system.servers[victim].signal(signal.SIGKILL)
    reply = client.checkout()
    taken = time.monotonic() - began
    assert reply["ok"], reply
    triad.system.servers[victim].wait()
    triad.system.start_server(victim)
    return taken


PARTS: dict[str, Callable[[Triad, Path], Iterator[Row]]] = {
    "rates": rates,
    "kills": server_kills,
    "leader": leader_kills,
    "seats": many_seats,
}


def rows(names: Iterable[str] = tuple(PARTS)) -> Iterator[Row]:
    """The rows of some parts, each on a cluster and a triad of its own."""
    for name in names:
        with EtcdCluster(3) as cluster, tempfile.TemporaryDirectory(prefix="lsproxy-bench-") as folder:
            triad = Triad(Path(folder), cluster)
            try:
                triad.system.start()
                yield from PARTS[name](triad, Path(folder))
            except BaseException:
                for path in Path(folder).glob("*.log"):
                    print(f"{path.name}: {path.read_text()[-1500:]}")
                raise
            finally:
                triad.system.end()


def main() -> None:
    """Print the table as it grows."""
    print("| what | bound | measured |\n|---|---|---|", flush=True)
    for what, bound, measured in rows(sys.argv[1:] or PARTS):
        print(f"| {what} | {bound} | {measured} |", flush=True)


if __name__ == "__main__":
    main()
