"""What a person is told when SQLite cannot write."""

import sqlite3

from lsproxy.fullness import advised


def test_a_full_disk_has_a_remedy():
    """Other faults are told in SQLite's words."""
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    assert advised(full) == "the disk is full: free some space"
    assert advised(sqlite3.OperationalError("database is locked")) == "database is locked"
    assert advised(OSError(13, "Permission denied")) == "[Errno 13] Permission denied"
