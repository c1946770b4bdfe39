"""
One TCP or TLS connection to a license server: lines out, lines in, and a way to be woken.

Non-blocking after the dial, so a server that reads nothing holds nobody up.
Every fault is an OSError (ssl.SSLError is one).
"""

import selectors
import socket
import ssl
from contextlib import suppress

from lsproxy.net.address import Address
from lsproxy.seat.lines import REPLY_LIMIT, LineSplitter

_CHUNK = 65_536


class Connection:
    """A connected socket. `waker`: a readable socket ends `wait` early; it is drained."""

    def __init__(self, connected: socket.socket, waker: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._waker = waker
        self._lines = LineSplitter(REPLY_LIMIT)
        self._out = bytearray()
        self._selector = selectors.DefaultSelector()
        self._selector.register(connected, selectors.EVENT_READ)
        self._selector.register(waker, selectors.EVENT_READ)

    def write(self, lines: list[bytes]) -> None:
        """Send the lines, now or as soon as the server takes them."""
        self._out += b"".join(lines)
        while self._out:
            try:
                sent = self._socket.send(self._out)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                break
            del self._out[:sent]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        self._selector.modify(self._socket, wanted)

    def wait(self, seconds: float) -> None:
        """Return when there is something to read or to write, somebody woke us, or `seconds` are over."""
        for key, _ in self._selector.select(seconds):
            if key.fileobj is self._waker:
                drain(self._waker)

    def read(self) -> list[bytes] | None:
        """The lines that are there, none if there are none; None when the server has closed."""
        arrived: list[bytes] = []
        while True:
            try:
                chunk = self._socket.recv(_CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return arrived
            except ssl.SSLEOFError:
                chunk = b""
            if not chunk:
                return arrived or None
            arrived += self._lines.feed(chunk)
            if self._lines.is_overflowing:
                raise OSError(f"it sent a line of more than {REPLY_LIMIT} bytes")

    def close(self) -> None:
        """Close at once."""
        self._selector.close()
        self._socket.close()


def dial(address: Address, tls: ssl.SSLContext | None, seconds: float, waker: socket.socket) -> Connection:
    """
    Connect within `seconds`, the TLS handshake included, and verify that the
    certificate names `address.host`. Raises OSError.
    """
    plain = socket.create_connection((address.host, address.port), timeout=seconds)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connected = plain if tls is None else tls.wrap_socket(plain, server_hostname=address.host)
        return Connection(connected, waker)
    except BaseException:
        plain.close()
        raise


def sleep(seconds: float, waker: socket.socket) -> None:
    """Let `seconds` pass, or less when woken."""
    with selectors.DefaultSelector() as selector:
        selector.register(waker, selectors.EVENT_READ)
        if selector.select(seconds):
            drain(waker)


def drain(waker: socket.socket) -> None:
    """Forget the wake-ups there were."""
    with suppress(BlockingIOError):
        while waker.recv(_CHUNK):
            pass
