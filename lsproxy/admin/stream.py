"""
How do events reach one who listens (server-sent events)?

What happens while the listener does not read is kept for it, up to MOST_UNREAD
events; then it is dropped, and comes back with the id of the last one it saw.
Every KEEPALIVE_SECONDS it is asked whether it still may listen.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from lsproxy.admin.events import Event, Events
from lsproxy.admin.exchange import RefusedError, Stream
from lsproxy.errors import LsproxyError

MOST_UNREAD: Final = 256
KEEPALIVE_SECONDS: Final = 15.0

log = Logger()


@implementer(IPushProducer)
class EventStream:
    """The events of `stream`, written to `request`, a request of Twisted's whose headers are set."""

    def __init__(self, reactor: IReactorTime, events: Events, request: Any, stream: Stream) -> None:
        self._reactor = reactor
        self._events = events
        self._request = request
        self._stream = stream
        self._unread: deque[Event] = deque()
        self._is_paused = False
        self._unfollow: Callable[[], None] | None = None
        self._keepalive: IDelayedCall | None = None
        self._permitting: Deferred[None] | None = None

    def start(self) -> None:
        """Write what was kept, then what happens."""
        self._request.write(b": events of lsproxy\n\n")
        if not self._stream.is_followed:
            for event in self._events.after(self._stream.after):
                self._request.write(_written(event))
            self._request.finish()
            return
        self._request.notifyFinish().addBoth(self._over)
        self._unfollow = self._events.follow(self._told)
        self._request.registerProducer(self, True)
        self._keep_alive_later()
        for event in self._events.after(self._stream.after):
            self._request.write(_written(event))

    def pauseProducing(self) -> None:
        """Twisted: the listener does not read."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Twisted: it reads again."""
        self._is_paused = False
        while self._unread and not self._is_paused:
            self._request.write(_written(self._unread.popleft()))

    def stopProducing(self) -> None:
        """Twisted: it is gone; `notifyFinish` says so too."""

    def _told(self, event: Event) -> None:
        if not self._is_paused:
            self._request.write(_written(event))
        elif len(self._unread) < MOST_UNREAD:
            self._unread.append(event)
        else:
            self._request.channel.forceAbortClient()

    def _keep_alive_later(self) -> None:
        self._keepalive = self._reactor.callLater(KEEPALIVE_SECONDS, self._keep_alive)

    def _keep_alive(self) -> None:
        self._keepalive = None
        self._permitting = Deferred.fromCoroutine(self._permit())
        self._permitting.addErrback(self._end)

    async def _permit(self) -> None:
        """Tokens are taken out, logins end: who may not hear more is asked for a token anew."""
        await self._stream.permit()
        if not self._is_paused:
            self._request.write(b": still here\n\n")
        self._keep_alive_later()

    def _end(self, why: Failure) -> None:
        if why.check(CancelledError):
            return
        if not why.check(RefusedError, LsproxyError):
            log.failure("who listens to events could not be checked", why)
        self._request.unregisterProducer()
        self._request.finish()

    def _over(self, _how: Failure | None) -> None:
        if self._unfollow is not None:
            self._unfollow()
            self._unfollow = None
        if self._keepalive is not None:
            self._keepalive.cancel()
            self._keepalive = None
        if self._permitting is not None:
            self._permitting.cancel()


def _written(event: Event) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event.id.encode(), event.event.encode(), msgspec.json.encode(event))
