"""
Whose connection is this really, and how does the next server learn it?

`accept_proxy_protocol` reads a PROXY protocol header from connections of listed networks before anything else is made
of them, `announce` writes one. Both stand beneath TLS and are gone once the header has passed: from then on the bytes
go to the protocol as on any other connection.

A protocol's factory is told the announced client in `buildProtocol`; `ends_of` gives both ends. The transport goes on
naming its own ends, those of the proxy that connected.
"""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from lsproxy.net.address import Address
from lsproxy.net.ends import Ends
from lsproxy.net.network import Network
from lsproxy.net.prefaces import UNCOUNTED, EndedBy, Over, Prefaces, TurnedAway, gone
from lsproxy.net.proxyprotocol import LOCAL_HEADER, Announced, Header, HeaderReader, ProxyProtocolError
from lsproxy.net.reactor import BoottimeReactor
from lsproxy.net.transport import Transport

HEADER_SECONDS = 3.0
REMIND_SECONDS = 60.0  # connections without a header are said no more often than this, with their number

log = Logger()


class AnnouncedIPv4(IPv4Address):
    """A client's address that its proxy told, with both `ends` that the client sees."""

    ends: Ends


class AnnouncedIPv6(IPv6Address):
    """As `AnnouncedIPv4`."""

    ends: Ends


def accept_proxy_protocol(
    reactor: BoottimeReactor,
    endpoint: IStreamServerEndpoint,
    networks: Sequence[Network],
    *,
    header_seconds: float = HEADER_SECONDS,
    prefaces: Prefaces = UNCOUNTED,
) -> IStreamServerEndpoint:
    """
    Listen on `endpoint`; connections from `networks` must begin with a PROXY protocol header, all others must not.
    `prefaces` is told of those that must.

    A header that is wrong or not whole `header_seconds` after the connection was accepted ends the connection by RST.
    `buildProtocol` is given the client's address out of the header: see `ends_of`.
    """
    accepting: IStreamServerEndpoint = _Accepting(reactor, endpoint, networks, header_seconds, prefaces)
    return accepting


def ends_of(client: IAddress, host: IAddress) -> Ends:
    """The ends of a connection whose factory was told `client`, and which was accepted at `host` on this machine."""
    if isinstance(client, AnnouncedIPv4 | AnnouncedIPv6):
        return client.ends
    assert isinstance(client, IPv4Address | IPv6Address)
    assert isinstance(host, IPv4Address | IPv6Address)
    return Ends(client, host)


def announce(endpoint: IStreamClientEndpoint, header: bytes) -> IStreamClientEndpoint:
    """Connect through `endpoint`, and begin with `header` (`header_v1`, `header_v2`, or `LOCAL_HEADER` for a check)."""
    announcing: IStreamClientEndpoint = _Announcing(endpoint, lambda _transport: header)
    return announcing


def announce_where_asked(endpoint: IStreamClientEndpoint, networks: Sequence[Network]) -> IStreamClientEndpoint:
    """
    Connect through `endpoint` to a server that reads headers from `networks`: with `LOCAL_HEADER` as first bytes when
    this side's address is in there, without a header otherwise.
    """

    def header(transport: ITransport) -> bytes:
        own = transport.getHost()
        assert isinstance(own, IPv4Address | IPv6Address)
        return LOCAL_HEADER if _is_within(own, networks) else b""

    announcing: IStreamClientEndpoint = _Announcing(endpoint, header)
    return announcing


@implementer(IStreamServerEndpoint)
class _Accepting:
    def __init__(
        self,
        reactor: BoottimeReactor,
        endpoint: IStreamServerEndpoint,
        networks: Sequence[Network],
        header_seconds: float,
        prefaces: Prefaces,
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._networks = networks
        self._header_seconds = header_seconds
        self._prefaces = prefaces

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803 - Twisted's name
        faults = _Faults(self._reactor)

        def new_preface(peer: IPv4Address | IPv6Address) -> Protocol:
            over = self._prefaces.preface_begun(peer, is_client=False)
            if over is None:
                return TurnedAway()
            return _Preface(self._reactor, self._header_seconds, protocolFactory, peer, faults, over)

        factory = _Prefaces(protocolFactory, self._networks, new_preface)
        listening: Deferred[IListeningPort] = self._endpoint.listen(factory)
        return listening


class _Prefaces(Factory):
    noisy = False

    def __init__(
        self,
        served: IProtocolFactory,
        networks: Sequence[Network],
        new_preface: Callable[[IPv4Address | IPv6Address], Protocol],
    ) -> None:
        self._served = served
        self._networks = networks
        self._new_preface = new_preface

    def buildProtocol(self, addr: Any) -> Any:
        if _is_within(addr, self._networks):
            return self._new_preface(addr)
        return self._served.buildProtocol(addr)

    def doStart(self) -> None:
        self._served.doStart()

    def doStop(self) -> None:
        self._served.doStop()


class _Faults:
    """What a listener says of connections whose header is wrong."""

    def __init__(self, reactor: BoottimeReactor) -> None:
        self._reactor = reactor
        self._said: float | None = None
        self._unsaid = 0

    def tell(self, host: Any, peer: Any, fault: str) -> None:
        now = self._reactor.seconds()
        if self._said is not None and now - self._said < REMIND_SECONDS:
            self._unsaid += 1
            return
        others = f", and so {self._unsaid} others since this was said last" if self._unsaid else ""
        self._said, self._unsaid = now, 0
        log.warn(
            "{host}: the connection from {peer} was reset{others}: {fault}; accept_proxy_protocol names its network, "
            "so it must begin with a header",
            event="header_refused",
            host=Address(host.host, host.port),
            peer=Address(peer.host, peer.port),
            others=others,
            fault=fault,
        )


class _Preface(Protocol):
    """Stands in for the protocol until the header is read."""

    transport: Any

    def __init__(
        self,
        reactor: BoottimeReactor,
        seconds: float,
        served: IProtocolFactory,
        peer: IPv4Address | IPv6Address,
        faults: _Faults,
        over: Over,
    ) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._served = served
        self._peer = peer
        self._faults = faults
        self._over = over
        self._reader = HeaderReader()
        self._is_over = False

    def connectionMade(self) -> None:
        self._limit = self._reactor.callLater(self._seconds, self._late)

    def dataReceived(self, data: bytes) -> None:
        try:
            header = self._reader.feed(data)
        except ProxyProtocolError as error:
            self._refuse(str(error), "lsproxy")
            return
        if header is None:
            return
        self._is_over = True
        self._limit.cancel()
        self._over(None)
        try:
            protocol = self._served.buildProtocol(self._client(header))
        except Exception:  # noqa: BLE001 - one connection's fault ends that connection only
            log.failure("while a connection's protocol was built")
            protocol = None
        if protocol is None:
            self.transport.abortConnection()
        else:
            _hand_over(self.transport, protocol, self._reader.rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._limit.cancel()
        if self._reader.has_begun:  # a load balancer's check that says nothing is no fault
            self._faults.tell(self.transport.getHost(), self._peer, "it ended within its PROXY protocol header")
        self._over(gone(reason))

    def _client(self, header: Header) -> IPv4Address | IPv6Address:
        if not isinstance(header, Announced):
            return self._peer
        client = header.ends.client
        kind = AnnouncedIPv4 if isinstance(client, IPv4Address) else AnnouncedIPv6
        announced = kind("TCP", client.host, client.port)
        announced.ends = header.ends
        return announced

    def _late(self) -> None:
        begun = "whole" if self._reader.has_begun else "there"
        self._refuse(f"its PROXY protocol header was not {begun} after {self._seconds:g} s", "timeout")

    def _refuse(self, fault: str, ended: EndedBy) -> None:
        self._is_over = True
        if self._limit.active():
            self._limit.cancel()
        self._faults.tell(self.transport.getHost(), self._peer, fault)
        self._over(ended)
        self.transport.abortConnection()


@implementer(IStreamClientEndpoint)
class _Announcing:
    def __init__(self, endpoint: IStreamClientEndpoint, header: Callable[[ITransport], bytes]) -> None:
        self._endpoint = endpoint
        self._header = header

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - Twisted's name
        connecting: Deferred[Any] = self._endpoint.connect(_Heralds(protocolFactory, self._header))
        return connecting.addCallback(lambda herald: herald.announced)


class _Heralds(Factory):
    noisy = False

    def __init__(self, served: IProtocolFactory, header: Callable[[ITransport], bytes]) -> None:
        self._served = served
        self._header = header

    def buildProtocol(self, addr: Any) -> "_Herald | None":
        protocol = self._served.buildProtocol(addr)
        return None if protocol is None else _Herald(protocol, self._header)

    def doStart(self) -> None:
        self._served.doStart()

    def doStop(self) -> None:
        self._served.doStop()


class _Herald(Protocol):
    """Goes before the protocol `announced`."""

    def __init__(self, announced: IProtocol, header: Callable[[ITransport], bytes]) -> None:
        self.announced = announced
        self._header = header

    def connectionMade(self) -> None:
        assert self.transport is not None
        header = self._header(self.transport)
        if header:
            self.transport.write(header)
        _hand_over(self.transport, self.announced, b"")


def _hand_over(transport: Any, protocol: IProtocol, received: bytes) -> None:
    """Give the connection to `protocol`, and then what was `received` for it."""
    if isinstance(transport, Transport):
        transport.open(protocol)
        if received and not transport.disconnecting:
            transport.data_received(received)  # which holds it back where the protocol has paused
        return
    transport.protocol = protocol  # Twisted's own looks it up for all that comes
    protocol.makeConnection(transport)
    if received and not transport.disconnecting:
        protocol.dataReceived(received)


def _is_within(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(network.covers(address.host) for network in networks)
