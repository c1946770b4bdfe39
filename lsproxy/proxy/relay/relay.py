"""
One client of a third-party server: its connection, the server's, and the bytes between them.

Until the server's first byte nothing is lost when the server is: what the client said is kept, and said again to the
next server. From then on each side gets what the other one does: bytes, EOF and RST.

    seeking --dial--> connected --the server's first byte, or more said than is kept--> committed
       ^                 |                                                                  |
       +-- left, lost ---+                                                        left: RST to both sides

An EOF or RST before the first byte may be the server's will or its death: see [Doubt]. TLS, as it is spoken here, has
no half-close: an EOF on a side with TLS closes, after what was written is sent.

[Doubt] The pool checks that server then and there. If it is well, what it did is passed on to the client; if it is not,
or not the one in use any more, the next one is sought. A client that has said nothing and will say nothing has nothing
to lose: it is not worth a check.
"""

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    IReactorTime,
    ITransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from lsproxy.net.deadlines import Deadlines
from lsproxy.net.dialing import is_shortage
from lsproxy.net.ends import Ends
from lsproxy.net.progress import acknowledged_bytes
from lsproxy.proxy.accesslog import EndedBy
from lsproxy.proxy.arrival import Arrival, ended_by
from lsproxy.proxy.dialling import OneProtocol
from lsproxy.proxy.relay.leg import Leg
from lsproxy.proxy.traffic import Target, Traffic
from lsproxy.proxy.wire import Wire

KEPT_BYTES = 65_536
REMIND_SECONDS = 60.0
STALL_SECONDS = 60.0  # that one side may leave unread what is there for it
YOUNG_SECONDS = 1.0  # before the kernel is told to probe the server
CLOSING_SECONDS = 5.0  # that a close of this side's own may take

log = Logger()


class Relays:
    """
    The relays of one pool. `verify` has a backend checked: True if the check passed and the backend is the one in use.
    A server that leaves a client without its first byte for `answer_seconds` is suspected.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        traffic: Traffic,
        verify: Callable[[str], Deferred[bool]],
        answer_seconds: float,
    ) -> None:
        self.traffic = traffic
        self.verify = verify
        self.unanswered: Deadlines[Relay] = Deadlines(reactor, answer_seconds, Relay.unanswered)
        self.stalled: Deadlines[Relay | Leg] = Deadlines(reactor, STALL_SECONDS, self._look_again)
        self.closing: Deadlines[Relay] = Deadlines(reactor, CLOSING_SECONDS, Relay.time_is_up)
        # Most connections that end soon do it within this time: they are not worth five system calls more.
        self.young: Deadlines[Leg] = Deadlines(reactor, YOUNG_SECONDS, Leg.keep_alive)
        self._reactor = reactor
        self._shortage_said: float | None = None

    def connection(self, arrival: Arrival) -> "Relay":
        """The protocol of a client's connection."""
        return Relay(self, arrival)

    def watch(self, reader: "Relay | Leg") -> None:
        """Something is there for `reader` that it leaves unread: it has STALL_SECONDS from now, and from each byte."""
        reader.acknowledged = acknowledged_bytes(reader.transport)
        self.stalled.discard(reader)
        self.stalled.add(reader)

    def forget(self, leg: Leg) -> None:
        """It is over."""
        self.young.discard(leg)
        self.stalled.discard(leg)

    def say_shortage(self, fault: str) -> None:
        """A client was refused because this process has no more of something; said once in REMIND_SECONDS."""
        now = self._reactor.seconds()
        if self._shortage_said is None or now - self._shortage_said >= REMIND_SECONDS:
            self._shortage_said = now
            log.warn(
                "clients are refused, no connection to a server can be made: {fault}",
                event="clients_refused",
                fault=fault,
            )

    def _look_again(self, reader: "Relay | Leg") -> None:
        if acknowledged_bytes(reader.transport) > reader.acknowledged:
            self.watch(reader)
        else:
            reader.time_is_up()


@implementer(IProtocol, IHalfCloseableProtocol, IPushProducer)
class Relay:
    """
    The protocol of one accepted connection. `kept` is what the client said and no server has answered, None once it is
    committed to its server; `sent` counts the bytes to the client, `acknowledged` is what it had taken of them when it
    was looked at last.
    """

    __slots__ = (
        "__weakref__",
        "_arrival",
        "_ended",
        "_has_dial",
        "_is_client_full",
        "_is_over",
        "_is_reading_ended",
        "_is_silence_told",
        "_leg",
        "_received",
        "_relays",
        "acknowledged",
        "kept",
        "sent",
        "transport",
    )

    transport: Wire

    def __init__(self, relays: Relays, arrival: Arrival) -> None:
        self._relays = relays
        self._arrival = arrival
        self._ended: EndedBy | None = None
        self._has_dial = False
        self._is_client_full = False
        self._is_over = False
        self._is_reading_ended = False
        self._is_silence_told = False
        self._leg: Leg | None = None
        self._received = 0
        self.acknowledged = 0
        self.kept: bytearray | None = bytearray()
        self.sent = 0

    # --- the client ---------------------------------------------------------------

    def makeConnection(self, transport: ITransport) -> None:
        """Twisted: connected."""
        self.transport = cast("Wire", transport)
        self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, streaming=True)
        self._relays.traffic.joined(self)
        self._relays.traffic.seek(self)

    def connectionMade(self) -> None:
        """Twisted: said by `makeConnection`."""

    def dataReceived(self, data: bytes) -> None:
        """Twisted: bytes of the client."""
        self._received += len(data)
        if self.kept is None:
            self._leg.transport.write(data)  # type: ignore[union-attr] # committed is to a connected server
        else:
            self._keep(self.kept, data)

    def readConnectionLost(self) -> None:
        """Twisted: the client says no more, but may still read."""
        self._is_reading_ended = True
        self._blame("client")
        if self._leg is not None and self._leg.transport is not None:
            self._leg.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """Twisted: all that the server said, and that it says no more, is sent."""

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: the client is gone."""
        ended = self._blame(ended_by("client", reason))
        self._is_over = True
        leg = self._leg
        backend = None if leg is None else leg.backend
        self._relays.unanswered.discard(self)
        self._unlimit()
        try:
            if leg is not None and leg.open_transport is not None and reason.check(ConnectionDone):
                self._finish(leg)
            else:
                self._drop_leg()  # others may be dialled then: what goes wrong there leaves no phantom here
        finally:
            self._relays.traffic.left(self)
            self._arrival.over(backend, self._received, self.sent, ended)

    def pauseProducing(self) -> None:
        """Twisted: the client does not read: read no more from the server."""
        self._is_client_full = True
        self._relays.watch(self)
        if self._leg is not None and self._leg.transport is not None:
            self._leg.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Twisted: it reads again."""
        self._is_client_full = False
        self._relays.stalled.discard(self)
        if self._leg is not None and self._leg.transport is not None:
            self._leg.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Twisted: over; connectionLost follows."""

    # --- the traffic --------------------------------------------------------------

    @property
    def backend(self) -> str | None:
        """The server it is connected or connecting to."""
        return None if self._leg is None or self._leg.relay is None else self._leg.backend

    @property
    def is_urgent(self) -> bool:
        """Whether something is unanswered."""
        return bool(self.kept)

    @property
    def is_dialling(self) -> bool:
        """Whether a dial of it is under way."""
        return self._has_dial

    def dial(self, target: Target) -> None:
        """Leave the old server, if any, and connect to this one; it is too late for that once it is committed."""
        if self.kept is None:
            self.leave()
            self._relays.traffic.settled(self, is_open=False)
            return
        self._drop_leg()
        try:
            endpoint = target.doors.endpoint(self._arrival.port, self._ends)
        except KeyError:  # the pool's ports have other names since it came
            self._relays.traffic.settled(self, is_open=False)
            self._abort("lsproxy")
            return
        self._has_dial = True
        self._leg = leg = Leg(target.backend, self)
        leg.dial = endpoint.connect(OneProtocol(leg))
        leg.dial.addErrback(self._not_connected, leg)

    def leave(self) -> None:
        """Leave the server it is connected to, at once: for the next one, or for good."""
        if self.kept is None:
            self._abort("switch")
        else:
            self._drop_leg()
            self._relays.traffic.seek(self)

    def give_up(self, reason: str) -> None:  # noqa: ARG002 - there is nobody to tell: a RST is all that a client understands
        """Refuse the client, fast, so that it goes to its next address."""
        self._abort("lsproxy")

    def close(self) -> None:
        """Close both connections, after what was written is sent."""
        if self._is_over:
            return
        self._blame("lsproxy")
        self._relays.closing.add(self)
        if self._leg is not None and self._leg.open_transport is not None:
            self._close(self._leg.open_transport)
        else:
            self._drop_leg()
        self._close(self.transport)

    def unanswered(self) -> None:
        """Its server has left it without a first byte for long."""
        self._is_silence_told = True
        if self.backend is not None:
            self._relays.traffic.noticed(self.backend)

    def time_is_up(self) -> None:
        """One side does not read what is there for it, or does not close."""
        self._abort("timeout")

    # --- the leg ------------------------------------------------------------------

    def leg_connected(self, leg: Leg, server: Wire) -> None:
        """The server accepted the connection."""
        kept = self.kept
        self._relays.young.add(leg)
        if kept:
            server.write(bytes(kept))
            if len(kept) > KEPT_BYTES:
                self.commit()
            else:
                self._expect_answer()
        if self._is_client_full:
            server.pauseProducing()
        if self._is_reading_ended:
            server.loseWriteConnection()
        self._read_on()
        self._give_back_dial(is_open=True)

    def commit(self) -> None:
        """From now on this server is the only one that can go on with it."""
        self.kept = None
        self._relays.unanswered.discard(self)

    def leg_ended(self, leg: Leg) -> None:
        """The server sends no more, or has closed or reset the connection; or the network did."""
        if leg.loss is not None:
            self._relays.forget(leg)
        if self._is_over:
            if leg.loss is not None:
                self._drop_leg()
                self._unlimit()
        elif self.kept is None:
            self._pass_on_end(leg)
        elif not self.kept and self._is_reading_ended:
            self.commit()
            self._pass_on_end(leg)
        elif not leg.is_doubted:
            leg.is_doubted = True
            verdict = self._relays.verify(leg.backend).addCallback(self._verified, leg)
            verdict.addErrback(lambda failure: log.failure("while a server was verified", failure))

    def leg_filled(self, leg: Leg) -> None:
        """The server does not read: read no more from the client."""
        self._relays.watch(leg)
        self.transport.pauseProducing()

    def leg_drained(self, leg: Leg) -> None:
        """It reads again."""
        self._relays.stalled.discard(leg)
        self._read_on()

    # --- what follows ---------------------------------------------------------------

    def _keep(self, kept: bytearray, data: bytes) -> None:
        kept += data
        leg = self._leg
        if leg is not None and leg.open_transport is not None:
            leg.open_transport.write(data)
            if leg.is_doubted:
                self._read_on()
            elif len(kept) > KEPT_BYTES:
                self.commit()
            else:
                self._expect_answer()
        elif len(kept) > KEPT_BYTES:
            self.transport.pauseProducing()

    def _expect_answer(self) -> None:
        if not self._is_silence_told:
            self._relays.unanswered.add(self)

    def _verified(self, is_well: bool, leg: Leg) -> None:
        if leg is not self._leg or leg.relay is None or self._is_over:
            return
        if is_well:
            self.commit()
            self._pass_on_end(leg)
        else:
            self._drop_leg()
            self._relays.traffic.met_trouble(leg.backend)
            self._relays.traffic.seek(self)

    def _pass_on_end(self, leg: Leg) -> None:
        if leg.loss is None and not self._is_reading_ended:
            self._blame("server")
            self.transport.loseWriteConnection()
        elif leg.loss is None or leg.loss.check(ConnectionDone):
            self._blame("server")
            self._finish(self)
        else:
            self._abort(ended_by("server", leg.loss))

    def _not_connected(self, failure: Failure, leg: Leg) -> None:
        if leg is not self._leg or leg.relay is None:
            return
        if is_shortage(failure.value):  # that is not the server's fault
            self._relays.say_shortage(failure.getErrorMessage())
            self._drop_leg()
            self._abort("lsproxy")
            return
        self._has_dial = False
        self._drop_leg()
        self._relays.traffic.failed(leg.backend)
        self._relays.traffic.seek(self)

    def _drop_leg(self) -> None:
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.leave()
            self._relays.forget(leg)
            self._relays.unanswered.discard(self)
        self._give_back_dial(is_open=False)

    def _ends(self) -> Ends:
        return self._arrival.ends(cast("ITransport", self.transport))

    def _give_back_dial(self, *, is_open: bool) -> None:
        if self._has_dial:
            self._has_dial = False
            self._relays.traffic.settled(self, is_open=is_open)

    def _abort(self, ended: EndedBy) -> None:
        """End both connections by RST."""
        self._blame(ended)
        self.commit()
        if self._leg is not None:
            self._leg.leave()
            self._relays.forget(self._leg)
        self._unlimit()
        self.transport.unregisterProducer()
        self.transport.abortConnection()

    def _finish(self, side: "Relay | Leg") -> None:
        """Close the side that is left; it may take its time to read."""
        assert side.transport is not None
        self._relays.watch(side)
        self._close(side.transport)

    def _close(self, wire: Wire) -> None:
        wire.unregisterProducer()
        wire.resumeProducing()
        wire.loseConnection()

    def _read_on(self) -> None:
        """Read from the client, unless the server is behind or nothing more can be kept."""
        leg = self._leg
        is_keeping = leg is None or leg.open_transport is None or leg.is_doubted
        if is_keeping and self.kept is not None and len(self.kept) > KEPT_BYTES:
            self.transport.pauseProducing()
        elif leg is None or not leg.is_full:
            self.transport.resumeProducing()

    def _unlimit(self) -> None:
        self._relays.stalled.discard(self)
        self._relays.closing.discard(self)

    def _blame(self, ended: EndedBy) -> EndedBy:
        """Who ended it first."""
        if self._ended is None:
            self._ended = ended
        return self._ended
