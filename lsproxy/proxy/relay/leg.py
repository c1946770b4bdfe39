"""
The side of a relay towards its server: one connection, for as long as that server is the one.

The invariant: from the moment its relay leaves it, nothing that still comes from this server reaches the client.
"""

from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from lsproxy.proxy.wire import Wire

if TYPE_CHECKING:
    from lsproxy.proxy.relay.relay import Relay


@implementer(IProtocol, IHalfCloseableProtocol, IPushProducer)
class Leg:
    """
    A connection to `backend` on behalf of `relay`, until that is None: left. `transport` is None until it is connected,
    `loss` until it is over; `is_doubted` once the server has ended it, or half of it, before it said anything;
    `acknowledged` is how many bytes it had taken when it was looked at last.
    """

    __slots__ = (
        "__weakref__",
        "acknowledged",
        "backend",
        "dial",
        "is_doubted",
        "is_full",
        "loss",
        "relay",
        "transport",
    )

    def __init__(self, backend: str, relay: "Relay") -> None:
        self.acknowledged = 0
        self.backend = backend
        self.dial: Deferred[IProtocol] | None = None
        self.is_doubted = False
        self.is_full = False
        self.loss: Failure | None = None
        self.relay: Relay | None = relay
        self.transport: Wire | None = None

    @property
    def open_transport(self) -> Wire | None:
        """Its transport while it is connected."""
        return self.transport if self.loss is None else None

    def makeConnection(self, transport: ITransport) -> None:
        """Twisted: connected, maybe after the client has gone."""
        self.transport = cast("Wire", transport)
        self.dial = None
        if self.relay is None:
            self.transport.abortConnection()
            return
        self.transport.registerProducer(self, streaming=True)
        self.relay.leg_connected(self, self.transport)

    def connectionMade(self) -> None:
        """Twisted: said by `makeConnection`."""

    def dataReceived(self, data: bytes) -> None:
        """Twisted: bytes of the server."""
        relay = self.relay
        if relay is not None:
            if relay.kept is not None:
                relay.commit()
            relay.sent += len(data)
            relay.transport.write(data)

    def readConnectionLost(self) -> None:
        """Twisted: the server sends no more, but may still read."""
        if self.relay is not None:
            self.relay.leg_ended(self)

    def writeConnectionLost(self) -> None:
        """Twisted: all that the client said, and that it says no more, is sent."""

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: over."""
        self.loss = reason
        if self.relay is not None:
            self.relay.leg_ended(self)

    def pauseProducing(self) -> None:
        """Twisted: the server does not read: read no more from the client."""
        if self.relay is not None:
            self.is_full = True
            self.relay.leg_filled(self)

    def resumeProducing(self) -> None:
        """Twisted: it reads again."""
        if self.relay is not None:
            self.is_full = False
            self.relay.leg_drained(self)

    def stopProducing(self) -> None:
        """Twisted: over; connectionLost follows."""

    def time_is_up(self) -> None:
        """The server has read nothing for long."""
        if self.relay is not None:
            self.relay.time_is_up()

    def keep_alive(self) -> None:
        """Let the kernel probe the server."""
        if self.open_transport is not None:
            self.open_transport.setTcpKeepAlive(True)

    def leave(self) -> None:
        """Leave at once, as the server sees it by RST: nothing more is sent, nothing more is passed on."""
        self.relay = None
        dial, self.dial = self.dial, None
        if dial is not None:
            dial.cancel()
        if self.transport is not None:
            self.transport.unregisterProducer()
            self.transport.abortConnection()
