"""
Which session does a hello belong to, and when is a session over?

A session is attached to one connection or *detached*. A detached one keeps its
seats until its deadline, counted in active seconds, so that no time passes
while nobody serves the name.

    (unknown) --hello--> attached --connection lost--> detached --deadline--> closed
                            ^                              |
                            +------------ hello -----------+
"""

import hashlib
from typing import Final

import msgspec

from licserver.core import events as ev
from licserver.core.ledger import Ledger, Session
from lsproxy.seat.messages import PROTOCOL, Hello, Refusal

_REQUIRED: Final = ("session", "attempt", "user", "host")
_LARGEST_PID: Final = 2**53 - 1


class Terms(msgspec.Struct, frozen=True):
    """What a session is promised when it is opened, in seconds."""

    heartbeat: float
    resume: float
    trust: float


def hello_problem(request: Hello) -> Refusal | None:
    """What a session's hello lacks."""
    if not request.protocol:
        return Refusal(request.id, "bad_request", f"hello: `protocol` is missing; this server speaks {PROTOCOL}")
    if request.protocol != PROTOCOL:
        sentence = f"hello: {request.protocol[:64]!r} is not spoken here; this server speaks {PROTOCOL}"
        return Refusal(request.id, "unsupported_protocol", sentence)
    for key in _REQUIRED:
        if not getattr(request, key):
            return Refusal(request.id, "bad_request", f"hello: `{key}` is missing or empty")
    if abs(request.pid) > _LARGEST_PID:
        return Refusal(request.id, "bad_request", "hello: `pid` is an integer of at most 2^53-1")
    return None


def digest_of(session: str) -> bytes:
    """The SHA-256 of a session's 128 secret bits: the only form in which a server keeps them."""
    return hashlib.sha256(bytes.fromhex(session)).digest()


def decide_hello(
    ledger: Ledger, request: Hello, address: str, terms: Terms, wall: float
) -> ev.SessionOpened | ev.SessionResumed | Refusal:
    """Open, resume, or refuse as superseded. The request has no `hello_problem`."""
    session = ledger.session_of(digest_of(request.session))
    if session is None:
        return ev.SessionOpened(
            session=ledger.next_session,
            digest=digest_of(request.session),
            attempt=request.attempt,
            user=request.user,
            host=request.host,
            display=request.display,
            pid=request.pid,
            app=request.app,
            hostids=tuple(request.hostids),
            address=address,
            heartbeat=terms.heartbeat,
            resume=terms.resume,
            trust=terms.trust,
            since=wall,
        )
    if request.attempt < session.attempt:
        sentence = f"this session was resumed by attempt {session.attempt}; attempt {request.attempt} comes too late"
        return Refusal(request.id, "superseded", sentence)
    return ev.SessionResumed(session.number, request.attempt, address)


def detach(session: Session, active: float) -> ev.SessionDetached:
    """The event of a lost connection: the window begins now."""
    return ev.SessionDetached(session.number, active + session.resume)


def is_over(session: Session, active: float) -> bool:
    """Whether a session's window is spent."""
    return session.deadline is not None and session.deadline <= active
