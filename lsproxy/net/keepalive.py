"""
After what time without a word is a peer that does not answer the kernel given up?

License connections are silent for hours, and a cut cable says nothing: without probes either leg would stay for ever.
"""

import socket
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import ITransport
from twisted.protocols.policies import ProtocolWrapper


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """The first probe after `idle_seconds` of silence, then `probes` of them, one every `interval_seconds`."""

    idle_seconds: int = 30
    interval_seconds: int = 10
    probes: int = 3

    @property
    def lost_after_seconds(self) -> int:
        """The time to the end of a connection, whether it is silent or has bytes on the way."""
        return self.idle_seconds + self.interval_seconds * self.probes


def keep_alive(transport: ITransport, times: KeepAlive = KeepAlive()) -> None:
    """Let the kernel end `transport`'s connection, TLS or not, when its peer is gone: then ConnectionLost comes."""
    below: Any = transport
    while isinstance(below, ProtocolWrapper):
        below = below.transport
    # uvloop's own stand-in for a socket makes a new one for every option.
    borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, below.getHandle().fileno())
    try:
        keep_socket_alive(borrowed, times)
    finally:
        borrowed.detach()


def keep_socket_alive(one: socket.socket, times: KeepAlive = KeepAlive()) -> None:
    """As `keep_alive`; what a listening socket accepts has its options too."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, times.idle_seconds)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, times.interval_seconds)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, times.probes)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, times.lost_after_seconds * 1000)
