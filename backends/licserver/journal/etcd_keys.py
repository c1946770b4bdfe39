"""
Under which keys does etcd keep a journal, and what do their values mean?

    /PREFIX/claim/epoch       decimal; changed by an activation only, to one more
    /PREFIX/claim/holding     JSON Holding: who activated it; written by the activation only
    /PREFIX/claim/given_up    empty while the name is held, otherwise JSON GivenUp
    /PREFIX/claim/confirmed   JSON Confirmed, written with every append and confirmation: each is one more
                              version of the key
    /PREFIX/log/SLOT          Record: one batch; the slots that are there are consecutive
    /PREFIX/alive/NAME        the instance of that member that runs; goes with its lease
    /PREFIX/big/KEY/DIGEST/N  the pieces of a Record of KEY that is too long for one value, written before it
    /PREFIX/members/NAME      JSON Listed
    /PREFIX/meta              JSON Meta, written by init
    /PREFIX/parts/SLOT/EPOCH/N    Record: one part of a snapshot, published or not
    /PREFIX/place             the cluster's id; elsewhere this is a copy
    /PREFIX/published         "SLOT EPOCH PARTS" of the snapshot that counts, empty before there is one

Numbers in keys and in `published` have 20 digits, so that they sort as they count.
`claim/` and `log/` stand side by side: a watch of both is one range.
"""

import hashlib
from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec

from licserver.journal.etcd_messages import KeyValue
from licserver.journal.interface import Claim, JournalUnusable, Member

Value = TypeVar("Value")

SCHEMA: Final = 1
MOST_BYTES: Final = 1024 * 1024  # of one value; etcd takes 1.5 MiB in one request
HEAD_BYTES: Final = 12


class Meta(msgspec.Struct, frozen=True):
    """What `init` says of the journal."""

    product: str
    schema: int
    journal_id: str
    server_name: str


class Holding(msgspec.Struct, frozen=True):
    """`holder` is None before the first activation. The namespace is that of the holder's process number."""

    holder: Member | None
    hold_down: float = 0.0
    pid_namespace: int = 0


class GivenUp(msgspec.Struct, frozen=True):
    """The name is for `heir` now, or for anyone."""

    heir: str | None = None


class Confirmed(msgspec.Struct, frozen=True):
    """How long the name has been served, and the newest slot."""

    active_seconds: float
    slot: int


class Listed(msgspec.Struct, frozen=True):
    """A member, and the namespace of its process number."""

    member: Member
    pid_namespace: int


class Published(msgspec.Struct, frozen=True, order=True):
    """The snapshot that counts. `slot` -1: there is none."""

    slot: int = -1
    epoch: int = 0
    parts: int = 0

    def encode(self) -> bytes:
        """As it is kept."""
        return b"%020d %020d %020d" % (self.slot, self.epoch, self.parts) if self.slot >= 0 else b""

    @classmethod
    def decode(cls, value: bytes) -> "Published":
        """What `encode` made. Raises JournalUnusable."""
        if not value:
            return cls()
        try:
            slot, epoch, parts = map(int, value.split())
        except ValueError as error:
            raise JournalUnusable("the journal's record of its snapshot cannot be read") from error
        return cls(slot, epoch, parts)


class Record(msgspec.Struct, frozen=True):
    """
    Bytes written under an epoch. Longer ones than fit into a value stand in
    `pieces` pieces beside it, and `body` is their SHA-256.
    """

    epoch: int
    pieces: int
    body: bytes

    @classmethod
    def of(cls, epoch: int, content: bytes) -> "Record":
        """The record of `content`."""
        if len(content) <= MOST_BYTES:
            return cls(epoch, 0, content)
        return cls(epoch, -(-len(content) // MOST_BYTES), hashlib.sha256(content).digest())

    def encode(self) -> bytes:
        """As it is kept."""
        return self.epoch.to_bytes(8, "big") + self.pieces.to_bytes(HEAD_BYTES - 8, "big") + self.body

    @classmethod
    def decode(cls, value: bytes) -> "Record":
        """What `encode` made."""
        return cls(int.from_bytes(value[:8], "big"), int.from_bytes(value[8:HEAD_BYTES], "big"), value[HEAD_BYTES:])


class Keys:
    """The keys of the journal under a prefix."""

    def __init__(self, prefix: str) -> None:
        self.root = f"/{prefix}/".encode()
        self.claim = self.root + b"claim/"
        self.epoch = self.claim + b"epoch"
        self.holding = self.claim + b"holding"
        self.given_up = self.claim + b"given_up"
        self.confirmed = self.claim + b"confirmed"
        self.logs = self.root + b"log/"
        self.lives = self.root + b"alive/"
        self.members = self.root + b"members/"
        self.meta = self.root + b"meta"
        self.all_parts = self.root + b"parts/"
        self.place = self.root + b"place"
        self.published = self.root + b"published"

    def log(self, slot: int) -> bytes:
        """Of one slot."""
        return b"%s%020d" % (self.logs, slot)

    def slot(self, key: bytes) -> int:
        """The slot of a key of the log."""
        return int(key[len(self.logs) :])

    def parts(self, slot: int, epoch: int | None = None) -> bytes:
        """What the keys of the parts for `slot` begin with."""
        of_slot = b"%s%020d/" % (self.all_parts, slot)
        return of_slot if epoch is None else b"%s%020d/" % (of_slot, epoch)

    def part(self, slot: int, epoch: int, number: int) -> bytes:
        """Of one part."""
        return b"%s%020d" % (self.parts(slot, epoch), number)

    def member(self, name: str) -> bytes:
        """Of one member."""
        return self.members + name.encode()

    def alive(self, name: str) -> bytes:
        """Of one member's sign of life."""
        return self.lives + name.encode()

    def big(self, key: bytes) -> bytes:
        """What the keys of the pieces begin with, of `key` or of all keys that begin with it."""
        return self.root + b"big/" + key.removeprefix(self.root)

    def piece(self, key: bytes, digest: bytes, number: int) -> bytes:
        """Of one piece of the record at `key`."""
        return b"%s/%s/%020d" % (self.big(key), digest.hex().encode(), number)


def end_of(prefix: bytes) -> bytes:
    """The first key after all that begin with `prefix`."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


class ClaimState(msgspec.Struct, frozen=True):
    """
    The four keys of the claim; `revision` is the one at which it was confirmed last, `holding` the bytes of its
    Holding.
    """

    claim: Claim
    revision: int
    pid_namespace: int
    holding: bytes


def claim_state(keys: Keys, found: Iterable[KeyValue]) -> ClaimState:
    """What the claim's keys say. Raises JournalUnusable where they are not those of a journal."""
    kept = {kv.key: kv for kv in found}
    try:
        confirmed_at = kept[keys.confirmed]
        holding = read(kept[keys.holding].value, Holding)
        given_up = kept[keys.given_up].value
        confirmed = read(confirmed_at.value, Confirmed)
        epoch = int(kept[keys.epoch].value)
    except (KeyError, ValueError) as error:
        raise JournalUnusable("the journal's claim is not there, or cannot be read by this release") from error
    claim = Claim(
        epoch=epoch,
        holder=None if given_up else holding.holder,
        heir=read(given_up, GivenUp).heir if given_up else None,
        confirmations=confirmed_at.version - 1,
        active_seconds=confirmed.active_seconds,
        newest_slot=confirmed.slot,
        hold_down=holding.hold_down,
    )
    return ClaimState(claim, confirmed_at.mod_revision, holding.pid_namespace, kept[keys.holding].value)


def read(value: bytes, kind: type[Value]) -> Value:
    """A JSON value. Raises JournalUnusable."""
    try:
        return msgspec.json.decode(value, type=kind)
    except msgspec.DecodeError as error:
        raise JournalUnusable(f"the journal holds what this release cannot read: {error}") from error


def write(value: msgspec.Struct) -> bytes:
    """What `read` reads."""
    return msgspec.json.encode(value)
