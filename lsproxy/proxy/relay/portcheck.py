"""
Does this port of a backend answer, and if not, what is wrong?

A check visits it by a connection of its own, which it does not leave behind:

    connect --[TLS handshake]--[say `send`]--+--`expect` given---> passed when that came, within EXPECT_BYTES
                                             |
                                             +--otherwise: EOF---> passed by a sign of life

A sign of life is a byte or an EOF of the server's: only the process itself gives one, whereas the kernel accepts
connections for a process that is stopped. Not every server does, so a port is judged by its connect alone until it has
shown that it does; from then on it has to, within the limit. By TLS, with nothing to send, the handshake is the sign.

[Dying] The end of a process is an EOF as well, to a check that is open then. One that never closes otherwise would be
down for ever afterwards, so an EOF has to be followed by another one, of the next visit, to show anything.
"""

import hashlib
import os
from typing import Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionRefusedError, DNSLookupError  # noqa: A004 - Twisted's, not the built-in
from twisted.internet.interfaces import (
    IDelayedCall,
    IHalfCloseableProtocol,
    INegotiated,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lsproxy.net.dialing import is_shortage
from lsproxy.net.tls import HandshakeError
from lsproxy.proxy.dialling import OneProtocol
from lsproxy.proxy.wire import Wire

EXPECT_BYTES: Final = 65_536
UNDECIDED_SECONDS: Final = 0.25
"""For its first sign of life, or a quarter of the limit if that is less."""

SIGNS: Final = 2
"""So many visits in a row, each begun when the one before had ended, show that it gives signs of life. See [Dying]."""

_DIGITS: Final = 12
_QUOTED: Final = 60  # characters
_PRINTABLE: Final = range(0x20, 0x7F)


class Passed(msgspec.Struct, frozen=True):
    """It answered, `seconds` after it was asked."""

    seconds: float


class Failed(msgspec.Struct, frozen=True):
    """It did not: `reason` is a sentence, `is_certain` that it refused or reset the connection."""

    reason: str
    is_certain: bool


class Undecided(msgspec.Struct, frozen=True):
    """It could not be asked, for want of something on this machine: that says nothing of it."""

    reason: str


Result = Passed | Failed | Undecided


class PortCheck:
    """The checks of one port, `timeout` seconds each; `place` is its name and address for sentences."""

    def __init__(
        self,
        reactor: IReactorTime,
        place: str,
        endpoint: IStreamClientEndpoint,
        send: bytes,
        expect: bytes,
        timeout: float,
        *,
        is_tls: bool,
    ) -> None:
        self.reactor = reactor
        self.place = place
        self.endpoint = endpoint
        self.send = send
        self.expect = expect
        self.is_tls = is_tls
        self.timeout = timeout
        self.signs = 0

    @property
    def has_shown_life(self) -> bool:
        """Whether it has to give a sign of life from now on."""
        return self.signs >= SIGNS

    @property
    def ground(self) -> str:
        """What a sign of life holds for: this place, asked in this way."""
        asked = hashlib.sha256(self.send + b"\0" + self.expect).hexdigest()[:_DIGITS]
        return f"{self.place} {'by TLS' if self.is_tls else 'plain'} {asked}"

    def ask(self) -> Deferred[Result]:
        """Visit it, and again at once after a first sign of life."""
        return self._visit().addCallback(self._again)

    def _visit(self) -> Deferred[Result]:
        visit = _Visit(self)
        visit.begin()
        return visit.result

    def _again(self, result: Result) -> Result | Deferred[Result]:
        return self._visit() if 0 < self.signs < SIGNS else result


@implementer(IHalfCloseableProtocol)
class _Visit(Protocol):
    """One connection to a port."""

    transport: Wire | None  # type: ignore[assignment] # what is used of it

    def __init__(self, port: PortCheck) -> None:
        self.result: Deferred[Result] = Deferred(self._cancelled)
        self._port = port
        self._signs_before = port.signs
        self._began = port.reactor.seconds()
        self._connected_at: float | None = None
        self._said = bytearray()
        self._undecided: IDelayedCall | None = None
        self._is_over = False

    def begin(self) -> None:
        """Connect."""
        self._limit = self._port.reactor.callLater(self._port.timeout, self._late)
        self._dial = self._port.endpoint.connect(OneProtocol(self))
        self._dial.addErrback(self._not_connected)

    def connectionMade(self) -> None:
        """Twisted: connected, by TLS with the handshake done."""
        assert self.transport is not None
        port, is_tls = self._port, INegotiated.providedBy(self.transport)
        self._connected_at = port.reactor.seconds()
        if port.send:
            self.transport.write(port.send)
        elif is_tls and not port.expect:
            self._alive()
        if port.expect or self._is_over:
            return
        if not is_tls:
            self.transport.loseWriteConnection()
        if not port.has_shown_life:
            self._undecided = port.reactor.callLater(min(UNDECIDED_SECONDS, port.timeout / 4), self._accepted)

    def dataReceived(self, data: bytes) -> None:
        """Twisted: it said something."""
        expect = self._port.expect
        seen = max(0, len(self._said) - len(expect))
        self._said += data
        if self._said.find(expect, seen, EXPECT_BYTES) >= 0:
            self._alive()
        elif len(self._said) >= EXPECT_BYTES:
            self._fail(f"it sent {EXPECT_BYTES // 1024} KiB in which {_quote(expect)} was not")

    def readConnectionLost(self) -> None:
        """Twisted: it says no more."""
        self._ended()

    def writeConnectionLost(self) -> None:
        """Twisted: the EOF is on its way."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Twisted: the connection has ended, perhaps by this side."""
        if reason.check(ConnectionDone):
            self._ended()
        elif self._port.expect or self._port.has_shown_life:
            self._fail("it reset the connection", is_certain=True)
        else:
            self._accepted()

    def _not_connected(self, failure: Failure) -> None:
        if is_shortage(failure.value):
            self._finish(Undecided(f"{self._port.place}: {_why_not(failure)}"))
            return
        self._fail(_why_not(failure), is_certain=failure.check(ConnectionRefusedError) is not None)

    def _ended(self) -> None:
        if not self._port.expect:
            self._alive(1)
        elif self._said:
            self._fail(self._unexpected())
        else:
            self._fail(f"it closed the connection where {_quote(self._port.expect)} was expected")

    def _late(self) -> None:
        limit = f"{self._port.timeout:g} s"
        if self._connected_at is None:
            self._fail(f"no connection within {limit}")
        elif self._said:
            self._fail(f"{self._unexpected()} within {limit}")
        elif self._port.expect:
            self._fail(f"it accepted the connection and said nothing for {limit}")
        else:
            self._fail(f"it accepted the connection and did nothing for {limit}, unlike before")

    def _unexpected(self) -> str:
        return f"it said {_quote(self._said)} where {_quote(self._port.expect)} was expected"

    def _alive(self, signs: int = SIGNS) -> None:
        passed = Passed(self._port.reactor.seconds() - self._began)
        self._finish(passed, min(SIGNS, self._signs_before + signs))

    def _accepted(self) -> None:
        assert self._connected_at is not None
        self._finish(Passed(self._connected_at - self._began))

    def _fail(self, why: str, *, is_certain: bool = False) -> None:
        self._finish(Failed(f"{self._port.place}: {why}", is_certain))

    def _finish(self, result: Result, signs: int = 0) -> None:
        """The first one counts; what comes of leaving is none of the server's."""
        if self._is_over:
            return
        if not self._port.has_shown_life:
            self._port.signs = signs
        self._leave()
        self.result.callback(result)

    def _cancelled(self, _result: Deferred[Result]) -> None:
        self._leave()

    def _leave(self) -> None:
        self._is_over = True
        for timer in (self._limit, self._undecided):
            if timer is not None and timer.active():
                timer.cancel()
        if self.transport is None:
            self._dial.cancel()
        else:
            self.transport.abortConnection()


def _why_not(failure: Failure) -> str:
    error = failure.value
    match error:
        case ConnectionRefusedError():
            return "connection refused"
        case DNSLookupError():
            return f"its name cannot be looked up: {error.args[0]}"
        case HandshakeError():
            return str(error)
        case ConnectError(osError=int(number)):
            return os.strerror(number)
        case _:
            return failure.getErrorMessage()


def _quote(said: bytes | bytearray) -> str:
    r"""The beginning of what was said, on one line: bytes that are no printable ASCII as \xNN."""
    shown = "".join(chr(byte) if byte in _PRINTABLE else f"\\x{byte:02x}" for byte in said[: _QUOTED + 1])
    return f'"{shown}"' if len(shown) <= _QUOTED else f'"{shown[:_QUOTED]}…"'
