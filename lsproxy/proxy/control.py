"""
How does the proxy talk to one license server for itself?

One operator connection: hello with the token, then requests whose replies come
back as Deferreds, in any order. No check and no deadline is decided here.
"""

from collections.abc import Callable
from typing import Any, cast

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from lsproxy.core.heads import reply_head
from lsproxy.errors import LsproxyError
from lsproxy.proxy.wire import Wire
from lsproxy.seat.lines import REPLY_LIMIT, LineSplitter
from lsproxy.seat.messages import PROTOCOL, UNREADABLE, Refusal, encode

_refusal = msgspec.json.Decoder(Refusal).decode


class ControlLostError(LsproxyError):
    """The operator connection ended, or there is none: what was asked may or may not have been done."""


class RequestRefusedError(LsproxyError):
    """The server refused, `code` says with which error of protocol.md."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@implementer(IProtocol)
class Control:
    """
    `name` is the server's, for sentences. `ended` is called once with the reason when the connection is over, and
    before that `accepted` if the token was. `token` None: no hello is said, so the server answers `status` and `usage`
    only.
    """

    def __init__(
        self,
        name: str,
        token: str | None,
        ended: Callable[[str], None],
        accepted: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._token = token
        self._ended = ended
        self._accepted = accepted
        self._transport: Wire | None = None
        self._splitter = LineSplitter(REPLY_LIMIT)
        self._waiting: dict[int, Deferred[bytes]] = {}
        self._last_id = 0
        self.complaint: str | None = None
        self.is_token_refused = False

    def makeConnection(self, transport: ITransport) -> None:
        """Twisted: connected."""
        self._transport = cast("Wire", transport)
        self._transport.setTcpKeepAlive(True)
        self.connectionMade()

    def connectionMade(self) -> None:
        """Twisted: connected; the hello goes first."""
        if self._token is None or self._transport is None:
            return
        self._last_id += 1
        hello = {"id": self._last_id, "op": "hello", "protocol": PROTOCOL, "token": self._token}
        greeting = self._expect(self._last_id)
        self._transport.write(msgspec.json.encode(hello) + b"\n")
        greeting.addCallbacks(lambda _: self._accepted(), self._token_refused)

    def ask(self, kind: Callable[..., msgspec.Struct], **fields: Any) -> Deferred[bytes]:
        """
        Send a request, a struct of lsproxy.seat.messages; its `id` is set here. Fires with the reply's line.

        Fails with RequestRefusedError or ControlLostError. Cancelling it only stops the waiting.
        """
        if self._transport is None:
            raise ControlLostError(f"{self._name} is not connected")
        self._last_id += 1
        reply = self._expect(self._last_id)
        self._transport.write(encode(kind(id=self._last_id, **fields)))
        return reply

    def dataReceived(self, data: bytes) -> None:
        """Twisted: bytes of replies and events."""
        for line in self._splitter.feed(data):
            self._heard(line)
        if self._splitter.is_overflowing:
            self.abort()

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: over."""
        self._transport = None
        waiting, self._waiting = self._waiting, {}
        why = f"{self._name} closed the connection"
        self._ended(self.complaint or f"{why}: {reason.getErrorMessage()}")
        for deferred in waiting.values():
            deferred.errback(ControlLostError(f"{why} before it answered"))

    def abort(self) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abortConnection()

    def _expect(self, number: int) -> Deferred[bytes]:
        def given_up(_reply: Deferred[bytes]) -> None:
            self._waiting.pop(number, None)

        reply: Deferred[bytes] = Deferred(given_up)
        self._waiting[number] = reply
        return reply

    def _heard(self, line: bytes) -> None:
        try:
            head = reply_head(line)
            if head.event is not None:
                return
            # A reply that comes after its deadline has no one waiting any more.
            reply = self._waiting.pop(head.id, None)
            if reply is None:
                return
            if head.ok:
                reply.callback(line)
            else:
                refusal = _refusal(line)
                reply.errback(RequestRefusedError(refusal.error, f"{self._name}: {refusal.message}"))
        except UNREADABLE:
            self.complaint = f"{self._name} does not speak {PROTOCOL}"
            self.abort()

    def _token_refused(self, failure: Failure) -> None:
        if failure.check(RequestRefusedError):
            self.is_token_refused = True
            self.complaint = f"{self._name} refuses the pool's operator token: {failure.getErrorMessage()}"
