"""What is to be done when SQLite says that it cannot write: the end of a sentence, where there is something to say."""

import sqlite3


def advised(error: Exception) -> str:
    """The fault in words, and what mends it where that is known."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return "the disk is full: free some space"
    return str(error)
