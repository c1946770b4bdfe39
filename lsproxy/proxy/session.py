"""
One client of a pool: its connection, the server's, and what happens between them.

The bytes of the hot path are looked at once and passed on as they came. What is
to be repeated or answered instead is `core.replay`'s decision, when and where to
connect is `traffic`'s.

    no leg --first request--> seeking --dial--> greeting --hello answered--> open
                                 ^                 |                          |
                                 +----- lost, not active, target changed -----+

See [Silence].

[Silence] A server closes a session that was silent for three heartbeats; saying
hello again for it would keep a dead client's seats for ever. So a session whose
leg ends after two silent heartbeats is closed, not moved: a client that lives
makes a new connection.
"""

from typing import assert_never, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    IReactorTime,
    ITransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from lsproxy.core.replay import Answer, Denied, Drop, Move, Opened, Parting, Replay, Stage
from lsproxy.net.ends import Ends
from lsproxy.net.progress import acknowledged_bytes
from lsproxy.proxy.accesslog import EndedBy
from lsproxy.proxy.arrival import Arrival, ended_by
from lsproxy.proxy.dialling import OneProtocol
from lsproxy.proxy.doors import ONLY
from lsproxy.proxy.leg import CLOSING_SECONDS, STALL_SECONDS, Leg
from lsproxy.proxy.traffic import Target, Traffic
from lsproxy.proxy.wire import Wire
from lsproxy.seat.lines import REQUEST_LIMIT, LineSplitter
from lsproxy.seat.messages import HELLO_SECONDS, Refusal, encode

SILENT_HEARTBEATS = 2
BRIEF_TICKS = 2
LONGEST_FLAP_SECONDS = 2.0


@implementer(IProtocol, IHalfCloseableProtocol, IPushProducer)
class Session:
    """The protocol of one accepted connection."""

    __slots__ = (
        "__weakref__",
        "_acknowledged",
        "_arrival",
        "_dial",
        "_ended",
        "_flaps",
        "_has_asked",
        "_has_dial",
        "_heard",
        "_is_client_full",
        "_is_closing",
        "_is_reading_ended",
        "_leg",
        "_lost_at",
        "_opened",
        "_reactor",
        "_received",
        "_replay",
        "_sent",
        "_served_by",
        "_splitter",
        "_timer",
        "_traffic",
        "transport",
    )

    def __init__(self, reactor: IReactorTime, traffic: Traffic, arrival: Arrival) -> None:
        self._acknowledged = 0
        self._reactor = reactor
        self._traffic = traffic
        self._arrival = arrival
        self._ended: EndedBy | None = None
        self._splitter = LineSplitter(REQUEST_LIMIT)
        self._replay = Replay()
        self._leg: Leg | None = None
        self._lost_at: int | None = None
        self._dial: Deferred[IProtocol] | None = None
        self._flaps = 0
        self._has_asked = False
        self._has_dial = False
        self._heard = self._opened = traffic.tick
        self._is_client_full = False
        self._is_closing = False
        self._is_reading_ended = False
        self._received = 0
        self._served_by: str | None = None
        self._sent = 0
        # One at a time: the limit on the first request, then on a client that does not read, then on closing.
        self._timer: IDelayedCall | None = None
        self.transport: Wire | None = None

    # --- the client ---------------------------------------------------------------

    def makeConnection(self, transport: ITransport) -> None:
        """Twisted: connected."""
        self.transport = cast("Wire", transport)
        self.connectionMade()

    def connectionMade(self) -> None:
        """Twisted: connected."""
        if self.transport is None:
            return
        self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, streaming=True)
        self._limit(HELLO_SECONDS)
        self._traffic.joined(self)

    def dataReceived(self, data: bytes) -> None:
        """Twisted: bytes of the client."""
        self._heard = self._traffic.tick
        self._received += len(data)
        lines = self._splitter.feed(data)
        replay = self._replay
        if len(lines) == 1 and replay.stage is Stage.OPEN and len(lines[0]) + 1 == len(data):
            if (verdict := replay.asked(lines[0])) is None:
                self._leg.transport.write(data)  # type: ignore[union-attr] # an open stage has a connected leg
            else:
                self._answer(verdict)
        elif lines:
            self._take(lines)
        if self._splitter.is_overflowing:
            self._answer(Parting(encode(Refusal(0, "bad_request", f"a request is at most {REQUEST_LIMIT} bytes"))))

    def readConnectionLost(self) -> None:
        """Twisted: the client says no more, but may still read."""
        self._is_reading_ended = True
        self._blame("client")
        if self._leg is not None and self._replay.stage is Stage.OPEN:
            self._leg.end_of_requests()
        self._close_if_done()

    def writeConnectionLost(self) -> None:
        """Twisted: this side was ended; it never is by half."""

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: the client is gone."""
        ended = self._blame(ended_by("client", reason))
        self._is_closing = True
        self.transport = None
        self._unlimit()
        self._drop_leg(is_polite=True)
        self._traffic.left(self)
        self._arrival.over(self._served_by, self._received, self._sent, ended)

    def pauseProducing(self) -> None:
        """
        Twisted: the client does not read. One that takes not a byte for STALL_SECONDS is dropped.

        Nothing more is read from it either: what it asks would be answered into the same full buffer.
        """
        self._is_client_full = True
        if self._leg is not None and self._leg.transport is not None:
            self._leg.transport.pauseProducing()
        if self.transport is not None:
            self.transport.pauseProducing()
        if not self._is_closing and self.transport is not None:
            self._acknowledged = acknowledged_bytes(self.transport)
            self._limit(STALL_SECONDS)

    def resumeProducing(self) -> None:
        """Twisted: it reads again."""
        self._is_client_full = False
        if self._leg is not None and self._leg.transport is not None:
            self._leg.transport.resumeProducing()
        self._read_on()
        if not self._is_closing:
            self._unlimit()

    def stopProducing(self) -> None:
        """Twisted: over; connectionLost follows."""

    # --- the traffic --------------------------------------------------------------

    @property
    def backend(self) -> str | None:
        """The server it is connected or connecting to."""
        return None if self._leg is None else self._leg.backend

    @property
    def is_urgent(self) -> bool:
        """Whether something is unanswered."""
        return not self._replay.is_idle

    @property
    def is_dialling(self) -> bool:
        """Whether a dial of it is under way: connecting, or its hello unanswered."""
        return self._has_dial

    def dial(self, target: Target) -> None:
        """Leave the old server, if any, and connect to this one."""
        self._drop_leg()
        self._has_dial = True
        if self._is_closing or self._is_silent():
            self._give_back_dial(is_open=False)
            self._close("timeout")
            return
        self._leg = leg = Leg(self._reactor, target.backend, self)
        self._served_by = target.backend
        self._dial = dial = target.doors.endpoint(ONLY, self._ends).connect(OneProtocol(leg))
        dial.addErrback(self._not_connected, leg)

    def leave(self) -> None:
        """Leave the server it is connected to, at once, and seek the next."""
        self._drop_leg()
        self._traffic.seek(self)

    def give_up(self, reason: str) -> None:
        """Answer what is unanswered with `no_backend`, and close."""
        self._write(self._replay.given_up(reason))
        self.close()

    def close(self) -> None:
        """Close the client's connection once what was said is sent, and the server's."""
        self._close("lsproxy")

    # --- the leg ------------------------------------------------------------------

    def leg_connected(self) -> None:
        """The server accepted the connection."""
        self._dial = None
        said = self._replay.connected()
        if self._leg is None or self._leg.transport is None:
            return
        self._leg.transport.write(said)
        if self._is_client_full:
            self._leg.transport.pauseProducing()
        if self._replay.stage is Stage.OPEN:
            self._open()

    def leg_said(self, lines: list[bytes], data: bytes) -> None:
        """Whole lines of the server."""
        if self._is_closing:
            return
        if len(lines) == 1 and len(lines[0]) + 1 == len(data):
            if (verdict := self._replay.answered(lines[0])) is None:
                self._sent += len(data)
                self.transport.write(data)  # type: ignore[union-attr] # a session that is not closing has a client
            else:
                self._perform(verdict)
        else:
            self._pass(lines)
        if self._is_reading_ended:
            self._close_if_done()

    def leg_lost(self) -> None:
        """The server closed the connection, or the network did."""
        if self._leg is None:
            return
        if not self._has_dial:
            is_brief = self._traffic.tick - self._opened < BRIEF_TICKS
            self._flaps = self._flaps + 1 if is_brief else 0
        self._move()

    def pause_client(self) -> None:
        """The server does not read: read no more from the client."""
        if self.transport is not None:
            self.transport.pauseProducing()

    def resume_client(self) -> None:
        """Read from the client again."""
        self._read_on()

    # --- what was decided -----------------------------------------------------------

    def _take(self, lines: list[bytes]) -> None:
        if self._is_closing:
            return
        was_idle = self._replay.is_idle
        taken: list[bytes] = []
        for line in lines:
            verdict = self._replay.asked(line)
            if verdict is None:
                taken.append(line)
            else:
                self._answer(verdict)
                if self._is_closing:
                    return
        if not self._has_asked:
            self._has_asked = True
            self._unlimit()
        if self._replay.stage is Stage.OPEN and self._leg is not None and self._leg.transport is not None:
            self._leg.transport.write(b"\n".join([*taken, b""]))
        elif self._leg is None and was_idle and taken:
            self._traffic.seek(self)

    def _pass(self, lines: list[bytes]) -> None:
        passed: list[bytes] = []
        for line in lines:
            verdict = self._replay.answered(line)
            if verdict is None:
                passed.append(line)
                continue
            self._write(b"\n".join([*passed, b""]) if passed else b"")
            passed.clear()
            self._perform(verdict)
            if isinstance(verdict, Parting | Move):
                return
        self._write(b"\n".join([*passed, b""]) if passed else b"")

    def _answer(self, verdict: Answer | Parting) -> None:
        self._write(verdict.lines)
        if isinstance(verdict, Parting):
            self.close()

    def _perform(self, verdict: Parting | Opened | Move | Denied | Drop | None) -> None:
        match verdict:
            case Denied(line, request, hello):
                self._write(line + b"\n")
                self._traffic.denials.note(self._reactor.seconds(), hello, request, line)
            case Parting(lines):
                self._write(lines)
                self._close("server")
            case Opened(to_client, to_server):
                self._write(to_client)
                if self._leg is not None and self._leg.transport is not None:
                    self._leg.transport.write(to_server)
                self._open()
            case Move():
                self._move()
            case Drop() | None:
                pass
            case _:
                assert_never(verdict)

    def _open(self) -> None:
        self._opened = self._traffic.tick
        self._lost_at = None
        self._give_back_dial(is_open=True)
        if self._is_reading_ended and self._leg is not None:
            self._leg.end_of_requests()

    def _move(self) -> None:
        if self._leg is None:
            return
        backend = self._leg.backend
        had_dial, self._has_dial = self._has_dial, False
        self._drop_leg()
        if had_dial:
            self._traffic.failed(backend)
        else:
            self._traffic.met_trouble(backend)
        self._seek_or_close()

    def _seek_or_close(self) -> None:
        if self._replay.is_idle and (self._is_reading_ended or not self._replay.has_session):
            self._close("server")
        elif self._is_silent():
            self._close("timeout")
        elif self._flaps > 1:
            # Each server it finds says hello and closes: once is bad luck, then it shall not spin.
            self._reactor.callLater(min(LONGEST_FLAP_SECONDS, 0.05 * 2 ** min(self._flaps, 10)), self._seek)
        else:
            self._seek()

    def _seek(self) -> None:
        if not self._is_closing and self._leg is None:
            self._traffic.seek(self)

    def _is_silent(self) -> bool:
        """Whether its client had been silent when the server was lost; that it waits since then is not its fault."""
        lost_at = self._traffic.tick if self._lost_at is None else self._lost_at
        return lost_at - self._heard >= SILENT_HEARTBEATS * self._replay.heartbeat

    def _close_if_done(self) -> None:
        if self._is_reading_ended and self._replay.is_idle:
            self._close("client")

    def _close(self, ended: EndedBy) -> None:
        if self._is_closing or self.transport is None:
            return
        self._blame(ended)
        self._is_closing = True
        self._drop_leg(is_polite=True)
        self._limit(CLOSING_SECONDS)
        self.transport.unregisterProducer()
        self.transport.resumeProducing()
        self.transport.loseConnection()

    def _blame(self, ended: EndedBy) -> EndedBy:
        """Who ended it first."""
        if self._ended is None:
            self._ended = ended
        return self._ended

    def _not_connected(self, _failure: Failure, leg: Leg) -> None:
        if leg is self._leg:
            self.leg_lost()

    def _drop_leg(self, *, is_polite: bool = False) -> None:
        leg, self._leg = self._leg, None
        dial, self._dial = self._dial, None
        if leg is None:
            return
        if self._lost_at is None:
            self._lost_at = self._traffic.tick
        if is_polite:
            leg.close()
        else:
            leg.abort()
        if dial is not None:
            dial.cancel()
        said = self._replay.lost()
        if not self._is_closing:
            self._write(said)
        self._give_back_dial(is_open=False)

    def _ends(self) -> Ends:
        return self._arrival.ends(cast("ITransport", self.transport))

    def _give_back_dial(self, *, is_open: bool) -> None:
        if self._has_dial:
            self._has_dial = False
            self._traffic.settled(self, is_open=is_open)

    def _read_on(self) -> None:
        """Read from the client again, unless it or the server is behind."""
        is_leg_full = self._leg is not None and self._leg.is_full
        if self.transport is not None and not self._is_client_full and not is_leg_full:
            self.transport.resumeProducing()

    def _write(self, lines: bytes) -> None:
        if lines and self.transport is not None:
            self._sent += len(lines)
            self.transport.write(lines)

    def _limit(self, seconds: float) -> None:
        self._unlimit()
        self._timer = self._reactor.callLater(seconds, self._time_is_up)

    def _unlimit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_up(self) -> None:
        self._timer = None
        if self.transport is None:
            return
        if self._is_client_full and not self._is_closing:
            before, self._acknowledged = self._acknowledged, acknowledged_bytes(self.transport)
            if self._acknowledged > before:
                self._limit(STALL_SECONDS)
                return
        self._blame("timeout")
        self.transport.abortConnection()
