"""Clients and servers as plain sockets, relays between them, and a pool that does as the test says."""

import socket
import struct

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater

from lsproxy.net.endpoints import client_endpoint, server_endpoint
from lsproxy.proxy.doors import PlainDoors
from lsproxy.proxy.listener import Limits, Listener
from lsproxy.proxy.relay.relay import Relays
from lsproxy.proxy.traffic import Target, Traffic

LOOPBACK = "127.0.0.1"
RESET = struct.pack("ii", 1, 0)
BUFFER = 32_768


class Peer:
    """One end of a connection: what it `received` so far, and how the other side ended it: "EOF", "RST" or None."""

    def __init__(self, sock):
        sock.setblocking(False)
        self.socket = sock
        self.received = b""
        self.count = 0
        self.end = None
        self.is_keeping = True

    def poll(self, most=1 << 20):
        """Read what is there."""
        while most > 0 and self.end is None:
            try:
                chunk = self.socket.recv(min(most, 1 << 18))
            except BlockingIOError:
                return
            except OSError:
                self.end = "RST"
                return
            if not chunk:
                self.end = "EOF"
            self.count += len(chunk)
            most -= len(chunk)
            if self.is_keeping:
                self.received += chunk

    def send(self, data):
        """Send as much of `data` as the kernel takes; how much that was."""
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0

    def shut(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.socket.close()

    def close(self):
        self.socket.close()


class Server:
    """A listening socket with room for everybody; it accepts when it is asked to."""

    def __init__(self, name, buffer=None):
        self.name = name
        self.socket = socket.socket()
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((LOOPBACK, 0))
        self.socket.listen(128)
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]
        self.peers = []

    def accept(self):
        try:
            peer = Peer(self.socket.accept()[0])
        except BlockingIOError:
            return None
        self.peers.append(peer)
        return peer

    def kill(self):
        self.socket.close()
        for peer in self.peers:
            peer.close()


class Line:
    """
    A listener, its relays and two servers, `a` and `b`; nobody is served until `serve`. `wrap` is put over the
    endpoints to the servers.
    """

    def __init__(self, wrap=lambda endpoint: endpoint):
        self._wrap = wrap
        self.name = "mcad"
        self.a, self.b = Server("fn-a"), Server("fn-b")
        self.suspects = []
        self.records = []
        self.verified = []
        self.verdict = True
        self.clients = []
        self.traffic = Traffic(reactor, 1.0, lambda: 0.5, self.suspects.append)
        self.relays = Relays(reactor, self.traffic, self.verify, 3.0)
        self.connection = self.relays.connection
        self.listener = None

    def verify(self, backend):
        """What a pool does; a test that sets `verdict` to a Deferred answers itself."""
        self.verified.append(backend)
        return self.verdict if isinstance(self.verdict, Deferred) else succeed(self.verdict)

    async def listen(self, wrap=None, room=None, **limits):
        endpoint = server_endpoint(reactor, LOOPBACK, 0)
        self.listener = Listener(
            reactor,
            "lmgrd",
            endpoint,
            self,
            limits=Limits(**limits),
            record=self.records.append,
            room=room,
            **({} if wrap is None else {"wrap": wrap}),
        )
        self.port = (await self.listener.start()).getHost().port
        self.traffic.start()

    def serve(self, server):
        endpoint = client_endpoint(reactor, LOOPBACK, server.port, timeout=2)
        self.traffic.direct(Target(server.name, PlainDoors({"": self._wrap(endpoint)})))

    def client(self, buffer=None):
        """A client, with so many bytes of room in the kernel for what it has not read."""
        sock = socket.socket()
        if buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.connect((LOOPBACK, self.port))
        self.clients.append(Peer(sock))
        return self.clients[-1]

    async def pair(self, server=None, **options):
        """A client and its connection at the server, which said a byte and was heard."""
        client = self.client(**options)
        served = await self.accepted(server or self.a)
        served.send(b"!")
        await self.received(client, b"!")
        client.received, client.count = b"", 0
        return client, served

    async def accepted(self, server):
        return await self.until(server.accept)

    async def received(self, peer, data, seconds=5.0):
        def more():
            peer.poll()
            return len(peer.received) >= len(data) or peer.end

        await self.until(more, seconds)
        assert peer.received == data

    async def ended(self, peer, seconds=5.0):
        """How the other side ended it."""

        def over():
            peer.poll()
            return peer.end

        return await self.until(over, seconds)

    async def recorded(self, count=1):
        await self.until(lambda: len(self.records) >= count)
        return self.records[-1]

    async def until(self, holds, seconds=5.0):
        end = reactor.seconds() + seconds
        while True:
            answer = holds()
            if answer:
                return answer
            assert reactor.seconds() < end, f"never: {self.records}"
            await deferLater(reactor, 0.001)

    async def turns(self, seconds=0.03):
        await deferLater(reactor, seconds)

    async def stop(self):
        if self.listener is not None:
            await self.listener.stop()
        for peer in self.clients:
            peer.close()
        for server in (self.a, self.b):
            server.kill()
        await self.traffic.stop()
        await self.until(self.is_empty)

    def is_empty(self):
        """Whether nothing is left of any connection."""
        relays, traffic, tally = self.relays, self.traffic, self.listener.tally
        timed = (relays.unanswered, relays.stalled, relays.closing, relays.young)
        left = [*(one for deadlines in timed for one in deadlines._since), *tally.sources]
        counts = (traffic.clients, traffic.waiting, traffic._dials, tally.connections, tally.prefaces)
        return not (left or any(counts))
