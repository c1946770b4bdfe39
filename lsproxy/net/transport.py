"""
What does a Twisted protocol see of a uvloop connection?

One object is both ends of the seam: uvloop calls its snake_case methods, as those of an asyncio protocol, and the
Twisted protocol calls its camelCase ones, as those of its transport. On the way of every byte nothing of it is called:
`data_received` *is* the protocol's `dataReceived` and `write` *is* uvloop's `write`, each until it may no longer be.
`write` gives its bytes to the kernel at once where nothing waits before them, so who has several pieces joins them.

    the four half-states of a protocol that provides IHalfCloseableProtocol

    both open --EOF--> write only --loseWriteConnection, flushed--> closed
        |                                                             ^
        +--loseWriteConnection, flushed--> read only --EOF------------+

For any other protocol EOF closes: what was written is flushed first. `connectionLost` comes exactly once: with
ConnectionDone after a clean close, ConnectionAborted after an abort of this side's own, ConnectionLost otherwise; its
`__cause__` is what the kernel said, a TimeoutError where the peer was given up.
"""

import socket
import struct
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IProducer,
    IProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from lsproxy.net.keepalive import keep_alive

WRITE_HIGH_BYTES = 65_536  # unsent bytes above which a producer is paused
WRITE_LOW_BYTES = 16_384  # and at which it goes on: uvloop's own 16 bytes would let the kernel's buffer run dry

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, for no time

log = Logger()


@implementer(ITCPTransport, IConsumer, IPushProducer)
class Transport:
    """
    One TCP connection.

    `start` is called with it when it is connected, and calls `open` with the connection's protocol; if it does not,
    the connection is closed. `peer` is the other side's socket address, `is_kept_alive` whether the kernel probes it.
    """

    __slots__ = (
        "__weakref__",
        "_held",
        "_is_aborted",
        "_is_holding",
        "_is_kept_alive",
        "_is_push",
        "_is_reading_ended",
        "_is_reading_paused",
        "_is_writing_ended",
        "_is_writing_ending",
        "_is_writing_paused",
        "_loop",
        "_peer",
        "_producer",
        "_start",
        "_uv",
        "connected",
        "data_received",
        "disconnecting",
        "protocol",
        "write",
    )

    write: Callable[[bytes], None]
    data_received: Callable[[bytes], None]

    def __init__(
        self,
        loop: AbstractEventLoop,
        start: "Callable[[Transport], None]",
        peer: tuple[Any, ...],
        *,
        is_kept_alive: bool = False,
    ) -> None:
        self._loop = loop
        self._start = start
        self._peer = peer
        self._is_kept_alive = is_kept_alive
        self._uv: Any = None
        self._producer: Any = None
        self._held = b""
        self._is_aborted = False
        self._is_holding = False
        self._is_push = False
        self._is_reading_ended = False
        self._is_reading_paused = False
        self._is_writing_ended = False
        self._is_writing_ending = False
        self._is_writing_paused = False
        self.protocol: IProtocol | None = None
        self.connected = False
        self.disconnecting = False
        self.write = self.data_received = _drop

    def open(self, protocol: IProtocol) -> None:
        """Give the connection to `protocol`: its `makeConnection` is called before this returns."""
        self.protocol = protocol
        self.connected = True
        self.write = self._uv.write
        self._receive_with(protocol.dataReceived)
        try:
            protocol.makeConnection(self)
        except Exception:  # noqa: BLE001 - one connection's fault ends that connection only
            log.failure("in connectionMade")
            self.abortConnection()
        if self._is_reading_paused:
            # uvloop starts to read when connection_made returns, whatever was said in it, and polls once before the
            # next turn: what comes until then is held.
            self._is_holding = True
            self._receive_with(self._hold)
            self._loop.call_soon(self._pause_again)

    def loseConnection(self) -> None:
        """
        Send what was written, then close; what is written from now on is dropped.

        A registered producer holds nothing up: it is asked for no more, and stopped when the connection has ended.
        """
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self.write = _drop
            self._uv.close()

    def abortConnection(self) -> None:
        """End the connection now, as the peer sees it: by RST. What was not sent is dropped."""
        if self.connected and not self._is_aborted:
            self._is_aborted = self.disconnecting = True
            self.write = _drop
            self._set_option(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._uv.abort()

    def loseWriteConnection(self) -> None:
        """Send what was written, then an EOF; what is written from now on is dropped, reading goes on."""
        if not self.connected or self.disconnecting or self._is_writing_ending:
            return
        self._is_writing_ending = True
        self.write = _drop
        self._uv.write_eof()
        if self._uv.get_write_buffer_size():
            self._uv.set_write_buffer_limits(0)  # resume_writing then tells when all is sent
        else:
            self._loop.call_soon(self._end_writing)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Write the pieces as one."""
        self.write(b"".join(data))

    def pauseProducing(self) -> None:
        """Read no more, until `resumeProducing`: an EOF or a reset goes unseen too."""
        self._is_reading_paused = True
        if self.connected:
            self._uv.pause_reading()

    def resumeProducing(self) -> None:
        """Read again."""
        self._is_reading_paused = False
        if self._is_holding:
            self._loop.call_soon(self._release)
        elif self.connected and not self._is_reading_ended:
            self._uv.resume_reading()

    def stopProducing(self) -> None:
        """Close, as this connection's consumer has no more use for it."""
        self.loseConnection()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let `producer` write; a streaming one is paused while more than WRITE_HIGH_BYTES are unsent."""
        if self._producer is not None:
            raise RuntimeError(f"cannot register {producer!r}: {self._producer!r} was never unregistered")
        if not self.connected or self.disconnecting:
            producer.stopProducing()
            return
        self._uv.set_write_buffer_limits(WRITE_HIGH_BYTES, WRITE_LOW_BYTES)
        self._producer = producer
        self._is_push = streaming
        if not streaming:
            self._pull(producer)
        elif self._is_writing_paused:
            self._producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """Let go of the producer, paused or not."""
        self._producer = None

    def getPeer(self) -> IPv4Address | IPv6Address:
        """The other side's address, also after the end."""
        return twisted_address(self._peer)

    def getHost(self) -> IPv4Address | IPv6Address:
        """The address on this side, also after the end."""
        return twisted_address(self._uv.get_extra_info("sockname"))

    def getHandle(self) -> Any:
        """Something with the socket's `getsockopt`, `setsockopt` and `fileno`; None after the end."""
        return self._uv.get_extra_info("socket")

    def getTcpNoDelay(self) -> bool:
        """Whether small writes leave at once; they do, unless it was changed."""
        return bool(self._option(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Let small writes leave at once, or wait for the acknowledgement of those before."""
        self._set_option(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(enabled))

    def getTcpKeepAlive(self) -> bool:
        """Whether the kernel probes an idle peer."""
        return bool(self._option(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Let the kernel probe an idle peer, at the times of `lsproxy.net.keepalive`."""
        if enabled == self._is_kept_alive:
            return
        self._is_kept_alive = enabled
        if enabled and self.connected:
            keep_alive(self)
        else:
            self._set_option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(enabled))

    def connection_made(self, uv: Any) -> None:
        """uvloop: there is a peer."""
        start = self._start
        del self._start  # it leads to the factory, and is called once
        self._uv = uv
        try:
            start(self)
        except Exception:  # noqa: BLE001 - one connection's fault ends that connection only
            log.failure("while a connection's protocol was built")
        if self.protocol is None:
            uv.abort()

    def eof_received(self) -> bool:
        """uvloop: the peer sends no more. Answers whether the connection stays open."""
        if self._is_reading_paused:  # only while holding: a paused transport is not polled
            self._is_reading_ended = True
            return True
        return self._end_reading()

    def pause_writing(self) -> None:
        """uvloop: too much is unsent."""
        self._is_writing_paused = True
        if self._is_push and self._producer is not None:
            self._producer.pauseProducing()

    def resume_writing(self) -> None:
        """uvloop: most of it is sent."""
        self._is_writing_paused = False
        if self._is_writing_ending:
            self._loop.call_soon(self._end_writing)
        producer = self._producer
        if producer is None or self.disconnecting:
            return
        if self._is_push:
            producer.resumeProducing()
        else:
            self._loop.call_soon(self._pull, producer)

    def connection_lost(self, exc: BaseException | None) -> None:
        """uvloop: the connection has ended, and is closed when this returns."""
        if not self.connected:
            return
        reason = self._reason(exc)
        if exc is not None and not isinstance(exc, OSError):  # the protocol's own fault: the peer shall know
            self._set_option(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.connected = False
        self.write = self.data_received = _drop
        self._held = b""
        protocol, self.protocol = self.protocol, None
        producer, self._producer = self._producer, None
        if producer is not None:
            _call(producer.stopProducing)
        if protocol is not None:
            _call(protocol.connectionLost, reason)

    def _reason(self, exc: BaseException | None) -> Failure:
        if self._is_aborted:
            return Failure(ConnectionAborted())
        if exc is None:
            return connectionDone
        lost = ConnectionLost(str(exc))
        lost.__cause__ = exc
        return Failure(lost)

    def _end_reading(self) -> bool:
        self._is_reading_ended = True
        if not IHalfCloseableProtocol.providedBy(self.protocol):
            self.disconnecting = True
            return False
        IHalfCloseableProtocol(self.protocol).readConnectionLost()
        self.disconnecting = self.disconnecting or self._is_writing_ended
        return not self._is_writing_ended

    def _end_writing(self) -> None:
        if not self.connected or self._is_writing_ended:
            return
        self._is_writing_ended = True
        if IHalfCloseableProtocol.providedBy(self.protocol):
            _call(IHalfCloseableProtocol(self.protocol).writeConnectionLost)
        if self._is_reading_ended:
            self.loseConnection()

    def _receive_with(self, receive: Callable[[bytes], None]) -> None:
        self.data_received = receive
        self._uv.set_protocol(self)  # uvloop keeps the bound method, not the name

    def _hold(self, received: bytes) -> None:
        self._held = received
        self._uv.pause_reading()

    def _pause_again(self) -> None:
        if self._is_reading_paused and self.connected:
            self._uv.pause_reading()

    def _release(self) -> None:
        if self._is_reading_paused or not self._is_holding or self.protocol is None or self.disconnecting:
            return
        self._is_holding = False
        self._receive_with(self.protocol.dataReceived)
        held, self._held = self._held, b""
        try:
            if held:
                self.data_received(held)
            if self._is_reading_ended and not self._end_reading():
                self._uv.close()
        except Exception:  # noqa: BLE001 - one connection's fault ends that connection only
            log.failure("in dataReceived")
            self.abortConnection()
        if not self._is_reading_paused and not self._is_reading_ended:
            self._uv.resume_reading()

    def _pull(self, producer: Any) -> None:
        is_wanted = not (self._is_writing_paused or self._is_writing_ending or self.disconnecting)
        if producer is self._producer and is_wanted:
            producer.resumeProducing()
            self._loop.call_soon(self._pull, producer)

    def _option(self, level: int, option: int) -> int:
        return int(self.getHandle().getsockopt(level, option))

    def _set_option(self, level: int, option: int, value: int | bytes) -> None:
        if self.connected:
            self.getHandle().setsockopt(level, option, value)


def is_given_up(loss: Failure) -> bool:
    """Whether a connection was lost because the kernel waited for its peer for too long."""
    return loss.value is not None and isinstance(loss.value.__cause__, TimeoutError)


def twisted_address(name: tuple[Any, ...]) -> IPv4Address | IPv6Address:
    """What `getsockname` says (two items for IPv4, four for IPv6), as Twisted says it."""
    if len(name) == 2:  # noqa: PLR2004 - (host, port)
        return IPv4Address("TCP", *name)
    return IPv6Address("TCP", *name)


def _drop(_unused: bytes) -> None:
    """Where bytes go that nobody may send or receive any more."""


def _call(notice: Callable[..., object], *arguments: object) -> None:
    try:
        notice(*arguments)
    except Exception:  # noqa: BLE001 - one connection's fault ends that connection only
        log.failure("in {notice}", notice=notice)
