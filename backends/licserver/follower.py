"""How does a server's ledger become, and stay, what the journal holds?"""

import msgspec

from licserver.core.events import decode_batch
from licserver.core.ledger import Ledger, ReadPools
from licserver.core.snapshot import from_parts
from licserver.journal.interface import Compacted, Journal, JournalUnusable
from licserver.snapshots import is_due

_AT_ONCE = 500


class Follower:
    """
    A ledger that follows a journal: `slot` is the last one applied,
    `unsnapped_events` is how many of its events no snapshot holds.

    One `catch_up` at a time.
    """

    def __init__(self, journal: Journal, read_pools: ReadPools) -> None:
        self._journal = journal
        self._read_pools = read_pools
        self.ledger = Ledger(read_pools)
        self.slot = 0
        self.unsnapped_events = 0

    async def catch_up(self, newest: int) -> None:
        """Apply everything up to slot `newest`. Raises JournalError."""
        is_warm = self.slot > 0
        if not is_warm:
            await self._restore()
        while self.slot < newest:
            try:
                entries = await self._journal.read(self.slot, min(_AT_ONCE, newest - self.slot))
            except Compacted:
                if not await self._restore():
                    sentence = f"journal: slot {self.slot + 1} was deleted, and no snapshot is newer"
                    raise JournalUnusable(sentence) from None
                continue
            if not entries:
                sentence = f"journal: slot {self.slot + 1} is missing, although slot {newest} is filled"
                raise JournalUnusable(sentence)
            for entry in entries:
                self._apply(entry.slot, entry.batch)
                if is_warm and is_due(self.unsnapped_events, len(self.ledger.entries)):
                    self.unsnapped_events = 0  # the server that is followed took its snapshot here

    async def _restore(self) -> bool:
        """Go on from the newest snapshot, if it is newer."""
        snapshot = await self._journal.snapshot()
        if snapshot is None or snapshot.slot <= self.slot:
            return False
        ledger = Ledger(self._read_pools)
        try:
            ledger.restore(from_parts(snapshot.parts))
        except msgspec.DecodeError as problem:
            raise JournalUnusable(
                f"journal: the snapshot of slot {snapshot.slot} cannot be read: {problem}"
            ) from problem
        self.ledger, self.slot, self.unsnapped_events = ledger, snapshot.slot, 0
        return True

    def _apply(self, slot: int, batch: bytes) -> None:
        if batch:
            try:
                events = decode_batch(batch)
            except msgspec.DecodeError as problem:
                raise JournalUnusable(f"journal: slot {slot} holds no events of this release: {problem}") from problem
            try:
                for event in events:
                    self.ledger.apply(event)
            except (LookupError, ValueError) as problem:
                self._begin_anew()
                raise JournalUnusable(
                    f"journal: slot {slot} does not fit the slots before it: {problem!r}"
                ) from problem
            self.unsnapped_events += len(events)
        self.slot = slot

    def _begin_anew(self) -> None:
        """Forget a state that is neither that before a slot nor that after it."""
        self.ledger, self.slot, self.unsnapped_events = Ledger(self._read_pools), 0, 0
