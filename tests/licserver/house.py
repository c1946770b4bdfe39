"""
A whole small system in one process: license servers on one journal in memory, clients and wires, one clock.

`machine.freeze()` is SIGSTOP: its timers and answers wait, what is sent to it is
taken and not looked at. `kill()` ends it for good.
"""

import json
import socket

from twisted.internet import error
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from licserver.connection import Connections
from licserver.core.scheme import Wanted
from licserver.core.sessions import Terms
from licserver.journal.interface import Member, Process
from licserver.journal.memory import MemoryStore
from licserver.licenses import Licenses
from licserver.peer import Peers
from licserver.redundancy import Outfit
from licserver.server import Identity, Server
from lsproxy.license.hostid import parse_hostid
from tests.lsproxy.license.texts import VENDOR_KEYS, signed

ANY_HOST = "SERVER this_host ANY 27101\nVENDOR acme\n"
TTL = 2.0
RESTORE_SECONDS = 900.0
HOUR = 3600.0
TOKEN = "an operator's token"  # noqa: S105 it opens nothing
TERMS = Terms(heartbeat=15.0, resume=45.0, trust=42.0)
STEP_SECONDS = 0.01
DUPLICATE = Wanted("duplicate")
PAIR = Wanted("pair")

_idle_socket = socket.socket()  # what options for the kernel are given to


def license_text(seats, servers=ANY_HOST):
    """A signed license of so many seats of cad."""
    return signed(f"INCREMENT cad acme 1.0 permanent {seats}\n", servers)


class _Call:
    def __init__(self, machine, when, work):
        self.machine, self.when, self.work = machine, when, work
        self.is_active = True

    def run(self):
        if self.is_active and self.machine.is_frozen:
            self.machine.backlog.append(self)
        elif self.is_active and not self.machine.is_dead:
            self.is_active = False
            self.work()

    def active(self):
        return self.is_active

    def cancel(self):
        assert self.is_active
        self.is_active = False

    def getTime(self):
        return self.when


class Machine:
    """The reactor that one server sees."""

    def __init__(self, clock):
        self._clock = clock
        self.is_frozen = self.is_dead = False
        self.backlog = []

    def seconds(self):
        return self._clock.seconds()

    def callLater(self, delay, work, *args, **kwargs):
        call = _Call(self, self.seconds() + delay, lambda: work(*args, **kwargs))
        self._clock.callLater(delay, call.run)
        return call

    def freeze(self):
        self.is_frozen = True

    def thaw(self):
        self.is_frozen = False
        backlog, self.backlog = self.backlog, []
        for call in sorted(backlog, key=lambda call: call.when):
            call.run()


class Wire:
    """One end's transport: what is written arrives at `far` a moment later, unless its machine is dead."""

    def __init__(self, machine, clock):
        self.machine, self.clock = machine, clock
        self.far = self.protocol = None
        self.is_open = True
        self.is_write_ended = False

    def write(self, data):
        if self.is_open and not self.is_write_ended:
            self.far.machine.callLater(0.0, self.far.receive, data)

    def receive(self, data):
        if self.is_open:
            self.protocol.dataReceived(data)

    def loseWriteConnection(self):
        if self.is_open and not self.is_write_ended:
            self.is_write_ended = True
            self.far.machine.callLater(0.0, self.far.end_of_file)

    def end_of_file(self):
        if self.is_open:
            getattr(self.protocol, "readConnectionLost", self.loseConnection)()

    def loseConnection(self):
        if self.is_open:
            self.far.machine.callLater(0.0, self.far.lost)
            self.machine.callLater(0.0, self.lost)

    abortConnection = loseConnection

    def lost(self):
        if self.is_open:
            self.is_open = False
            self.protocol.connectionLost(Failure(error.ConnectionDone()))

    def getPeer(self):
        return IPv4Address("TCP", "192.0.2.1", 1024)

    def getHandle(self):
        return self

    def fileno(self):
        return _idle_socket.fileno()

    def setTcpNoDelay(self, _):
        pass

    def registerProducer(self, *_):
        pass

    def unregisterProducer(self):
        pass


def plug(clock, one, one_machine, other, other_machine):
    """Two protocols, connected."""
    ends = Wire(one_machine, clock), Wire(other_machine, clock)
    for end, far, protocol in ((ends[0], ends[1], one), (ends[1], ends[0], other)):
        end.far, end.protocol = far, protocol
    other_machine.callLater(0.0, other.makeConnection, ends[1])
    one.makeConnection(ends[0])


class Client:
    """A client's end. `heard` are the messages, `is_closed` tells of the server's end of file or the loss."""

    def __init__(self):
        self.heard, self.is_closed = [], False
        self._rest = b""

    def makeConnection(self, transport):
        self.transport = transport

    def dataReceived(self, data):
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.heard += map(json.loads, lines)

    def readConnectionLost(self):
        self.is_closed = True

    def connectionLost(self, _reason):
        self.is_closed = True

    def say(self, **request):
        self.transport.write(json.dumps(request).encode() + b"\n")

    def hello(self, session="a", attempt=1, number=1):
        self.say(id=number, op="hello", protocol="seat/1", session=session * 32, attempt=attempt, user="u", host="h")

    def operator(self):
        self.say(id=1, op="hello", token=TOKEN)

    def answer(self, number):
        """The reply to request `number`, None without one."""
        return next((each for each in self.heard if each.get("id") == number and "ok" in each), None)

    def news(self):
        """What was heard since it was asked last, as codes."""
        heard, self.heard = self.heard, []
        return [each.get("error", each.get("event", "ok")) for each in heard]


class Host:
    """One server and its machine; `wall_error` is how wrong its wall clock is, in seconds."""

    def __init__(
        self,
        house,
        name,
        path,
        hostids=(),
        instance="1",
        wanted=DUPLICATE,
        boot="boot",
        identity=None,
        keys=VENDOR_KEYS,
    ):
        self.house, self.name = house, name
        self.wall_error = 0.0
        self.machine = Machine(house.clock)
        self.process = Process(len(house.processes) + 1, 1, boot)
        house.processes.append(self.process)
        self.stopped = False
        self.remembered = []
        member = Member(name, f"{name}-{instance}", f"{name}:27101", self.process, name, identity=identity or name)
        licenses = Licenses(path, keys, tuple(map(parse_hostid, hostids)), name, wanted)
        journal = house.store.open(self.machine).result
        self.journal = journal
        self.server = Server(
            reactor=self.machine,
            wall=lambda: 1_800_000_000.0 + house.clock.seconds() + self.wall_error,
            identity=Identity(member, "acme-licenses", "0", ()),
            terms=house.terms,
            ttl=house.ttl,
            token=TOKEN,
            journal=journal,
            licenses=licenses,
            outfit=Outfit(boot, house.random_bytes, RESTORE_SECONDS, "sqlite:///acme.db", True, {"acme": "PEM"}),
            peers=Peers(self.machine, house.endpoint_from(self), TOKEN, house.ttl),
            remember=self._remember,
            stopping=self._stopping,
        )
        self.connections = Connections(self.server)

    def _remember(self, journal_id, epoch, _slot):
        self.remembered.append((journal_id, epoch))
        return succeed(None)

    def _stopping(self):
        self.stopped = True

    async def start(self):
        await self.server.read_journal()
        await self.journal.join(self.server.identity.member)
        await self.server.start()

    def kill(self):
        """SIGKILL."""
        self.machine.is_dead = True
        self.house.store.ended.add(self.process)

    @property
    def role(self):
        return self.server.role()

    @property
    def state(self):
        return self.server.desk.ledger


class House:
    """See the module. `text` is the license file that servers share unless they have their own."""

    def __init__(self, folder, text=None, delay_seconds=0.001, ttl=TTL, terms=TERMS):
        self.folder = folder
        self.ttl, self.terms = ttl, terms
        self.processes = []
        self.numbers = 0
        self.clock = Clock()
        self.outside = Machine(self.clock)
        self.store = MemoryStore("acme-licenses", "00" * 16, delay_seconds)
        self.hosts = {}
        self.text = license_text(10) if text is None else text

    def host(self, name, text=None, hostids=(), instance="1", start=True, wanted=DUPLICATE, **more):
        """One more server, started."""
        path = self.folder / f"{name}.lic"
        path.write_text(self.text if text is None else text)
        host = self.hosts[name] = Host(self, name, path, hostids, instance, wanted, **more)
        if start:
            self.wait(host.start())
        return host

    def active_pair(self):
        """A server that is active, and a standby."""
        a = self.host("lic-a")
        self.pass_until(lambda: a.role == "active")
        return a, self.host("lic-b")

    def random_bytes(self, count):
        """As random as a test may be."""
        self.numbers += 1
        return self.numbers.to_bytes(count)

    def client(self, host):
        """A new connection to a server."""
        client = Client()
        plug(self.clock, client, self.outside, host.connections.buildProtocol(None), host.machine)
        self.pass_seconds(0)
        return client

    def session(self, host, session="a", attempt=1):
        """A connection with a session."""
        client = self.client(host)
        client.hello(session, attempt)
        self.pass_until(lambda: client.answer(1))
        return client

    def operator(self, host):
        """An operator's connection."""
        client = self.client(host)
        client.operator()
        self.pass_until(lambda: client.answer(1))
        return client

    def ask(self, client, **request):
        """A request and its answer."""
        client.say(**request)
        self.pass_until(lambda: client.answer(request["id"]))
        return client.answer(request["id"])

    def endpoint_from(self, dialling):
        """How one server dials another."""

        def endpoint(member):
            return _Endpoint(self, dialling, self.hosts[member.listen])

        return endpoint

    def pass_seconds(self, seconds):
        """Time goes by, for everybody."""
        steps = max(1, round(seconds / STEP_SECONDS))
        for _ in range(steps):
            self.clock.advance(seconds / steps)

    def pass_until(self, condition, seconds=30.0):
        """Until something is so; the seconds it took."""
        began = self.clock.seconds()
        while not condition():
            assert self.clock.seconds() - began < seconds, "it never came to be"
            self.clock.advance(STEP_SECONDS / 10)
        return self.clock.seconds() - began

    def wait(self, coroutine):
        """The result of a coroutine that needs time to pass."""
        outcome = []
        Deferred.fromCoroutine(coroutine).addBoth(outcome.append)
        self.pass_until(lambda: outcome)
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        return outcome[0]


class _Endpoint:
    def __init__(self, house, dialling, target):
        self.house, self.dialling, self.target = house, dialling, target

    def connect(self, factory):
        if self.target.machine.is_dead:
            return fail(error.ConnectionRefusedError())
        protocol = factory.buildProtocol(None)
        served = self.target.connections.buildProtocol(None)
        plug(self.house.clock, protocol, self.dialling.machine, served, self.target.machine)
        return succeed(protocol)
