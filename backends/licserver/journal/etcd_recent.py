"""
Which of the newest entries has this server been sent already?

A watch brings each entry as it is written, so a standby that follows needs not
ask for it. An entry never changes once its slot is filled; what is kept here may
only be deleted in the journal meanwhile.
"""

from collections import deque
from typing import Final

from licserver.journal.interface import Entry

MOST_ENTRIES: Final = 4000
MOST_BYTES: Final = 16 * 1024 * 1024


class Recent:
    """A run of consecutive entries, the newest ones that came."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._bytes = 0

    def add(self, entry: Entry) -> None:
        """The next one; after a gap the run begins anew."""
        if self._entries and entry.slot != self._entries[-1].slot + 1:
            self.forget()
        self._entries.append(entry)
        self._bytes += len(entry.batch)
        while len(self._entries) > MOST_ENTRIES or self._bytes > MOST_BYTES:
            self._bytes -= len(self._entries.popleft().batch)

    def forget(self) -> None:
        """Begin anew."""
        self._entries.clear()
        self._bytes = 0

    def entries(self, after: int, limit: int) -> list[Entry]:
        """All `limit` entries from slot `after + 1` on, or none."""
        if not self._entries or limit < 1:
            return []
        first = after + 1 - self._entries[0].slot
        if first < 0 or first + limit > len(self._entries):
            return []
        return [self._entries[at] for at in range(first, first + limit)]
