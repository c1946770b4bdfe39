"""What a relayed pool costs and how fast it is rescued, beside HAProxy and nginx before the same two servers."""

import resource
import select
import signal
import socket
import statistics
import time
from collections.abc import Iterator

from tests.bench.failover import summary
from tests.bench.relay_rig import RelayRig
from tests.bench.throughput import spread

RUNS, SECONDS, CONNECTIONS, ROUND_TRIPS = 5, 2, 32, 10_000
IDLE = 5_000
KILLS, PEER_KILLS, TUNED_HANGS, HANGS = 20, 3, 8, 3
WATCHED_SECONDS = 10.0
PROXIES = ("lsproxy", "HAProxy", "nginx")

Row = tuple[str, str, str]


def rows() -> Iterator[Row]:
    """The lines of the table, as they are measured."""
    with RelayRig() as rig:
        yield from _idle(rig)  # first: what a process had for others before it would use again
        yield from _rates(rig)
        yield from _round_trips(rig)
        yield from _kills(rig)
        yield from _hangs(rig)


def _rates(rig: RelayRig) -> Iterator[Row]:
    """In turns, so that what else the machine does meets all alike."""
    modes = {
        ("connect", "new connections/s, 32 at once", 1): "at least 0.6",
        ("echo", "messages of 64 bytes/s, 32 connections", 1): "at least 0.75",
        ("stream", "MB/s of one stream", 1e6): "at least 0.7",
    }
    for (mode, what, unit), bound in modes.items():
        count = [] if mode == "stream" else [CONNECTIONS]
        found: dict[str, list[float]] = {name: [] for name in PROXIES}
        for _ in range(RUNS):
            for name in PROXIES:
                found[name].append(rig.load(name, mode, SECONDS, *count) / unit)
        yield f"{what}, direct", "", f"{rig.load(None, mode, SECONDS, *count) / unit:,.0f}"
        for name, figures in found.items():
            yield f"{what}, {name}", "", spread(figures)
        ratio = statistics.median(found["lsproxy"]) / statistics.median(found["HAProxy"])
        yield f"{what}, lsproxy / HAProxy", bound, f"{ratio:.2f}"


def _round_trips(rig: RelayRig) -> Iterator[Row]:
    """On one processor, where everything waits for everything: the figures are steady there."""
    what = "round trip of 64 bytes on one processor"
    found: dict[str, list[float]] = {name: [] for name in PROXIES}
    with rig.on_one_processor() as before:
        for _ in range(2 * RUNS):
            for name in PROXIES:
                found[name].append(rig.load(name, "roundtrip", ROUND_TRIPS, before=before))
        yield f"{what}, direct", "", f"{rig.load(None, 'roundtrip', ROUND_TRIPS, before=before):.1f} µs"
    medians = {name: statistics.median(figures) for name, figures in found.items()}
    for name, median in medians.items():
        yield f"{what}, {name}", "", f"{median:.1f} µs"
    yield f"{what}, lsproxy / HAProxy", "at most 1.1", f"{medians['lsproxy'] / medians['HAProxy']:.2f}"


def _idle(rig: RelayRig) -> Iterator[Row]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for name in PROXIES:
        before = rig.resident_bytes(name)
        connections = [_opened(rig.ports[name]) for _ in range(IDLE)]
        each = (rig.resident_bytes(name) - before) / IDLE
        for connection in connections:
            connection.close()
        bound = "at most 6 KiB" if name == "lsproxy" else ""
        yield f"{IDLE:,} idle sessions, memory of {name} each", bound, f"{each / 1024:.1f} KiB"


def _kills(rig: RelayRig) -> Iterator[Row]:
    """From kill -9 of the active server to the answer that the next client gets."""
    taken = []
    for _ in range(KILLS):
        victim = rig.servers[rig.wait_redundant("lsproxy")]
        victim.kill()
        taken.append(_seconds_to_answer(rig.ports["lsproxy"]))
        rig.start_server(victim.name)
    yield "kill -9, the next client is answered, lsproxy", "at most 50 ms", summary(taken)
    for name in ("HAProxy", "nginx"):
        taken = []
        for _ in range(PEER_KILLS):
            rig.start_peer(name)
            rig.servers["a"].kill()
            taken.append(_seconds_to_answer(rig.ports[name]))
            rig.start_server("a")
        yield f"the same, {name}'s defaults", "", summary(taken)


def _hangs(rig: RelayRig) -> Iterator[Row]:
    """From SIGSTOP of the active server to the answer that the next client gets."""
    what = "SIGSTOP, the next client is answered"
    for name, rounds, bound in (
        ("lsproxy tuned", TUNED_HANGS, "each 1200 ms"),
        ("lsproxy", HANGS, "each 8000 ms"),
    ):
        taken = []
        for round_ in range(rounds):
            victim = rig.servers[rig.wait_redundant(name)]
            time.sleep(0.037 * (round_ % 7))
            victim.signal(signal.SIGSTOP)
            taken.append(_seconds_to_answer(rig.ports[name]))
            victim.kill()
            rig.start_server(victim.name)
        setting = "interval 0.25 s, timeout 0.5 s" if name == "lsproxy tuned" else "defaults"
        yield f"{what}, lsproxy, {setting}", bound, summary(taken)
    for name in ("HAProxy", "nginx"):
        rig.start_peer(name)
        rig.servers["a"].signal(signal.SIGSTOP)
        seconds = _seconds_to_answer(rig.ports[name], WATCHED_SECONDS)
        rig.servers["a"].kill()
        rig.start_server("a")
        said = f"{1000 * seconds:.0f} ms" if seconds < WATCHED_SECONDS else f"not within {WATCHED_SECONDS:.0f} s"
        yield f"{what}, {name}'s defaults", "", said


def _opened(port: int) -> socket.socket:
    """A connection that has been answered once."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"e")
    assert connection.recv(1) == b"e"
    return connection


def _seconds_to_answer(port: int, most: float = 60.0) -> float:
    """
    Until a client that wants one answer has it.

    It does what it can: a connection that ends is followed by another 5 ms later, one that is silent gets another
    beside it every second.
    """
    began = time.monotonic()
    poll = select.poll()
    open_: dict[int, socket.socket] = {}
    due = began
    try:
        while (now := time.monotonic()) < began + most:
            if now >= due:
                due = now + 1
                _dial(port, poll, open_)
            for descriptor, _ in poll.poll(5):
                if _received(open_[descriptor]):
                    return time.monotonic() - began
                poll.unregister(descriptor)
                open_.pop(descriptor).close()
                due = time.monotonic() + 0.005
    finally:
        for connection in open_.values():
            connection.close()
    return most


def _dial(port: int, poll: select.poll, open_: dict[int, socket.socket]) -> None:
    connection = socket.create_connection(("127.0.0.1", port))
    open_[connection.fileno()] = connection
    poll.register(connection, select.POLLIN)
    connection.sendall(b"e")


def _received(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1))
    except OSError:
        return False
