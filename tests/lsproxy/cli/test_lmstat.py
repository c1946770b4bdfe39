"""`lsproxy lmstat` and `lsproxy-lmutil` against real license servers, directly and through lsproxy."""

import re
import subprocess
import sys
import time
from datetime import datetime

import pytest

from tests.faults.process import wait_for
from tests.faults.system import free_port
from tests.lsproxy.cli.conftest import lsproxy
from tests.lsproxy.lmstat.test_text import read_by_layout, read_by_word

LMUTIL = [sys.executable, "-c", "from lsproxy.cli.lmstat import lmutil; lmutil()"]


def port_at_host(address):
    host, port = address
    return f"{port}@{host}"


@pytest.fixture
def keepers(system):
    """Alice has 5 seats of cad and 1 of mesh, bob waits for mesh."""
    alice, bob = system.keeper("alice"), system.keeper("bob")
    alice.checkout("cad", count=5, version="2026.1")
    alice.checkout("mesh", count=3)
    bob.connect()
    bob.line.send("checkout", id=bob.last_id + 1, feature="mesh", wait=60)
    while not any(event["event"] == "queued" for event in bob.line.events):
        bob.line.hear()
    yield
    for keeper in (alice, bob):
        keeper.line.ask("bye", id=keeper.last_id + 9)


@pytest.mark.usefixtures("keepers")
def test_everything_of_a_running_system(system):
    """Asked at lsproxy, at the active server or at a standby, it says the same but for the time; both readers agree."""
    for name in system.servers:
        wait_for(lambda name=name: len(system.status(name)["members"]) == 2, f"{name} knows both")
    printed = []
    for name in ("proxy", *system.servers):
        done = lsproxy("lmstat", "-a", "-c", port_at_host(system.addresses[name]))
        assert (done.status, done.err) == (0, "")
        printed.append(done.out.partition("\n\n")[2])
    assert len(set(printed)) == 1
    up, features = read_by_layout(printed[0])
    assert (up, features) == read_by_word(printed[0])
    assert up == {"lic-a", "lic-b"}
    assert features["cad"] == {"issued": system.usage()["cad"]["issued"], "used": 5, "held": {"alice": 5}, "queued": {}}
    assert features["mesh"]["queued"] == {"bob": 1}
    active, _ = system.wait_active()
    assert f"{active}: license server UP (MASTER) v11.19.6\n" in printed[0]
    assert "\n     acme: UP v11.19.6\n" in printed[0]
    (line,) = [line for line in printed[0].splitlines() if "alice" in line and "(v2026.1)" in line]
    seat = system.usage()["cad"]["holders"][0]["seat"]
    now = datetime.now().astimezone()
    assert f"(v2026.1) ({active}/{system.addresses[active][1]} {seat}), start {now:%a} {now.month}/{now.day} " in line


@pytest.mark.usefixtures("keepers")
def test_what_is_left_out(system):
    """Without -a nobody's seats; with -f only those of one feature; with -i a table."""
    where = ("-c", port_at_host(system.addresses["proxy"]))
    assert "Users of" not in lsproxy("lmstat", *where).out
    assert re.findall("Users of (.*):", lsproxy("lmstat", "-f", "cad", *where).out) == ["cad"]
    rows = [line.split() for line in lsproxy("lmstat", "-i", *where).out.splitlines()[3:]]
    assert rows[0] == ["Feature", "Version", "#licenses", "Expires", "Vendor"]
    assert rows[-1] == ["mesh", "2027.0", "3", "permanent", "acme"]
    done = lsproxy("lmstat", "-f", "none", *where)
    assert done.status == 251
    assert "No such feature exists. (-5,357)" in done.out


def test_a_dead_server_in_the_list_costs_no_time(system):
    """Separated by comma or semicolon, from the command line or the environment."""
    dead, alive = port_at_host(("127.0.0.1", free_port())), port_at_host(system.addresses["proxy"])
    begun = time.monotonic()
    assert lsproxy("lmstat", "-a", "-c", f"{dead},{alive}").status == 0
    assert lsproxy("lmstat", "-a", LSPROXY_LICENSE=f"{dead};{alive}").status == 0
    assert time.monotonic() - begun < 2


def test_nobody_there_is_an_exit_status():
    """241 and 160, with the sentence that tools look for."""
    done = lsproxy("lmstat", "-a", "-c", f"{free_port()}@127.0.0.1")
    assert done.status == 241
    assert "Error getting status: Cannot connect to license server system. (-15,570:115 " in done.out
    done = lsproxy("lmstat", "-a", "-c", "27000@no-such-host.invalid")
    assert done.status == 160
    assert "(-96,7)" in done.out


def test_a_slip_is_one_sentence():
    """Exit status 2."""
    done = lsproxy("lmstat", "-a")
    assert (done.status, done.err) == (2, "which server? -c PORT@HOST, or LSPROXY_LICENSE in the environment\n")
    done = lsproxy("lmstat", "-c", "27000")
    assert done.status == 2
    assert done.err.startswith('-c: "27000"')
    done = lsproxy("lmstat", "-c", "27000@localhost", "--ca", "/none.pem")
    assert (done.status, done.err) == (
        2,
        "--ca: /none.pem cannot be used as a CA's certificate: No such file or directory\n",
    )


def test_the_program_that_tools_start(system):
    """`lmutil lmstat …` and `lmutil -v`, in its place."""

    def lmutil(*arguments):
        return subprocess.run([*LMUTIL, *arguments], capture_output=True, text=True, timeout=30, check=False)

    for arguments in (["-v"], ["lmstat", "-v"]):
        assert lmutil(*arguments).stdout == "lmstat v11.19.6 build 1 x64_lsb\n"
    done = lmutil("lmstat", "-c", port_at_host(system.addresses["proxy"]), "-a")
    assert done.returncode == 0
    assert "Users of cad:  (Total of " in done.stdout
    assert lmutil("lmstat", "-c", f"{free_port()}@127.0.0.1").returncode == 241
    done = lmutil("lmhostid")
    assert done.returncode == 2
    assert "lmhostid" in done.stderr
