"""Clients that die, that do not read, that come late."""

import json
import secrets
import socket
import subprocess
import sys
from contextlib import ExitStack

from tests.faults.caller import Caller
from tests.faults.process import wait_for
from tests.faults.witness import Load

DEAF = 2
MOST_GROWTH_BYTES = DEAF * 32 * 1024 * 1024

DYING_CLIENT = """
import os, signal, socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
connection.sendall(sys.stdin.buffer.read())
if sys.argv[3] == "answered":
    heard = b""
    while heard.count(b'"ok":true') < 3:
        heard += connection.recv(65536)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_clients_killed_in_a_checkout(make_system):
    """
    What a killed client held is held for its resume window and free after it;
    its place in the queue goes the same way.
    """
    system = make_system(ttl=1.0, heartbeat=0.5, resume=2.6, has_proxy=True)
    path = system.folder / "lsproxy.yaml"
    tree = json.loads(path.read_text())
    tree["pools"]["acme"]["hold"] = 0.5  # less than the trust that is left
    path.write_text(json.dumps(tree))
    system.start()
    keeper, patient = system.keeper(), system.keeper("patient")
    mesh = keeper.checkout("mesh", count=3)
    doors = ["proxy", system.wait_active()[0]]
    for door in doors:
        for when in ("answered", "unanswered"):
            _die(system, system.addresses[door], when)
    wait_for(lambda: _states(system, "cad") == {"detached"}, "all deaths are noticed")
    assert keeper.ask("checkin", handle=mesh["handle"])["ok"]
    patient.checkout("mesh", count=3, wait=60)
    wait_for(lambda: system.usage()["cad"]["in_use"] == 0, "the seats of the dead are free")
    usage = system.usage()["mesh"]
    assert (usage["queued"], usage["in_use"]) == (0, 3)


def test_clients_that_never_read(system):
    """Clients that ask without reading are read from no more, cost bounded memory, and hinder nobody."""
    active, _ = system.wait_active()
    children = [system.servers[active], *([system.proxy] if system.proxy else [])]
    sizes = [child.resident_bytes() for child in children]
    with ExitStack() as stack, Load(system, seed=40) as load:
        for _ in range(DEAF):
            _fill(stack.enter_context(_deaf_client(system)))
        load.wait_for_grants(50)
        for child, size in zip(children, sizes, strict=True):
            assert child.resident_bytes() - size < MOST_GROWTH_BYTES


def test_an_old_connection_after_a_newer_one(system):
    """A hello of an earlier attempt is superseded whenever it comes, also after a failover; the newest stays."""
    session = secrets.token_hex(16)
    system.secrets.add(session)
    with _caller(system) as late, _caller(system) as first, _caller(system) as second:
        assert not first.hello(session, 1)["resumed"]
        seat = first.ask("checkout", feature="cad")
        assert second.hello(session, 3, id=10)["held"] == [seat["handle"]]
        assert first.hear_all()[-1]["event"] == "superseded"
        assert late.hello(session, 2, id=20)["error"] == "superseded"
        assert late.hear_all() == []
        assert second.ask("heartbeat")["seats"] == 1
    active, epoch = system.wait_active()
    system.servers[active].kill()
    system.wait_active(after_epoch=epoch)
    with _caller(system) as old, _caller(system) as newest:
        assert old.hello(session, 2, id=30)["error"] == "superseded"
        assert newest.hello(session, 4, id=40)["held"] == [seat["handle"]]
        with _caller(system) as older:
            assert older.hello(session, 3, id=50)["error"] == "superseded"
        assert newest.ask("heartbeat")["seats"] == 1


def test_requests_on_a_superseded_connection(system):
    """Nothing that arrives on a connection after it was superseded is decided."""
    session = secrets.token_hex(16)
    system.secrets.add(session)
    with _caller(system) as first, _caller(system) as second:
        first.hello(session, 1)
        seat = first.ask("checkout", feature="cad")
        second.hello(session, 2, id=10)
        first.write(b'{"id":11,"op":"checkin","handle":%d}\n{"id":12,"op":"bye"}\n' % seat["handle"])
        first.hear_all()
        assert second.ask("heartbeat")["seats"] == 1


def _caller(system):
    """A connection to where sessions are served now."""
    active, _ = system.wait_active()
    return Caller(system.addresses["proxy" if system.proxy else active])


def _states(system, feature):
    return {holder["state"] for holder in system.usage()[feature]["holders"]}


def _die(system, address, when):
    session = secrets.token_hex(16)
    system.secrets.add(session)
    requests = [
        {"id": 1, "op": "hello", "protocol": "seat/1", "session": session, "attempt": 1, "user": "mortal", "host": "h"},
        {"id": 2, "op": "checkout", "feature": "cad", "count": 2},
        {"id": 3, "op": "checkout", "feature": "cad"},
        {"id": 4, "op": "checkout", "feature": "mesh", "count": 3, "wait": 60},
    ]
    subprocess.run(
        [sys.executable, "-c", DYING_CLIENT, address[0], str(address[1]), when],
        input=b"".join(json.dumps(request).encode() + b"\n" for request in requests),
        timeout=30,
        check=False,
    )


def _deaf_client(system):
    caller = _caller(system)
    session = secrets.token_hex(16)
    system.secrets.add(session)
    caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    assert caller.hello(session)["ok"]
    return caller.socket


def _fill(connection):
    """Ask for usage and never read, until nothing more is taken or the connection ends."""
    connection.settimeout(0.5)
    requests = b"".join(b'{"id":%d,"op":"usage"}\n' % number for number in range(100, 1000))
    try:
        for _ in range(3000):
            connection.sendall(requests)
    except OSError:
        return
    raise AssertionError("60 MB of requests were taken from a client that does not read")
