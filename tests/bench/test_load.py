"""The load generator, compiled and run before a small server."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.promises.reference import Reference
from tests.promises.small_server import Cluster

SOURCE = Path(__file__).with_name("load.c")

pytestmark = pytest.mark.cc


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("load") / "load"
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(path), str(SOURCE)], check=True)
    return path


@pytest.fixture
def servers() -> Iterator[Cluster]:
    with Cluster(Reference({"cad": 100_000}, resume=45.0)) as cluster:
        yield cluster


def load(program: Path, servers: Cluster, *rest: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), "127.0.0.1", str(servers.ports[0]), *rest],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize(("mode", "grants"), [("heartbeat", 0.0), ("checkout", 0.5), ("grants", 1.0)])
def test_modes(program, servers, mode, grants):
    """Each mode counts its operations and what of them were grants, and leaves no session behind."""
    done = load(program, servers, "8", mode, "0.3", "4", "cad")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["mode"], told["connections"], told["depth"]) == (mode, 8, 4)
    assert told["operations"] > 50
    assert told["grants"] == pytest.approx(told["operations"] * grants, abs=40)
    assert 0 < told["p50_us"] <= told["p99_us"]
    assert told["ops_per_second"] == pytest.approx(told["operations"] / told["seconds"], rel=0.01)
    assert servers.reference.sessions == {}


def test_roundtrip(program, servers):
    """One heartbeat at a time, as often as asked."""
    told = json.loads(load(program, servers, "1", "roundtrip", "50").stdout)
    assert told["operations"] == 50
    assert 0 < told["p50_us"] <= told["p99_us"]


def test_a_refusal_ends_it(program, servers):
    """An answer that is not ok is printed and is status 1."""
    done = load(program, servers, "1", "checkout", "1", "1", "mesh")
    assert done.returncode == 1
    assert "refused" in done.stderr
    assert "unknown_feature" in done.stderr
    assert done.stdout == ""


def test_nobody_there(program, servers):
    """A refused connection is a sentence, not a hang."""
    servers.kill(0)
    done = load(program, servers, "1", "heartbeat", "1")
    assert (done.returncode, done.stderr) == (1, "load: connection 0: Connection refused\n")
