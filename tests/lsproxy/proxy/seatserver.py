"""
A small license server: it speaks seat/1 from a shared book that plays the journal.

It is real enough for a proxy: epochs, takeovers, sessions that outlive a server,
repeated requests. What it was told is in `heard`, and it can be killed, frozen
(as by SIGSTOP), and told to answer something else.
"""

import json

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from lsproxy.net.endpoints import server_endpoint

TOKEN = "operator-secret"  # noqa: S105 - the tests' own
DUPLICATE = {"scheme": "duplicate", "role": "duplicate"}


class Book:
    """What all servers of one name share: the claim, and what sessions hold."""

    def __init__(self, journal="j1"):
        self.journal = journal
        self.epoch = 0
        self.holder = None
        self.held = {}
        self.seats = 0


@implementer(IHalfCloseableProtocol)
class _Connection(Protocol):
    def __init__(self, server):
        self.server = server
        self.rest = b""
        self.session = None
        self.is_operator = False

    def connectionMade(self):
        self.server.connections.add(self)

    def connectionLost(self, _reason):
        self.server.connections.discard(self)

    def readConnectionLost(self):
        self.server.heard.append((self, {"op": "EOF"}))
        self.server.reactor.callLater(self.server.lingers, self.transport.loseConnection)

    def writeConnectionLost(self):
        pass

    def dataReceived(self, data):
        self.rest += data
        self.work()

    def work(self):
        while b"\n" in self.rest and not self.server.is_frozen:
            line, self.rest = self.rest.split(b"\n", 1)
            self.server.receive(self, json.loads(line))

    def say(self, **message):
        self.transport.write(json.dumps(message).encode() + b"\n")


class SeatServer(Factory):
    """One server of `book`, bound by `hostname=NAME`; `script` may replace the answer to an op."""

    noisy = False

    def __init__(self, reactor, name, book):
        self.reactor = reactor
        self.name = name
        self.book = book
        self.port = None
        self.number = 0
        self.connections = set()
        self.heard = []
        self.is_frozen = False
        self.script = {}
        self.license = "sha256:" + "0" * 64
        self.trust = 42.0
        self.hostids = [f"hostname={name}"]
        self.redundancy = DUPLICATE
        self.takeover = None
        self.starts = 0
        self.lingers = 0
        self.wrap = lambda endpoint: endpoint

    async def start(self):
        self.starts += 1
        self.port = await self.wrap(server_endpoint(self.reactor, "127.0.0.1", self.number)).listen(self)
        self.number = self.port.getHost().port

    def buildProtocol(self, _addr):
        return _Connection(self)

    def kill(self):
        """As by SIGKILL: no more listening, all connections reset, the claim stays as it is in the journal."""
        if self.port is not None:
            self.port.stopListening()
            self.port = None
        for connection in list(self.connections):
            connection.transport.abortConnection()

    def thaw(self):
        self.is_frozen = False
        for connection in list(self.connections):
            connection.work()

    @property
    def role(self):
        return "active" if self.book.holder is self else "standby"

    @property
    def clients(self):
        return [c for c in self.connections if c.session is not None]

    def ops(self, *leave_out):
        return [m["op"] for c, m in self.heard if not c.is_operator and m["op"] not in leave_out]

    def activate(self):
        former, self.book.holder = self.book.holder, self
        self.book.epoch += 1
        if former not in {None, self}:
            former.stood_down()

    def stood_down(self):
        if self.port is not None:
            for connection in self.clients:
                connection.say(event="standing_down", active=None)

    def receive(self, connection, message):
        self.heard.append((connection, message))
        op, number = message["op"], message["id"]
        scripted = self.script.get(op)
        if scripted is not None and scripted(connection, message):
            return
        if op == "status":
            connection.say(**self.status(number))
        elif op == "hello":
            self.hello(connection, message)
        elif connection.is_operator:
            self.operate(connection, message)
        elif self.role != "active":
            connection.say(id=number, ok=False, error="not_active", message="m")
        else:
            self.serve(connection, message)

    def status(self, number):
        return {
            "id": number, "ok": True, "server": "acme-licenses", "backend": self.name, "role": self.role,
            "epoch": self.book.epoch, "journal": self.book.journal, "instance": f"{self.name}{self.starts}",
            "revision": 1, "license": self.license, "hostids": self.hostids,
            "redundancy": self.redundancy, "members": [], "takeover": self.takeover, "sessions": len(self.clients),
            "seats": self.book.seats, "now": "2026-11-21T20:48:00Z", "uptime": 1.0, "release": "0.1.0",
            "heartbeat": 15.0, "trust": self.trust,
        }  # fmt: skip

    def hello(self, connection, message):
        number = message["id"]
        if "token" in message:
            connection.is_operator = message["token"] == TOKEN
            connection.say(id=number, ok=connection.is_operator, error="not_permitted", message="wrong token")
            if not connection.is_operator:
                connection.transport.loseConnection()
            return
        if self.role != "active":
            connection.say(id=number, ok=False, error="not_active", message="m")
            connection.transport.loseConnection()
            return
        connection.session = message["session"]
        held = self.book.held.get(connection.session)
        self.book.held.setdefault(connection.session, {})
        connection.say(
            id=number, ok=True, server="acme-licenses", backend=self.name, epoch=self.book.epoch,
            resumed=held is not None, heartbeat=15.0, resume=45.0, trust=42.0, held=sorted(held or {}),
        )  # fmt: skip

    def serve(self, connection, message):
        number, held = message["id"], self.book.held.get(connection.session)
        if held is None:
            connection.say(id=number, ok=False, error="hello_required", message="m")
            return
        match message["op"]:
            case "checkout":
                if number not in held:
                    self.book.seats += 1
                    held[number] = self.book.seats
                connection.say(id=number, ok=True, handle=number, seat=held[number])
            case "checkin":
                held.pop(message["handle"], None)
                connection.say(id=number, ok=True)
            case "heartbeat":
                connection.say(id=number, ok=True, seats=len(held), notices=[])
            case "bye":
                del self.book.held[connection.session]
                connection.say(id=number, ok=True)
                connection.transport.loseConnection()
            case "usage":
                connection.say(id=number, ok=True, next=None, features=[])

    def operate(self, connection, message):
        number = message["id"]
        match message["op"]:
            case "takeover" if message["after_epoch"] is not None and message["after_epoch"] < self.book.epoch:
                connection.say(id=number, ok=False, error="stale", message="the journal is past it")
            case "takeover":
                self.activate()
                connection.say(id=number, ok=True, epoch=self.book.epoch)
            case "stand_down":
                self.book.holder = None
                self.stood_down()
                connection.say(id=number, ok=True)
            case "usage":
                connection.say(id=number, ok=True, next=None, features=[])
            case _:
                connection.say(id=number, ok=True)
