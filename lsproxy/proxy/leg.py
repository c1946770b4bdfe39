"""
The side of a session towards its server: one connection, for as long as that server is the one.

The invariant: from the moment its session leaves it, nothing that still comes
from this server reaches the client.
"""

from typing import Protocol, cast

from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from lsproxy.net.progress import acknowledged_bytes
from lsproxy.proxy.wire import Wire
from lsproxy.seat.lines import REPLY_LIMIT, LineSplitter

CLOSING_SECONDS = 5.0
STALL_SECONDS = 60.0


class Client(Protocol):
    """What a leg tells its session."""

    def leg_connected(self) -> None:
        """The server accepted the connection."""

    def leg_said(self, lines: list[bytes], data: bytes) -> None:
        """Whole `lines` came; `data` is what came last, to be passed on as it is where it is just these lines."""

    def leg_lost(self) -> None:
        """The server closed it, or the network did."""

    def pause_client(self) -> None:
        """The server does not read: read no more from the client."""

    def resume_client(self) -> None:
        """Read from the client again."""


@implementer(IProtocol, IPushProducer)
class Leg:
    """A connection to `backend` on behalf of `client`, until `client` is None: left."""

    __slots__ = (
        "__weakref__",
        "_acknowledged",
        "_reactor",
        "_splitter",
        "_timer",
        "backend",
        "client",
        "is_full",
        "transport",
    )

    def __init__(self, reactor: IReactorTime, backend: str, client: Client) -> None:
        self._acknowledged = 0
        self._reactor = reactor
        self._splitter = LineSplitter(REPLY_LIMIT)
        self._timer: IDelayedCall | None = None
        self.is_full = False
        self.backend = backend
        self.client: Client | None = client
        self.transport: Wire | None = None

    def makeConnection(self, transport: ITransport) -> None:
        """Twisted: connected."""
        self.transport = cast("Wire", transport)
        self.connectionMade()

    def connectionMade(self) -> None:
        """Twisted: connected, maybe after the client has gone."""
        if self.transport is None:
            return
        if self.client is None:
            self.transport.abortConnection()
            return
        self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, streaming=True)
        self.client.leg_connected()

    def dataReceived(self, data: bytes) -> None:
        """Twisted: bytes of the server."""
        client = self.client
        if client is None:
            return
        lines = self._splitter.feed(data)
        if lines:
            client.leg_said(lines, data)
        if self._splitter.is_overflowing and self.transport is not None:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:  # noqa: ARG002 - a clean end and a reset are the same loss
        """Twisted: over."""
        self.transport = None
        client = self._part()
        if client is not None:
            client.leg_lost()

    def end_of_requests(self) -> None:
        """The client has ended its side: so does this one, where the transport can do half of it."""
        if self.transport is not None and not ISSLTransport.providedBy(self.transport):
            self.transport.loseWriteConnection()

    def abort(self) -> None:
        """Leave at once: nothing more is sent, nothing more is passed on."""
        self._part()
        if self.transport is not None:
            self.transport.unregisterProducer()
            self.transport.abortConnection()

    def close(self) -> None:
        """Leave after what was written is sent: the client is gone, but its last requests are not."""
        self._part()
        if self.transport is not None:
            self._timer = self._reactor.callLater(CLOSING_SECONDS, self._time_is_up)
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def pauseProducing(self) -> None:
        """Twisted: the server does not read. One that takes not a byte for STALL_SECONDS is as good as lost."""
        if self.client is not None:
            self.is_full = True
            self._acknowledged = acknowledged_bytes(self.transport)
            self._timer = self._reactor.callLater(STALL_SECONDS, self._time_is_up)
            self.client.pause_client()

    def resumeProducing(self) -> None:
        """Twisted: it reads again."""
        if self.client is not None:
            self._relieve(self.client)

    def stopProducing(self) -> None:
        """Twisted: over; connectionLost follows."""

    def _part(self) -> Client | None:
        client, self.client = self.client, None
        if client is not None:
            self._relieve(client)
        elif self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return client

    def _relieve(self, client: Client) -> None:
        if self.is_full:
            self.is_full = False
            client.resume_client()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        self._timer = None
        if self.transport is None:
            return
        if self.is_full:
            before, self._acknowledged = self._acknowledged, acknowledged_bytes(self.transport)
            if self._acknowledged > before:
                self._timer = self._reactor.callLater(STALL_SECONDS, self._time_is_up)
                return
        self.transport.abortConnection()
