"""
Does a peer still take what is sent to it, however slowly?

A peer whose buffers are full looks the same whether it reads a little now and then or has stopped for good: nothing
more can be written for long. The kernel knows better, it counts what the peer has acknowledged.
"""

import socket
import struct
from typing import Any

from twisted.protocols.policies import ProtocolWrapper

_BYTES_ACKED = struct.Struct("120xQ")  # within struct tcp_info, linux/tcp.h


def acknowledged_bytes(transport: Any) -> int:
    """How many bytes the peer of `transport`, TLS or not, has acknowledged since it was connected; 0 after the end."""
    below = transport
    while isinstance(below, ProtocolWrapper):
        below = below.transport
    handle = below.getHandle()
    if handle is None or handle.fileno() < 0:
        return 0
    told = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
    (acknowledged,) = _BYTES_ACKED.unpack(told)
    return int(acknowledged)
