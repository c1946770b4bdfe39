"""
How does another process follow the events of a running lsproxy, over its restarts?

By the stream of its admin socket. When that ends, or nothing comes for SILENCE_SECONDS though lsproxy says every 15 s
that it is there, it is opened again from after the last event that came; an lsproxy that was started anew does not know
that one and tells all it has.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IDelayedCall, IProtocol
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from lsproxy.admin.events import Event
from lsproxy.net.dialing import in_words
from lsproxy.net.reactor import BoottimeReactor

AGAIN_SECONDS: Final = 0.5
SILENCE_SECONDS: Final = 45.0

log = Logger()


class Following:
    """
    Gives `told` each event at the admin socket, from after the one with the id `last` (None: all kept). `where` says
    the socket's path; it is asked each time, as it moves with the configuration.
    """

    def __init__(
        self, reactor: BoottimeReactor, where: Callable[[], Path], told: Callable[[Event], None], last: str | None
    ) -> None:
        self._reactor = reactor
        self._where = where
        self._path = Path()
        self._told = told
        self._last = last
        self._connecting: Deferred[IProtocol] | None = None
        self._stream: _Stream | None = None
        self._again: IDelayedCall | None = None
        self._is_paused = False
        self._is_lost_said = False

    def start(self) -> None:
        """Follow from now on."""
        self._again = None
        self._path = self._where()
        endpoint = UNIXClientEndpoint(self._reactor, str(self._path), timeout=SILENCE_SECONDS)
        self._connecting = endpoint.connect(Factory.forProtocol(lambda: _Stream(self, self._reactor, self._last)))
        self._connecting.addCallbacks(self._connected, self._not_connected)

    def stop(self) -> None:
        """Follow no more."""
        stream, self._stream = self._stream, None
        if self._again is not None:
            self._again.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        if stream is not None:
            stream.abandon()

    def pause(self) -> None:
        """Give no event for a while; lsproxy keeps them, or they are asked for again."""
        self._is_paused = True
        if self._stream is not None:
            self._stream.pause()

    def resume(self) -> None:
        """Give them again."""
        if self._is_paused:
            self._is_paused = False
            if self._stream is not None:
                self._stream.resume()

    def heard(self, event: Event) -> None:
        """It stood in the stream."""
        self._last = event.id
        self._told(event)

    def begun(self) -> None:
        """The stream is open."""
        if self._is_lost_said:
            log.info("lsproxy answers at {path} again", event="followed", path=str(self._path))
            self._is_lost_said = False

    def ended(self, stream: "_Stream", why: str) -> None:
        """The stream has ended."""
        if self._stream is stream:
            self._stream = None
            self._try_again(why)

    def _connected(self, stream: IProtocol) -> None:
        assert isinstance(stream, _Stream)
        self._connecting = None
        self._stream = stream
        if self._is_paused:
            stream.pause()

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        if not failure.check(CancelledError):
            self._try_again(in_words(failure))

    def _try_again(self, why: str) -> None:
        if not self._is_lost_said:
            self._is_lost_said = True
            log.warn(
                "lsproxy does not answer at {path}, its events are waited for: {why}",
                event="not_followed",
                path=str(self._path),
                why=why,
            )
        self._again = self._reactor.callLater(AGAIN_SECONDS, self.start)


class _Stream(LineOnlyReceiver):
    """One answer to `GET /api/v1/events`: HTTP/1.0, so it comes as it is and ends with the connection."""

    delimiter = b"\n"
    MAX_LENGTH = 1 << 20
    transport: Any  # Twisted's types leave out what a connection can do

    def __init__(self, following: Following, reactor: BoottimeReactor, last: str | None) -> None:
        self._following = following
        self._reactor = reactor
        self._last = last
        self._status = b""
        self._silence: IDelayedCall | None = None
        self._why = "the connection ended"

    def connectionMade(self) -> None:
        """Twisted: connected."""
        after = "" if self._last is None else f"Last-Event-ID: {self._last}\r\n"
        request = f"GET /api/v1/events HTTP/1.0\r\nHost: localhost\r\n{after}\r\n"
        self.transport.write(request.encode())
        self._silence = self._reactor.callLater(SILENCE_SECONDS, self.abandon)

    def lineReceived(self, line: bytes) -> None:
        """Twisted: a line of the answer."""
        if self._silence is not None:
            self._silence.reset(SILENCE_SECONDS)
        if not self._status:
            self._status = line.strip()
            if self._status.split(b" ")[1:2] == [b"200"]:
                self._following.begun()
            else:
                self._why = f"it says {self._status[:80].decode('latin-1')}"
                self.abandon()
        elif line.startswith(b"data: "):
            self._following.heard(msgspec.json.decode(line[len(b"data: ") :], type=Event))

    def pause(self) -> None:
        """Read no more for a while; what is silent then is this end."""
        self.transport.pauseProducing()
        self._listen_no_more()

    def resume(self) -> None:
        """Read on."""
        self._silence = self._reactor.callLater(SILENCE_SECONDS, self.abandon)
        self.transport.resumeProducing()

    def abandon(self) -> None:
        """End it."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override] # Twisted's default is a shared failure
        """Twisted: over."""
        del reason
        self._listen_no_more()
        self._following.ended(self, self._why)

    def _listen_no_more(self) -> None:
        if self._silence is not None and self._silence.active():
            self._silence.cancel()
        self._silence = None
