"""
What is in the journal's SQLite file, and how does one come into being?

`active_name` has one row: the claim and which snapshot counts. `entries` are
the batches; an entry carries `active_seconds` because keeping it confirms the
claim, so that an append touches one page. `parts` are the snapshots' parts, `members`
the servers that joined, `place` the file and the kernel it was used under last.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import uuid4

from licserver.journal.interface import JournalUnusable
from licserver.journal.sqlite_file import check_file_system, explain
from licserver.journal.sqlite_place import Place, note_place

APPLICATION_ID = 0x6C73706A
SCHEMA_VERSION = 1

_TABLES = """
CREATE TABLE active_name (
    row INTEGER PRIMARY KEY CHECK (row = 1),
    journal_id TEXT NOT NULL,
    server_name TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    holder TEXT,
    instance TEXT,
    heir TEXT,
    confirmations INTEGER NOT NULL,
    active_seconds REAL NOT NULL,
    hold_down REAL NOT NULL,
    snapshot_slot INTEGER NOT NULL,
    snapshot_parts INTEGER NOT NULL
) STRICT;
CREATE TABLE entries (
    slot INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    active_seconds REAL NOT NULL,
    batch BLOB NOT NULL
) STRICT;
CREATE TABLE parts (
    slot INTEGER NOT NULL,
    number INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    part BLOB NOT NULL,
    UNIQUE (slot, number)
) STRICT;
CREATE TABLE members (name TEXT PRIMARY KEY, member TEXT NOT NULL) STRICT;
CREATE TABLE place (
    row INTEGER PRIMARY KEY CHECK (row = 1),
    inode INTEGER NOT NULL,
    boot_id TEXT NOT NULL,
    pid_namespace INTEGER NOT NULL,
    user_namespace INTEGER NOT NULL
) STRICT;
"""


def create(path: Path, server_name: str) -> str:
    """
    Make an empty journal for `server_name` at `path`, mode 0600, and return its random id (32 hex digits).

    The file gets its name when it is whole and durable, so there is never half a journal.
    Raises JournalUnusable if there is one already, or none can be made there.
    """
    for present in (path, Path(f"{path}-wal"), Path(f"{path}-journal")):
        if present.exists() or present.is_symlink():
            raise JournalUnusable(f"{present} exists already; init makes a new journal and never touches an old one")
    if not path.parent.is_dir():
        raise JournalUnusable(f"the journal's folder {path.parent} does not exist; create it first")
    check_file_system(path.parent)
    journal_id = uuid4().hex
    draft = path.with_name(f".{path.name}.{journal_id}")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        _fill(draft, journal_id, server_name)
        os.link(draft, path)
    except FileExistsError as error:
        raise JournalUnusable(
            f"{path} exists already; init makes a new journal and never touches an old one"
        ) from error
    except OSError as error:
        raise JournalUnusable(f"no journal can be created at {path}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise JournalUnusable(f"no journal can be created at {path}: {explain(error, path)}") from error
    finally:
        for leftover in (draft, Path(f"{draft}-journal"), Path(f"{draft}-wal"), Path(f"{draft}-shm")):
            leftover.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return journal_id


def check_schema(cursor: sqlite3.Cursor, path: Path, server_name: str) -> str:
    """The id of the journal; JournalUnusable unless it is one of this product, this schema and this name."""
    application, version = (
        cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if application != APPLICATION_ID:
        raise JournalUnusable(
            f"{path} is no journal of licserver; name another file, or create one with `licserver init`"
        )
    if version > SCHEMA_VERSION:
        raise JournalUnusable(
            f"{path} has schema {version}, this release knows {SCHEMA_VERSION}; "
            "use the release that wrote it, or a later one"
        )
    row = cursor.execute("SELECT journal_id, server_name FROM active_name").fetchone()
    journal_id, name = row if row is not None else ("", "")
    if name != server_name:
        raise JournalUnusable(f"{path} is the journal of {name!r}, not of {server_name!r}: two names need two journals")
    return str(journal_id)


def _fill(draft: Path, journal_id: str, server_name: str) -> None:
    with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.executescript(_TABLES)
        connection.execute(
            "INSERT INTO active_name VALUES (1, ?, ?, 0, NULL, NULL, NULL, 0, 0.0, 0.0, -1, 0)",
            (journal_id, server_name),
        )
        connection.execute("INSERT INTO entries VALUES (0, 0, 0.0, x'')")
        note_place(connection.cursor(), Place.of(draft))
        connection.execute("PRAGMA journal_mode = WAL")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
