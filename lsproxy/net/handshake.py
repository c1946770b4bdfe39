"""
Who gets a TLS connection once its handshake is done, and how does it end?

    TCP connected --handshake done in time--> open: the protocol is told of the connection
          |
          +--late, wrong certificate, garbage, closed--> failed: no protocol ever is

Twisted's TLS waits for the peer's answer when it closes, and for a registered producer to be unregistered; a peer that
is gone or hangs would hold the connection for ever. Here the producer holds nothing up and the wait has an end.
"""

from collections.abc import Callable
from typing import Any
from typing import Protocol as Interface

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IDelayedCall, IHandshakeListener, IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from lsproxy.net.prefaces import EndedBy, gone
from lsproxy.net.progress import acknowledged_bytes
from lsproxy.net.reactor import BoottimeReactor

CLOSE_SECONDS = 5.0  # that a closed connection may go without a byte of progress before it is reset

log = Logger()


class TLSTransport(BufferingTLSTransport):
    """A TLS connection, as the protocol it carries sees it."""

    factory: "TLSFactory"
    close_seconds = CLOSE_SECONDS
    _acknowledged = 0
    _closing: IDelayedCall | None = None
    _released: Any = None

    def open(self, protocol: IProtocol) -> None:
        """Give the connection to `protocol`: its `makeConnection` is called before this returns."""
        self.wrappedProtocol = protocol
        protocol.makeConnection(self)

    def loseConnection(self) -> None:
        """Send what was written, then close, with an end to the wait."""
        if self.disconnecting or not self.connected:
            return
        if self._producer is not None:
            self._released = self._producer
            self.unregisterProducer()  # type: ignore[no-untyped-call]
        super().loseConnection()
        self._limit_closing()

    def abortConnection(self) -> None:
        """End the connection now, as the peer sees it: by RST."""
        if self.connected:
            super().abortConnection()  # type: ignore[no-untyped-call]

    def loseWriteConnection(self) -> None:
        """Close altogether: TLS as Twisted speaks it has no half-close."""
        self.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The TCP connection is gone."""
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        if self._released is not None:
            self._released.stopProducing()
            self._released = None
        if self._reason is None:
            # Twisted would make a loss of an EOF that TLS did not announce, as many are, and hide a real loss.
            self._reason = reason
        super().connectionLost(reason)

    def _limit_closing(self) -> None:
        self._acknowledged = acknowledged_bytes(self)
        self._closing = self.factory.reactor.callLater(self.close_seconds, self._has_not_closed)

    def _has_not_closed(self) -> None:
        if acknowledged_bytes(self) > self._acknowledged:  # it is slow, and an abort would lose what is on its way
            self._limit_closing()
        else:
            self.abortConnection()


class Served(Interface):
    """What is told that a port listens, or does not any more."""

    def doStart(self) -> None:
        """It listens."""

    def doStop(self) -> None:
        """It does not any more."""


class TLSFactory(TLSMemoryBIOFactory):
    """TLS over whatever connects, with a handshake made by `new_handshake` for each connection."""

    protocol = TLSTransport

    def __init__(
        self,
        reactor: BoottimeReactor,
        tls: Any,
        new_handshake: Callable[[IAddress], Protocol],
        served: Served | None = None,
    ) -> None:
        self.reactor = reactor
        super().__init__(tls, served is None, _Handshakes(new_handshake, served), reactor)


class _Handshakes(Factory):
    noisy = False

    def __init__(self, new_handshake: Callable[[IAddress], Protocol], served: Served | None) -> None:
        self._new_handshake = new_handshake
        self._served = served

    def buildProtocol(self, addr: Any) -> Protocol:
        return self._new_handshake(addr)

    def doStart(self) -> None:
        if self._served is not None:
            self._served.doStart()

    def doStop(self) -> None:
        if self._served is not None:
            self._served.doStop()


@implementer(IHandshakeListener)
class Handshake(Protocol):
    """
    Stands in for the protocol until the handshake is done.

    Calls exactly one, once: `done(transport)`, which opens the transport or leaves it to be aborted, or
    `failed(why, ended)` with who ended it, this side being "lsproxy".
    """

    transport: TLSTransport

    def __init__(
        self,
        reactor: BoottimeReactor,
        seconds: float,
        done: Callable[[TLSTransport], None],
        failed: Callable[[str, EndedBy], None],
    ) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._done = done
        self._failed = failed
        self._is_over = False
        self._is_late = False
        self.problem: str | None = None

    def connectionMade(self) -> None:
        """TCP is connected: the time runs."""
        self._limit = self._reactor.callLater(self._seconds, self._late)

    def handshakeCompleted(self) -> None:
        """Both sides have proved what they had to."""
        self._is_over = True
        self._limit.cancel()
        try:
            self._done(self.transport)
        except Exception:  # noqa: BLE001 - one connection's fault ends that connection only
            log.failure("while a connection's protocol was built")
        if self.transport.wrappedProtocol is self:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It came to nothing, unless it was over before."""
        if not self._is_over:
            self._is_over = True
            if self._limit.active():
                self._limit.cancel()
            self._failed(self.problem or _why(reason.value), self._ended_by(reason))

    def _ended_by(self, loss: Failure) -> EndedBy:
        if self._is_late:
            return "timeout"
        is_alert = isinstance(loss.value, SSL.Error) and " alert " in _why(loss.value)  # the peer's: it says no more
        is_refused = self.problem is not None or (isinstance(loss.value, SSL.Error) and not is_alert)
        return "lsproxy" if is_refused else gone(loss)

    def _late(self) -> None:
        self._is_late = True
        self.problem = f"not done within {self._seconds:g} s"
        self.transport.abortConnection()


def _why(reason: BaseException | None) -> str:
    if isinstance(reason, SSL.Error) and reason.args and isinstance(reason.args[0], list):
        return "; ".join(text for _library, _function, text in reason.args[0])
    return "the peer closed the connection"
