"""The commands of an operator against a running system."""

import json
import signal
import sqlite3
import subprocess
from contextlib import closing

import pytest

from tests.faults.process import wait_for
from tests.faults.system import COMMANDS


def pool(asked):
    return json.loads(asked("status", "--json").out)["pools"][0]


def wait_well(asked):
    """Until one serves and the other stands by, ready."""

    def roles():
        picture = pool(asked)
        standing = {b["said"]["role"] for b in picture["backends"] if b["health"] == "up" and b["said"]}
        return picture["serving"] is not None and standing == {"active", "standby"} and picture

    return wait_for(roles, "a pool with a standby")


@pytest.fixture(autouse=True)
def is_well(asked, system):
    """Every test finds, and leaves, the pool with both servers ready."""
    for name in system.servers:
        asked("ready", "acme", name)
    return wait_well(asked)


def test_status_shows_pool_and_backends(asked):
    """For people, a star at the one that is served; exit status 0."""
    done = asked("status")
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0].startswith("acme (acme-licenses): served by ")
    assert lines[1].split()[:4] == ["BACKEND", "HEALTH", "ROLE", "EPOCH"]
    (served,) = [line for line in lines if "*" in line]
    assert served.split()[1:3] == ["up", "active"]


def test_switch_moves_the_pool_and_back(asked):
    """To the next, or to the one that is named."""
    first = pool(asked)["serving"]
    done = asked("switch", "acme")
    other = pool(asked)["serving"]
    assert (done.status, done.out) == (0, f"acme is served by {other}\n")
    assert other != first
    wait_well(asked)
    done = asked("switch", "acme", "--to", first, "--json")
    assert json.loads(done.out) == {"pool": "acme", "serving": first}


def test_force_asks_first(asked):
    """A no changes nothing; --yes is for scripts."""
    before = pool(asked)
    done = asked("switch", "acme", "--force", answer="n\n")
    assert done.status == 1
    assert "seats may be granted twice" in done.out
    assert pool(asked)["epoch"] == before["epoch"]
    assert asked("switch", "acme", "--to", before["serving"], "--force", "--yes").status == 0


def test_a_slip_in_a_name_is_told(asked):
    """With the nearest that there is."""
    assert asked("switch", "acne").err == "lsproxy has no pool 'acne', did you mean acme?\n"
    assert asked("maint", "acme", "lic-x").err.startswith("pool acme has no backend 'lic-x', did you mean lic-")


def test_drain_switches_away_and_needs_a_standby(asked):
    """The second is refused, for want of another."""
    first = pool(asked)["serving"]
    done = asked("drain", "acme", first)
    assert done.status == 0
    other = pool(asked)["serving"]
    assert other != first
    assert done.out == f"{first} is set to drain; acme is served by {other}\n"
    done = asked("drain", "acme", other)
    assert (done.status, done.out) == (1, "")
    assert "has nothing to switch to" in done.err


def test_maint_is_at_once_and_ready_ends_it(asked):
    """The other takes over; with both in maint the pool is unserved, and status says so by 1."""
    first = pool(asked)["serving"]
    other = "lic-b" if first == "lic-a" else "lic-a"
    assert asked("maint", "acme", first).out == f"{first} is set to maint; acme is served by {other}\n"
    assert asked("maint", "acme", other).out == f"{other} is set to maint; acme is not served\n"
    done = asked("status")
    assert done.status == 1
    assert "NOT SERVED" in done.out
    assert "lic-a is in maint" in done.out
    assert asked("ready", "acme", other).status == 0
    wait_for(lambda: pool(asked)["serving"] == other, f"{other} serves again")


def test_what_a_restart_would_forget_is_said(asked, system):
    """It is done, the status is 0; standard error and `lsproxy status` say why it could not be written down."""
    standby = next(name for name in system.servers if name != pool(asked)["serving"])
    with closing(sqlite3.connect(system.folder / "lsproxy.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        done = asked("maint", "acme", standby)
        assert done.status == 0
        assert done.err.startswith("warning: what was decided last would be forgotten at a restart: ")
        assert "! what was decided last would be forgotten" in asked("status").out
    done = asked("ready", "acme", standby)
    assert (done.status, done.err) == (0, "")


def test_a_seat_is_taken_back_from_its_holder(asked, system):
    """The number stands in usage; a number nobody has is said."""
    keeper = system.keeper()
    seat = keeper.ask("checkout", feature="cad")["seat"]
    done = asked("remove", "acme", seat)
    assert (done.status, done.out) == (0, f"seat {seat} of acme is taken back\n")
    done = asked("remove", "acme", seat)
    assert done.status == 1
    assert "nobody holds" in done.err


def test_a_license_is_put_in_force_everywhere(asked, system, tmp_path):
    """More seats, at once; a forged one is refused line by line."""
    new = tmp_path / "new.lic"
    new.write_text(system.license_text({"cad": 12, "mesh": 3}))
    done = asked("license", "acme", "install", new)
    assert done.status == 0, done.err
    assert system.usage()["cad"]["issued"] == 12
    new.write_text(new.read_text().replace(" 12 ", " 99 "))
    done = asked("license", "acme", "install", new)
    assert done.status == 1
    assert "the new license:3: cad is not served: its signature is not that of vendor acme" in done.err
    assert asked("license", "acme", "install", tmp_path / "none.lic").status == 2


def test_a_license_that_grants_less_is_done_and_said(asked, system, tmp_path):
    """Fewer seats than are in use, and none at all any more: the status is 0, standard error has the warning."""
    former = tmp_path / "former.lic"
    former.write_text(system.license_text({"cad": 12, "mesh": 3}))
    keeper = system.keeper()
    for _ in range(2):
        keeper.ask("checkout", feature="cad")
    new = tmp_path / "new.lic"
    new.write_text(system.license_text({"cad": 1, "mesh": 3}))
    done = asked("license", "acme", "install", new)
    assert done.status == 0, done.err
    assert "warning: cad: 2 seats are in use, and the new license grants 1: nobody loses one" in done.err
    assert "is in force on" in done.out
    done = asked("license", "acme", "install", former)
    assert (done.status, done.err) == (0, "")


def test_events_tell_what_happened(asked):
    """Oldest first, as text or as JSON lines."""
    asked("switch", "acme")
    events = [json.loads(line) for line in asked("events", "--json").out.splitlines()]
    assert "takeover" in {event["event"] for event in events}
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    assert "acme: lic-" in asked("events").out


def test_events_are_followed(asked, system):
    """What happens appears while it happens; Ctrl-C ends it quietly."""
    command = [str(COMMANDS / "lsproxy"), "events", "--follow", "--admin", f"unix:{system.folder / 'admin.sock'}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout.readline()
        asked("maint", "acme", "lic-b")
        line = ""
        while "lic-b is set to maint" not in line:
            line = following.stdout.readline()
            assert line
        following.send_signal(signal.SIGINT)
        _, said = following.communicate(timeout=10)
    assert "Traceback" not in said


def test_status_is_watched(system):
    """A picture a second, until it is ended."""
    command = [str(COMMANDS / "lsproxy"), "status", "--watch", "--json", "--admin"]
    with subprocess.Popen([*command, f"unix:{system.folder / 'admin.sock'}"], stdout=subprocess.PIPE) as watching:
        for _ in range(2):
            assert json.loads(watching.stdout.readline())["pools"][0]["pool"] == "acme"
        watching.terminate()


def test_reload_says_what_changed(asked, system):
    """Or that nothing did; what is wrong stays outside, with its line."""
    path = system.folder / "lsproxy.yaml"
    good = path.read_text()
    assert asked("reload").out == "read again, no changes of the configuration\n"
    tree = json.loads(good)
    tree["pools"]["acme"]["failback"] = "manual"
    path.write_text(json.dumps(tree))
    assert asked("reload").out == "pools.acme.failback: changed\n"
    tree["pools"]["acme"]["failbck"] = "manual"
    path.write_text(json.dumps(tree))
    done = asked("reload")
    assert done.status == 1
    assert "the old configuration goes on" in done.err
    assert "did you mean failback?" in done.err
    path.write_text(good)
    assert asked("reload").status == 0
