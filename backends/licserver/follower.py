"""How does a server's ledger become, and stay, what the journal holds?"""

import msgspec

from licserver.core.events import decode_batch
from licserver.core.ledger import Ledger, ReadPools
from licserver.core.snapshot import from_parts
from licserver.journal.interface import Compacted, Journal, JournalUnusable

_AT_ONCE = 500


class Follower:
    """
    A ledger that follows a journal: `slot` is the last one applied.

    `catch_up` may be called again while it runs; the calls share the work.
    """

    def __init__(self, journal: Journal, read_pools: ReadPools) -> None:
        self._journal = journal
        self._read_pools = read_pools
        self.ledger = Ledger(read_pools)
        self.slot = 0

    async def catch_up(self, newest: int) -> None:
        """Apply everything up to slot `newest`. Raises JournalError."""
        if self.slot == 0:
            await self._restore()
        while self.slot < newest:
            try:
                entries = await self._journal.read(self.slot, min(_AT_ONCE, newest - self.slot))
            except Compacted:
                await self._restore()
                continue
            if not entries:
                sentence = f"journal: slot {self.slot + 1} is missing, although slot {newest} is filled"
                raise JournalUnusable(sentence)
            for entry in entries:
                if entry.slot == self.slot + 1:
                    self._apply(entry.slot, entry.batch)

    async def _restore(self) -> None:
        snapshot = await self._journal.snapshot()
        if snapshot is None or snapshot.slot <= self.slot:
            return
        ledger = Ledger(self._read_pools)
        try:
            ledger.restore(from_parts(snapshot.parts))
        except msgspec.DecodeError as problem:
            raise JournalUnusable(
                f"journal: the snapshot of slot {snapshot.slot} cannot be read: {problem}"
            ) from problem
        self.ledger, self.slot = ledger, snapshot.slot

    def _apply(self, slot: int, batch: bytes) -> None:
        if batch:
            try:
                events = decode_batch(batch)
            except msgspec.DecodeError as problem:
                raise JournalUnusable(f"journal: slot {slot} holds no events of this release: {problem}") from problem
            for event in events:
                self.ledger.apply(event)
        self.slot = slot
