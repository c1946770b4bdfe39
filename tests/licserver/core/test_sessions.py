"""Which session a hello belongs to, and when it is over."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from licserver.core.events import SessionDetached, SessionOpened, SessionResumed
from licserver.core.ledger import Ledger
from licserver.core.sessions import decide_hello, detach, digest_of, hello_problem, is_over
from lsproxy.seat.messages import Hello, Refusal
from tests.licserver.core.office import NOON, TERMS, read_pools

OWN = "9f86d081884c7d659a2feaa0c55ad015"


def hello(attempt=1, **more):
    return Hello(1, "seat/1", OWN, attempt, "alice", "ws1", **more)


def opened(attempt=1):
    ledger = Ledger(read_pools)
    ledger.apply(decide_hello(ledger, hello(attempt), "192.0.2.1", TERMS, NOON))
    return ledger


def test_only_the_digest():
    """A session is known by the SHA-256 of its 128 bits; the bits themselves are kept nowhere."""
    event = decide_hello(Ledger(read_pools), hello(), "192.0.2.1", TERMS, NOON)
    assert isinstance(event, SessionOpened)
    assert event.digest == hashlib.sha256(bytes.fromhex(OWN)).digest() == digest_of(OWN.upper())
    assert OWN not in repr(event)
    assert bytes.fromhex(OWN) not in repr(event).encode("latin-1")


def test_promises_are_kept_for_good():
    """Heartbeat, resume and trust are those of the opening."""
    session = opened().session_of(digest_of(OWN))
    assert (session.heartbeat, session.resume, session.trust) == (15.0, 45.0, 42.0)


@given(known=st.integers(1, 9), attempt=st.integers(1, 9))
def test_attempts(known, attempt):
    """The same or a higher attempt resumes, a lower one is superseded."""
    decided = decide_hello(opened(known), hello(attempt), "192.0.2.2", TERMS, NOON)
    if attempt < known:
        assert isinstance(decided, Refusal)
        assert decided.error == "superseded"
    else:
        assert decided == SessionResumed(1, attempt, "192.0.2.2")


@given(active=st.floats(0, 1e6), later=st.floats(0, 100))
def test_window(active, later):
    """A detached session is over at its deadline exactly, an attached one never."""
    ledger = opened()
    session = ledger.sessions[1]
    assert not is_over(session, active)
    event = detach(session, active)
    assert event == SessionDetached(1, active + 45.0)
    ledger.apply(event)
    assert is_over(session, active + later) == (active + later >= active + 45.0)


def test_problems():
    """A hello's first problem is named; a good one has none."""
    assert hello_problem(hello()) is None
    assert hello_problem(Hello(1)).error == "bad_request"
    assert hello_problem(Hello(1, "seat/9")).error == "unsupported_protocol"
    assert "attempt" in hello_problem(Hello(1, "seat/1", OWN)).message
    assert "pid" in hello_problem(hello(pid=2**53)).message
    assert hello_problem(hello(pid=2**53 - 1)) is None
