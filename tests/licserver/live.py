"""One license server on loopback in the test's own reactor, its journal in memory, and plain sockets as clients."""

import json
import socket
import time
from secrets import token_bytes

from twisted.internet import reactor
from twisted.internet.defer import succeed
from twisted.internet.task import deferLater

from licserver.connection import Connections
from licserver.journal.interface import Member
from licserver.journal.memory import MemoryStore
from licserver.journal.process import this_process
from licserver.licenses import Licenses
from licserver.peer import Peers
from licserver.redundancy import Outfit
from licserver.server import Identity, Server
from lsproxy.net.endpoints import client_endpoint, server_endpoint
from tests.licserver.house import DUPLICATE, TERMS, TOKEN, TTL, license_text
from tests.lsproxy.license.texts import VENDOR_KEYS

LOOPBACK = "127.0.0.1"


async def until(happened, seconds=5.0):
    """Wait for something; fail after `seconds`."""
    end = reactor.seconds() + seconds
    while not (found := happened()):
        assert reactor.seconds() < end, "it did not happen in time"
        await deferLater(reactor, 0.002)
    return found


class Socket:
    """A client's plain socket."""

    def __init__(self, port, receive_bytes=None):
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect((LOOPBACK, port))
        self.socket.setblocking(False)
        self.received = b""
        self.is_at_end = self.is_reset = False

    async def send(self, data):
        """Send all of it, as fast as it is taken."""
        rest = memoryview(data)

        def more():
            nonlocal rest
            try:
                rest = rest[self.socket.send(rest) :]
            except BlockingIOError:
                return False
            except (ConnectionResetError, BrokenPipeError):
                return True
            return not rest

        await until(more, 20.0)

    async def say(self, **request):
        await self.send(json.dumps(request).encode() + b"\n")

    async def hello(self, session="a", number=1):
        await self.say(id=number, op="hello", protocol="seat/1", session=session * 32, attempt=1, user="u", host="h")
        return await self.answer(number)

    async def answer(self, number):
        """The reply to request `number`."""
        return await until(lambda: next((each for each in self.messages() if each.get("id") == number), None))

    async def end(self, seconds=5.0):
        """All messages up to the end of the connection."""
        await until(lambda: self.messages() is not None and (self.is_at_end or self.is_reset), seconds)
        return self.messages()

    def messages(self):
        self.read()
        return [json.loads(line) for line in self.received.split(b"\n")[:-1]]

    def read(self):
        """Take what has come."""
        try:
            while not self.is_at_end:
                arrived = self.socket.recv(1 << 20)
                self.received += arrived
                self.is_at_end = not arrived
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.is_reset = True

    def close(self):
        self.socket.close()


class Live:
    """See the module. `wrap` puts TLS over the listening endpoint."""

    def __init__(self, folder):
        self.folder = folder
        self.store = MemoryStore("acme-licenses", "00" * 16)
        self.clients = []
        self.stopped = []
        self._ports = []

    async def start(self, wrap=None, seats=10, token=TOKEN, terms=TERMS, connect=None):
        """Listen, and become active."""
        path = self.folder / "acme.lic"
        path.write_text(license_text(seats))
        member = Member("lic-a", "a1", "a:1", this_process(), "")
        self.server = Server(
            reactor=reactor,
            wall=time.time,
            identity=Identity(member, "acme-licenses", "0", ()),
            terms=terms,
            ttl=TTL,
            token=token,
            journal=await self.store.open(reactor),
            licenses=Licenses(path, VENDOR_KEYS, (), "lic-a", DUPLICATE),
            outfit=Outfit("boot", token_bytes, 900.0, "sqlite:///acme.db", True, {}),
            peers=Peers(reactor, connect or self.dial, token, TTL),
            remember=lambda *_: succeed(None),
            stopping=lambda: self.stopped.append(True),
        )
        self.connections = Connections(self.server)
        endpoint = server_endpoint(reactor, LOOPBACK, 0)
        port = await (wrap(endpoint) if wrap else endpoint).listen(self.connections)
        self._ports.append(port)
        self.port = port.getHost().port
        await self.server.read_journal()
        await self.server.journal.join(member)
        await self.server.start()
        await until(lambda: self.server.role() == "active")
        return self

    def dial(self, _member):
        return client_endpoint(reactor, LOOPBACK, self.port, timeout=0.2)

    def client(self, receive_bytes=None):
        client = Socket(self.port, receive_bytes)
        self.clients.append(client)
        return client

    async def close(self):
        for port in self._ports:
            await port.stopListening()
        for client in self.clients:
            client.close()
        await self.server.stop()
        await until(lambda: not self.connections._open, 10.0)
