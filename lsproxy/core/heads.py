"""
How much of a line does the proxy look at?

Of a request its `id` and `op`, of a reply its `id`, `ok`, `error` and `event`,
of the reply to a hello what the event `resumed` needs. The rest passes unread.
"""

import msgspec

from lsproxy.seat.messages import UNREADABLE, Id, Refusal, decode_request, encode

DEFAULT_HEARTBEAT = 15.0


class RequestHead(msgspec.Struct, gc=False):
    """What is looked at of a request."""

    id: Id
    op: str = ""


class ReplyHead(msgspec.Struct, gc=False):
    """What is looked at of a server's line."""

    id: int = 0
    ok: bool = False
    error: str = ""
    event: str | None = None


class WelcomeHead(msgspec.Struct):
    """What is looked at of the reply to a hello. An operator's connection has no seats to resume."""

    epoch: int = 0
    resumed: bool = True
    held: list[int] = []
    heartbeat: float = DEFAULT_HEARTBEAT


class HelloLine(bytes):
    """The line of a hello."""

    __slots__ = ()


class ByeLine(bytes):
    """The line of a bye."""

    __slots__ = ()


request_head = msgspec.json.Decoder(RequestHead).decode
reply_head = msgspec.json.Decoder(ReplyHead).decode
_welcome = msgspec.json.Decoder(WelcomeHead).decode


def welcome_head(line: bytes) -> WelcomeHead | None:
    """The reply to a hello, or None when it is none."""
    try:
        return _welcome(line)
    except UNREADABLE:
        return None


def explain(line: bytes) -> bytes:
    """The refusal of a line whose head cannot be read: the connection closes after it."""
    refusal = decode_request(line)
    if not isinstance(refusal, Refusal):
        refusal = Refusal(0, "bad_request", "a request needs an `id`, an integer from 1 to 2^53-1, and an `op`")
    return encode(Refusal(0, refusal.error, refusal.message))
