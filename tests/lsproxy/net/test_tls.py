"""TLS connections: who is believed, who is not, and how they end."""

import gc
import socket
import ssl
import time
import weakref

import pytest
import pytest_twisted
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionDone, NoProtocol
from twisted.internet.protocol import Factory
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent

from lsproxy.net.endpoints import client_endpoint
from lsproxy.net.tls import HandshakeError, client_tls, server_tls, wrap_client, wrap_server

LOOPBACK = "127.0.0.1"
NAME = "lic-a.example.com"


def echo(protocol, received):
    protocol.transport.write(received)


class Secured:
    """Listens and dials with TLS over `net`."""

    def __init__(self, net, authority):
        self.net = net
        self.authority = authority

    async def listen(self, tls=None, new=None, seconds=2.0):
        tls = tls or server_tls(*self.authority.issue(NAME))
        return await self.net.listen(
            new or (lambda: self.net.Recorder(on_bytes=echo)),
            wrap=lambda endpoint: wrap_server(reactor, endpoint, tls, handshake_seconds=seconds),
        )

    def dial(self, port, name=NAME, protocol=None, seconds=2.0, **files):
        tls = client_tls(name, files.pop("ca", self.authority.file), **files)
        return self.net.dial(
            port,
            protocol,
            wrap=lambda endpoint: wrap_client(reactor, endpoint, tls, handshake_seconds=seconds),
        )


@pytest.fixture
def secured(net, authority):
    return Secured(net, authority)


def failures(logged):
    return [formatEvent(event) for event in logged if "handshake" in formatEvent(event)]


@pytest_twisted.ensureDeferred
async def test_echo_and_clean_close(secured, net):
    """Bytes come back through TLS, and a close is ConnectionDone on both sides."""
    client = await secured.dial(await secured.listen())
    client.transport.write(b"secret")
    await net.until(lambda: client.received == b"secret")
    assert client.transport.getHandle().get_protocol_version_name() == "TLSv1.3"
    client.transport.loseConnection()
    await net.until(lambda: client.is_lost and net.accepted[0].is_lost)
    assert isinstance(client.reason, ConnectionDone)
    assert isinstance(net.accepted[0].reason, ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_large_transfer(secured, net):
    """4 MiB written at once come back whole."""
    client = await secured.dial(await secured.listen())
    client.transport.write(b"0123456789abcdef" * (1 << 18))
    await net.until(lambda: len(client.received) == 4 << 20)
    assert client.received == b"0123456789abcdef" * (1 << 18)


@pytest_twisted.ensureDeferred
async def test_ip_address_as_name(secured):
    """A server may be believed by its IP address."""
    port = await secured.listen(server_tls(*secured.authority.issue("by address", names=(LOOPBACK,))))
    client = await secured.dial(port, LOOPBACK)
    assert client.happened == ["made"]


@pytest.mark.parametrize(
    ("issued", "says"),
    [
        ({"names": ("lic-b.example.com",)}, f'the certificate is not for "{NAME}"'),
        ({"names": (LOOPBACK,)}, f'the certificate is not for "{NAME}"'),
        ({"expired": True}, "the certificate has expired"),
        ({"purpose": ExtendedKeyUsageOID.CLIENT_AUTH}, "the certificate is not made for this purpose"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_server_that_is_not_believed(secured, net, issued, says):
    """A wrong name, an expired or misused certificate fails the attempt in a sentence; no protocol is built."""
    port = await secured.listen(server_tls(*secured.authority.issue("server", **({"names": (NAME,)} | issued))))
    client = net.Recorder()
    with pytest.raises(HandshakeError) as error:
        await secured.dial(port, protocol=client)
    assert str(error.value) == f"TLS handshake with the server {LOOPBACK}:{port} failed: {says}"
    assert isinstance(error.value, ConnectError)
    assert client.happened == []
    await net.until(lambda: all(it.is_lost for it in net.accepted))


@pytest_twisted.ensureDeferred
async def test_unknown_authority(secured, stranger, net, logged):
    """A certificate of an authority that is not trusted fails the attempt; the server's log says so too."""
    port = await secured.listen(server_tls(*stranger.issue(NAME)))
    with pytest.raises(HandshakeError, match="signed by none of the trusted CAs"):
        await secured.dial(port)
    await net.until(lambda: any("unknown ca" in line for line in failures(logged)))
    assert net.accepted == []


@pytest_twisted.ensureDeferred
async def test_client_certificate(secured, net):
    """A client with a certificate of the right authority is served where one is asked for."""
    tls = server_tls(*secured.authority.issue(NAME), secured.authority.file)
    certificate, key = secured.authority.issue("client")
    client = await secured.dial(await secured.listen(tls), certificate=certificate, key=key)
    client.transport.write(b"me")
    await net.until(lambda: client.received == b"me")


@pytest_twisted.ensureDeferred
async def test_client_certificate_missing_or_strange(secured, stranger, net, logged):
    """Without the right client certificate no protocol is built, the client loses its connection, the log says why."""
    tls = server_tls(*secured.authority.issue(NAME), secured.authority.file)
    port = await secured.listen(tls)
    certificate, key = stranger.issue("client")
    for files in ({}, {"certificate": certificate, "key": key}):
        client = await secured.dial(port, **files)
        await net.until(lambda client=client: client.is_lost)
    assert net.accepted == []
    first, second = failures(logged)
    assert "peer did not return a certificate" in first
    assert "signed by none of the trusted CAs" in second


@pytest_twisted.ensureDeferred
async def test_silent_client_is_dropped(secured, net, logged):
    """A client that says nothing, or only half a handshake, is dropped when the time for it is over."""
    port = await secured.listen(seconds=0.2)
    silent, half = net.connect_raw(port), net.connect_raw(port)
    half.send(b"\x16\x03\x01\x02\x00\x01")
    await net.until(lambda: len(failures(logged)) == 2)
    assert all("not done within 0.2 s" in line for line in failures(logged))
    for peer in (silent, half):
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
    assert net.accepted == []


@pytest_twisted.ensureDeferred
async def test_garbage_is_dropped(secured, net, logged):
    """Bytes that are no TLS are answered with an alert at most, and closed at once."""
    port = await secured.listen()
    peer = net.connect_raw(port)
    peer.send(b'{"id":1,"op":"status"}\n')
    assert len(await net.read(peer, 1000)) < 20
    await net.until(lambda: failures(logged))
    assert net.accepted == []


@pytest_twisted.ensureDeferred
async def test_client_that_leaves(secured, net, logged):
    """A client that closes before the handshake, as a port scan does, is noted and forgotten."""
    net.connect_raw(await secured.listen()).close()
    await net.until(lambda: failures(logged))
    assert "the peer closed the connection" in failures(logged)[0]


@pytest_twisted.ensureDeferred
async def test_silent_server(secured, net):
    """A server that says nothing fails the attempt when the time for the handshake is over."""
    port = await net.listen()
    with pytest.raises(HandshakeError, match=r"not done within 0\.2 s"):
        await secured.dial(port, seconds=0.2)
    await net.until(lambda: net.accepted[0].is_lost)


@pytest_twisted.ensureDeferred
async def test_server_without_tls(secured, net):
    """A server that speaks something else fails the attempt at once."""
    port = await net.listen(lambda: net.Recorder(on_made=lambda it: it.transport.write(b"220 hello\r\n")))
    with pytest.raises(HandshakeError, match="failed"):
        await secured.dial(port)


@pytest_twisted.ensureDeferred
async def test_cancelled(secured, net):
    """An attempt cancelled while it connects or while it shakes hands fails so, and its connection is gone."""
    port = await net.listen()
    for wait in (False, True):
        attempt = secured.dial(port)
        if wait:
            await net.until(lambda: net.accepted)
            await net.turns(0.01)
        attempt.cancel()
        with pytest.raises(ConnectingCancelledError):
            await attempt
    await net.until(lambda: all(it.is_lost for it in net.accepted))


@pytest_twisted.ensureDeferred
async def test_factories_that_have_no_protocol(secured, net, logged):
    """A factory that has no protocol, or fails, ends the connection: for a client it is the attempt's failure."""

    def fail(_address=None):
        raise ZeroDivisionError

    port = await secured.listen()
    tls = wrap_client(reactor, client_endpoint(reactor, LOOPBACK, port), client_tls(NAME, secured.authority.file))
    for build, failure in ((lambda _: None, NoProtocol), (fail, ZeroDivisionError)):
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = build
        with pytest.raises(failure):
            await tls.connect(factory)
    for new in (lambda: None, fail):
        client = await secured.dial(await secured.listen(new=new))
        await net.until(lambda client=client: client.is_lost)
    assert [event["log_failure"].type for event in logged if "log_failure" in event] == [ZeroDivisionError]
    net.accepted[:] = [it for it in net.accepted if it is not None]


@pytest_twisted.ensureDeferred
async def test_tls_1_1_is_refused(secured, net, logged):
    """A client that knows TLS 1.1 at most is refused."""
    port = await secured.listen()
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    context.set_max_proto_version(SSL.TLS1_1_VERSION)
    client = SSL.Connection(context, None)
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    peer = net.connect_raw(port)
    peer.send(client.bio_read(65_536))
    await net.until(lambda: failures(logged))
    assert "unsupported protocol" in failures(logged)[0]


@pytest_twisted.ensureDeferred
async def test_close_while_a_producer_is_registered(secured, net):
    """A close happens although a producer is registered, and the producer is stopped, once."""
    calls = []

    class Producer:
        def __getattr__(self, name):
            return lambda: calls.append(name)

    client = await secured.dial(await secured.listen())
    client.transport.registerProducer(Producer(), True)
    client.transport.loseConnection()
    await net.until(lambda: client.is_lost)
    assert calls == ["stopProducing"]


@pytest_twisted.ensureDeferred
async def test_close_with_a_peer_that_hangs(secured, net):
    """A close to which the peer does not agree becomes a reset when its time is over."""
    client = await secured.dial(await secured.listen())
    await net.until(lambda: net.accepted)
    net.accepted[0].transport.transport.pauseProducing()
    client.transport.close_seconds = 0.2
    client.transport.loseConnection()
    await net.turns()
    assert not client.is_lost
    await net.until(lambda: client.is_lost)


def read_slowly(port, authority):
    """How many bytes a client is sent that reads about 3 MB a second, with little room for more."""
    context = ssl.create_default_context(cafile=authority.file)
    count = 0
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        plain.connect((LOOPBACK, port))
        with context.wrap_socket(plain, server_hostname=NAME) as client:
            while read := client.recv(16_384):
                count += len(read)
                time.sleep(0.005)
    return count


@pytest_twisted.ensureDeferred
async def test_close_with_a_peer_that_is_slow(secured, net):
    """A close waits for a peer that takes a little all the time: what was written reaches it."""

    def say_much(protocol):
        protocol.transport.close_seconds = 0.1
        protocol.transport.write(b"x" * (2 << 20))
        protocol.transport.loseConnection()

    port = await secured.listen(new=lambda: net.Recorder(on_made=say_much))
    assert await deferToThread(read_slowly, port, secured.authority) == 2 << 20


@pytest_twisted.ensureDeferred
async def test_everything_after_the_end_is_ignored(secured, net):
    """Every call on an ended connection's transport is without effect."""
    client = await secured.dial(await secured.listen())
    transport = client.transport
    transport.abortConnection()
    await net.until(lambda: client.is_lost)
    transport.write(b"x")
    transport.loseConnection()
    transport.abortConnection()
    transport.unregisterProducer()
    assert client.happened == ["made", "lost"]


@pytest_twisted.ensureDeferred
async def test_half_close_closes(secured, net):
    """The end of the writing half is a whole close."""
    client = await secured.dial(await secured.listen())
    client.transport.write(b"last")
    client.transport.loseWriteConnection()
    await net.until(lambda: client.is_lost and net.accepted[0].is_lost)
    assert net.accepted[0].received == b"last"


@pytest_twisted.ensureDeferred
async def test_connections_leave_nothing_behind(secured, net):
    """Of 50 TLS connections, ended in three ways, no protocol and no timed call remains."""
    port = await secured.listen()
    clients = [await secured.dial(port) for _ in range(50)]
    await net.until(lambda: len(net.accepted) == 50)
    alive = weakref.WeakSet([*net.accepted, *clients])
    for number, client in enumerate(clients):
        if number % 3 == 0:
            client.transport.loseConnection()
        elif number % 3 == 1:
            client.transport.abortConnection()
        else:
            net.accepted[number].transport.loseConnection()
    await net.until(lambda: all(it.is_lost for it in alive))
    assert all(it.happened == ["made", "lost"] for it in alive)
    net.accepted.clear()
    net._dialed.clear()
    del clients, client
    await net.turns()
    gc.collect()
    assert len(alive) == 0
    assert not [call for call in reactor.getDelayedCalls() if "Handshake" in str(call) or "TLSTransport" in str(call)]
