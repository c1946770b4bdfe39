"""Making one connection: success, every failure, and a change of mind."""

import errno
import socket
from contextlib import closing

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionRefusedError,  # noqa: A004 - Twisted's
    DNSLookupError,
    NoProtocol,
    TimeoutError,  # noqa: A004 - Twisted's
    getConnectError,
)
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from lsproxy.net.dialing import in_words
from lsproxy.net.endpoints import client_endpoint

LOOPBACK = "127.0.0.1"


@pytest.fixture
def black_hole():
    """An address whose backlog is full: the kernel answers no SYN to it."""
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        listening.listen(0)
        address = listening.getsockname()
        fill = [socket.socket() for _ in range(4)]
        for it in fill:
            it.setblocking(False)
            it.connect_ex(address)
        yield address
        for it in fill:
            it.close()


def factory(build=None):
    made = Factory()
    made.noisy = False
    if build is not None:
        made.buildProtocol = build
    return made


@pytest_twisted.ensureDeferred
async def test_refused(net):
    """A closed port is Twisted's ConnectionRefusedError."""
    port = await net.listen()
    await net._ports[0].stopListening()
    with pytest.raises(ConnectionRefusedError):
        await net.dial(port)


@pytest_twisted.ensureDeferred
async def test_time_limit(black_hole):
    """A server that does not answer the SYN is given up in time, and says after how long."""
    started = reactor.seconds()
    with pytest.raises(TimeoutError, match=r"did not answer within 0\.2 s"):
        await client_endpoint(reactor, *black_hole, timeout=0.2).connect(factory())
    assert 0.15 < reactor.seconds() - started < 3


@pytest_twisted.ensureDeferred
async def test_cancelled(net, black_hole):
    """A cancelled attempt fails at once, and its endpoint knows nothing of it any more."""
    endpoint = client_endpoint(reactor, *black_hole, timeout=5)
    attempt = endpoint.connect(factory())
    await net.turns()
    assert len(endpoint._limit._since) == 1
    attempt.cancel()
    with pytest.raises(ConnectingCancelledError):
        await attempt
    await net.turns()
    assert not endpoint._limit._since


@pytest_twisted.ensureDeferred
async def test_cancelled_when_the_connection_is_there(net):
    """Cancelled between the kernel's success and the protocol, the connection is closed and no protocol built."""
    port = await net.listen()
    built = []
    attempt = client_endpoint(reactor, LOOPBACK, port).connect(factory(built.append))
    attempt.cancel()
    with pytest.raises(ConnectingCancelledError):
        await attempt
    await net.turns()
    assert built == []
    assert all(it.is_lost for it in net.accepted)


@pytest_twisted.ensureDeferred
async def test_cancelled_in_connection_made(net):
    """Cancelled by its own protocol's connectionMade, the attempt fails and the connection is aborted."""
    port = await net.listen()
    client = net.Recorder(on_made=lambda _: attempt.cancel())
    attempt = net.dial(port, client)
    with pytest.raises(ConnectingCancelledError):
        await attempt
    await net.until(lambda: client.is_lost)


@pytest_twisted.ensureDeferred
async def test_cancelled_while_the_name_is_looked_up(net, logged):
    """A look-up that ends after its attempt was cancelled is of no consequence."""
    attempt = client_endpoint(reactor, "nowhere.invalid", 1).connect(factory())
    await net.turns(0)
    attempt.cancel()
    with pytest.raises(ConnectingCancelledError):
        await attempt
    await net.turns()
    assert logged == []


@pytest_twisted.ensureDeferred
async def test_name(net):
    """A name is looked up; of its addresses the one that answers is taken."""
    port = await net.listen()
    client = await net.dial(port, host="localhost")
    assert client.transport.getPeer().host == LOOPBACK


@pytest_twisted.ensureDeferred
async def test_unknown_name():
    """A name that does not exist is DNSLookupError."""
    with pytest.raises(DNSLookupError):
        await client_endpoint(reactor, "nowhere.invalid", 1, timeout=5).connect(factory())


@pytest_twisted.ensureDeferred
async def test_no_protocol(net):
    """A factory without a protocol for the connection is NoProtocol, and the connection is closed."""
    port = await net.listen()
    with pytest.raises(NoProtocol):
        await client_endpoint(reactor, LOOPBACK, port).connect(factory(lambda _: None))
    await net.until(lambda: net.accepted and net.accepted[0].is_lost)


@pytest_twisted.ensureDeferred
async def test_factory_that_fails(net):
    """What a factory raises is the attempt's failure."""

    def fail(_address):
        raise ZeroDivisionError

    port = await net.listen()
    with pytest.raises(ZeroDivisionError):
        await client_endpoint(reactor, LOOPBACK, port).connect(factory(fail))
    await net.until(lambda: net.accepted and net.accepted[0].is_lost)


@pytest_twisted.ensureDeferred
async def test_fires_before_bytes(net):
    """The Deferred fires after connectionMade and before the first bytes, also those the server sends at once."""
    port = await net.listen(lambda: net.Recorder(on_made=lambda it: it.transport.write(b"welcome")))
    order = []
    client = net.Recorder(on_bytes=lambda _it, _received: order.append("bytes"))
    attempt = net.dial(port, client)
    attempt.addCallback(lambda it: order.append(it.happened[-1]))
    await net.until(lambda: client.received)
    assert order == ["made", "bytes"]


@pytest_twisted.ensureDeferred
async def test_many_at_once(net):
    """500 attempts begun in one turn all succeed."""
    port = await net.listen()
    attempts = [net.dial(port) for _ in range(500)]
    for attempt in attempts:
        await attempt
    await net.until(lambda: len(net.accepted) == 500)
    with closing(socket.socket()) as one_more:
        one_more.connect((LOOPBACK, port))


def test_why_there_is_no_connection_is_told_in_the_systems_words():
    """Without Twisted's before them; of what the system knows nothing of, in its own."""
    refused = getConnectError((errno.ECONNREFUSED, "Connection refused"))
    assert in_words(Failure(refused)) == "Connection refused"
    assert in_words(Failure(ValueError("no such thing"))) == "no such thing"
