"""
What does a journal do when there is no file? The promise of `interface`, in one process.

For tests and for the simulation: several `open`s of one `MemoryStore` are the
several servers of one name. Answers come in a later turn of the reactor, as
from a disk, and a test may have the next write fail the way disks do.
"""
# ruff: noqa: D102 - `interface.Journal` says what its methods do

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TypeVar

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from licserver.journal.interface import (
    Claim,
    ClaimMoved,
    Compacted,
    Entry,
    JournalError,
    Member,
    Process,
    SlotRefused,
    Snapshot,
    StaleEpoch,
)

Result = TypeVar("Result")


class Fault(Enum):
    """What becomes of a write that fails: it is reported as unknown, and was done or not."""

    LOST = "lost"
    KEPT = "kept"


class MemoryStore:
    """
    What the servers of `server_name` share. `delay_seconds` passes before each
    answer; `ended` are the processes that count as dead.
    """

    def __init__(self, server_name: str, journal_id: str, delay_seconds: float = 0.0) -> None:
        self.server_name = server_name
        self.journal_id = journal_id
        self.delay_seconds = delay_seconds
        self.ended: set[Process] = set()
        self.claim = Claim(0, None, None, 0, 0.0, 0, 0.0)
        self.entries = {0: Entry(0, 0, b"")}
        self.parts: dict[tuple[int, int], tuple[int, bytes]] = {}
        self.published: tuple[int, int] | None = None
        self.members: dict[str, Member] = {}
        self._faults: deque[Fault] = deque()
        self._handles: list[MemoryJournal] = []

    def open(self, reactor: IReactorTime) -> "Deferred[MemoryJournal]":
        """One more server's handle."""
        handle = MemoryJournal(reactor, self)
        self._handles.append(handle)
        return succeed(handle)

    def fail_next(self, fault: Fault) -> None:
        """The next write comes out as unknown; with KEPT, the next one that is not refused. Several queue up."""
        self._faults.append(fault)

    def write(self, change: Callable[[], Result]) -> Result:
        """Do `change` (which raises if it is refused, before changing anything), or fail as was asked."""
        if self._faults and self._faults[0] is Fault.LOST:
            self._faults.popleft()
            raise JournalError("the journal's disk failed; whether the write was kept is unknown")
        before = self.claim
        result = change()
        if self.claim is not before:
            for handle in self._handles:
                handle.claim_changed()
        if self._faults:
            self._faults.popleft()
            raise JournalError("the journal's disk failed; whether the write was kept is unknown")
        return result

    def close(self, handle: "MemoryJournal") -> None:
        """`handle` is used no more."""
        self._handles.remove(handle)

    def fence(self, epoch: int) -> None:
        """Raise StaleEpoch unless the name is held under `epoch`."""
        if self.claim.epoch != epoch:
            raise StaleEpoch(f"epoch {epoch} is over: {self.server_name} is at epoch {self.claim.epoch}")
        if self.claim.holder is None:
            raise StaleEpoch(f"epoch {epoch} is over: the name {self.server_name} was given up")

    @property
    def published_slot(self) -> int:
        """The slot of the snapshot that counts, -1 before there is one."""
        return -1 if self.published is None else self.published[0]

    def confirm(self, active_seconds: float, newest_slot: int) -> None:
        """Note a sign of life of the holder."""
        self.claim = msgspec.structs.replace(
            self.claim,
            confirmations=self.claim.confirmations + 1,
            active_seconds=max(self.claim.active_seconds, active_seconds),
            newest_slot=newest_slot,
        )


class _Watch:
    def __init__(self, reactor: IReactorTime, store: MemoryStore, listener: Callable[[Claim], None]) -> None:
        self._reactor = reactor
        self._store = store
        self._listener = listener
        self._is_stopped = False
        self._is_due = False
        self.changed()

    def changed(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._reactor.callLater(self._store.delay_seconds, self._tell)

    def _tell(self) -> None:
        self._is_due = False
        if not self._is_stopped:
            self._listener(self._store.claim)

    def stop(self) -> None:
        self._is_stopped = True


class MemoryJournal:
    """One server's handle on a `MemoryStore`; `interface.Journal` says what the methods do."""

    def __init__(self, reactor: IReactorTime, store: MemoryStore) -> None:
        self.journal_id = store.journal_id
        self.server_name = store.server_name
        self._reactor = reactor
        self._store = store
        self._watches: list[_Watch] = []
        self._is_closed = False

    def claim(self) -> Deferred[Claim]:
        return self._answer(lambda: self._store.claim)

    def watch(self, listener: Callable[[Claim], None]) -> _Watch:
        watch = _Watch(self._reactor, self._store, listener)
        self._watches.append(watch)
        return watch

    def claim_changed(self) -> None:
        """The store's claim is another now."""
        for watch in self._watches:
            watch.changed()

    def holder_is_dead(self, claim: Claim) -> bool:
        return claim.holder is not None and claim.holder.process in self._store.ended

    def end_holder(self, claim: Claim) -> Deferred[None]:
        def end() -> None:
            if claim.holder is not None:
                self._store.ended.add(claim.holder.process)

        return self._answer(end)

    def activate(self, judged: Claim, member: Member, hold_down: float) -> Deferred[Claim]:
        return self._write(lambda: self._activate(judged, member, hold_down))

    def _activate(self, judged: Claim, member: Member, hold_down: float) -> Claim:
        claim = self._store.claim
        if claim.epoch == judged.epoch + 1 and claim.holder == member:
            return claim
        if claim.epoch != judged.epoch or _instance(claim) != _instance(judged):
            raise ClaimMoved(f"{self.server_name} is at epoch {claim.epoch}, the claim judged was {judged.epoch}")
        self._store.claim = msgspec.structs.replace(
            claim, epoch=claim.epoch + 1, holder=member, heir=None, hold_down=hold_down
        )
        return self._store.claim

    def append(self, epoch: int, slot: int, batch: bytes, active_seconds: float) -> Deferred[None]:
        return self._write(lambda: self._append(epoch, slot, batch, active_seconds))

    def _append(self, epoch: int, slot: int, batch: bytes, active_seconds: float) -> None:
        store = self._store
        store.fence(epoch)
        newest = store.claim.newest_slot
        if slot == newest + 1:
            store.entries[slot] = Entry(slot, epoch, batch)
            newest = slot
        elif store.entries.get(slot) != Entry(slot, epoch, batch):
            raise SlotRefused(f"slot {slot} cannot be filled: the newest of {self.server_name} is {newest}")
        store.confirm(active_seconds, newest)

    def confirm(self, epoch: int, active_seconds: float) -> Deferred[None]:
        def confirm() -> None:
            self._store.fence(epoch)
            self._store.confirm(active_seconds, self._store.claim.newest_slot)

        return self._write(confirm)

    def release(self, epoch: int, heir: str | None, active_seconds: float) -> Deferred[None]:
        def release() -> None:
            claim = self._store.claim
            if claim.epoch == epoch and claim.holder is None and claim.heir == heir:
                return
            self._store.fence(epoch)
            self._store.claim = msgspec.structs.replace(
                claim, holder=None, heir=heir, active_seconds=max(claim.active_seconds, active_seconds)
            )

        return self._write(release)

    def read(self, after: int, limit: int) -> Deferred[list[Entry]]:
        def read() -> list[Entry]:
            newest = self._store.claim.newest_slot
            if after < newest and after + 1 not in self._store.entries:
                raise Compacted(f"slot {after + 1} of {self.server_name} was deleted; begin with the snapshot")
            return [self._store.entries[slot] for slot in range(after + 1, min(newest, after + limit) + 1)]

        return self._answer(read)

    def snapshot(self) -> Deferred[Snapshot | None]:
        def snapshot() -> Snapshot | None:
            if self._store.published is None:
                return None
            slot, parts = self._store.published
            return Snapshot(slot, [self._store.parts[slot, number][1] for number in range(parts)])

        return self._answer(snapshot)

    def write_part(self, epoch: int, slot: int, number: int, part: bytes) -> Deferred[None]:
        return self._write(lambda: self._write_part(epoch, slot, number, part))

    def _write_part(self, epoch: int, slot: int, number: int, part: bytes) -> None:
        store = self._store
        store.fence(epoch)
        if store.parts.get((slot, number)) == (epoch, part):
            return
        if not store.published_slot < slot <= store.claim.newest_slot:
            raise SlotRefused(f"a snapshot of slot {slot} cannot be written: it is not kept yet, or published already")
        store.parts[slot, number] = (epoch, part)

    def publish(self, epoch: int, slot: int, parts: int) -> Deferred[None]:
        return self._write(lambda: self._publish(epoch, slot, parts))

    def _publish(self, epoch: int, slot: int, parts: int) -> None:
        store = self._store
        store.fence(epoch)
        if store.published != (slot, parts):
            own = all(store.parts.get((slot, number), (None,))[0] == epoch for number in range(parts))
            if not own or not store.published_slot < slot <= store.claim.newest_slot:
                raise SlotRefused(f"the snapshot of slot {slot} is not whole, or older than the one published")
            store.published = (slot, parts)
        kept = min(slot + 1, store.claim.newest_slot)
        store.entries = {number: entry for number, entry in store.entries.items() if number >= kept}
        store.parts = {
            (of, number): part
            for (of, number), part in store.parts.items()
            if of > slot or (of == slot and number < parts)
        }

    def join(self, member: Member) -> Deferred[None]:
        def join() -> None:
            self._store.members[member.name] = member

        return self._write(join)

    def leave(self, member: Member) -> Deferred[None]:
        def leave() -> None:
            present = self._store.members.get(member.name)
            if present is not None and present.instance == member.instance:
                del self._store.members[member.name]

        return self._write(leave)

    def members(self) -> Deferred[Sequence[tuple[Member, bool]]]:
        def members() -> Sequence[tuple[Member, bool]]:
            store = self._store
            return [(member, member.process not in store.ended) for _, member in sorted(store.members.items())]

        return self._answer(members)

    def close(self) -> Deferred[None]:
        if self._is_closed:
            return succeed(None)

        def close() -> None:
            self._is_closed = True
            self._store.close(self)
            for watch in self._watches:
                watch.stop()

        return self._answer(close)

    def _write(self, change: Callable[[], Result]) -> Deferred[Result]:
        return self._answer(lambda: self._store.write(change))

    def _answer(self, work: Callable[[], Result]) -> Deferred[Result]:
        """What `work` returns or raises when the delay has passed."""
        answer: Deferred[Result] = Deferred()

        def respond() -> None:
            try:
                if self._is_closed:
                    raise JournalError("the journal is closed")  # noqa: TRY301 - it takes the way of every error
                result = work()
            except JournalError as error:
                answer.errback(error)
            else:
                answer.callback(result)

        self._reactor.callLater(self._store.delay_seconds, respond)
        return answer


def _instance(claim: Claim) -> str | None:
    return None if claim.holder is None else claim.holder.instance
