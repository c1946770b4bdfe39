"""
`make bench`: the figures of docs/performance.md, measured now, beside HAProxy before the same pair in the same run.

`python -m tests.bench NAME…` takes only some: kills, hangs, rates, roundtrips, idle, help, pair, relay, etcd.
"""

import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench import etcd, failover, idle, relay, throughput
from tests.bench.rig import Rig, compile_load
from tests.faults.system import COMMANDS

KILLS, PAIR_KILLS, HANGS, PEER_KILLS, RUNS = 50, 20, 30, 5, 5
TUNED = "check inter 200ms fall 2 rise 2 on-marked-down shutdown-sessions"

Row = tuple[str, str, str]


def kills(rig: Rig, _: Path) -> Iterator[Row]:
    """Death of the active server."""
    yield "kill -9, 200 sessions, new grant, lsproxy", "100 / 400 ms", failover.summary(failover.kills(rig, KILLS))
    if shutil.which("haproxy") is None:
        yield "the same, HAProxy", "", "haproxy is not installed"
        return
    for name, options in (("HAProxy's defaults", "check"), ("HAProxy tuned", TUNED)):
        rig.start_haproxy(name, options)
        yield (
            f"the same, {name}, a reconnecting client",
            "",
            failover.summary(failover.peer_kills(rig, name, PEER_KILLS)),
        )


def hangs(rig: Rig, load: Path) -> Iterator[Row]:
    """Hang of the active server."""
    yield "SIGSTOP under full load, new grant", "each 1500 ms", failover.summary(failover.hangs(rig, HANGS, load))


def rates(rig: Rig, load: Path) -> Iterator[Row]:
    """Requests a second."""
    active = rig.active()
    bounds = {
        (active, "checkout"): ("durable checkouts/s, direct", "20,000"),
        ("proxy", "checkout"): ("durable checkouts/s, through lsproxy", "10,000"),
        (active, "heartbeat"): ("heartbeats/s, direct", ""),
        ("proxy", "heartbeat"): ("heartbeats/s, through lsproxy", "25,000"),
    }
    for target, figures in throughput.rates(rig, load, list(bounds), RUNS).items():
        name, bound = bounds[target]
        yield f"{name}, 256 connections", bound, throughput.spread(figures)


def round_trips(rig: Rig, load: Path) -> Iterator[Row]:
    """One heartbeat at a time."""
    active = rig.active()
    targets = [active, "proxy"]
    if shutil.which("haproxy") is not None:
        targets.append("HAProxy")
        rig.start_haproxy("HAProxy", "check")
    for where, processors in (("one processor", {0}), ("two processors", {0, 1})):
        found = throughput.round_trips(rig, load, targets, 2 * RUNS, processors)
        medians = {target: statistics.median(figures) for target, figures in found.items()}
        for target, median in medians.items():
            name = {active: "direct", "proxy": "through lsproxy"}.get(target, f"through {target}")
            yield f"round trip of a heartbeat on {where}, {name}", "", f"{median:.1f} µs"
        yield f"round trip on {where}, lsproxy / direct", "2.0", f"{medians['proxy'] / medians[active]:.2f}"
        if "HAProxy" in medians:
            added = (medians["proxy"] - medians[active]) / (medians["HAProxy"] - medians[active])
            yield f"added time on {where}, lsproxy / HAProxy", "1.5", f"{added:.2f}"


def idle_sessions(rig: Rig, _: Path) -> Iterator[Row]:
    """Sessions that only wait."""
    each, taken = idle.idle(rig)
    yield f"{idle.SESSIONS:,} idle sessions, memory of lsproxy each", "12 KiB", f"{each / 1024:.1f} KiB"
    yield "all of them resumed after kill -9", "10 s", f"{taken:.2f} s"


def help_text(_: Rig, __: Path) -> Iterator[Row]:
    """The command line."""
    taken = []
    for _run in range(2 * RUNS):
        began = time.monotonic()
        subprocess.run([str(COMMANDS / "lsproxy"), "--help"], check=True, capture_output=True)
        taken.append(time.monotonic() - began)
    yield "lsproxy --help", "200 ms", failover.summary(taken)


def pair() -> Iterator[Row]:
    """Death of the active server of a pair, the primary and its redundant server in turns."""
    with Rig("pair") as rig:
        taken = failover.summary(failover.kills(rig, PAIR_KILLS))
        yield "a pair: kill -9, 200 sessions, new grant, lsproxy", "100 / 400 ms", taken


PARTS: dict[str, Callable[[Rig, Path], Iterator[Row]]] = {
    "rates": rates,
    "roundtrips": round_trips,
    "kills": kills,
    "hangs": hangs,
    "idle": idle_sessions,
    "help": help_text,
}


OTHER_RIGS: dict[str, Callable[[], Iterator[Row]]] = {"pair": pair, "relay": relay.rows, "etcd": etcd.rows}


def main() -> None:
    """Print the table as it grows."""
    print(f"Python {platform.python_version()}, {platform.machine()}, 2 processors shared with the load\n")
    print("| what | bound | measured |\n|---|---|---|", flush=True)
    for name in sys.argv[1:] or [*PARTS, *OTHER_RIGS]:
        for what, bound, measured in OTHER_RIGS[name]() if name in OTHER_RIGS else _rows(name):
            print(f"| {what} | {bound} | {measured} |", flush=True)


def _rows(name: str) -> Iterator[Row]:
    with Rig() as rig:
        yield from PARTS[name](rig, compile_load(rig.folder))


if __name__ == "__main__":
    main()
