"""Relays with TLS on one side or both: no half-close, but nothing is lost before the end."""

import ssl

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from lsproxy.net.tls import client_tls, server_tls, wrap_client, wrap_server
from tests.lsproxy.net.conftest import Authority
from tests.lsproxy.proxy.relay.line import Line, Peer

MIB = 1 << 20


class Secured(Peer):
    """A peer that speaks TLS; its socket is made so in a thread, while the reactor does the other side."""

    def poll(self, most=1 << 20):
        while most > 0 and self.end is None:
            try:
                chunk = self.socket.recv(65_536)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            except (ssl.SSLEOFError, ConnectionResetError):
                self.end = "RST"
                return
            if not chunk:
                self.end = "EOF"
            self.received += chunk
            most -= len(chunk)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def identity(authority):
    """Certificate and key for 127.0.0.1."""
    return authority.issue("127.0.0.1")


@pytest.fixture
def lines():
    made = []
    yield made
    for line in made:
        pytest_twisted.blockon(Deferred.fromCoroutine(line.stop()))


async def secured_client(line, authority):
    """A client of a listener with TLS."""
    context = ssl.create_default_context(cafile=str(authority.file))
    plain = line.client().socket
    plain.setblocking(True)
    wrapped = await deferToThread(context.wrap_socket, plain, server_hostname="127.0.0.1")
    line.clients.append(Secured(wrapped))
    return line.clients[-1]


async def secured_server(line, identity):
    """The next connection at `a`, its handshake done."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*identity)
    plain = (await line.accepted(line.a)).socket
    plain.setblocking(True)
    wrapped = await deferToThread(context.wrap_socket, plain, server_side=True)
    line.a.peers.append(Secured(wrapped))
    return line.a.peers[-1]


async def with_tls_listener(lines, identity):
    line = Line()
    lines.append(line)
    tls = server_tls(*identity)
    await line.listen(lambda endpoint, _: wrap_server(reactor, endpoint, tls))
    line.serve(line.a)
    return line


async def with_tls_backend(lines, authority):
    tls = client_tls("127.0.0.1", authority.file)
    line = Line(lambda endpoint: wrap_client(reactor, endpoint, tls))
    lines.append(line)
    await line.listen()
    line.serve(line.a)
    return line


@pytest_twisted.ensureDeferred
async def test_server_that_closes_behind_tls(lines, authority, identity):
    """All that the server said before it closed reaches a client that speaks TLS, and then the end."""
    line = await with_tls_listener(lines, identity)
    client = await secured_client(line, authority)
    client.socket.setblocking(False)
    client.send(b"request")
    served = await line.accepted(line.a)
    await line.received(served, b"request")
    data = b"0123456789abcdef" * (MIB // 16)
    left = data

    def pushed():
        nonlocal left
        left = left[served.send(left) :]
        client.poll()
        return not left

    await line.until(pushed)
    served.close()
    assert await line.ended(client) == "EOF"
    assert client.received == data
    client.close()
    assert (await line.recorded()).ended == "server"


@pytest_twisted.ensureDeferred
async def test_client_that_closes_behind_tls(lines, authority, identity):
    """What a client said before it closed its TLS reaches the server, and then an EOF."""
    line = await with_tls_listener(lines, identity)
    client = await secured_client(line, authority)
    client.send(b"request")
    served = await line.accepted(line.a)
    await line.received(served, b"request")
    served.send(b"answer")
    await line.received(client, b"answer")
    client.send(b", last words")
    client.socket.close()
    assert await line.ended(served) == "EOF"
    assert served.received == b"request, last words"
    assert (await line.recorded()).ended == "client"


@pytest_twisted.ensureDeferred
async def test_switch_resets_behind_tls(lines, authority, identity):
    """A switch ends a client that speaks TLS too; its server is reset."""
    line = await with_tls_listener(lines, identity)
    client = await secured_client(line, authority)
    client.socket.setblocking(False)
    served = await line.accepted(line.a)
    served.send(b"!")
    await line.received(client, b"!")
    line.traffic.cut("fn-a")
    assert await line.ended(client)
    assert await line.ended(served) == "RST"
    assert (await line.recorded()).ended == "switch"


@pytest_twisted.ensureDeferred
async def test_reset_behind_tls_is_passed_on(lines, authority, identity):
    """A client that resets its TLS connection resets the server's."""
    line = await with_tls_listener(lines, identity)
    client = await secured_client(line, authority)
    client.socket.setblocking(False)
    served = await line.accepted(line.a)
    served.send(b"!")
    await line.received(client, b"!")
    client.reset()
    assert await line.ended(served) == "RST"
    assert (await line.recorded()).ended == "client"


@pytest_twisted.ensureDeferred
async def test_server_with_tls(lines, authority, identity):
    """A plain client's bytes go to a server that speaks TLS and back; the server's close is passed on."""
    line = await with_tls_backend(lines, authority)
    client = line.client()
    client.send(b"request")
    served = await secured_server(line, identity)
    served.socket.setblocking(False)
    await line.received(served, b"request")
    served.send(b"answer")
    await line.received(client, b"answer")
    served.close()
    assert await line.ended(client) == "EOF"
    client.close()
    await line.recorded()


@pytest_twisted.ensureDeferred
async def test_half_close_towards_tls_closes(lines, authority, identity):
    """An EOF of a client closes a server's TLS, after all that was said."""
    line = await with_tls_backend(lines, authority)
    client = line.client()
    client.send(b"request")
    served = await secured_server(line, identity)
    served.socket.setblocking(False)
    await line.received(served, b"request")
    served.send(b"answer")
    await line.received(client, b"answer")
    client.send(b", the rest")
    client.shut()
    assert await line.ended(served) == "EOF"
    assert served.received == b"request, the rest"
    served.close()
    assert await line.ended(client) == "EOF"
    assert (await line.recorded()).ended == "client"


@pytest_twisted.ensureDeferred
async def test_server_of_another_name_is_not_talked_to(lines, authority):
    """A server whose certificate does not prove the name gets nothing of the client; the dial has failed."""
    line = await with_tls_backend(lines, authority)
    other = authority.issue("other", names=("other.example.com",))
    client = line.client()
    client.send(b"secret")
    served = await secured_server(line, other)
    await line.ended(served)
    assert served.received == b""
    assert "fn-a" in line.suspects
    assert client.end is None
