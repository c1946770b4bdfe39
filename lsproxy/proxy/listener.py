"""Where do clients of a pool connect, and who of them is let in?"""

import sys
from collections import Counter
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from zope.interface import implementer

from lsproxy.net.address import Address
from lsproxy.net.endpoints import heir_endpoint
from lsproxy.net.network import Network
from lsproxy.net.prefaces import Over, Prefaces, TurnedAway
from lsproxy.net.reactor import BoottimeReactor
from lsproxy.proxy.accesslog import Ended, EndedBy
from lsproxy.proxy.arrival import Arrival

REMIND_SECONDS = 60.0  # refusals for one reason are said no more often than this, with their number

Refusal = Literal["allow", "max_connections", "max_per_source", "descriptors"]
"""Why a client is not let in: the key of the configuration that says so, or the want of descriptors."""

Wrap = Callable[[IStreamServerEndpoint, Prefaces], IStreamServerEndpoint]

OTHER_DESCRIPTORS = 256  # for checks, the panel, files and commands

log = Logger()


class Limits(msgspec.Struct, frozen=True):
    """Who is let in: clients of `allow` (empty: all), so many at once, so many of one address (0: any number)."""

    max_connections: int = 20_000
    max_per_source: int = 0
    allow: tuple[Network, ...] = ()


NO_LIMITS = Limits()


class Room:
    """
    How many connections there may be of all listeners together, of a process that may have `descriptors`: a client
    that is let in needs one for its server too.
    """

    def __init__(self, descriptors: int) -> None:
        self.most = (descriptors - min(OTHER_DESCRIPTORS, descriptors // 4)) // 2
        self.taken = 0


class Tally:
    """
    The clients of one listener, and of those that had its name before it: `connections` are there now, `sources` says
    how many of each address, `prefaces` have not yet passed their PROXY header or TLS handshake; `accepted` counts all
    since the start, `refused` those that were not let in, by reason; `ended` those
    that were and have ended, by what ended them first.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.connections = 0
        self.prefaces = 0
        self.refused: Counter[Refusal] = Counter()
        self.ended: Counter[EndedBy] = Counter()
        self.sources: Counter[str] = Counter()

    def enter(self, host: str | None) -> None:
        """One more of `host`, if that is the client's."""
        if host is not None:
            self.sources[host] += 1

    def leave(self, host: str | None) -> None:
        """One less."""
        if host is not None:
            self.sources[host] -= 1
            if not self.sources[host]:
                del self.sources[host]


class Taker(Protocol):
    """What a listener needs of a pool."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""

    def connection(self, arrival: Arrival) -> IProtocol:
        """The protocol of a client's connection: a session or a relay, as the pool is. It tells `arrival` its end."""


@implementer(IProtocolFactory)
class Listener:
    """
    The listener `name` of the configuration, on `endpoint`, for the port `port` of the backends of `pool`. `record` is
    told of every connection when it has ended; `room` is shared with other listeners, `tally` with those that had the
    name before.

    `wrap` puts over the endpoint what comes before a client is known, the PROXY protocol and TLS, and has it tell this
    listener of prefaces: they count as connections do.
    """

    def __init__(
        self,
        reactor: BoottimeReactor,
        name: str,
        endpoint: IStreamServerEndpoint,
        pool: Taker,
        *,
        port: str = "",
        limits: Limits = NO_LIMITS,
        record: Callable[[Ended], None] | None = None,
        room: Room | None = None,
        tally: Tally | None = None,
        wrap: Wrap = lambda endpoint, _prefaces: endpoint,
    ) -> None:
        self._reactor = reactor
        self._endpoint = wrap(endpoint, self)
        self._pool = pool
        self._backend_port = port
        self._limits = limits
        self._record = record
        self._room = room or Room(sys.maxsize)
        self._port: IListeningPort | None = None
        self._said: dict[Refusal, float] = {}
        self._unsaid: Counter[Refusal] = Counter()
        self.name = name
        self.tally = tally or Tally()

    def start(self) -> Deferred[IListeningPort]:
        """Accept from now on; fires with the port. Fails with ListenError."""

        def listening(port: IListeningPort) -> IListeningPort:
            self._port = port
            return port

        return self._endpoint.listen(self).addCallback(listening)

    def heir_endpoint(self) -> IStreamServerEndpoint | None:
        """Where another listener takes over from this one while it runs, if it can: `net.endpoints.heir_endpoint`."""
        return None if self._port is None else heir_endpoint(self._reactor, self._port)

    def stop(self) -> Deferred[None]:
        """Accept no more. Connections go on; `Pool.stop` closes them."""
        port, self._port = self._port, None
        if port is None:
            return succeed(None)
        stopped: Deferred[None] = Deferred.fromCoroutine(_stopped(port))
        return stopped

    def buildProtocol(self, addr: IAddress) -> IProtocol:
        """Twisted: a connection was accepted."""
        assert isinstance(addr, IPv4Address | IPv6Address)
        self.tally.accepted += 1
        refusal = self._refusal(addr.host)
        if refusal is not None:
            self._refuse(refusal, addr)
            return TurnedAway()
        protocol = self._pool.connection(Arrival(self, addr, self._backend_port, self._reactor.seconds()))
        self.tally.connections += 1
        self._enter(addr.host)
        return protocol

    def preface_begun(self, peer: IPv4Address | IPv6Address, *, is_client: bool) -> Over | None:
        """As `Prefaces` says. A place in here is given back when the preface is over; `buildProtocol` takes its own."""
        host = peer.host if is_client else None
        refusal = self._refusal(host)
        if refusal is not None:
            self.tally.accepted += 1
            self._refuse(refusal, peer)
            return None
        self.tally.prefaces += 1
        self._enter(host)
        since = self._reactor.seconds()

        def over(ended: EndedBy | None) -> None:
            self.tally.prefaces -= 1
            self._leave(host)
            if ended is not None:
                self.tally.accepted += 1
                self.tally.ended[ended] += 1
                self._write_down(peer, None, 0, 0, self._reactor.seconds() - since, ended)

        return over

    def doStart(self) -> None:
        """Twisted: about to listen."""

    def doStop(self) -> None:
        """Twisted: done."""

    def over(self, arrival: Arrival, backend: str | None, received: int, sent: int, ended: EndedBy) -> None:
        """A connection has ended."""
        self.tally.connections -= 1
        self.tally.ended[ended] += 1
        self._leave(arrival.client.host)
        duration = self._reactor.seconds() - arrival.since
        self._write_down(arrival.client, backend, received, sent, duration, ended)

    def _enter(self, host: str | None) -> None:
        self._room.taken += 1
        self.tally.enter(host)

    def _leave(self, host: str | None) -> None:
        self._room.taken -= 1
        self.tally.leave(host)

    def _refusal(self, host: str | None) -> Refusal | None:
        """Why not one more; of a `host` that is not known yet nothing can be said."""
        limits, tally = self._limits, self.tally
        if host is not None and limits.allow and not any(network.covers(host) for network in limits.allow):
            return "allow"
        if tally.connections + tally.prefaces >= limits.max_connections:
            return "max_connections"
        if self._room.taken >= self._room.most:
            return "descriptors"
        if host is not None and limits.max_per_source and tally.sources[host] >= limits.max_per_source:
            return "max_per_source"
        return None

    def _refuse(self, refusal: Refusal, client: IPv4Address | IPv6Address) -> None:
        self.tally.refused[refusal] += 1
        self._say(refusal, client)
        self._write_down(client, None, 0, 0, 0.0, "lsproxy")

    def _write_down(
        self,
        client: IPv4Address | IPv6Address,
        backend: str | None,
        received: int,
        sent: int,
        duration: float,
        ended: EndedBy,
    ) -> None:
        if self._record is not None:
            self._record(Ended(_text(client), self.name, self._pool.name, backend, received, sent, duration, ended))

    def _say(self, refusal: Refusal, client: IPv4Address | IPv6Address) -> None:
        now = self._reactor.seconds()
        if refusal in self._said and now - self._said[refusal] < REMIND_SECONDS:
            self._unsaid[refusal] += 1
            return
        self._said[refusal] = now
        unsaid = self._unsaid.pop(refusal, 0)
        match refusal:
            case "allow":
                why = "its address is in none of the networks named there"
            case "max_connections":
                why = f"there are {self._limits.max_connections} connections already"
            case "max_per_source":
                why = f"there are {self._limits.max_per_source} connections of its address already"
            case "descriptors":
                why = f"this process has descriptors for {self._room.most} clients, raise its limit (LimitNOFILE)"
        log.warn(
            "listen.{listener}{key}: {client} was refused{others}: {why}",
            event="clients_refused",
            listener=self.name,
            key="" if refusal == "descriptors" else f".{refusal}",
            client=_text(client),
            others=f", and so were {unsaid} others since this was said last" if unsaid else "",
            why=why,
        )


def _text(client: IPv4Address | IPv6Address) -> str:
    return str(Address(client.host, client.port))


async def _stopped(port: IListeningPort) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        await stopping
