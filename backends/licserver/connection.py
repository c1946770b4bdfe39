"""One client's connection: bytes to requests, messages to bytes, and back-pressure between them."""

from typing import Protocol as Interface
from typing import cast

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from licserver.core.conversation import Conversation
from licserver.core.desk import Desk, Moment
from lsproxy.net.keepalive import keep_alive
from lsproxy.net.transport import Transport
from lsproxy.seat.lines import REQUEST_LIMIT, LineSplitter
from lsproxy.seat.messages import Refusal, decode_request, encode

CLOSING_SECONDS = 5.0


class Served(Interface):
    """What a connection needs of its server."""

    desk: Desk

    def moment(self) -> Moment:
        """Now."""

    def settle(self) -> None:
        """Keep and say what was decided."""

    def call_later(self, seconds: float, connection: "Connection") -> None:
        """Abort `connection` if it is not closed after `seconds`."""


@implementer(IPushProducer, IHalfCloseableProtocol)
class Connection(Protocol):
    """See the module. The transport pauses this producer, and so the client, while the client does not read."""

    transport: Transport
    is_closed = False

    def __init__(self, server: Served, connections: "Connections", client: str) -> None:
        self._server = server
        self._connections = connections
        self._client = client
        self._lines = LineSplitter(REQUEST_LIMIT)
        self._has_ended = False
        self.conversation: Conversation | None = None

    def connectionMade(self) -> None:
        """The conversation begins."""
        self.transport.setTcpNoDelay(True)
        keep_alive(self.transport)
        self._connections.opened(self)
        server = self._server
        self.conversation = Conversation(server.desk, self._client, self, server.moment())
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Requests arrived, or parts of them."""
        server, lines = self._server, self._lines
        conversation = cast(Conversation, self.conversation)
        moment = server.moment()
        for line in lines.feed(data):
            if conversation.is_over:
                break
            conversation.receive(decode_request(line), moment)
        if lines.is_overflowing and not conversation.is_over:
            sentence = f"a request is at most {REQUEST_LIMIT} bytes long"
            conversation.receive(Refusal(0, "bad_request", sentence), moment)
        server.settle()

    def say(self, message: msgspec.Struct) -> None:
        """Send a message."""
        self.transport.write(encode(message))

    def hang_up(self) -> None:
        """
        Say no more, and close when the client has; not later than a few seconds from now.

        A full close with requests unread would reach the client as a reset, which
        may overtake what was said last.
        """
        if not self.is_closed:
            self.transport.unregisterProducer()
            self.transport.loseWriteConnection()
            self._server.call_later(CLOSING_SECONDS, self)

    def answered(self) -> None:
        """A request was answered; a client that will send no more is let go after the last one."""
        conversation = cast(Conversation, self.conversation)
        conversation.unanswered -= 1
        if self._has_ended and conversation.unanswered == 0:
            self.hang_up()

    def readConnectionLost(self) -> None:
        """The client will send no more, but may still read: what it asked is answered."""
        self._has_ended = True
        conversation = cast(Conversation, self.conversation)
        if conversation.is_over or conversation.unanswered == 0:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Everything said has been sent."""
        if self._has_ended:
            self.transport.loseConnection()

    def abort(self) -> None:
        """Close now, unsent or not."""
        if not self.is_closed:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002 whatever the reason
        """The conversation is over, unless it was before."""
        self.is_closed = True
        self._connections.closed(self)
        if self.conversation is not None:
            self._server.desk.lost(self.conversation, self._server.moment())
            self._server.settle()

    def pauseProducing(self) -> None:
        """The client does not read: read no more from it, and turn it no more pages."""
        cast(Conversation, self.conversation).is_full = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The client reads again."""
        cast(Conversation, self.conversation).is_full = False
        self.transport.resumeProducing()
        self._server.settle()

    def stopProducing(self) -> None:
        """The connection is gone."""


class Connections(Factory):
    """Makes a `Connection` for each client and knows those that are open."""

    noisy = False

    def __init__(self, server: Served) -> None:
        self._server = server
        self._open: set[Connection] = set()
        self._emptied: Deferred[None] | None = None

    def buildProtocol(self, addr: object) -> Connection:
        """A client was accepted; `addr` may be what a proxy before this server says of it."""
        return Connection(self._server, self, getattr(addr, "host", "?"))

    def opened(self, connection: Connection) -> None:
        """A connection is there."""
        self._open.add(connection)

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self._open.discard(connection)
        if self._emptied is not None and not self._open:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def close(self) -> Deferred[None]:
        """Hang up on every client; fires when all are gone. May be cancelled."""
        self._emptied = Deferred()
        closing = self._emptied
        for connection in list(self._open):
            connection.hang_up()
        if not self._open:
            self._emptied = None
            closing.callback(None)
        return closing
