"""`licserver serve` as a real process: how it starts, is told things by signals, and ends."""

import json
import resource
import signal
import socket
import sqlite3

import pytest

from tests.faults.process import wait_for
from tests.faults.system import System


@pytest.fixture
def system(tmp_path):
    made = System(tmp_path, names=["lic-a"])
    yield made
    faults = made.faults_in_logs()
    made.end()
    assert not faults, faults


@pytest.fixture
def running(system):
    system.create_journal()
    system.start_server("lic-a")
    system.wait_active()
    return system


def refusal(system, name="lic-a"):
    """How a server that must not serve ends: its exit status and last sentence."""
    child = system.servers[name]
    child.start()
    return child.wait(20), child.log.strip().splitlines()[-1]


def lines_of(address):
    connection = socket.create_connection(address, timeout=10)
    return connection, connection.makefile("rwb")


def test_no_journal(system):
    """Without a journal a server does not start, makes none, and names the command that does."""
    status, sentence = refusal(system)
    assert status == 2
    assert "licserver init" in sentence
    assert not system.journal.exists()


def test_port_taken(system):
    """A taken port is one sentence with the address in it."""
    system.create_journal()
    host, port = system.addresses["lic-a"]
    with socket.socket() as other:
        other.bind((host, port))
        other.listen()
        status, sentence = refusal(system)
    assert status == 2
    assert f"cannot listen on {host}:{port}: the address is in use" in sentence
    with sqlite3.connect(system.journal) as journal:
        assert journal.execute("SELECT count(*) FROM members").fetchone() == (0,)


@pytest.mark.parametrize("how", ["missing", "open to all"])
def test_token(system, how):
    """A token file that is not there, or not secret, is said to be that; no token stands in the sentence."""
    system.create_journal()
    token = system.folder / "operator.token"
    if how == "missing":
        token.unlink()
    else:
        token.chmod(0o644)
    status, sentence = refusal(system)
    assert status == 2
    assert "operator.token" in sentence
    assert system.token not in sentence


def test_single_beside_another(running):
    """The scheme `single` does not start beside another server of the name."""
    running.add_server("lic-b")
    running.configure("lic-b", redundancy="single")
    status, sentence = refusal(running, "lic-b")
    assert status == 2
    assert "redundancy: duplicate" in sentence


def test_broken_state_file(system):
    """A damaged state file is said to be that, with the command that makes a new one."""
    system.create_journal()
    (system.folder / "lic-a.state").write_text("{")
    status, sentence = refusal(system)
    assert status == 2
    assert "licserver journal accept" in sentence


def test_state_that_cannot_be_written(running):
    """A state file that cannot be written later is said in the log, and seats are served."""
    state = running.folder / "lic-a.state"
    wait_for(state.exists, "the epoch is remembered")
    child = running.servers["lic-a"]
    child.kill()
    state.unlink()
    blocking = state.with_name(".lic-a.state.new")
    blocking.mkdir()
    running.start_server("lic-a")
    running.wait_active(1)
    wait_for(lambda: "cannot be written" in child.log, "the log says so")
    connection, lines = lines_of(running.addresses["lic-a"])
    with connection, lines:
        lines.write(b'{"id":1,"op":"usage"}\n')
        lines.flush()
        assert json.loads(lines.readline())["ok"]


def test_hangup_rereads(running):
    """SIGHUP puts a renewed license file in force; a broken one leaves the old in force, said in the log."""
    child = running.servers["lic-a"]
    running.license_file.write_text(running.license_text({"cad": 20}))
    child.signal(signal.SIGHUP)
    wait_for(lambda: running.usage()["cad"]["issued"] == 20, "the new file is in force")
    running.license_file.write_text(running.license_text({"cad": 30}).replace(" 30 ", " 31 "))
    child.signal(signal.SIGHUP)
    wait_for(lambda: "the license in force stays" in child.log, "the log says so")
    assert running.usage()["cad"]["issued"] == 20


def test_clean_end(running):
    """SIGTERM: clients hear it and get an end, not a reset; the name is given up, the list left, the status 0."""
    child = running.servers["lic-a"]
    connection, lines = lines_of(running.addresses["lic-a"])
    with connection, lines:
        hello = {
            "id": 1,
            "op": "hello",
            "protocol": "seat/1",
            "session": "a" * 32,
            "attempt": 1,
            "user": "u",
            "host": "h",
        }
        lines.write(json.dumps(hello).encode() + b'\n{"id":2,"op":"checkout","feature":"cad"}\n')
        lines.flush()
        assert [json.loads(lines.readline())["ok"] for _ in range(2)] == [True, True]
        child.signal(signal.SIGTERM)
        child.signal(signal.SIGTERM)
        assert json.loads(lines.readline()) == {"event": "standing_down", "active": None}
        assert lines.readline() == b""
    assert child.wait(5) == 0
    with sqlite3.connect(running.journal) as journal:
        assert journal.execute("SELECT count(*) FROM members").fetchone() == (0,)
    running.start_server("lic-a")
    _, epoch = running.wait_active()
    assert epoch == 2
    assert running.usage()["cad"]["in_use"] == 1


def test_behind_a_proxy_on_one_host(system):
    """Servers that want a header from this host still hear each other and their operator: nobody is taken for dead."""
    system.add_server("lic-b")
    for name, (host, port) in system.addresses.items():
        listen = {"address": f"{host}:{port}", "accept_proxy_protocol": ["127.0.0.0/8"]}
        system.configure(name, listen=listen)
    system.create_journal()

    def is_in_role(name, role):
        return f"{name} of acme-licenses: {role}" in system.licserver("status", name).stdout

    for name, role in (("lic-a", "active"), ("lic-b", "standby")):
        system.servers[name].start()
        wait_for(lambda name=name, role=role: is_in_role(name, role), f"{name} is {role}")
    assert system.status("lic-a") is None
    asked = system.licserver("takeover", "lic-b")
    assert asked.returncode == 1
    assert "lic-a took the name" in asked.stderr
    assert "and answers" in asked.stderr
    assert is_in_role("lic-a", "active")
    assert "must begin with a header" in system.servers["lic-a"].log


def test_client_that_stays_does_not_hold_the_end_up(running):
    """A client that keeps its connection open delays the end by a second at most."""
    child = running.servers["lic-a"]
    with socket.create_connection(running.addresses["lic-a"], timeout=10):
        child.signal(signal.SIGTERM)
        assert child.wait(5) == 0


def test_descriptors(running):
    """A server may have as many connections open as the system lets it."""
    child = running.servers["lic-a"]
    assert resource.prlimit(child.pid, resource.RLIMIT_NOFILE)[0] == resource.getrlimit(resource.RLIMIT_NOFILE)[1]
