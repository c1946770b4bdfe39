"""Requests over real sockets: their limits, and answers that leave whatever happens."""

import socket
from collections import Counter

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from lsproxy.admin.events import Events
from lsproxy.admin.exchange import said
from lsproxy.admin.http import IDLE_SECONDS, MOST_AT_ONCE, MOST_CHUNKS, MOST_CONNECTIONS, MOST_OF_ONE, Site
from lsproxy.admin.limits import MOST_LICENSE_BYTES, most_bytes


def speak(port, *pieces, seconds=5):
    """Send raw bytes; all that comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has closed already
        received = b""
        try:
            while data := connection.recv(65536):
                received += data
        except OSError:
            pass
        return received


@pytest_twisted.ensureDeferred
async def test_every_answer_forbids_what_it_does_not_need(panel):
    """No caching, no framing, no sniffing, no referrer."""
    for path in ("/healthz", "/nothing", "/api/v1/pools"):
        headers = (await panel.ask("GET", path)).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest_twisted.ensureDeferred
async def test_head_has_the_headers_alone(panel):
    """As GET, without a body."""
    answer = await panel.ask("HEAD", "/healthz")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == "12"


@pytest_twisted.ensureDeferred
async def test_a_body_of_a_megabyte_is_taken_and_no_more(panel):
    """A license may be that long; beyond, the connection ends with 413, announced or not."""
    fitting = b"x" * 1024 * 1024
    assert (await panel.ask("PUT", "/api/v1/pools/demo/license", fitting, role="operator")).status == 409
    head = b"PUT /api/v1/pools/demo/license HTTP/1.1\r\nHost: localhost\r\n"
    said = await deferToThread(speak, panel.port, head + b"Content-Length: %d\r\n\r\n" % (2 * MOST_LICENSE_BYTES))
    assert said.startswith(b"HTTP/1.1 413 ")
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    said = await deferToThread(speak, panel.port, head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 20)
    assert said == b"" or said.startswith(b"HTTP/1.1 413 ")
    assert (await panel.ask("GET", "/healthz")).status == 200


@pytest_twisted.ensureDeferred
async def test_other_bodies_are_small(panel):
    """A megabyte for the license alone, 4 KiB for the login, which anybody may send."""
    assert most_bytes("POST", "/login") == 4096
    for method, path in (("POST", "/login"), ("POST", "/api/v1/reload"), ("GET", "/healthz"), ("POST", "/nothing")):
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n".encode()
        said = await deferToThread(speak, panel.port, head + b"Content-Length: 100000\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 413 "), path
    for path in ("/pools/demo/license", "/api/v1/pools/demo/license"):
        assert most_bytes("POST" if path.startswith("/pools") else "PUT", path) > MOST_LICENSE_BYTES


@pytest_twisted.ensureDeferred
async def test_a_body_in_crumbs_is_not_read_to_its_end(panel):
    """Each chunk takes time, however small."""
    head = b"POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"1\r\nx\r\n" * (MOST_CHUNKS + 1) + b"0\r\n\r\n"
    next_one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    said = await deferToThread(speak, panel.port, head + chunks + next_one)
    assert said == b"" or (said.startswith(b"HTTP/1.1 413 ") and b'"ok"' not in said)
    assert (await panel.ask("GET", "/healthz")).status == 200


@pytest_twisted.ensureDeferred
async def test_a_query_of_too_many_fields_is_400(panel):
    """And no fault: nothing of it comes into the log."""
    faults = []
    globalLogPublisher.addObserver(faults.append)
    answer = await panel.ask("GET", "/healthz?" + "&" * 100)
    globalLogPublisher.removeObserver(faults.append)
    assert (answer.status, answer.content["error"]) == (400, "bad_request")
    assert not [event for event in faults if "log_failure" in event]


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::1"])
def test_one_host_does_not_take_all_connections(host):
    """Of a host on the network some, of this machine, where a proxy may be, more; those that end count no more."""
    clock = Clock()
    site = Site(clock, nobody, Events("test", clock.seconds))

    def connect(host):
        channel = site.buildProtocol(IPv4Address("TCP", host, 1))
        if channel is not None:
            channel.makeConnection(StringTransport())
        return channel

    channels = [connect(host) for _ in range(MOST_OF_ONE)]
    assert connect(host) is None
    assert connect("2001:db8::2" if ":" in host else host) is None
    assert connect("192.0.2.8") is not None
    assert all(connect("127.0.0.1") for _ in range(MOST_OF_ONE + 1))
    channels[0].connectionLost(Failure(ConnectionDone()))
    assert connect(host) is not None


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00" * 100,
        b"\xff\xfe\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno header\r\n\r\n",
        b"POST /login HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
@pytest_twisted.ensureDeferred
async def test_garbage_ends_its_own_connection_only(panel, garbage):
    """Whatever bytes come, the next request is answered."""
    await deferToThread(speak, panel.port, garbage)
    assert (await panel.ask("GET", "/healthz")).status == 200


@pytest_twisted.ensureDeferred
async def test_several_requests_on_one_connection(panel):
    """Pipelined, they are answered in their order."""
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    other = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    said = await deferToThread(speak, panel.port, one + one + other)
    assert [part[1:4] for part in said.split(b"HTTP/1.1")[1:]] == [b"200", b"200", b"404"]


@pytest_twisted.ensureDeferred
async def test_a_fault_is_answered_too(panel):
    """The client learns that it is no fault of its own, and no more than that."""
    panel.fault = RuntimeError("a secret detail")
    answer = await panel.ask("GET", "/healthz")
    panel.fault = None
    assert (answer.status, answer.content["error"]) == (500, "fault")
    assert b"secret" not in answer.body


@pytest_twisted.ensureDeferred
async def test_connections_are_bounded(panel):
    """One too many is closed; when the others go, it is let in."""
    taken = [socket.create_connection(("127.0.0.1", panel.port)) for _ in range(MOST_CONNECTIONS)]
    await deferLater(reactor, 0.1)
    assert await deferToThread(speak, panel.port, b"GET /healthz HTTP/1.0\r\n\r\n") == b""
    for connection in taken:
        connection.close()
    await deferLater(reactor, 0.1)
    assert (await panel.ask("GET", "/healthz")).status == 200


@pytest_twisted.ensureDeferred
async def test_a_client_that_only_sends_is_not_read_for_ever(panel):
    """Whoever pipelines without reading the answers is read no further, or reset; others are answered as ever."""
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
    with socket.create_connection(("127.0.0.1", panel.port)) as flooding:
        flooding.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        flooding.setblocking(False)
        sent = still = 0
        while still < 10 and sent < 200 << 20:
            try:
                sent += flooding.send(request)
                still = 0
            except BlockingIOError:
                still += 1
                await deferLater(reactor, 0.02)
            except ConnectionResetError:
                break
        assert sent < 64 << 20
        assert (await panel.ask("GET", "/healthz")).status == 200


@pytest.mark.parametrize(
    "smuggled",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nwhat!",
        b"Content-Length: +4\r\n\r\nwhat",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        b"X: 1\r\n" * 600 + b"\r\n",
        b"X: " + b"1" * 20_000 + b"\r\n\r\n",
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_request_whose_end_is_in_doubt_is_not_carried_out(panel, smuggled):
    """A proxy before lsproxy could see another request in it; one of too many headers is none either."""
    seen = []
    answer, panel.api.answer = panel.api.answer, lambda asked: seen.append(asked) or answer(asked)
    said = await deferToThread(speak, panel.port, b"POST /api/v1/reload HTTP/1.1\r\nHost: localhost\r\n" + smuggled)
    assert said == b"" or said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))
    assert seen == []


@pytest_twisted.ensureDeferred
async def test_requests_that_came_at_once_do_not_hold_others_up(panel):
    """Between one answer and the next there is time for everything else."""
    turns, turn = [], 0

    async def answer(_asked):
        turns.append(turn)
        return said({})

    def ask():
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
        with socket.create_connection(("127.0.0.1", panel.port), 5) as connection:
            connection.sendall((request + b"\r\n") * 79 + request + b"Connection: close\r\n\r\n")
            while connection.recv(65536):
                pass

    panel.api.answer = answer
    asking = deferToThread(ask)
    while not asking.called:
        turn += 1
        await deferLater(reactor, 0)
    assert len(turns) == 80
    assert max(Counter(turns).values()) <= 2 * MOST_AT_ONCE


@pytest_twisted.ensureDeferred
async def test_a_client_that_has_said_all_still_hears_the_answer(panel):
    """Closing the sending half is no hanging up."""
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert (await deferToThread(speak, panel.port, request)).endswith(b'{"ok":true}\n')


async def nobody(_asked):
    raise AssertionError("nothing was asked")


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: lo", b"PUT / HTTP/1.1\r\nContent-Length: 900\r\n\r\nx"],
)
def test_a_request_has_its_time(begun):
    """Bytes that drip in keep no connection: it ends when the request is not whole in time."""
    clock = Clock()
    channel = Site(clock, nobody, Events("test", clock.seconds)).buildProtocol(None)
    transport = StringTransport()
    channel.makeConnection(transport)
    channel.dataReceived(begun)
    for _ in range(int(IDLE_SECONDS + 20)):
        clock.advance(1)
        if not transport.disconnecting:
            channel.dataReceived(b"x")
    assert transport.disconnecting


def test_an_idle_connection_is_closed():
    """After a minute without a request."""
    clock = Clock()
    site = Site(clock, nobody, Events("test", clock.seconds))
    channel = site.buildProtocol(None)
    transport = StringTransport()
    channel.makeConnection(transport)
    clock.advance(IDLE_SECONDS)
    assert transport.disconnecting
