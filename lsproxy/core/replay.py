"""
What of one session must be said again on the next server, and what is answered instead?

Every request of the client is kept until its reply passes. A reply is looked
at only as far as its `id` and `error`. The invariant: each request that was
taken is answered exactly once, by a server or, when there is none, here.

    Apart --connected--> Greeting --hello answered ok--> Open
    Apart --connected, no hello yet------------------> Open
    Greeting, Open --lost, not_active, isolated, standing_down--> Apart

While it is apart or greeting, requests are only kept; Open sends them all, in
the order they came. See [Operator requests] and [Resumed false].

[Operator requests] Repeating `takeover` or `install` elsewhere could do a
second thing, so what may have been sent is answered `no_backend` when the
server is lost. One that was never sent is sent, once, on the next server.

[Resumed false] The session was unknown to the new server, so its seats are
gone. A checkout of the old session must not be granted into the new one
unasked: it is answered `ended`. If the hello was the client's own unanswered
one, the client sees `resumed` itself and nothing is answered in its place.
"""

import enum
from collections.abc import Callable, Iterator

import msgspec

from lsproxy.core.heads import (
    DEFAULT_HEARTBEAT,
    ByeLine,
    HelloLine,
    ReplyHead,
    explain,
    reply_head,
    request_head,
    welcome_head,
)
from lsproxy.seat.messages import MOST_UNANSWERED, UNREADABLE, Refusal, Resumed, Superseded, encode

MOST_UNANSWERED_BYTES = 4 * 1024 * 1024

_REPEATED = frozenset({"hello", "checkout", "checkin", "heartbeat", "bye", "status", "usage"})
_MOVING = frozenset({"not_active", "isolated"})
_RETRIED = frozenset({"not_active", "isolated", "no_backend", "overloaded"})
_DENIALS = frozenset(
    {
        "blocked",
        "excluded",
        "expired",
        "host_mismatch",
        "no_seats",
        "not_started",
        "over_limit",
        "unknown_feature",
        "version_not_covered",
    }
)


class Answer(msgspec.Struct, frozen=True):
    """Say `lines` to the client; the request goes no further."""

    lines: bytes


class Parting(msgspec.Struct, frozen=True):
    """Say `lines` to the client and close its connection."""

    lines: bytes


class Opened(msgspec.Struct, frozen=True):
    """The hello is answered: say `to_client` to the client, `to_server` to the server, and pass lines on."""

    to_client: bytes
    to_server: bytes


class Move(msgspec.Struct, frozen=True):
    """Leave this server for the next: it is not active any more, `code` says how it put that."""

    code: str


class Denied(msgspec.Struct, frozen=True):
    """Pass `line` on: it refuses `request`, a checkout of the session that `hello` opened, a seat."""

    line: bytes
    request: bytes
    hello: bytes


class Drop(msgspec.Struct, frozen=True):
    """Pass nothing on."""


class Stage(enum.Enum):
    """Where the session stands with its server."""

    APART = enum.auto()
    GREETING = enum.auto()
    OPEN = enum.auto()


class Replay:
    """The unanswered requests of one client connection."""

    __slots__ = ("_bytes", "_count", "_hello", "_unanswered", "heartbeat", "stage")

    def __init__(self) -> None:
        self.stage = Stage.APART
        self.heartbeat = DEFAULT_HEARTBEAT
        self._hello: HelloLine | None = None
        # A client that repeats a request while the first is unanswered is owed two replies: then the value is a list.
        self._unanswered: dict[int, bytes | list[bytes]] = {}
        self._bytes = 0
        self._count = 0  # of lines: several may have one id

    @property
    def is_idle(self) -> bool:
        """Whether nothing is unanswered."""
        return not self._unanswered

    @property
    def has_session(self) -> bool:
        """Whether a hello was said that is not refused."""
        return self._hello is not None

    def asked(self, line: bytes) -> Answer | Parting | None:
        """Keep one request of the client. None: it is kept, and is to be sent if the stage is Open."""
        try:
            head = request_head(line)
        except UNREADABLE:
            return Parting(explain(line))
        unanswered = self._unanswered
        if self._count >= MOST_UNANSWERED or self._bytes > MOST_UNANSWERED_BYTES:
            return Answer(encode(Refusal(head.id, "overloaded", _TOO_MANY)))
        if head.op == "hello":
            line = HelloLine(line)
            if self._hello is None:
                self._hello = line
        elif head.op == "bye":
            line = ByeLine(line)
        self._bytes += len(line)
        self._count += 1
        kept = unanswered.get(head.id)
        if kept is None:
            unanswered[head.id] = line
        elif isinstance(kept, list):
            kept.append(line)
        else:
            unanswered[head.id] = [kept, line]
        return None

    def answered(self, line: bytes) -> Parting | Opened | Move | Denied | Drop | None:
        """Take one line of the server. None: it is passed on unchanged."""
        try:
            head = reply_head(line)
        except UNREADABLE:
            return Move("what it said is not seat/1")
        if self.stage is not Stage.OPEN:
            return self._greeted(head, line)
        if head.event is not None:
            return _event(head.event, line)
        if not head.ok:
            return self._refused(head, line)
        kept = self._unanswered.pop(head.id, None)
        if type(kept) is bytes:
            self._bytes -= len(kept)
            self._count -= 1
            return None
        return self._answered_specially(head.id, kept, line)

    def connected(self) -> bytes:
        """A server is connected: what to say to it first."""
        if self._hello is None:
            self.stage = Stage.OPEN
            return self._all()
        self.stage = Stage.GREETING
        return self._hello + b"\n"

    def lost(self) -> bytes:
        """The server is lost, or was left: what to say to the client now. See [Operator requests]."""
        was_open = self.stage is Stage.OPEN
        self.stage = Stage.APART
        return self._answer_instead(_is_never_repeated, "no_backend", _UNKNOWN_OUTCOME) if was_open else b""

    def given_up(self, reason: str) -> bytes:
        """No server could be had: the answers to all that is unanswered."""
        return self._answer_instead(_is_any, "no_backend", f"no license server could be reached: {reason}")

    def _greeted(self, head: ReplyHead, line: bytes) -> Parting | Opened | Move | Denied | Drop | None:
        if head.event is not None:
            return _event(head.event, line)
        hello = self._hello
        if self.stage is Stage.APART or hello is None or head.id != request_head(hello).id:
            return Drop()
        is_own = self._is_unanswered(head.id, hello)
        if head.ok:
            return self._welcomed(head.id, hello, line, is_own=is_own)
        if head.error in _MOVING or (head.error in _RETRIED and not is_own):
            return Move(head.error)
        if is_own:
            refused = self._refused(head, line)
            if refused is not None:
                return refused
            self.stage = Stage.OPEN
            return Opened(line + b"\n", self._all())
        if head.error == "superseded":
            return Parting(encode(Superseded()))
        return Parting(self.given_up("the next one refused the session"))

    def _welcomed(self, number: int, hello: HelloLine, line: bytes, *, is_own: bool) -> Opened | Move:
        welcome = welcome_head(line)
        if welcome is None:
            return Move("what it said is not seat/1")
        self.stage = Stage.OPEN
        self.heartbeat = welcome.heartbeat
        if is_own:
            self._forget(number, hello)
            return Opened(line + b"\n", self._all())
        said = encode(Resumed(welcome.epoch, welcome.resumed, welcome.held))
        if not welcome.resumed:
            said += self._answer_instead(_is_checkout, "ended", _SESSION_ENDED)
        return Opened(said, self._all())

    def _refused(self, head: ReplyHead, line: bytes) -> Parting | Move | Denied | None:
        if head.error in _MOVING:
            return Move(head.error)
        if head.id == 0 or head.error == "superseded":
            return Parting(line + b"\n")
        kept = self._unanswered.get(head.id)
        first = kept[0] if isinstance(kept, list) else kept
        if first is not None:
            self._forget(head.id, first)
        if first is self._hello:
            self._hello = None
        if first is not None and head.error in _DENIALS and _is_checkout(request_head(first).op):
            return Denied(line, first, self._hello or b"")
        return None

    def _answered_specially(self, number: int, kept: bytes | list[bytes] | None, line: bytes) -> Parting | Move | None:
        """A reply to a hello, to a bye, to a repeated request, or to none that is known."""
        if isinstance(kept, list):
            first, *rest = kept
            self._unanswered[number] = rest[0] if len(rest) == 1 else rest
            kept = first
        if kept is None:
            return None
        self._bytes -= len(kept)
        self._count -= 1
        if isinstance(kept, HelloLine):
            welcome = welcome_head(line)
            if welcome is None:
                return Move("what it said is not seat/1")
            self._hello = kept
            self.heartbeat = welcome.heartbeat
        return Parting(line + b"\n") if isinstance(kept, ByeLine) else None

    def _is_unanswered(self, number: int, line: bytes) -> bool:
        kept = self._unanswered.get(number)
        return any(one is line for one in kept) if isinstance(kept, list) else kept is line

    def _forget(self, number: int, line: bytes) -> None:
        kept = self._unanswered[number]
        self._bytes -= len(line)
        self._count -= 1
        if isinstance(kept, list):
            rest = [one for one in kept if one is not line]
            self._unanswered[number] = rest[0] if len(rest) == 1 else rest
        else:
            del self._unanswered[number]

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        for number, kept in self._unanswered.items():
            if isinstance(kept, list):
                for line in kept:
                    yield number, line
            else:
                yield number, kept

    def _all(self) -> bytes:
        return b"".join(line + b"\n" for _, line in self._lines())

    def _answer_instead(self, is_meant: Callable[[str], bool], error: str, message: str) -> bytes:
        answered = [(number, line) for number, line in self._lines() if is_meant(request_head(line).op)]
        for number, line in answered:
            self._forget(number, line)
        return b"".join(encode(Refusal(number, error, message)) for number, _ in answered)


_TOO_MANY = f"more than {MOST_UNANSWERED} requests of this connection are unanswered"
_UNKNOWN_OUTCOME = "the server was lost before it answered; ask again what became of it"
_SESSION_ENDED = "the session ended while no server could be reached; its seats are gone"


def _event(event: str, line: bytes) -> Parting | Move | None:
    if event == "superseded":
        return Parting(line + b"\n")
    return Move(event) if event == "standing_down" else None


def _is_any(_op: str) -> bool:
    return True


def _is_checkout(op: str) -> bool:
    return op == "checkout"


def _is_never_repeated(op: str) -> bool:
    return op not in _REPEATED
