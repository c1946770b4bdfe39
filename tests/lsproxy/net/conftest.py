"""Real connections on loopback, ended after each test, and protocols that remember what happened to them."""

import datetime as dt
import ipaddress
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher
from zope.interface import implementer

from lsproxy.net.endpoints import client_endpoint, server_endpoint

LOOPBACK = "127.0.0.1"


class Recorder(Protocol):
    """Remembers; `on_made` and `on_bytes` say what it does meanwhile."""

    def __init__(self, on_made=None, on_bytes=None):
        self.received = b""
        self.happened = []
        self.reason = None
        self._on_made = on_made
        self._on_bytes = on_bytes

    def connectionMade(self):
        self.happened.append("made")
        if self._on_made is not None:
            self._on_made(self)

    def dataReceived(self, data):
        self.received += data
        if self._on_bytes is not None:
            self._on_bytes(self, data)

    def connectionLost(self, reason):
        self.happened.append("lost")
        self.reason = reason.value

    @property
    def is_lost(self):
        return "lost" in self.happened


@implementer(IHalfCloseableProtocol)
class HalfRecorder(Recorder):
    """Keeps either half open on its own."""

    def readConnectionLost(self):
        self.happened.append("read lost")

    def writeConnectionLost(self):
        self.happened.append("write lost")


class Net:
    """Listens, dials and waits; everything it made is ended by `close`."""

    Recorder = Recorder
    HalfRecorder = HalfRecorder

    def __init__(self):
        self.reactor = reactor
        self.accepted: list[Recorder] = []
        self._ports: list[IListeningPort] = []
        self._sockets: list[socket.socket] = []
        self._dialed: list[Recorder] = []

    async def listen(self, new: Callable[[], Recorder] = Recorder, host: str = LOOPBACK, wrap=None) -> int:
        """Listen with recorders, which go to `accepted`; answers with the port."""

        def build(_address):
            self.accepted.append(new())
            return self.accepted[-1]

        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = build
        endpoint = server_endpoint(reactor, host, 0)
        port = await (wrap(endpoint) if wrap else endpoint).listen(factory)
        self._ports.append(port)
        return port.getHost().port

    def dial(self, port: int, protocol: Recorder | None = None, host: str = LOOPBACK, wrap=None) -> Deferred[Recorder]:
        protocol = protocol or Recorder()
        self._dialed.append(protocol)
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda _address: protocol
        endpoint = client_endpoint(reactor, host, port, timeout=5)
        return (wrap(endpoint) if wrap else endpoint).connect(factory)

    async def pair(self, server=Recorder, client=Recorder) -> tuple[Recorder, Recorder]:
        """One connection: its accepting protocol and its dialing one."""
        port = await self.listen(server)
        dialed = await self.dial(port, client())
        await self.until(lambda: self.accepted)
        return self.accepted[0], dialed

    async def raw(self, server=Recorder) -> tuple[Recorder, socket.socket]:
        """One connection: its accepting protocol and a plain, non-blocking socket."""
        port = await self.listen(server)
        peer = self.connect_raw(port)
        await self.until(lambda: self.accepted)
        return self.accepted[0], peer

    def connect_raw(self, port: int) -> socket.socket:
        """A plain socket connected to `port` by the kernel alone."""
        peer = socket.create_connection((LOOPBACK, port), timeout=5)
        peer.setblocking(False)
        self._sockets.append(peer)
        return peer

    async def read(self, peer: socket.socket, count: int) -> bytes:
        """Read `count` bytes from a plain socket, or up to its EOF."""
        read = b""

        def more():
            nonlocal read
            try:
                chunk = peer.recv(min(65_536, count - len(read)))
            except BlockingIOError:
                return False
            read += chunk
            return not chunk or len(read) >= count

        await self.until(more)
        return read

    async def until(self, happened: Callable[[], object], seconds: float = 5.0) -> None:
        """Wait for something; fail after `seconds`."""
        end = reactor.seconds() + seconds
        while not happened():
            assert reactor.seconds() < end, "it did not happen in time"
            await deferLater(reactor, 0.001)

    async def turns(self, seconds: float = 0.05) -> None:
        """Give what is not expected the time to happen."""
        await deferLater(reactor, seconds)

    def close(self) -> None:
        for port in self._ports:
            port.stopListening()
        for peer in self._sockets:
            peer.close()
        for protocol in (*self.accepted, *self._dialed):
            if protocol.transport is not None:
                protocol.transport.abortConnection()


@pytest.fixture
def net() -> Iterator[Net]:
    made = Net()
    yield made
    made.close()


@pytest.fixture
def logged() -> Iterator[list]:
    """What is logged during the test, as events."""
    events: list = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


class Authority:
    """A certificate authority that lives for a test, and the files it writes."""

    def __init__(self, folder: Path, name: str = "test CA") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            self._builder(self._name, self._key.public_key(), now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{name}.ca.pem"
        self.file.write_bytes(certificate.public_bytes(Encoding.PEM))

    def issue(self, name: str, *, names=(), expired=False, purpose=None) -> tuple[Path, Path]:
        """Write certificate and key files for the DNS names and IP addresses `names` (default: `name`)."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.UTC)
        end = now - dt.timedelta(hours=1) if expired else now + dt.timedelta(days=1)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternatives = [_general_name(it) for it in names or (name,)]
        builder = self._builder(subject, key.public_key(), end)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        if purpose is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        certificate_file, key_file = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        key_file.touch(0o600)
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate_file, key_file

    def _builder(self, subject, public_key, end) -> x509.CertificateBuilder:
        begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
        return x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=public_key,
            serial_number=x509.random_serial_number(),
            not_valid_before=begin,
            not_valid_after=end,
        )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def stranger(tmp_path) -> Authority:
    """Another authority, which nobody trusts."""
    return Authority(tmp_path, "stranger")
