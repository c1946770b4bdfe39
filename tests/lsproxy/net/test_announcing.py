"""Connections that begin with a PROXY protocol header: who must, who may not, what the protocol learns of it."""

import struct
import subprocess
import sys

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionRefusedError, NoProtocol  # noqa: A004 - Twisted's
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import formatEvent
from zope.interface.verify import verifyObject

from lsproxy.net import announcing
from lsproxy.net.announcing import accept_proxy_protocol, announce, announce_where_asked, ends_of
from lsproxy.net.endpoints import client_endpoint, server_endpoint
from lsproxy.net.ends import Ends
from lsproxy.net.network import parse_network
from lsproxy.net.proxyprotocol import LOCAL_HEADER, header_v1, header_v2
from lsproxy.net.tls import client_tls, server_tls, wrap_client, wrap_server

LOOPBACK = "127.0.0.1"
HERE = (parse_network("127.0.0.0/8"),)
ELSEWHERE = (parse_network("192.0.2.0/24"), parse_network("2001:db8::/32"))
CLIENT = Ends(IPv4Address("TCP", "192.0.2.7", 51234), IPv4Address("TCP", "198.51.100.1", 27000))
NAME = "lic-a.example.com"


class Proxied:
    """Listens behind proxies in `networks`; `ends` collects what the factory was told of each connection."""

    def __init__(self, net):
        self.net = net
        self.ends = []

    async def listen(self, networks=HERE, new=None, seconds=2.0, tls=None):
        factory = Factory()
        factory.noisy = False

        def build(address):
            self.ends.append(ends_of(address, self.port.getHost()))
            protocol = (new or self.echo)()
            if protocol is not None:
                self.net.accepted.append(protocol)
            return protocol

        factory.buildProtocol = build
        endpoint = accept_proxy_protocol(
            reactor, server_endpoint(reactor, LOOPBACK, 0), networks, header_seconds=seconds
        )
        if tls is not None:
            endpoint = wrap_server(reactor, endpoint, tls)
        self.port = await endpoint.listen(factory)
        self.net._ports.append(self.port)
        return self.port.getHost().port

    def echo(self):
        return self.net.Recorder(on_bytes=lambda it, received: it.transport.write(received))

    def announced(self, header=None):
        return lambda endpoint: announce(endpoint, header_v2(CLIENT) if header is None else header)


@pytest.fixture
def proxied(net):
    return Proxied(net)


def faults(logged):
    return [formatEvent(event) for event in logged if "was reset" in formatEvent(event)]


async def outcome(net, peer):
    """How the other side ended a plain connection that it sent nothing on: "reset" or "closed"."""
    try:
        assert await net.read(peer, 1) == b""
    except ConnectionResetError:
        return "reset"
    return "closed"


@pytest_twisted.ensureDeferred
async def test_provide_what_they_declare():
    """Wrapped endpoints are endpoints."""
    assert verifyObject(
        IStreamServerEndpoint, accept_proxy_protocol(reactor, server_endpoint(reactor, LOOPBACK, 0), HERE)
    )
    assert verifyObject(IStreamClientEndpoint, announce(client_endpoint(reactor, LOOPBACK, 1), LOCAL_HEADER))


@pytest.mark.parametrize("header", [header_v1, header_v2])
@pytest_twisted.ensureDeferred
async def test_announced(net, proxied, header):
    """The factory learns both ends that the client sees; the bytes behind the header, and no others, are passed on."""
    peer = net.connect_raw(await proxied.listen())
    peer.send(header(CLIENT) + b"hello")
    assert await net.read(peer, 5) == b"hello"
    peer.send(b" again")
    assert await net.read(peer, 6) == b" again"
    assert proxied.ends == [CLIENT]
    assert net.accepted[0].received == b"hello again"


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", LOCAL_HEADER])
@pytest_twisted.ensureDeferred
async def test_own(net, proxied, header):
    """A connection of the proxy itself, or of an unknown client, has its own ends."""
    port = await proxied.listen()
    peer = net.connect_raw(port)
    peer.send(header + b"!")
    assert await net.read(peer, 1) == b"!"
    assert proxied.ends == [Ends(IPv4Address("TCP", *peer.getsockname()), IPv4Address("TCP", LOOPBACK, port))]


@pytest_twisted.ensureDeferred
async def test_byte_by_byte(net, proxied):
    """A header that comes in single bytes is the same header, and no protocol is built before its end."""
    peer = net.connect_raw(await proxied.listen())
    header = header_v2(CLIENT)
    for at in range(len(header)):
        assert proxied.ends == []
        peer.send(header[at : at + 1])
        await net.turns(0.001)
    await net.until(lambda: proxied.ends)
    peer.send(b"!")
    assert await net.read(peer, 1) == b"!"


@pytest_twisted.ensureDeferred
async def test_not_from_there(net, proxied):
    """Who is in none of the networks is passed through unlooked: a header of theirs is bytes for the protocol."""
    port = await proxied.listen(ELSEWHERE)
    peer = net.connect_raw(port)
    peer.send(header_v1(CLIENT))
    assert await net.read(peer, len(header_v1(CLIENT))) == header_v1(CLIENT)
    assert proxied.ends[0].client == IPv4Address("TCP", *peer.getsockname())


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"GET / HTTP/1.1\r\n", "the connection does not begin with a PROXY protocol header"),
        (
            b"PROXY TCP4 nonsense\r\n",
            "the PROXY line must be TCP4 or TCP6 with two addresses and two ports, or UNKNOWN",
        ),
        (b"PROXY " + b"x" * 70_000, "the PROXY line has no end within 107 bytes"),
        (header_v2(CLIENT)[:14] + b"\xff\xff", "the PROXY header has 65551 bytes, more than the 4096 that are taken"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_wrong(net, proxied, logged, sent, told):
    """What is no header is answered by RST, no protocol is built, and the log says whose connection that was."""
    port = await proxied.listen()
    peer = net.connect_raw(port)
    peer.send(sent)
    assert await outcome(net, peer) == "reset"
    assert proxied.ends == []
    assert faults(logged) == [
        (
            f"{LOOPBACK}:{port}: the connection from {LOOPBACK}:{peer.getsockname()[1]} was reset: {told}; "
            "accept_proxy_protocol names its network, so it must begin with a header"
        )
    ]


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"", "its PROXY protocol header was not there after 0.1 s"),
        (header_v1(CLIENT)[:-1], "its PROXY protocol header was not whole after 0.1 s"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_late(net, proxied, logged, sent, told):
    """A header that is not whole in time is answered by RST."""
    peer = net.connect_raw(await proxied.listen(seconds=0.1))
    peer.send(sent)
    assert await outcome(net, peer) == "reset"
    assert told in faults(logged)[0]
    assert proxied.ends == []


@pytest_twisted.ensureDeferred
async def test_time_stops_with_the_header(net, proxied, logged):
    """A client that says nothing behind its header is not hurried."""
    peer = net.connect_raw(await proxied.listen(seconds=0.1))
    peer.send(header_v2(CLIENT))
    await net.turns(0.2)
    peer.send(b"!")
    assert await net.read(peer, 1) == b"!"
    assert faults(logged) == []


@pytest_twisted.ensureDeferred
async def test_said_once_a_minute(net, proxied, logged, monkeypatch):
    """Of many wrong connections the first is said, then their number when the minute is over."""
    port = await proxied.listen()

    async def wrong():
        peer = net.connect_raw(port)
        peer.send(b"!")
        assert await outcome(net, peer) == "reset"

    for _ in range(4):
        await wrong()
    assert len(faults(logged)) == 1
    monkeypatch.setattr(announcing, "REMIND_SECONDS", 0.0)
    await wrong()
    assert len(faults(logged)) == 2
    assert " was reset, and so 3 others since this was said last: " in faults(logged)[1]


@pytest_twisted.ensureDeferred
async def test_ended_before_the_header(net, proxied, logged):
    """A connection that ends without a word (a plain TCP check) is nothing to tell; one that ends in its header is."""
    port = await proxied.listen()
    before = set(reactor.getDelayedCalls())
    silent, half = net.connect_raw(port), net.connect_raw(port)
    await net.turns()
    silent.close()
    await net.turns()
    assert faults(logged) == []
    half.send(b"PROXY")
    half.shutdown(1)
    assert await outcome(net, half) == "closed"
    await net.until(lambda: faults(logged))
    assert "it ended within its PROXY protocol header" in faults(logged)[0]
    assert not {call for call in reactor.getDelayedCalls() if call.active()} - before
    assert proxied.ends == []


@pytest_twisted.ensureDeferred
async def test_reset_within_the_header(net, proxied, logged):
    """A client's RST within its header ends the connection and its timer."""
    before = set(reactor.getDelayedCalls())
    peer = net.connect_raw(await proxied.listen())
    peer.send(b"PROXY ")
    await net.turns()
    peer.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER
    peer.close()
    await net.until(lambda: faults(logged))
    assert not {call for call in reactor.getDelayedCalls() if call.active()} - before


@pytest_twisted.ensureDeferred
async def test_refused_by_the_factory(net, proxied):
    """Without a protocol for the announced client the connection is reset."""
    peer = net.connect_raw(await proxied.listen(new=lambda: None))
    peer.send(header_v2(CLIENT))
    assert await outcome(net, peer) == "reset"
    assert proxied.ends == [CLIENT]


@pytest_twisted.ensureDeferred
async def test_fault_of_the_factory(net, proxied, logged):
    """A factory that raises costs that connection, not the listener."""
    port = await proxied.listen(new=lambda: 1 // 0)
    for _ in range(2):
        peer = net.connect_raw(port)
        peer.send(header_v2(CLIENT))
        assert await outcome(net, peer) == "reset"
    assert [event["log_failure"].type for event in logged if "log_failure" in event] == [ZeroDivisionError] * 2


@pytest_twisted.ensureDeferred
async def test_paused_at_once(net, proxied):
    """A protocol that pauses when it is made gets what stood behind the header only when it reads again."""
    peer = net.connect_raw(
        await proxied.listen(new=lambda: net.Recorder(on_made=lambda it: it.transport.pauseProducing()))
    )
    peer.send(header_v2(CLIENT) + b"first,")
    await net.until(lambda: net.accepted)
    peer.send(b"second")
    await net.turns()
    assert net.accepted[0].received == b""
    net.accepted[0].transport.resumeProducing()
    await net.until(lambda: net.accepted[0].received == b"first,second")


@pytest_twisted.ensureDeferred
async def test_ended_at_once(net, proxied):
    """A protocol that ends the connection when it is made gets nothing of what stood behind the header."""
    peer = net.connect_raw(
        await proxied.listen(new=lambda: net.Recorder(on_made=lambda it: it.transport.abortConnection()))
    )
    peer.send(header_v2(CLIENT) + b"first")
    assert await outcome(net, peer) == "reset"
    assert net.accepted[0].received == b""
    assert net.accepted[0].happened == ["made", "lost"]


@pytest_twisted.ensureDeferred
async def test_half_close_behind_the_header(net, proxied):
    """An EOF that comes together with the header is the protocol's: it can still answer."""

    def answer(it):
        it.transport.write(b"bye")
        it.transport.loseWriteConnection()

    class Answers(net.HalfRecorder):
        def readConnectionLost(self):
            super().readConnectionLost()
            answer(self)

    peer = net.connect_raw(await proxied.listen(new=Answers))
    peer.send(header_v2(CLIENT) + b"hello")
    peer.shutdown(1)
    assert await net.read(peer, 10) == b"bye"
    assert net.accepted[0].received == b"hello"


@pytest_twisted.ensureDeferred
async def test_announce(net, proxied):
    """What `announce` sends arrives before anything the protocol writes; `connect` gives the protocol itself."""
    port = await proxied.listen()
    client = net.Recorder(on_made=lambda it: it.transport.write(b"at once"))
    assert await net.dial(port, client, wrap=proxied.announced()) is client
    assert client.happened == ["made"]
    await net.until(lambda: client.received == b"at once")
    assert proxied.ends == [CLIENT]


@pytest_twisted.ensureDeferred
async def test_announce_beneath_tls(net, proxied, authority):
    """The header stands before the handshake, and the protocol under TLS learns what it says."""
    port = await proxied.listen(tls=server_tls(*authority.issue(NAME)))
    client_side = client_tls(NAME, authority.file)
    client = await net.dial(
        port, wrap=lambda endpoint: wrap_client(reactor, proxied.announced()(endpoint), client_side)
    )
    client.transport.write(b"secret" * 50_000)
    await net.until(lambda: client.received == b"secret" * 50_000)
    assert proxied.ends == [CLIENT]
    client.transport.loseConnection()
    await net.until(lambda: net.accepted[0].is_lost)


@pytest_twisted.ensureDeferred
async def test_tls_without_a_header(net, proxied, authority, logged):
    """TLS alone is refused where a header must come first."""
    port = await proxied.listen(tls=server_tls(*authority.issue(NAME)))
    with pytest.raises(ConnectError):
        await net.dial(port, wrap=lambda endpoint: wrap_client(reactor, endpoint, client_tls(NAME, authority.file)))
    assert "does not begin with a PROXY protocol header" in faults(logged)[0]


@pytest_twisted.ensureDeferred
async def test_announce_fails_as_its_endpoint(proxied):
    """A refused connection, one without a protocol and a cancelled one fail as they do without a header."""
    port = await proxied.listen()
    endpoint = announce(client_endpoint(reactor, LOOPBACK, port), LOCAL_HEADER)
    none = Factory()
    none.noisy = False
    none.buildProtocol = lambda _: None
    with pytest.raises(NoProtocol):
        await endpoint.connect(none)
    attempt = endpoint.connect(none)
    attempt.cancel()
    with pytest.raises(ConnectingCancelledError):
        await attempt
    await proxied.port.stopListening()
    with pytest.raises(ConnectionRefusedError):
        await endpoint.connect(none)


@pytest_twisted.ensureDeferred
async def test_announced_and_aborted_at_once(net, proxied):
    """A protocol that ends its connection when it is made is told of the end once."""
    client = net.Recorder(on_made=lambda it: it.transport.abortConnection())
    await net.dial(await proxied.listen(), client, wrap=proxied.announced())
    await net.until(lambda: client.is_lost)
    assert client.happened == ["made", "lost"]


@pytest.mark.parametrize("networks", [HERE, ELSEWHERE, ()])
@pytest_twisted.ensureDeferred
async def test_announced_where_asked(net, proxied, networks):
    """Who connects from an address from which a header is asked sends one, who does not sends none."""
    client = net.Recorder(on_made=lambda it: it.transport.write(b"hello"))
    await net.dial(
        await proxied.listen(networks), client, wrap=lambda endpoint: announce_where_asked(endpoint, networks)
    )
    await net.until(lambda: client.received == b"hello")
    assert proxied.ends[0].client == client.transport.getHost()


def test_announced_ipv6():
    """An announced address is one of Twisted's, in IPv6 too."""
    address = announcing.AnnouncedIPv6("TCP", "2001:db8::7", 1)
    address.ends = Ends(IPv6Address("TCP", "2001:db8::7", 1), IPv6Address("TCP", "2001:db8::1", 2))
    assert isinstance(address, IPv6Address)
    assert ends_of(address, CLIENT.host) == address.ends


WITHOUT_UVLOOP = f"""
import sys
sys.modules["uvloop"] = None
from lsproxy.net import reactor as net_reactor
reactor = net_reactor.install()
from twisted.internet import task
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from lsproxy.net.announcing import accept_proxy_protocol, announce, ends_of
from lsproxy.net.endpoints import client_endpoint, server_endpoint
from lsproxy.net.ends import Ends
from lsproxy.net.network import parse_network
from lsproxy.net.proxyprotocol import header_v2

ends = Ends(IPv4Address("TCP", "192.0.2.7", 1), IPv4Address("TCP", "198.51.100.1", 2))

class Echo(Protocol):
    def dataReceived(self, received):
        self.transport.write(received)

class Echoes(Factory):
    noisy = False
    def buildProtocol(self, address):
        print(ends_of(address, address) == ends)
        return Echo()

class Asks(Protocol):
    def connectionMade(self):
        self.answer = Deferred()
        self.transport.write(b"hello")

    def dataReceived(self, received):
        self.answer.callback(received)

async def main(_reactor):
    listening = server_endpoint(reactor, "{LOOPBACK}", 0)
    port = await accept_proxy_protocol(reactor, listening, [parse_network("{LOOPBACK}")]).listen(Echoes())
    dialing = client_endpoint(reactor, "{LOOPBACK}", port.getHost().port)
    asking = await announce(dialing, header_v2(ends)).connect(Factory.forProtocol(Asks))
    print(await asking.answer, type(asking.transport).__module__)
    await port.stopListening()

task.react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""


def test_without_uvloop():
    """On Twisted's own transports headers are written and read as on uvloop's."""
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_UVLOOP], capture_output=True, text=True, timeout=20, check=False
    )
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == ["True", "b'hello' twisted.internet.tcp"]
