"""
How does one thread talk to the journal's file, through locks and faults?

A connection that failed is dropped, because what a failed COMMIT or fsync left
behind is unknown; the next call opens another one on the same file. A lock
that another process holds is asked for again every 0.2 ms: SQLite's own
`busy_timeout` sleeps for longer and longer, up to 100 ms.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from licserver.journal import sqlite_statements as statements
from licserver.journal.interface import JournalError, Member
from licserver.journal.patience import LOG_BYTES, Patience
from licserver.journal.sqlite_file import JournalFile, explain, is_busy

Result = TypeVar("Result")

BUSY_SECONDS = 0.0002


class Connection:
    """
    A connection to `file`, opened when first used, for the one thread that uses it.

    `seconds` is a clock, `members` says who is known to share the file when it
    cannot be read, `tell` takes sentences for the log, `mode` is "rw" or "ro".
    """

    def __init__(
        self,
        file: JournalFile,
        seconds: Callable[[], float],
        members: Callable[[], Sequence[Member]],
        tell: Callable[[str], None],
        mode: str = "rw",
    ) -> None:
        self._file = file
        self._seconds = seconds
        self._members = members
        self._tell = tell
        self._mode = mode
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None

    def run(self, job: Callable[[sqlite3.Cursor], Result], *, may_end_running: bool = False) -> Result:
        """
        What `job` returns; while another process is in the way it is called again from the start.

        Raises what `job` raises of ours; JournalError if SQLite failed. Whether
        the file still is the one at its path is the caller's to check, after each call.
        """
        patience: Patience | None = None
        while True:
            try:
                return job(self._cursor or self._open())
            except sqlite3.Error as error:
                if not is_busy(error):
                    self.drop()
                    raise explain(error, self._file.path) from error
            finally:
                self._roll_back()
            patience = patience or self._patience(may_end_running)
            patience.busy()
            time.sleep(BUSY_SECONDS)

    def drop(self) -> None:
        """Let go of the connection."""
        connection, cursor = self._connection, self._cursor
        self._connection = self._cursor = None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()
        if cursor is not None:
            self._file.closed()

    def _open(self) -> sqlite3.Cursor:
        self._connection = sqlite3.connect(self._file.uri(self._mode), uri=True, isolation_level=None, timeout=0.0)
        cursor = self._connection.cursor()
        try:
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute("PRAGMA secure_delete = OFF")
            cursor.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
            cursor.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            self._file.opened()
        except (sqlite3.Error, JournalError):
            # A connection to a file that was not the right one must not be there when the right one is put back.
            self.drop()
            raise
        self._cursor = cursor
        return cursor

    def _patience(self, may_end_running: bool) -> Patience:
        return Patience(
            self._file,
            self._seconds,
            members=lambda: self._glance(statements.members) or self._members(),
            progress=lambda: self._glance(statements.data_version),
            tell=self._tell,
            may_end_running=may_end_running,
        )

    def _glance(self, query: Callable[[sqlite3.Cursor], Result]) -> Result | None:
        """What `query` reads, None if it cannot read just now; never waits."""
        if self._cursor is None:
            return None
        try:
            return query(self._cursor)
        except sqlite3.Error:
            return None

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
