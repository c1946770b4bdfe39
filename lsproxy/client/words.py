"""
How does a client read the lines of a server?

Every function raises msgspec.DecodeError or ValueError for a line that is not
what it says.
"""

from datetime import date
from typing import Final

import msgspec

from lsproxy.seat.messages import Granted, Queued, Removed, Resumed, StandingDown, Welcome

UNKNOWN_OUTCOME: Final = frozenset({"not_active", "isolated", "no_backend", "overloaded"})


class Word(msgspec.Struct):
    """What tells one line from another: a reply has an `id` and `ok`, an event its name, a refusal its reason."""

    id: int = 0
    ok: bool = False
    event: str = ""
    error: str = ""
    message: str = ""
    active: str | None = None


_words = msgspec.json.Decoder(Word)
_welcomes = msgspec.json.Decoder(Welcome)
_grants = msgspec.json.Decoder(Granted)
_queued = msgspec.json.Decoder(Queued)
_removed = msgspec.json.Decoder(Removed)
_standing_down = msgspec.json.Decoder(StandingDown)
_resumed = msgspec.json.Decoder(Resumed)


def understand(line: bytes) -> Word:
    """The outline of any line."""
    return _words.decode(line)


def welcome(line: bytes) -> Welcome:
    """The reply to a hello that was answered `ok`."""
    return _welcomes.decode(line)


def granted(line: bytes) -> Granted:
    """The reply to a checkout that was answered `ok`."""
    grant = _grants.decode(line)
    if grant.expires is not None:
        date.fromisoformat(grant.expires)
    return grant


def queued(line: bytes) -> Queued:
    """The event that a checkout waits."""
    return _queued.decode(line)


def removed(line: bytes) -> Removed:
    """The event that a seat was taken back."""
    return _removed.decode(line)


def standing_down(line: bytes) -> StandingDown:
    """The event that this server gives the active name up."""
    return _standing_down.decode(line)


def resumed(line: bytes) -> Resumed:
    """The event that lsproxy moved the session to another server."""
    return _resumed.decode(line)
