"""Checks of real servers on loopback: those that answer, and each way not to."""

import errno
import gc
import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectError, getConnectError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

from lsproxy.commands import CommandError
from lsproxy.config import model
from lsproxy.net.address import Address
from lsproxy.net.announcing import announce
from lsproxy.net.certificates import CertificateError
from lsproxy.net.endpoints import client_endpoint, server_endpoint
from lsproxy.net.proxyprotocol import LOCAL_HEADER
from lsproxy.net.tls import server_tls, wrap_server
from lsproxy.proxy.relay import portcheck
from lsproxy.proxy.relay.checks import build_checks
from lsproxy.proxy.relay.portcheck import EXPECT_BYTES, Failed, Passed, Undecided
from tests.lsproxy.net.conftest import Authority

LOOPBACK = "127.0.0.1"
TCP_CLOSE = 7  # linux/tcp.h
PING = model.Probe(send=b"PING\r\n", expect=b"+PONG")
BANNER = model.Probe(expect=b"SSH-2.0-")

STOPPABLE = """
import ctypes, signal, socket, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
while True:
    accepted, _ = listening.accept()
    while accepted.recv(4096):
        pass
    accepted.close()
"""


class Served(Protocol):
    """Twisted's usual protocol: it closes when the other side has."""

    def __init__(self, server):
        self.server = server
        self.received = b""
        self.is_lost = False

    def connectionMade(self):
        self.server.connections.append(self)

    def dataReceived(self, data):
        self.received += data

    def connectionLost(self, _reason):
        self.is_lost = True

    def is_left(self):
        if self.is_lost:
            return True
        below = self.transport
        while isinstance(below, ProtocolWrapper):
            below = below.transport
        return below.getHandle().getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE


@implementer(IHalfCloseableProtocol)
class Open(Served):
    """Leaves open what the other side has ended."""

    def readConnectionLost(self):
        pass

    def writeConnectionLost(self):
        pass


@implementer(IHalfCloseableProtocol)
class ResetsAtEof(Open):
    def readConnectionLost(self):
        self.transport.abortConnection()


class Resets(Served):
    def dataReceived(self, _data):
        self.transport.abortConnection()


class Closes(Served):
    def connectionMade(self):
        super().connectionMade()
        self.transport.loseConnection()


class Says(Open):
    """Says `text` in pieces of `size` bytes, `pause` seconds apart."""

    def __init__(self, server, text=b"+PONG", size=1, pause=0.002):
        super().__init__(server)
        self.text, self.size, self.pause = text, size, pause
        self.more = None

    def connectionMade(self):
        super().connectionMade()
        self._go_on()

    def _go_on(self):
        if self.text and not self.is_lost:
            self.transport.write(self.text[: self.size])
            self.text = self.text[self.size :]
            self.more = reactor.callLater(self.pause, self._go_on)

    def connectionLost(self, reason):
        super().connectionLost(reason)
        if self.more is not None and self.more.active():
            self.more.cancel()


class Echoes(Open):
    def dataReceived(self, data):
        super().dataReceived(data)
        self.transport.write(data)


class Greets(Open):
    def connectionMade(self):
        super().connectionMade()
        self.transport.write(b"220 mail\r\n")


class Floods(Open):
    def connectionMade(self):
        super().connectionMade()
        self.transport.registerProducer(self, False)

    def resumeProducing(self):
        self.transport.write(b"x" * 65_536)

    def stopProducing(self):
        pass


class Server:
    """Listens, and serves each connection with `kind`."""

    def __init__(self, kind=Served):
        self.kind = kind
        self.connections = []
        self.address = None

    async def start(self, wrap=None, number=0):
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda _peer: self.kind(self)
        endpoint = server_endpoint(reactor, LOOPBACK, number)
        self.port = await (endpoint if wrap is None else wrap(endpoint)).listen(factory)
        self.address = Address(LOOPBACK, self.port.getHost().port)
        return self

    async def stop(self):
        await self.port.stopListening()
        for one in self.connections:
            if not one.is_lost:
                one.transport.abortConnection()

    async def is_left(self, seconds=5.0):
        """Nobody is connected any more, as the kernel sees it."""
        end = reactor.seconds() + seconds
        while not all(one.is_left() for one in self.connections):
            assert reactor.seconds() < end, "a check left its connection behind"
            await deferLater(reactor, 0.002)


class World:
    """Servers that are ended with the test."""

    def __init__(self):
        self.servers = []
        self.processes = []

    async def serve(self, kind=Served, wrap=None):
        self.servers.append(await Server(kind).start(wrap))
        return self.servers[-1]

    def serve_apart(self):
        """A server in a process of its own, which closes when its client has."""
        process = subprocess.Popen([sys.executable, "-c", STOPPABLE], stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process, Address(LOOPBACK, int(process.stdout.readline()))

    async def close(self):
        for one in self.servers:
            await one.stop()
        for one in self.processes:
            one.stdout.close()
            one.kill()
            one.wait()


@pytest.fixture
def world():
    """Servers on loopback; after the test no timed call of a check is left."""
    made = World()
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.close()))
    pending = [call for call in reactor.getDelayedCalls() if call.active()]
    assert not [call for call in pending if call.func.__module__ == portcheck.__name__]


@pytest.fixture
def black_hole():
    """An address whose backlog is full: the kernel answers no SYN to it."""
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        listening.listen(0)
        fill = [socket.socket() for _ in range(4)]
        for it in fill:
            it.setblocking(False)
            it.connect_ex(listening.getsockname())
        yield Address(*listening.getsockname())
        for it in fill:
            it.close()


def checks_of(*addresses, probe=None, timeout=0.3, door=lambda endpoint: endpoint, **named):
    """The checks of a backend with these addresses, of which only one needs no name."""
    ports = {"": addresses[0]} if addresses else named
    doors = {name: door(client_endpoint(reactor, it.host, it.port, timeout=10)) for name, it in ports.items()}
    health = model.RelayHealth(timeout=timeout)
    return build_checks(reactor, doors, ports, probe or model.Probe(), health, lambda: 0.0)


def stop(process):
    """Stop it, and wait until it is."""
    os.kill(process.pid, signal.SIGSTOP)
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        pass


async def reason_of(checks, *, is_certain=False):
    result = await checks.ask()
    assert isinstance(result, Failed), result
    assert result.is_certain is is_certain
    return result.reason


@pytest_twisted.ensureDeferred
async def test_a_server_that_closes_passes(world):
    """A server that closes what this side has closed is alive, which takes no time."""
    server = await world.serve()
    result = await checks_of(server.address).ask()
    assert isinstance(result, Passed)
    assert result.seconds < 0.2
    await server.is_left()


@pytest_twisted.ensureDeferred
async def test_a_server_that_never_closes_is_judged_by_its_connect(world):
    """A server that leaves the connection open passes, again and again, and none is left to it."""
    server = await world.serve(Open)
    checks = checks_of(server.address)
    for _ in range(3):
        assert isinstance(await checks.ask(), Passed)
    await server.is_left()
    assert len(server.connections) == 3


@pytest_twisted.ensureDeferred
async def test_a_server_that_greets_passes(world):
    """A greeting is a sign of life too."""
    server = await world.serve(Greets)
    checks = checks_of(server.address)
    assert isinstance(await checks.ask(), Passed)
    server.kind = Open
    assert "did nothing" in await reason_of(checks)
    await server.is_left()


@pytest_twisted.ensureDeferred
async def test_a_stopped_process_that_closed_before(world):
    """A stopped process fails once it has been seen to close, although its kernel accepts; continued, passes."""
    process, address = world.serve_apart()
    checks = checks_of(vendor=address)
    assert isinstance(await checks.ask(), Passed)
    stop(process)
    began = reactor.seconds()
    assert await reason_of(checks) == (
        f"vendor ({address}): it accepted the connection and did nothing for 0.3 s, unlike before"
    )
    assert 0.25 < reactor.seconds() - began < 1
    os.kill(process.pid, signal.SIGCONT)
    assert isinstance(await checks.ask(), Passed)


@pytest_twisted.ensureDeferred
async def test_an_end_is_no_habit(world):
    """A server that never closes and then dies under a check is judged by its connect when it is back."""
    server = await world.serve(Open)
    checks = checks_of(server.address, timeout=5.0)
    for _ in range(2):
        checking = checks.ask()
        await deferLater(reactor, 0.05)
        server.connections[-1].transport.loseConnection()
        assert isinstance(await checking, Passed)
        assert not checks.lively
        assert isinstance(await checks.ask(), Passed)
    both = [checks.ask() for _ in range(2)]
    await deferLater(reactor, 0.05)
    for one in server.connections[-2:]:
        one.transport.loseConnection()
    for one in both:
        assert isinstance(await one, Passed)
    assert not checks.lively
    await server.is_left()


@pytest_twisted.ensureDeferred
async def test_a_cancelled_second_visit(world):
    """A check that is cancelled amid its second visit leaves nothing behind."""
    server = await world.serve()
    checks = checks_of(server.address, timeout=5.0)
    checking = checks.ask()
    server.kind = Open
    checking.addErrback(lambda failure: failure.trap(CancelledError))
    while len(server.connections) < 1:
        await deferLater(reactor, 0.001)
    server.connections[0].transport.loseConnection()
    await deferLater(reactor, 0.05)
    assert len(server.connections) == 2
    checking.cancel()
    await server.is_left()


@pytest_twisted.ensureDeferred
async def test_what_was_shown_is_remembered(world):
    """Other checks of the same place know a stopped process by what it showed to these; those of another do not."""
    process, address = world.serve_apart()
    former = checks_of(vendor=address)
    assert former.lively == ()
    await former.ask()
    assert len(former.lively) == 1
    other = await world.serve(Open)
    elsewhere, asked_else = checks_of(vendor=other.address), checks_of(vendor=address, probe=model.Probe(send=b"hello"))
    again, heir = checks_of(vendor=address), checks_of(vendor=address)
    for one in (again, elsewhere, asked_else):
        one.remember(former.lively)
    heir.inherit(former)
    stop(process)
    for one in (again, heir):
        assert one.lively == former.lively
        assert "unlike before" in await reason_of(one)
    for one in (elsewhere, asked_else):
        assert one.lively == ()
        assert isinstance(await one.ask(), Passed)


def test_a_sign_by_tls_is_none_without(tmp_path):
    """What a port shows by TLS, where nobody can end one direction, says nothing of how it is without, and back."""
    address = Address(LOOPBACK, 9)
    tls = model.Probe(tls=model.BackendTls(ca=Authority(tmp_path).file))
    door = {"": client_endpoint(reactor, LOOPBACK, 9)}

    def made(probe, *, is_tls=False):
        health = model.RelayHealth()
        return build_checks(reactor, door, {"": address}, probe, health, lambda: 0.0, is_tls=is_tls)

    grounds = [one._ports[0].ground for one in (made(tls), made(model.Probe(), is_tls=True), made(model.Probe()))]
    assert grounds[0] == grounds[1] != grounds[2]


@pytest_twisted.ensureDeferred
async def test_a_killed_process(world):
    """A process that was killed refuses, which is certain and takes no time."""
    process, address = world.serve_apart()
    checks = checks_of(vendor=address)
    assert isinstance(await checks.ask(), Passed)
    process.kill()
    process.wait()
    began = reactor.seconds()
    assert await reason_of(checks, is_certain=True) == f"vendor ({address}): connection refused"
    assert reactor.seconds() - began < 0.2


@pytest_twisted.ensureDeferred
async def test_killed_while_it_is_stopped(world):
    """When a stopped process is killed, its open check is reset: that is certain."""
    process, address = world.serve_apart()
    checks = checks_of(address, timeout=5.0)
    await checks.ask()
    stop(process)
    checking = checks.ask()
    await deferLater(reactor, 0.2)
    process.kill()
    result = await checking
    assert (result.reason, result.is_certain) == (f"{address}: it reset the connection", True)


@pytest_twisted.ensureDeferred
async def test_one_that_always_resets_is_judged_by_its_connect(world):
    """A server that ends by RST what this side has ended, and never otherwise, is none that fails."""
    server = await world.serve(ResetsAtEof)
    checks = checks_of(server.address)
    for _ in range(2):
        assert isinstance(await checks.ask(), Passed)
    server.kind = Served
    assert isinstance(await checks.ask(), Passed)
    server.kind = ResetsAtEof
    assert "it reset the connection" in await reason_of(checks, is_certain=True)


@pytest_twisted.ensureDeferred
async def test_black_hole(black_hole):
    """A server that answers no SYN fails after the limit."""
    began = reactor.seconds()
    assert await reason_of(checks_of(lmgrd=black_hole)) == f"lmgrd ({black_hole}): no connection within 0.3 s"
    assert 0.25 < reactor.seconds() - began < 1


@pytest_twisted.ensureDeferred
async def test_a_name_that_is_not_known():
    """A name that leads nowhere fails with that reason."""
    reason = await reason_of(checks_of(Address("no-such-host.invalid", 27000), timeout=5.0))
    assert reason.startswith("no-such-host.invalid:27000: its name cannot be looked up: ")


@pytest_twisted.ensureDeferred
async def test_no_route():
    """What the system says of the path is the reason."""
    assert await reason_of(checks_of(Address("255.255.255.255", 9))) == "255.255.255.255:9: Network is unreachable"


@pytest_twisted.ensureDeferred
async def test_a_shortage_on_this_machine_is_no_failure():
    """Without a descriptor for the check nothing is known of the server."""

    class Door:
        def connect(self, _factory):
            return fail(getConnectError((errno.EMFILE, "Too many open files")))

    undecided = await checks_of(Address(LOOPBACK, 9), door=lambda _endpoint: Door()).ask()
    assert undecided == Undecided(f"{LOOPBACK}:9: Too many open files")


@pytest_twisted.ensureDeferred
async def test_other_reasons():
    """What else an endpoint says is passed on."""

    class Door:
        def connect(self, _factory):
            return fail(ConnectError(string="it is closed on Sundays"))

    reason = await reason_of(checks_of(Address(LOOPBACK, 9), door=lambda _endpoint: Door()))
    assert reason == f"{LOOPBACK}:9: An error occurred while connecting: it is closed on Sundays."
    both = checks_of(a=Address(LOOPBACK, 9), b=Address(LOOPBACK, 9), door=lambda _endpoint: Door())
    assert (await reason_of(both)).startswith("a (")


@pytest_twisted.ensureDeferred
async def test_the_expected_answer(world):
    """What was expected may come in pieces and amid other text; what was said before is what was to be sent."""
    server = await world.serve(partial(Says, text=b"# hello\r\n+PONG\r\n# more" * 2))
    result = await checks_of(server.address, probe=PING, timeout=5.0).ask()
    assert isinstance(result, Passed)
    assert result.seconds > 0.01
    await server.is_left()
    assert server.connections[0].received == b"PING\r\n"


@pytest_twisted.ensureDeferred
async def test_a_banner_is_waited_for(world):
    """With nothing to send the banner is waited for, and this side's writing stays open meanwhile."""
    server = await world.serve(partial(Says, text=b"SSH-2.0-x", pause=0.02))
    assert isinstance(await checks_of(server.address, probe=BANNER, timeout=5.0).ask(), Passed)


@pytest_twisted.ensureDeferred
async def test_binary_answers(world):
    """Any bytes may be expected, and are shown in hexadecimal when others came."""
    server = await world.serve(partial(Says, text=b"\x00\x01\xfe\xff", size=2))
    assert isinstance(await checks_of(server.address, probe=model.Probe(expect=b"\x01\xfe")).ask(), Passed)
    reason = await reason_of(checks_of(server.address, probe=model.Probe(expect=b"\r\n\\")))
    assert 'it said "\\x00\\x01\\xfe\\xff" where "\\x0d\\x0a\\" was expected' in reason


@pytest_twisted.ensureDeferred
async def test_a_byte_at_a_time_ends_with_the_limit(world):
    """One limit holds for everything: a server that goes on talking does not stretch it."""
    server = await world.serve(partial(Says, text=b"abc" * 100_000, pause=0.01))
    began = reactor.seconds()
    reason = await reason_of(checks_of(vendor=server.address, probe=PING))
    assert 0.25 < reactor.seconds() - began < 1
    assert 'it said "abcabc' in reason
    assert reason.endswith('where "+PONG" was expected within 0.3 s')
    await server.is_left()


@pytest_twisted.ensureDeferred
async def test_a_flood_ends_at_64_kib(world):
    """A server that sends without end is not listened to for longer than 64 KiB."""
    server = await world.serve(Floods)
    reason = await reason_of(checks_of(server.address, probe=PING, timeout=5.0))
    assert reason == f'{server.address}: it sent 64 KiB in which "+PONG" was not'
    await server.is_left()


@pytest_twisted.ensureDeferred
async def test_what_comes_after_64_kib_does_not_count(world):
    """What is expected has to end within the first 64 KiB."""
    text = b"x" * (EXPECT_BYTES - 5) + b"+PONG"
    server = await world.serve(partial(Says, text=text, size=len(text)))
    assert isinstance(await checks_of(server.address, probe=PING, timeout=5.0).ask(), Passed)
    server.kind = partial(Says, text=b"x" + text, size=len(text))
    await reason_of(checks_of(server.address, probe=PING, timeout=5.0))


@pytest_twisted.ensureDeferred
async def test_silence_where_an_answer_is_expected(world):
    """A server that accepts and says nothing fails after the limit."""
    server = await world.serve(Open)
    assert await reason_of(checks_of(lmgrd=server.address, probe=PING)) == (
        f"lmgrd ({server.address}): it accepted the connection and said nothing for 0.3 s"
    )
    await server.is_left()


@pytest_twisted.ensureDeferred
async def test_an_end_where_an_answer_is_expected(world):
    """A server that closes fails at once, with what it said before; one that resets is certain."""
    server = await world.serve(Closes)
    checks = checks_of(vendor=server.address, probe=BANNER, timeout=5.0)
    assert 'it closed the connection where "SSH-2.0-" was expected' in await reason_of(checks)
    server.kind = ClosesWithWords
    assert 'it said "421 too many connections" where "SSH-2.0-" was expected' in await reason_of(checks)
    server.kind = Resets
    checks = checks_of(vendor=server.address, probe=PING, timeout=5.0)
    assert "it reset the connection" in await reason_of(checks, is_certain=True)


class ClosesWithWords(Served):
    def connectionMade(self):
        super().connectionMade()
        self.transport.write(b"421 too many connections")
        self.transport.loseConnection()


@pytest_twisted.ensureDeferred
async def test_something_to_send_and_nothing_expected(world):
    """Where nothing is expected, whatever comes back is a sign of life."""
    server = await world.serve(Echoes)
    assert isinstance(await checks_of(server.address, probe=model.Probe(send=b"hello")).ask(), Passed)
    assert server.connections[0].received == b"hello"


@pytest_twisted.ensureDeferred
async def test_long_words_are_cut(world):
    """Of what was said 60 characters are quoted."""
    server = await world.serve(ClosesWithMuch)
    reason = await reason_of(checks_of(server.address, probe=BANNER))
    assert f'it said "{"y" * 60}…" where' in reason


class ClosesWithMuch(Served):
    def connectionMade(self):
        super().connectionMade()
        self.transport.write(b"y" * 61)
        self.transport.loseConnection()


@pytest_twisted.ensureDeferred
async def test_every_port_has_to_answer(world):
    """All ports are asked at once; the first that fails decides and the other visits are ended."""
    lmgrd, vendor = await world.serve(), await world.serve()
    checks = checks_of(lmgrd=lmgrd.address, vendor=vendor.address)
    assert isinstance(await checks.ask(), Passed)
    await vendor.port.stopListening()
    lmgrd.kind = Open
    assert await reason_of(checks, is_certain=True) == f"vendor ({vendor.address}): connection refused"
    await lmgrd.is_left()


@pytest_twisted.ensureDeferred
async def test_named_ports(world):
    """Ports that the probe does not name are not asked."""
    lmgrd, vendor = await world.serve(), await world.serve()
    await vendor.port.stopListening()
    checks = checks_of(lmgrd=lmgrd.address, vendor=vendor.address, probe=model.Probe(ports=("lmgrd",)))
    assert isinstance(await checks.ask(), Passed)


@pytest_twisted.ensureDeferred
async def test_cancelled(world, black_hole):
    """A check that is cancelled ends its connections and attempts."""
    server = await world.serve(Open)
    checking = checks_of(a=server.address, b=black_hole, timeout=10.0).ask()
    await deferLater(reactor, 0.05)
    checking.cancel()
    with pytest.raises(CancelledError):
        await checking
    await server.is_left()


@pytest_twisted.ensureDeferred
async def test_tls(world, tmp_path):
    """By TLS the handshake is what is asked, and a server whose certificate is not for the name fails."""
    authority = Authority(tmp_path)
    tls = server_tls(*authority.issue("vendor.example.com"))
    server = await world.serve(Open, wrap=lambda endpoint: wrap_server(reactor, endpoint, tls))
    believed = model.BackendTls(ca=authority.file, name="vendor.example.com")
    checks = checks_of(server.address, probe=model.Probe(tls=believed), timeout=5.0)
    for _ in range(2):
        assert isinstance(await checks.ask(), Passed)
    await server.is_left()
    other = model.BackendTls(ca=authority.file, name="other.example.com")
    reason = await reason_of(checks_of(server.address, probe=model.Probe(tls=other), timeout=5.0))
    assert reason == (
        f"{server.address}: TLS handshake with the server {server.address} failed:"
        ' the certificate is not for "other.example.com"'
    )


@pytest_twisted.ensureDeferred
async def test_words_over_tls(world, tmp_path):
    """What is sent and expected goes through TLS."""
    authority = Authority(tmp_path)
    tls = server_tls(*authority.issue("127.0.0.1"))
    server = await world.serve(Says, wrap=lambda endpoint: wrap_server(reactor, endpoint, tls))
    believed = model.BackendTls(ca=authority.file)
    probe = model.Probe(send=b"PING\r\n", expect=b"+PONG", tls=believed)
    assert isinstance(await checks_of(server.address, probe=probe, timeout=5.0).ask(), Passed)
    assert server.connections[0].received == b"PING\r\n"
    await server.is_left()


@pytest_twisted.ensureDeferred
async def test_an_end_over_tls(world, tmp_path):
    """A server that closes TLS where an answer is expected fails at once."""
    authority = Authority(tmp_path)
    tls = server_tls(*authority.issue("127.0.0.1"))
    server = await world.serve(Closes, wrap=lambda endpoint: wrap_server(reactor, endpoint, tls))
    probe = model.Probe(expect=b"SSH-2.0-", tls=model.BackendTls(ca=authority.file))
    assert "it closed the connection" in await reason_of(checks_of(server.address, probe=probe, timeout=5.0))
    probe = model.Probe(send=b"hello", tls=model.BackendTls(ca=authority.file))
    assert isinstance(await checks_of(server.address, probe=probe, timeout=5.0).ask(), Passed)


@pytest_twisted.ensureDeferred
async def test_a_silent_handshake(world, tmp_path):
    """A server that accepts and does not answer the handshake fails after the limit, also one that never did."""
    server = await world.serve(Open)
    believed = model.BackendTls(ca=Authority(tmp_path).file)
    assert "no connection within 0.3 s" in await reason_of(
        checks_of(server.address, probe=model.Probe(tls=believed)),
    )
    await server.is_left()


@pytest_twisted.ensureDeferred
async def test_the_proxy_protocols_local_header(world):
    """A backend that is told of its clients is told first that this is nobody's connection."""
    server = await world.serve()
    checks = checks_of(server.address, door=lambda endpoint: announce(endpoint, LOCAL_HEADER))
    assert isinstance(await checks.ask(), Passed)
    assert server.connections[0].received == LOCAL_HEADER


def test_what_cannot_be_built(tmp_path):
    """A CA file that is none, and a name in braces that stands for nothing, are said when the checks are built."""
    nowhere = Address(LOOPBACK, 9)
    with pytest.raises(CertificateError, match=r"missing\.pem"):
        checks_of(nowhere, probe=model.Probe(tls=model.BackendTls(ca=tmp_path / "missing.pem")))
    with pytest.raises(CommandError, match=r"\{hots\}, which stands for nothing here: known are \{host\}, \{port\}"):
        checks_of(nowhere, probe=model.Probe(command=("lmutil", "{port}@{hots}")))


@pytest_twisted.ensureDeferred
async def test_nothing_is_left_of_many(world):
    """A thousand checks leave no descriptor and nothing for the garbage collector's sake."""
    server = await world.serve()
    checks = checks_of(server.address, timeout=10.0)
    await checks.ask()
    gc.collect()
    before = descriptors()
    for _ in range(50):
        for running in [checks.ask() for _ in range(20)]:
            assert isinstance(await running, Passed)
    await server.is_left()
    end = reactor.seconds() + 5
    while descriptors() > before:
        assert reactor.seconds() < end, "a check left a descriptor open"
        await deferLater(reactor, 0.002)


def descriptors():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
