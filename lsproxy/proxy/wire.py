"""What a session asks of a connection: Twisted's transport, consumer and producer in one type."""

from typing import Protocol

from twisted.internet.interfaces import IPushProducer


class Wire(Protocol):
    """The part of a stream transport that is used here; the methods are Twisted's."""

    def write(self, data: bytes, /) -> None:
        """Send."""

    def loseConnection(self) -> None:
        """Send what was written, then close."""

    def abortConnection(self) -> None:
        """Close now."""

    def loseWriteConnection(self) -> None:
        """Send what was written, then an EOF; go on reading."""

    def setTcpKeepAlive(self, enabled: bool, /) -> None:
        """Let the kernel probe an idle peer."""

    def pauseProducing(self) -> None:
        """Read no more."""

    def resumeProducing(self) -> None:
        """Read again."""

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Pause `producer` while too much is unsent."""

    def unregisterProducer(self) -> None:
        """Let go of the producer."""
