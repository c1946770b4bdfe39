"""
What a journal promises to the license servers that share it.

A journal belongs to one server name (the *active name*). It keeps numbered
batches of events, the claim to the name, and snapshots, and it is the one
place where two servers that both believe to be active find out who is.

The promise:

- `append` and every other write carry the epoch of the writer. The statement
  that writes compares it: an older epoch writes nothing, ever.
- A batch fills exactly slot `newest + 1`. A filled slot and a gap are refused
  in the same statement. So two writers can never interleave.
- Success means durable. An error other than a refusal means *unknown*: what
  was asked may be kept or not. Repeating the call with the same arguments
  resolves it: what is found done already, such as the identical batch under the
  same epoch in its slot, is success, as long as that epoch still holds the name.
  An epoch that is over is refused, whatever it had kept before.
- Epochs only rise, by one, and only by `activate`.
- What `publish` has not named is no snapshot; `publish` deletes only what the
  snapshot it names has made needless, and never the newest slot.

Every implementation passes `tests/contract/journal.py`. All methods return a
Deferred and never block the reactor.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from twisted.internet.defer import Deferred

from licserver.errors import LicserverError


class Process(msgspec.Struct, frozen=True):
    """
    One process of one boot, so that its number cannot be mistaken for another's.

    `started` is the start time in clock ticks since boot (`/proc/PID/stat`,
    field 22), `boot_id` the kernel's `/proc/sys/kernel/random/boot_id`.
    """

    pid: int
    started: int
    boot_id: str


class Member(msgspec.Struct, frozen=True):
    """
    A license server of this name: `name` is unique within the server name,
    `instance` 32 random hex digits of this one start, `address` the "host:port"
    that clients are told, `listen` the one where the other members ask it.
    `ttl` is the one it runs with, in seconds; 0 where an older release wrote it. `identity` is that of its state
    file, see `licserver.state`.
    """

    name: str
    instance: str
    address: str
    process: Process
    listen: str = ""
    ttl: float = 0.0
    identity: str = ""


class Claim(msgspec.Struct, frozen=True):
    """
    Who holds the active name.

    `holder` is None while nobody does: never taken, or given up with
    `release`; then `heir` may name the only member that may take it for `ttl`.
    `confirmations` rises with every append and `confirm`, so that a standby
    sees life without comparing clocks. `active_seconds` is how long the name
    has been served in all, up to the last append or confirmation.
    `newest_slot` is the highest filled slot (0 is filled by init).
    `hold_down` is for how many seconds after this activation a holder that
    answers keeps the name against a hint.
    """

    epoch: int
    holder: Member | None
    heir: str | None
    confirmations: int
    active_seconds: float
    newest_slot: int
    hold_down: float


class Entry(msgspec.Struct, frozen=True):
    """One kept batch: its slot, the epoch that wrote it, its bytes."""

    slot: int
    epoch: int
    batch: bytes


class Snapshot(msgspec.Struct, frozen=True):
    """The state after `slot`, as the parts its writer made of it."""

    slot: int
    parts: list[bytes]


class JournalError(LicserverError):
    """The journal could not do it; what was asked may or may not be kept."""


class StaleEpoch(JournalError):
    """Refused: another holder has the name, or this one gave it up. This server must fall silent."""


class SlotRefused(JournalError):
    """Refused: the slot is filled with something else, or the one before it is empty."""


class ClaimMoved(JournalError):
    """Refused: the claim is no longer the one that was judged."""


class Compacted(JournalError):
    """The entries asked for are gone; begin with the snapshot."""


class JournalUnusable(JournalError):
    """Not a journal of this server: missing, replaced, another product's, a newer schema, another name."""


class Watch(Protocol):
    """A running watch."""

    def stop(self) -> None:
        """End it; the listener is not called any more."""


class Journal(Protocol):
    """A journal that is open. See the module for the promise."""

    journal_id: str
    server_name: str

    def claim(self) -> Deferred[Claim]:
        """The claim as it is now."""

    def watch(self, listener: Callable[[Claim], None]) -> Watch:
        """
        Call `listener` in the reactor thread with the claim as it is, soon, and
        again after it changed (within 50 ms; changes may be drawn together).
        While the journal cannot be read the listener is simply not called.
        """

    def holder_is_dead(self, claim: Claim) -> bool:
        """
        Whether the holder's process is known to have ended (same host only:
        other boot, no such process, or its number reused). False where that
        cannot be known from here. Quick; may be called in the reactor thread.
        """

    def end_holder(self, claim: Claim) -> Deferred[None]:
        """
        Make sure that a holder which did not answer cannot hold up this journal:
        on a shared file its process is killed and its end awaited; elsewhere
        there is nothing to do. Fires also when it is gone already.
        """

    def activate(self, judged: Claim, member: Member, hold_down: float) -> Deferred[Claim]:
        """
        Take the name: epoch `judged.epoch + 1`, holder `member`, if the claim's
        epoch and holder are still those of `judged`; otherwise ClaimMoved.
        The claim returned is the one written, `newest_slot` and
        `active_seconds` read in the same transaction.
        """

    def append(self, epoch: int, slot: int, batch: bytes, active_seconds: float) -> Deferred[None]:
        """
        Keep `batch` in `slot`, and confirm the claim.

        Raises StaleEpoch or SlotRefused when it is refused (nothing was
        written by this call), any other JournalError when the outcome is unknown.
        """

    def confirm(self, epoch: int, active_seconds: float) -> Deferred[None]:
        """Confirm the claim without a batch. Raises as `append` does."""

    def release(self, epoch: int, heir: str | None, active_seconds: float) -> Deferred[None]:
        """Give the name up: from now on nothing is written under `epoch`. Raises as `append` does."""

    def read(self, after: int, limit: int) -> Deferred[list[Entry]]:
        """Up to `limit` entries from slot `after + 1` on, in order. Raises Compacted when that slot was deleted."""

    def snapshot(self) -> Deferred[Snapshot | None]:
        """The newest published snapshot, whole."""

    def write_part(self, epoch: int, slot: int, number: int, part: bytes) -> Deferred[None]:
        """Keep part `number` (from 0) of the snapshot of `slot`. Raises as `append` does."""

    def publish(self, epoch: int, slot: int, parts: int) -> Deferred[None]:
        """
        Make the snapshot of `slot`, which has `parts` parts and whose entries
        are all kept, the one that counts; then delete older and abandoned
        parts and the entries up to `slot` in small bites. Raises as `append` does.
        """

    def join(self, member: Member) -> Deferred[None]:
        """Enter `member` in the list of members, in place of an entry of the same name."""

    def leave(self, member: Member) -> Deferred[None]:
        """Take `member` (this very instance) off the list."""

    def members(self) -> Deferred[Sequence[tuple[Member, bool]]]:
        """The members by name, each with whether it is known or believed to be running."""

    def close(self) -> Deferred[None]:
        """Finish what is under way and let go of the file or connection."""
