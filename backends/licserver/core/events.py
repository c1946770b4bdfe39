"""
What can happen to a ledger, as the journal keeps it.

Events are facts in the past tense; a batch of them is what one slot of the
journal holds (MessagePack). `active` times are seconds for which the server
name has been served (see docs/protocol.md), `wall` and `since` POSIX seconds
for people. `session` and `seat` are numbers given out by the ledger; the
session's secret appears only as its SHA-256 `digest`. What the
changes of a takeover limit do stands in `takeover.py`.
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


class Reading(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """
    One look at the clocks: the kernel's `boot_id`, seconds since that boot (CLOCK_BOOTTIME), active seconds of the
    server name, POSIX seconds.
    """

    boot_id: str
    uptime: float
    active: float
    wall: float


class TakeoverBegun(msgspec.Struct, frozen=True, array_like=True, tag="TB", gc=False):
    """
    A redundant server took the name with the limit, in seconds, before it, of which it was not given the first `spent`.
    `number` is the takeover's, `nonce` the 64 random bits of its first request key.
    """

    number: int
    limit: float
    nonce: bytes
    reading: Reading
    spent: float = 0.0


class TakeoverCounted(msgspec.Struct, frozen=True, array_like=True, tag="TC", gc=False):
    """So many seconds of the takeover were `spent` at `reading`."""

    spent: float
    reading: Reading


class PrimaryReturned(msgspec.Struct, frozen=True, array_like=True, tag="TP", gc=False):
    """The primary took the name at `active` seconds; so many seconds of the takeover were `spent`."""

    spent: float
    active: float


class TakeoverResumed(msgspec.Struct, frozen=True, array_like=True, tag="TR", gc=False):
    """A redundant server took the name again before its limit was restored; counting goes on from `reading`."""

    reading: Reading


class TakeoverExtended(msgspec.Struct, frozen=True, array_like=True, tag="TX", gc=False):
    """Extension `extension` (from 1) of takeover `number` added `hours`; `nonce` is for the next request key."""

    number: int
    extension: int
    hours: int
    nonce: bytes


class TakeoverLowered(msgspec.Struct, frozen=True, array_like=True, tag="TL", gc=False):
    """Another license or configuration allows a takeover no more than `limit` seconds, extensions not counted."""

    limit: float


class TakeoverRestored(msgspec.Struct, frozen=True, array_like=True, tag="TW", gc=False):
    """The primary was in control for long enough: the limit is whole again, for takeover `number`."""

    number: int


TakeoverChange = (
    TakeoverBegun
    | TakeoverCounted
    | PrimaryReturned
    | TakeoverResumed
    | TakeoverExtended
    | TakeoverLowered
    | TakeoverRestored
)


class TakeoverChanged(msgspec.Struct, frozen=True, array_like=True, tag="T", gc=False):
    """What happened to the takeover limit of one `pair`, which is 16 bytes that `scheme.py` makes of its license."""

    pair: bytes
    change: TakeoverChange


class RedundantRegistered(msgspec.Struct, frozen=True, array_like=True, tag="P", gc=False):
    """
    The server `name`, which others reach at `address` ("host:port") and whose host was known by `hostids`, is the
    primary's redundant server, in the place of any other.
    """

    name: str
    address: str
    hostids: tuple[str, ...]


class RedundantUnregistered(msgspec.Struct, frozen=True, array_like=True, tag="U", gc=False):
    """The primary has no registered redundant server any more."""


class PrimarySeen(msgspec.Struct, frozen=True, array_like=True, tag="F", gc=False):
    """The primary of `pair` serves, as `name` under another `identity` than before: whom it saw then counts no more."""

    pair: bytes
    name: str
    identity: str


class RedundantSeen(msgspec.Struct, frozen=True, array_like=True, tag="E", gc=False):
    """
    The server `name` is known to `pair` under `identity` (see `licserver.state`): its primary saw it, or it began in
    this journal with its limit spent.
    """

    pair: bytes
    name: str
    identity: str


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
    | TakeoverChanged
    | RedundantRegistered
    | RedundantUnregistered
    | PrimarySeen
    | RedundantSeen
)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[AnyEvent])


def encode_batch(events: list[AnyEvent]) -> bytes:
    """The bytes of one slot."""
    return _encoder.encode(events)


def decode_batch(batch: bytes) -> list[AnyEvent]:
    """The events of one slot. Raises msgspec.DecodeError for what no licserver wrote."""
    return _decoder.decode(batch)
