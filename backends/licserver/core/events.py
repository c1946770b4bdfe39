"""
What can happen to a ledger, as the journal keeps it.

Events are facts in the past tense; a batch of them is what one slot of the
journal holds (MessagePack). `active` times are seconds for which the server
name has been served (see docs/protocol.md), `wall` and `since` POSIX seconds
for people. `session` and `seat` are numbers given out by the ledger; the
session's secret appears only as its SHA-256 `digest`.
"""

import msgspec


class Activated(msgspec.Struct, frozen=True, array_like=True, tag="A", gc=False):
    """A server took the name: every attached session is detached at `active`."""

    epoch: int
    backend: str
    active: float
    wall: float


class LicenseCameIntoForce(msgspec.Struct, frozen=True, array_like=True, tag="L", gc=False):
    """`text` is what seats are granted from now on; `file` is where it came from, for messages."""

    text: str
    file: str


class SessionOpened(msgspec.Struct, frozen=True, array_like=True, tag="O", gc=False):
    """A client nobody knew said hello. `heartbeat`, `resume` and `trust` in seconds are the session's for good."""

    session: int
    digest: bytes
    attempt: int
    user: str
    host: str
    display: str
    pid: int
    app: str
    hostids: tuple[str, ...]
    address: str
    heartbeat: float
    resume: float
    trust: float
    since: float


class SessionResumed(msgspec.Struct, frozen=True, array_like=True, tag="R", gc=False):
    """A known session has a new connection."""

    session: int
    attempt: int
    address: str


class SessionDetached(msgspec.Struct, frozen=True, array_like=True, tag="D", gc=False):
    """A session lost its connection; at `deadline` (active seconds) it is closed."""

    session: int
    deadline: float


class SessionClosed(msgspec.Struct, frozen=True, array_like=True, tag="C", gc=False):
    """A session ended, by `bye` or with its resume window; its seats are free."""

    session: int


class CheckoutQueued(msgspec.Struct, frozen=True, array_like=True, tag="Q", gc=False):
    """A checkout waits until `deadline` (active seconds). Its seat number is fixed here."""

    session: int
    handle: int
    seat: int
    feature: str
    asked: str
    count: int
    wait: float
    deadline: float
    since: float


class SeatGranted(msgspec.Struct, frozen=True, array_like=True, tag="G", gc=False):
    """A checkout got its seat, at once or from the queue. `expires` and `grace` as in the reply."""

    session: int
    handle: int
    seat: int
    feature: str
    asked: str
    count: int
    wait: float
    since: float
    version: str
    expires: str | None
    grace: float


class WaitEnded(msgspec.Struct, frozen=True, array_like=True, tag="W", gc=False):
    """A waiting checkout left the queue without a seat."""

    session: int
    handle: int


class SeatReturned(msgspec.Struct, frozen=True, array_like=True, tag="I", gc=False):
    """A seat was checked in."""

    session: int
    handle: int


class SeatRemoved(msgspec.Struct, frozen=True, array_like=True, tag="X", gc=False):
    """An operator took a seat back; the client is told until it checks the handle in."""

    session: int
    handle: int
    reason: str


class RemovalSeen(msgspec.Struct, frozen=True, array_like=True, tag="S", gc=False):
    """The client checked in a handle that had been removed."""

    session: int
    handle: int


AnyEvent = (
    Activated
    | LicenseCameIntoForce
    | SessionOpened
    | SessionResumed
    | SessionDetached
    | SessionClosed
    | CheckoutQueued
    | SeatGranted
    | WaitEnded
    | SeatReturned
    | SeatRemoved
    | RemovalSeen
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[AnyEvent])


def encode_batch(events: list[AnyEvent]) -> bytes:
    """The bytes of one slot."""
    return _encoder.encode(events)


def decode_batch(batch: bytes) -> list[AnyEvent]:
    """The events of one slot. Raises msgspec.DecodeError for what no licserver wrote."""
    return _decoder.decode(batch)
