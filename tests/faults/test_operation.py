"""What an operator does to a running system, under applications that hold seats."""

import json
import subprocess
import threading
import time

import pytest

from tests.faults.operating import Operator
from tests.faults.process import wait_for
from tests.faults.system import COMMANDS, System

LONGEST_PAUSE_SECONDS = 0.5
BETWEEN_HEARTBEATS_SECONDS = 0.002


@pytest.fixture
def operator(make_system):
    """The operator of a running pair behind lsproxy."""
    return started(make_system(has_proxy=True))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """The same, one for all tests that leave it as it was."""
    system = System(tmp_path_factory.mktemp("running"), has_proxy=True)
    try:
        yield started(system)
        faults = system.faults_in_logs()
    finally:
        system.end()
    assert not faults, "\n".join(faults)


def started(system):
    """Each server, and lsproxy, gets a license file of its own."""
    operator = Operator(system)
    for path in files(system):
        path.write_text(system.license_file.read_text())
    for name in system.servers:
        system.configure(name, license_file=str(system.folder / f"{name}.lic"))
    operator.edit(license_file=str(system.folder / "lsproxy.lic"))
    system.start()
    operator.wait_standby("lic-b")
    return operator


def files(system):
    return [system.folder / f"{name}.lic" for name in (*system.servers, "lsproxy")]


class Heart(threading.Thread):
    """Beats on a keeper's one connection, as fast as it is answered; `longest` is the longest wait, in seconds."""

    def __init__(self, keeper):
        super().__init__(daemon=True)
        self._keeper = keeper
        self._is_over = threading.Event()
        self.longest = 0.0
        self.beats = 0
        self.refusals = []

    def run(self):
        line = self._keeper.line
        while not self._is_over.wait(BETWEEN_HEARTBEATS_SECONDS):
            begun = time.monotonic()
            self._keeper.last_id += 1
            reply = line.ask("heartbeat", id=self._keeper.last_id)
            self.longest = max(self.longest, time.monotonic() - begun)
            self.beats += 1
            if not reply["ok"] or reply["seats"] != len(self._keeper.seats):
                self.refusals.append(reply)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self.join(10)


def test_a_switch_under_a_client_that_holds_a_seat(operator, record_property):
    """Five switches, and on one connection no heartbeat waits long, none is refused, the seat stays."""
    keeper = operator.system.keeper()
    keeper.checkout("cad")
    pauses = []
    for _ in range(5):
        serving = operator.pool()["serving"]
        other = next(name for name in operator.system.servers if name != serving)
        operator.wait_standby(other)
        with Heart(keeper) as heart:
            wait_for(lambda heart=heart: heart.beats > 20, "it beats")
            operator.do("switch", "acme")
            beats = heart.beats
            wait_for(lambda heart=heart, beats=beats: heart.beats > beats + 20, "it beats on")
        assert heart.refusals == []
        assert operator.pool()["serving"] == other
        pauses.append(heart.longest)
    record_property("pauses", [round(pause, 4) for pause in pauses])
    assert max(pauses) < LONGEST_PAUSE_SECONDS, pauses
    assert [event["event"] for event in keeper.line.events] == ["resumed"] * 5
    assert keeper.attempt == 1
    keeper.assert_keeps()


def test_a_renewed_license(operator, tmp_path):
    """More seats at once, on every server and in every file; the file before it is kept beside it."""
    system = operator.system
    keeper = system.keeper()
    keeper.checkout("cad", count=10)
    old = system.license_file.read_text()
    renewed = tmp_path / "renewed.lic"
    renewed.write_text(system.license_text({"cad": 12, "mesh": 3}))
    assert " is in force on " in operator.do("license", "acme", "install", renewed)
    for path in files(system):
        assert path.read_text() == renewed.read_text()
        assert path.with_name(f"{path.name}.old").read_text() == old
    keeper.checkout("cad", count=2)
    active, epoch = system.wait_active()
    digest = system.status(active)["license"]
    wait_for(lambda: all(system.status(name)["license"] == digest for name in system.servers), "the standby follows")
    operator.wait(lambda pool: not any(backend["license_note"] for backend in pool["backends"]), "all have the same")
    system.servers[active].kill()
    system.wait_active(after_epoch=epoch)
    keeper.assert_keeps()
    assert system.usage("cad")["cad"]["issued"] == 12
    system.start_server(active)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda system: system.license_text({"cad": 12}).replace("permanent 12", "permanent 99"), "signature"),
        (lambda system: system.license_text({"cad": 12}, "HOSTNAME=elsewhere"), "elsewhere"),
        (lambda _: "garbage\n", "garbage"),
        (lambda _: "", "no signed line"),
    ],
    ids=["forged", "of another host", "garbage", "empty"],
)
def test_a_broken_license(running, spoil, sentence, tmp_path):
    """Refused with its reason, nothing changes anywhere."""
    system = running.system
    before = {path: path.read_text() for path in files(system)}
    digest = system.status("lic-a")["license"]
    broken = tmp_path / "broken.lic"
    broken.write_text(spoil(system))
    done = running.ask("license", "acme", "install", broken)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert {path: path.read_text() for path in files(system)} == before
    assert list(system.folder.glob("*.old")) == []
    assert {system.status(name)["license"] for name in system.servers} == {digest}
    assert running.pool()["serving"] is not None


def test_a_seat_is_taken_back(running):
    """Its holder is told through lsproxy, who follows the events sees it, and the seat is free."""
    system = running.system
    keeper = system.keeper()
    seat = keeper.checkout("mesh", count=3)
    command = [str(COMMANDS / "lsproxy"), "events", "--follow", "--json", "--admin", running.admin]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        try:
            running.do("remove", "acme", seat["seat"])
            assert keeper.line.hear()["event"] == "removed"
            assert keeper.line.events[-1]["handle"] == seat["handle"]
            running.do("maint", "acme", "lic-b")
            while json.loads(following.stdout.readline())["event"] != "backend_state":
                pass
        finally:
            following.terminate()
            following.communicate(timeout=10)
    keeper.seats.clear()
    assert keeper.ask("checkout", id=seat["handle"], feature="mesh", count=3)["error"] == "ended"
    system.keeper().checkout("mesh", count=3)
    running.do("ready", "acme", "lic-b")


def test_reload_keeps_connections(running):
    """Another health interval and hold: no client notices, the new values are in use."""
    keeper = running.system.keeper()
    keeper.checkout("cad")
    serving = running.pool()["serving"]
    with Heart(keeper) as heart:
        running.edit(health={"interval": 0.1, "timeout": 0.3, "rise": 2, "fall": 2}, hold=9)
        said = running.do("reload").splitlines()
        assert {"pools.acme.health.interval: changed", "pools.acme.hold: changed"} <= set(said)
        running.wait(lambda pool: pool["serving"] == serving and pool["hold"] == 9, "the new values are in use")
        beats = heart.beats
        wait_for(lambda: heart.beats > beats + 20, "it beats on")
    assert (heart.refusals, keeper.line.events, keeper.attempt) == ([], [], 1)
    assert heart.longest < LONGEST_PAUSE_SECONDS
    keeper.assert_keeps()
    keeper.ask("bye")
