"""How many requests a second, and how long one takes, direct, through lsproxy, through HAProxy."""

import json
import statistics
import subprocess
from pathlib import Path
from typing import Any

from tests.bench.rig import FEATURE, Rig, pin

CONNECTIONS = 256
SECONDS = 4
ROUND_TRIPS = 5000


def rate(rig: Rig, load: Path, target: str, mode: str) -> float:
    """Operations a second (of `checkout`: grants), one request unanswered on each of 256 connections."""
    arguments = [str(CONNECTIONS), mode, str(SECONDS), "1", FEATURE]
    report = _run([str(load), "127.0.0.1", str(rig.port(target)), *arguments])
    return float(report["grants_per_second" if mode == "checkout" else "ops_per_second"])


def rates(rig: Rig, load: Path, targets: list[tuple[str, str]], runs: int) -> dict[tuple[str, str], list[float]]:
    """The rates of several targets and modes, taken in turns."""
    found: dict[tuple[str, str], list[float]] = {target: [] for target in targets}
    for _ in range(runs):
        for target, mode in targets:
            found[target, mode].append(rate(rig, load, target, mode))
    return found


def round_trips(rig: Rig, load: Path, targets: list[str], runs: int, processors: set[int]) -> dict[str, list[float]]:
    """Median microseconds of a heartbeat on one connection, everything on these processors, targets in turns."""
    for name in ("lic-a", "lic-b", "proxy", *rig.peers):
        pin(rig.child(name).pid, processors)
    on = ["taskset", "-c", ",".join(map(str, sorted(processors)))]
    found: dict[str, list[float]] = {target: [] for target in targets}
    for _ in range(runs):
        for target in targets:
            command = [str(load), "127.0.0.1", str(rig.port(target)), "1", "roundtrip", str(ROUND_TRIPS)]
            found[target].append(float(_run([*on, *command])["p50_us"]))
    return found


def spread(figures: list[float]) -> str:
    """Median with the smallest and largest."""
    return f"{statistics.median(figures):,.0f} ({min(figures):,.0f} to {max(figures):,.0f})"


def _run(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report
