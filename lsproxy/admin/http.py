"""
How do requests arrive over HTTP, and how do answers leave?

Twisted's HTTP with limits drawn: the size of a body, the time for a request,
the number of connections. There is no access log: a query may hold a login code.
"""

import pwd
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ISSLTransport
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http

from lsproxy.admin.events import Events
from lsproxy.admin.exchange import BAD_REQUEST, FAULT, TOO_LARGE, Asked, Peer, Reply, Stream, refusal
from lsproxy.admin.forwarded import is_loopback, seen
from lsproxy.admin.limits import most_bytes
from lsproxy.admin.stream import EventStream
from lsproxy.admin.throttle import network

REQUEST_SECONDS: Final = 20.0
IDLE_SECONDS: Final = 60.0
MOST_CONNECTIONS: Final = 256
MOST_OF_ONE: Final = 32
MOST_CHUNKS: Final = 4096
MOST_AT_ONCE: Final = 8

HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid

# Twisted's own two classes have no types to check against.
_HTTPChannel: Any = http.HTTPChannel
_HTTPRequest: Any = http.Request

log = Logger()

Answer = Callable[[Asked], Awaitable[Reply | Stream]]


class Site(ServerFactory):
    """Connections on which `answer` answers, and the streams of `events`."""

    noisy = False

    def __init__(self, reactor: IReactorTime, answer: Answer, events: Events) -> None:
        self.reactor = reactor
        self.answer = answer
        self.events = events
        self._channels: set[Channel] = set()
        self._sources: Counter[str | None] = Counter()

    def buildProtocol(self, addr: IAddress | None) -> "Channel | None":
        """Twisted: a connection; None where there are too many."""
        # A reverse proxy on this machine speaks for many.
        host = getattr(addr, "host", None)
        source = None if host is None or is_loopback(host) else network(host)
        is_full = len(self._channels) >= MOST_CONNECTIONS or self._sources[source] >= MOST_OF_ONE
        return None if is_full else Channel(self, source)

    def joined(self, channel: "Channel") -> None:
        """A connection is open."""
        self._channels.add(channel)
        if channel.source is not None:
            self._sources[channel.source] += 1

    def left(self, channel: "Channel") -> None:
        """It is gone."""
        self._channels.discard(channel)
        if channel.source is not None:
            self._sources -= Counter([channel.source])

    def log(self, request: http.Request) -> None:
        """Twisted: a request is done."""

    def close(self) -> None:
        """End all connections."""
        for channel in list(self._channels):
            channel.loseConnection()


class Channel(_HTTPChannel):  # type: ignore[misc] # see _HTTPChannel
    """One connection, from `source`, None where that is not counted."""

    def __init__(self, site: Site, source: str | None) -> None:
        super().__init__()
        self.source = source
        self.factory = site
        self.timeOut = IDLE_SECONDS
        self.callLater = site.reactor.callLater
        self.requestFactory = self._begin
        self._waiting: IDelayedCall | None = None
        self._is_refused = False
        self._at_once = 0

    def connectionMade(self) -> None:
        """Twisted: connected."""
        super().connectionMade()
        self.factory.joined(self)
        self._wait()

    def rawDataReceived(self, data: bytes) -> None:
        """Twisted: a part of a body, or of the next request."""
        if self._is_refused:
            return
        try:
            super().rawDataReceived(data)
        except _BodyRefusedError:
            self._is_refused = True

    def has_its_turn(self) -> bool:
        """Whether a request may be answered now: of many that came at once, others have their turn in between."""
        if self._at_once == 0:
            self.callLater(0, self._next_turn)
        self._at_once += 1
        return self._at_once <= MOST_AT_ONCE

    def _next_turn(self) -> None:
        self._at_once = 0

    @property
    def most_bytes(self) -> int:
        """How large the body of the request may be whose headers were read."""
        # The request itself learns these only when it is whole.
        return most_bytes(self._command.decode("latin-1"), self._path.decode("latin-1").partition("?")[0])

    def requestDone(self, request: Any) -> None:
        """Twisted: answered."""
        self._wait()  # first: the next request may have come already
        super().requestDone(request)

    def timeoutConnection(self) -> None:
        """Twisted: it was idle for too long."""
        self._stop_waiting()
        super().timeoutConnection()

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: over."""
        self._stop_waiting()
        self.factory.left(self)
        super().connectionLost(reason)

    def _begin(self, channel: Any, _queued: object = False) -> "Request":
        self._stop_waiting()
        return Request(channel, self.factory)

    def _wait(self) -> None:
        """For a request's first line, whole: Twisted's own limit begins anew with every byte of it."""
        self._stop_waiting()
        self._waiting = self.factory.reactor.callLater(IDLE_SECONDS, self._wait_is_over)

    def _wait_is_over(self) -> None:
        self._waiting = None
        self.setTimeout(None)
        self.timeoutConnection()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class _BodyRefusedError(Exception):
    """Nothing more of a body is read."""


class Request(_HTTPRequest):  # type: ignore[misc] # see _HTTPRequest
    """One request, with its limits, and the reply to it."""

    def __init__(self, channel: Any, site: Site) -> None:
        super().__init__(channel, parsePOSTFormSubmission=False)
        self._site = site
        self._is_refused = False
        self._most_bytes = 0
        self._chunks = 0
        self._turn: IDelayedCall | None = None
        self._limit: IDelayedCall | None = site.reactor.callLater(REQUEST_SECONDS, self._time_is_up)

    def gotLength(self, length: int | None) -> None:
        """Twisted: the headers are read."""
        self._most_bytes = self.channel.most_bytes
        super().gotLength(min(length or 0, self._most_bytes))
        if length is not None and length > self._most_bytes:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """Twisted: a part of the body. Raises what ends the reading of it."""
        self._chunks += 1
        if not self._is_refused and (self.content.tell() + len(data) > self._most_bytes or self._chunks > MOST_CHUNKS):
            self._refuse()
        if self._is_refused:
            raise _BodyRefusedError
        super().handleContentChunk(data)

    def process(self) -> None:
        """Twisted: the request is whole."""
        self._unlimit()
        if self._is_refused:
            return
        try:
            asked = self._asked()
        except ValueError as problem:
            self._respond(refusal(BAD_REQUEST, "bad_request", f"the query cannot be taken: {problem}"))
            return
        if self.channel.has_its_turn():
            self._answer(asked)
        else:
            self._turn = self._site.reactor.callLater(0, self._answer, asked)

    def _answer(self, asked: Asked) -> None:
        self._turn = None
        coroutine = self._site.answer(asked)
        answering = Deferred.fromCoroutine(cast("Any", coroutine))
        answering.addCallback(self._respond).addErrback(self._failed)

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: the client is gone."""
        self._unlimit()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        super().connectionLost(reason)

    def _asked(self) -> Asked:
        path, _, query = self.uri.decode("latin-1").partition("?")
        headers = {
            name.decode("latin-1").lower(): values[-1].decode("latin-1")
            for name, values in self.requestHeaders.getAllRawHeaders()
        }
        peer = _peer(self.transport)
        is_private = ISSLTransport.providedBy(self.transport)
        return Asked(
            method=self.method.decode("latin-1"),
            path=path,
            query=dict(parse_qsl(query, keep_blank_values=True, max_num_fields=100)),
            headers=headers,
            body=self.content.read(),
            peer=peer,
            is_private=is_private,
            seen=None if peer.user is not None else seen(peer.source, headers, is_private=is_private),
        )

    def _respond(self, answer: Reply | Stream) -> None:
        if self._disconnected:
            return
        if isinstance(answer, Stream):
            self._stream(answer)
            return
        self._head(answer)
        self.setHeader("Content-Length", str(len(answer.body)))
        self.write(answer.body)
        self.finish()

    def _stream(self, stream: Stream) -> None:
        # nginx would gather what it passes on, and events would come late.
        self._head(Reply(content_type="text/event-stream", headers={"X-Accel-Buffering": "no"}))
        if self.method == b"HEAD":
            self.finish()
            return
        EventStream(self._site.reactor, self._site.events, self, stream).start()

    def _head(self, reply: Reply) -> None:
        self.setResponseCode(reply.status)
        for name, value in {**HEADERS, "Content-Type": reply.content_type, **reply.headers}.items():
            self.setHeader(name, value)

    def _failed(self, failure: Failure) -> None:
        log.failure("{method} {path} failed", failure, method=self.method, path=self.path)
        if not self._disconnected and not self.startedWriting:
            self._respond(refusal(FAULT, "fault", "lsproxy has met a fault, its log says which"))

    def _refuse(self) -> None:
        """The rest of the body is not waited for, so the connection cannot go on."""
        self._is_refused = True
        self._unlimit()
        body = refusal(
            TOO_LARGE, "too_large", f"a body is at most {self._most_bytes} bytes here, in at most {MOST_CHUNKS} parts"
        ).body
        head = f"HTTP/1.1 413 Too Large\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.channel.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        self.channel.loseConnection()

    def _time_is_up(self) -> None:
        self._limit = None
        if self.channel is not None:
            self.channel.forceAbortClient()

    def _unlimit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def _peer(transport: Any) -> Peer:
    handle = getattr(transport, "socket", None)
    if isinstance(handle, socket.socket) and handle.family == socket.AF_UNIX:
        credentials = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _gid = _CREDENTIALS.unpack(credentials)
        return Peer(f"process {pid} on the unix socket", _account(uid))
    return Peer(str(getattr(transport.getPeer(), "host", "nowhere")))


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
