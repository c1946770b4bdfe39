"""Bytes that nobody should send, on every port."""

import json
import resource
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsproxy.seat.lines import REQUEST_LIMIT
from tests.faults.caller import Caller
from tests.faults.process import PATIENCE_SECONDS, wait_for
from tests.faults.witness import Load

MOST_GROWTH_BYTES = 64 * 1024 * 1024
HALF_OPEN = 1000

FRAGMENTS = [
    b"\n",
    b"\r\n\r\n",
    b"\x00",
    b"\xff\xfe",
    b"[]\n",
    b"{}\n",
    b"null\n",
    b"[" * 20_000 + b"\n",
    b'{"id":1,"op":"status"}\n',
    b'{"id":2,"op":"usage","after":-1,"limit":1e400}\n',
    b'{"id":3,"op":"hello","protocol":"seat/1","session":"00","attempt":1,"user":"a","host":"b"}\n',
    b'{"id":3,"op":"hello","protocol":"seat/1","session":"' + b"0f" * 16 + b'","attempt":1,"user":"a","host":"b"}\n',
    b'{"id":3,"op":"hello","token":"\\u0000"}\n',
    b'{"id":9007199254740993,"op":"heartbeat"}\n',
    b'{"id":4,"id":5,"op":"heartbeat","op":"bye"}\n',
    b'{"id":6,"op":"checkout","feature":"\\ud800","count":1}\n',
    b'{"id":7,"op":"checkout","feature":"cad","count":1e9,"wait":-1}\n',
    b'{"id":8,"op":"checkout","feature":"cad","version":"' + b"9" * 5000 + b'"}\n',
    b'{"id":9,"op":"takeover","force":true}\n',
    b'{"id":10,"op":"stop"}\n',
    b'{"id":',
    b"GET /api/v1/pools HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PUT /api/v1/pools/acme/license HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]
BYTES = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=300)), min_size=1, max_size=12).map(b"".join)


@pytest.fixture
def guarded(make_system):
    """A running system with lsproxy; nothing in it may end, switch or grow."""
    system = make_system(has_proxy=True).start()
    before = system.wait_active()
    children = [*system.servers.values(), system.proxy]
    sizes = [child.resident_bytes() for child in children]
    yield system
    assert system.wait_active() == before
    for child, size in zip(children, sizes, strict=True):
        assert child.is_running
        assert child.resident_bytes() - size < MOST_GROWTH_BYTES


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=BYTES, port=st.sampled_from(["lic-a", "lic-b", "proxy", "admin"]))
def test_any_bytes(guarded, content, port):
    """Whatever is sent to whichever port, the connection ends and everybody else is served."""
    _send(guarded.addresses[port], content)
    with Caller(guarded.addresses[port if port != "admin" else "proxy"]) as caller:
        assert caller.ask("status")["ok"]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=BYTES)
def test_any_bytes_on_the_admin_socket(guarded, content):
    """Nor does the admin socket mind."""
    _send(str(guarded.folder / "admin.sock"), content)
    with Caller(guarded.addresses["proxy"]) as caller:
        assert caller.ask("status")["ok"]


@pytest.mark.parametrize("port", ["lic-a", "lic-b", "proxy"])
def test_the_longest_line(guarded, port):
    """A request of the greatest length is answered, a longer one is a bad request and ends the connection."""
    request = b'{"id":1,"op":"status"%s}'
    padding = REQUEST_LIMIT - len(request % b"")
    with Caller(guarded.addresses[port]) as caller:
        caller.write(request % (b" " * padding) + b"\n")
        assert caller.reply(1)["ok"]
        caller.write(request % (b" " * (padding + 1)) + b"\n")
        assert caller.reply(0)["error"] == "bad_request"
        assert caller.hear_all() == []


@pytest.mark.parametrize("port", ["lic-a", "proxy"])
def test_a_line_without_an_end(guarded, port):
    """Of megabytes without a line end nothing is kept, and the connection is closed however long they go on."""
    with Caller(guarded.addresses[port]) as caller, pytest.raises(ConnectionError):
        _pour(caller)


def test_ids_repeated_with_other_contents(system):
    """The id of a held or waiting checkout with other contents is a bad request, and changes nothing."""
    keeper = system.keeper()
    grant = keeper.checkout("cad", count=2)
    keeper.checkout("mesh", count=3)
    waiting = keeper.line.send("checkout", id=50, feature="mesh", count=1, wait=30)
    others = ({"feature": "cad", "count": 3}, {"feature": "mesh", "count": 2}, {"feature": "cad", "version": "1"})
    for other in others:
        refused = keeper.line.ask("checkout", id=grant["handle"], **{"count": 2, **other})
        assert refused["error"] == "bad_request", other
    refused = keeper.line.ask("checkout", id=waiting, feature="mesh", count=2, wait=30)
    assert refused["error"] == "bad_request"
    usage = system.usage()
    assert (usage["cad"]["in_use"], usage["mesh"]["in_use"], usage["mesh"]["queued"]) == (2, 3, 1)
    assert keeper.line.ask("checkin", handle=waiting)["ok"]
    assert keeper.line.reply(waiting)["error"] == "withdrawn"
    keeper.last_id = 60
    keeper.assert_keeps()


def test_half_open_hellos(system):
    """A thousand connections with half a hello are closed after a while; meanwhile and afterwards others are served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    active, _ = system.wait_active()
    door = system.proxy or system.servers[active]
    address = system.addresses["proxy" if system.proxy else active]
    before = door.descriptors()
    callers = []
    try:
        with Load(system, seed=30, clients=5) as load:
            for _ in range(HALF_OPEN):
                caller = Caller(address)
                caller.write(b'{"id":1,"op":"hello","protocol":"seat/1","sess')
                callers.append(caller)
            load.wait_for_grants()
            for caller in callers:
                assert {message["error"] for message in caller.hear_all()} <= {"hello_required"}
                caller.socket.close()
            load.wait_for_grants()
        wait_for(lambda: door.descriptors() < before + HALF_OPEN / 10, "the descriptors are given back")
    finally:
        for caller in callers:
            caller.socket.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _pour(caller):
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        caller.write(b"x" * 1_000_000)
        time.sleep(0.01)


def _send(address, content):
    """Send it all and close that half; read to the end, which must come. Replies are lines of JSON."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as connection:
        connection.settimeout(20)
        connection.connect(address)
        answer = b""
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            while arrived := connection.recv(65536):
                answer += arrived
        except ConnectionError:
            return
    if answer and not answer.startswith((b"HTTP/", b"\x15")):
        for line in answer.splitlines():
            json.loads(line)
