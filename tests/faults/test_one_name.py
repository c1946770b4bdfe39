"""Two license servers that claim one name, and servers that must get no clients: what lsproxy serves, and says."""

import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing

import pytest

from tests.faults.operating import Operator
from tests.faults.process import wait_for
from tests.faults.system import COMMANDS

HOLD_SECONDS = 1.0
QUICK_SECONDS = 2.5
CANNOT_CONNECT = 241
VENDOR_DOWN = 159


@pytest.fixture
def operator(make_system):
    """The operator of two servers of one name, each on a journal of its own; nothing runs yet."""
    system = make_system(has_proxy=True)
    system.create_journal("lic-a")
    system.configure("lic-b", journal=f"sqlite://{system.folder / 'other.db'}")
    system.create_journal("lic-b")
    operator = Operator(system)
    operator.edit(hold=HOLD_SECONDS)
    return operator


@pytest.fixture
def pair(make_system):
    """The operator of a pair on one journal, which runs, and lsproxy before it."""
    operator = Operator(make_system(has_proxy=True).start())
    for name in operator.system.servers:
        operator.wait(lambda pool, name=name: health(pool, name) == "up", f"{name} is up")
    return operator


def health(pool, name):
    return next(backend["health"] for backend in pool["backends"] if backend["name"] == name)


def events(operator):
    """What was said so far: pairs of an event's name and its sentence."""
    return operator.do("events")


def other_than(operator, name):
    return next(one for one in operator.system.servers if one != name)


# --- two journals -------------------------------------------------------------


def test_of_two_journals_the_one_served_stays_served(operator):
    """The other's claim is said in the log, in the events and by the status and its exit, until it ends."""
    system = operator.system
    system.start_server("lic-a")
    operator.start()
    operator.wait_serving("lic-a")
    keeper = system.keeper()
    keeper.checkout("cad")
    assert operator.ask("status").returncode == 0
    system.start_server("lic-b")
    journal = system.status("lic-b")["journal"]
    pool = operator.wait(lambda pool: pool["conflicts"], "the conflict is seen")
    assert pool["serving"] == "lic-a"
    assert f"lic-b is active on journal {journal}" in pool["conflicts"][0]
    done = operator.ask("status")
    assert done.returncode == 1
    assert f"lic-b is active on journal {journal}" in done.stdout
    assert f"lic-b is active on journal {journal}" in system.proxy.log
    assert " conflict " in events(operator)
    keeper.assert_keeps()
    with pytest.raises(AssertionError, match="not within"):
        wait_for(lambda: operator.pool()["serving"] != "lic-a", "another is served", 1)
    system.servers["lic-b"].kill()
    operator.wait(lambda pool: not pool["conflicts"], "the conflict is over")
    assert operator.ask("status").returncode == 0
    keeper.assert_keeps()


def test_of_two_journals_none_is_served_until_an_operator_decides(operator):
    """Then the one decided for is, from the first client on, and also after a restart of lsproxy."""
    system = operator.system
    for name in system.servers:
        system.start_server(name)
    operator.start()
    pool = operator.wait(lambda pool: pool["conflicts"], "the conflict is seen")
    operator.wait(lambda pool: health(pool, "lic-a") == health(pool, "lic-b") == "up", "both are up")
    assert pool["serving"] is None
    assert operator.ask("status").returncode == 1
    assert "several servers are active under one name" in system.proxy.log
    with pytest.raises(AssertionError, match="no_backend"):
        system.keeper().connect(2 * HOLD_SECONDS)
    assert operator.pool()["serving"] is None
    operator.do("switch", "acme", "--to", "lic-b", "--force", "--yes")
    assert operator.pool()["serving"] == "lic-b"
    keeper = system.keeper()
    keeper.checkout("mesh")
    assert keeper.welcome["backend"] == "lic-b"
    system.proxy.kill()
    operator.start()
    pool = operator.wait_serving("lic-b")
    assert operator.wait(lambda pool: pool["conflicts"], "lic-a still claims the name")["serving"] == "lic-b"
    keeper.assert_keeps()
    system.servers["lic-a"].kill()
    operator.wait(lambda pool: not pool["conflicts"], "the conflict is over")
    assert operator.ask("status").returncode == 0


# --- one journal --------------------------------------------------------------


def test_a_holder_that_was_stopped_does_not_come_back(pair):
    """Continued, it is dead or stands by; the higher epoch is served, and nothing is in dispute."""
    system = pair.system
    keeper = system.keeper()
    keeper.checkout("cad")
    first, epoch = system.wait_active()
    second = other_than(pair, first)
    system.servers[first].signal(signal.SIGSTOP)
    pool = pair.wait_serving(second)
    system.servers[first].signal(signal.SIGCONT)
    wait_for(
        lambda: not system.servers[first].is_running or (system.status(first) or {}).get("role") == "standby",
        f"{first} is out",
    )
    keeper.assert_keeps()
    pool = pair.wait(lambda pool: pool["epoch"] > epoch, "the higher epoch is followed")
    assert (pool["serving"], pool["conflicts"]) == (second, [])
    assert pair.ask("status").returncode == 0


def test_of_two_copies_of_one_journal_the_higher_epoch_is_served(make_system):
    """The one behind is said to run on a copy; with both at one epoch, nobody is served."""
    system = make_system(has_proxy=True)
    operator = Operator(system)
    operator.edit(hold=HOLD_SECONDS)
    system.create_journal()
    clone = system.folder / "clone.db"
    shutil.copy(system.journal, clone)
    with closing(sqlite3.connect(clone)) as connection, connection:
        # A plain copy is refused by its inode; a clone of the whole disk has the same one.
        connection.execute("UPDATE place SET inode = ?", (clone.stat().st_ino,))
    system.configure("lic-b", journal=f"sqlite://{clone}")
    for name in system.servers:
        system.start_server(name)
    operator.start()
    pool = operator.wait(lambda pool: pool["conflicts"], "the conflict is seen")
    assert pool["serving"] is None
    assert "so their journals are copies of each other" in pool["conflicts"][0]
    system.servers["lic-b"].kill()
    operator.wait_serving("lic-a")
    system.start_server("lic-b")
    pool = operator.wait_serving("lic-b")
    keeper = system.keeper()
    keeper.checkout("cad")
    assert keeper.welcome["backend"] == "lic-b"
    pool = operator.pool()
    assert pool["epoch"] == system.status("lic-b")["epoch"] > system.status("lic-a")["epoch"]
    system.servers["lic-b"].kill()
    pool = operator.wait(lambda pool: pool["conflicts"] and pool["serving"] is None, "lic-a is behind, not served")
    assert "it runs on a copy or an old backup" in pool["conflicts"][0]


# --- binding ------------------------------------------------------------------


@pytest.mark.root
def test_a_server_on_a_host_that_the_license_does_not_name(make_system):
    """It stands by, and gets no clients when the other dies; the status says why."""
    system = make_system(names=["lic-a"], has_proxy=True)
    operator = Operator(system)
    system.create_journal()
    system.start_server("lic-a")
    foreign = system.folder / "foreign.lic"
    foreign.write_text(system.license_text(system.features, "HOSTNAME=elsewhere"))
    system.add_server("lic-x", host_name="elsewhere")
    system.configure("lic-x", license_file=str(foreign))
    ports = {name: system.addresses[name][1] for name in ("lic-x", "lic-a")}
    operator.edit(hold=HOLD_SECONDS, backends={name: {"address": f"127.0.0.1:{port}"} for name, port in ports.items()})
    system.start_server("lic-x")
    operator.start()
    operator.wait_serving("lic-a")
    operator.wait(lambda pool: health(pool, "lic-x") == "up", "lic-x is up")
    shown = operator.do("status")
    assert "lic-x: unbound, " in shown
    assert "elsewhere" in shown
    assert "lic-x gets no clients: not bound: " in system.proxy.log
    done = operator.ask("switch", "acme", "--to", "lic-x")
    assert done.returncode == 1
    assert "not bound" in done.stderr
    system.servers["lic-a"].kill()
    pool = operator.wait(lambda pool: pool["serving"] is None, "nobody is served")
    with pytest.raises(AssertionError, match="no_backend"):
        system.keeper().connect(2 * HOLD_SECONDS)
    pool = operator.pool()
    assert pool["serving"] is None
    assert "lic-x is kept out (not bound: " in pool["reason"]
    assert operator.backend("lic-x")["connections"] == 0
    wait_for(lambda: _lmstat(system, "lic-x").returncode == VENDOR_DOWN, "the vendor is down at lic-x")
    assert "     acme: The desired vendor daemon is down. (-97,121)\n" in _lmstat(system, "lic-x").stdout
    begun = time.monotonic()
    assert _lmstat(system, "proxy").returncode == CANNOT_CONNECT
    assert time.monotonic() - begun < QUICK_SECONDS
    system.start_server("lic-a")
    operator.wait_serving("lic-a")


def test_a_forged_license_file_at_the_proxy(make_system):
    """Nobody is served by it: the seats it promises are nobody's."""
    system = make_system(has_proxy=True)
    operator = Operator(system)
    forged = system.folder / "forged.lic"
    forged.write_text(system.license_text({"cad": 10}).replace("permanent 10", "permanent 99"))
    operator.edit(hold=HOLD_SECONDS, license_file=str(forged))
    system.create_journal()
    for name in system.servers:
        system.start_server(name)
    operator.start()
    pool = operator.wait(lambda pool: health(pool, "lic-a") == health(pool, "lic-b") == "up", "both are up")
    assert pool["serving"] is None
    assert {backend["binding"] for backend in pool["backends"]} == {"unbound"}
    done = operator.ask("status")
    assert done.returncode == 1
    assert f"{forged}:3: cad is not served: its signature is not that of vendor acme" in done.stdout
    with pytest.raises(AssertionError, match="no_backend"):
        system.keeper().connect(2 * HOLD_SECONDS)
    forged.write_text(system.license_text(system.features))
    assert "read again" in operator.do("reload")
    operator.wait(lambda pool: pool["serving"], "a good file is served")
    system.keeper().checkout("cad")


def test_a_license_file_that_differs(make_system):
    """The servers serve what they have, and the difference is said."""
    system = make_system(has_proxy=True)
    operator = Operator(system)
    newer = system.folder / "newer.lic"
    newer.write_text(system.license_text({"cad": 12, "mesh": 3}))
    operator.edit(license_file=str(newer))
    system.start()
    system.keeper().checkout("cad", count=10)
    operator.wait(lambda pool: all(backend["license_note"] for backend in pool["backends"]), "it is said of both")
    shown = operator.do("status")
    assert f"{newer} is sha256:" in shown
    assert "serves license sha256:" in shown
    assert " license_differs " in events(operator)


# --- what is remembered -------------------------------------------------------


def test_what_lsproxy_remembers(pair):
    """Killed and started again it has the chosen backend, the admin states, the journal and its epoch."""
    first = pair.pool()["serving"]
    second = other_than(pair, first)
    keeper = pair.system.keeper()
    keeper.checkout("cad")
    pair.do("switch", "acme", "--to", second)
    pair.wait_standby(first)
    pair.do("drain", "acme", first)
    before = pair.pool()
    pair.system.proxy.kill()
    pair.start()
    after = pair.wait_serving(second)
    assert (after["journal"], after["epoch"]) == (before["journal"], before["epoch"])
    assert {one["name"]: one["admin"] for one in after["backends"]} == {first: "drain", second: "ready"}
    keeper.assert_keeps()
    assert pair.system.status(second)["epoch"] == before["epoch"]


def test_a_fresh_journal_is_not_followed(pair):
    """A journal made anew has forgotten every seat: lsproxy, started again too, serves it only by force."""
    system = pair.system
    remembered = pair.pool()["journal"]
    pair.edit(hold=HOLD_SECONDS)
    for child in (system.proxy, *system.servers.values()):
        child.kill()
    for name in system.servers:
        (system.folder / f"{name}.state").unlink()
        system.configure(name, journal=f"sqlite://{system.folder / 'fresh.db'}")
    system.create_journal()
    for name in system.servers:
        system.start_server(name)
    fresh = system.status("lic-a")["journal"]
    pair.start()
    pool = pair.wait(lambda pool: pool["conflicts"], "the other journal is seen")
    assert pool["serving"] is None
    assert pool["journal"] == remembered
    sentence = f"lic-a is active on journal {fresh}, this pool follows journal {remembered}"
    assert sentence in pair.ask("status").stdout
    assert sentence in system.proxy.log
    done = pair.ask("switch", "acme", "--to", "lic-a")
    assert done.returncode == 1
    with pytest.raises(AssertionError, match="no_backend"):
        system.keeper().connect(2 * HOLD_SECONDS)
    pair.do("switch", "acme", "--to", "lic-a", "--force", "--yes")
    assert pair.ask("status").returncode == 0
    system.keeper().checkout("cad")


# --- who comes back -----------------------------------------------------------


def test_automatic_failback(make_system):
    """The first in order is served again after it stood by for a while, and no seat is lost on the way."""
    operator = _with_failback(make_system, failback="automatic", failback_after=1.0)
    keeper = operator.system.keeper()
    keeper.checkout("cad")
    _lose_and_return(operator)
    operator.wait_serving("lic-a")
    keeper.assert_keeps()
    assert operator.ask("status").returncode == 0


def test_sticky_failback(make_system):
    """The one that returned stands by."""
    operator = _with_failback(make_system, failback="sticky", failback_after=0.5)
    _lose_and_return(operator)
    with pytest.raises(AssertionError, match="not within"):
        wait_for(lambda: operator.pool()["serving"] != "lic-b", "another is served", 1.5)


def test_manual_failback(make_system):
    """The one that returned stays out, also for an operator's switch, until it is said to be ready."""
    operator = _with_failback(make_system, failback="manual")
    _lose_and_return(operator)
    assert operator.backend("lic-a")["is_kept_out"]
    done = operator.ask("switch", "acme", "--to", "lic-a")
    assert done.returncode == 1
    assert "kept out until `lsproxy ready`" in done.stderr
    done = operator.ask("drain", "acme", "lic-b")
    assert done.returncode == 1
    assert "has nothing to switch to" in done.stderr
    operator.do("ready", "acme", "lic-a")
    assert operator.pool()["serving"] == "lic-b"
    assert operator.do("drain", "acme", "lic-b") == "lic-b is set to drain; acme is served by lic-a\n"


def _lmstat(system, name):
    host, port = system.addresses[name]
    command = [str(COMMANDS / "lsproxy"), "lmstat", "-a", "-c", f"{port}@{host}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def _with_failback(make_system, **changes):
    operator = Operator(make_system(has_proxy=True))
    operator.edit(**changes)
    operator.system.start()
    operator.wait_serving("lic-a")
    operator.wait_standby("lic-b")
    return operator


def _lose_and_return(operator):
    system = operator.system
    system.servers["lic-a"].kill()
    operator.wait_serving("lic-b")
    system.servers["lic-a"].start()
    operator.wait(lambda pool: health(pool, "lic-a") == "up", "lic-a is back")
