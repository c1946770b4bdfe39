"""A pool before two small license servers, real clients on loopback, and everything ended after each test."""

import json
from pathlib import Path

import pytest
import pytest_twisted
from cryptography.hazmat.primitives import serialization
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from zope.interface import implementer

from lsproxy.config import model
from lsproxy.net.address import Address
from lsproxy.net.endpoints import client_endpoint, server_endpoint
from lsproxy.proxy.build import plan_pool
from lsproxy.proxy.dialling import OneProtocol
from lsproxy.proxy.listener import Listener
from lsproxy.proxy.memory import InMemory
from lsproxy.proxy.operator import Operator
from lsproxy.proxy.seatpool import SeatPool
from tests.lsproxy.license.texts import KEY, signed, verified
from tests.lsproxy.proxy.seatserver import TOKEN, Book, SeatServer

LICENSE = signed(
    "INCREMENT cad acme 2027.0 permanent 5\n",
    "SERVER lic-a HOSTNAME=lic-a 27101\nSERVER lic-b HOSTNAME=lic-b 27101\nVENDOR acme\n",
)


@implementer(IHalfCloseableProtocol)
class Client(Protocol):
    """A client of the proxy: `lines` is what it was told."""

    def __init__(self):
        self.rest = b""
        self.lines = []
        self.is_closed = False
        self.last_id = 0
        self._waiting = []

    def dataReceived(self, data):
        self.rest += data
        *lines, self.rest = self.rest.split(b"\n")
        self.lines += [json.loads(line) for line in lines]
        self._wake()

    def readConnectionLost(self):
        self.is_closed = True
        self.transport.loseConnection()

    def writeConnectionLost(self):
        pass

    def connectionLost(self, _reason):
        self.is_closed = True
        self._wake()

    def _wake(self):
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    def ask(self, op, **keys):
        self.last_id += 1
        number = keys.pop("id", self.last_id)
        self.transport.write(json.dumps({"id": number, "op": op, **keys}).encode() + b"\n")
        return number

    def hello(self, session="0" * 32, attempt=1):
        return self.ask("hello", protocol="seat/1", session=session, attempt=attempt, user="u", host="h")

    def found(self, **keys):
        return next((one for one in self.lines if keys.items() <= one.items()), None)

    async def told(self, seconds=5.0, **keys):
        """The first line with these keys, once it is there."""
        while self.found(**keys) is None:
            assert not self.is_closed, f"closed after {self.lines[-5:]}"
            await self._news(seconds)
        return self.found(**keys)

    async def closed(self, seconds=5.0):
        while not self.is_closed:
            await self._news(seconds)

    async def _news(self, seconds):
        news = Deferred()
        self._waiting.append(news)
        try:
            await news.addTimeout(seconds, reactor)
        except TooLate:
            raise AssertionError(f"nothing more after {self.lines[-5:]}") from None


class World:
    """Two servers, `lic-a` active, and a pool in front of them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.book = Book()
        self.a = SeatServer(reactor, "lic-a", self.book)
        self.b = SeatServer(reactor, "lic-b", self.book)
        self.a.license = self.b.license = verified(LICENSE).digest
        self.memory = InMemory()
        self.events = []
        self.pool = None
        self.clients = []
        public = KEY.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (folder / "acme.lic").write_text(LICENSE)
        (folder / "acme.pub").write_bytes(public)
        (folder / "operator.token").write_text(TOKEN)
        (folder / "operator.token").chmod(0o600)

    def config(self, **settings):
        usual = {
            "kind": "licserver",
            "server_name": "acme-licenses",
            "license_file": self.folder / "acme.lic",
            "vendor_keys": {"acme": self.folder / "acme.pub"},
            "token_file": self.folder / "operator.token",
            "health": model.Health(interval=0.05, timeout=0.1),
            "hold": 5.0,
            "backends": {
                "lic-a": model.SeatBackend(address=Address("127.0.0.1", self.a.number)),
                "lic-b": model.SeatBackend(address=Address("127.0.0.1", self.b.number)),
            },
        }
        return model.SeatPool(**{**usual, **settings})

    async def start(self, *, active=True, servers=None, **settings):
        for server in servers or (self.a, self.b):
            await server.start()
        if self.b.number == 0:
            await self.b.start()
            self.b.kill()
        if active:
            self.a.activate()
        await self.start_pool(**settings)

    async def start_pool(self, **settings):
        plan = plan_pool(reactor, "acme", self.config(**settings), lambda: 0.5)
        self.pool = SeatPool(reactor, plan, self.memory, lambda: 0.5, self.announce)
        self.operator = Operator(reactor, self.pool)
        self.pool.start()
        self.listener = Listener(reactor, "licenses", server_endpoint(reactor, "127.0.0.1", 0), self.pool)
        port = await self.listener.start()
        self.number = port.getHost().port

    def announce(self, event, _pool, message, _details):
        self.events.append((event, message))

    def happened(self, event):
        return [message for name, message in self.events if name == event]

    async def client(self, session=None):
        """A client whose hello was answered, if it has a session."""
        client = await client_endpoint(reactor, "127.0.0.1", self.number).connect(OneProtocol(Client()))
        self.clients.append(client)
        if session is not None:
            client.hello(session)
            await client.told(id=1)
        return client

    async def until(self, holds, seconds=5.0):
        for _ in range(int(seconds / 0.005)):
            if holds():
                return
            await deferLater(reactor, 0.005)
        raise AssertionError(f"never: {self.pool.snapshot()}, {self.events}")

    async def served_by(self, name, seconds=5.0):
        await self.until(lambda: self.pool.serving == name, seconds)

    async def stop_pool(self):
        await self.listener.stop()
        await self.pool.stop()
        self.pool = None

    async def stop(self):
        for client in self.clients:
            if client.transport is not None:
                client.transport.abortConnection()
        if self.pool is not None:
            await self.stop_pool()
        for server in (self.a, self.b):
            server.kill()
        await deferLater(reactor, 0.01)


@pytest.fixture
def world(tmp_path):
    """A world that is not started yet."""
    made = World(tmp_path)
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.stop()))
