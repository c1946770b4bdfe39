"""
What is in the journal's SQLite file, and how does one come into being?

`journal` says whose it is, `active_name` has the claim and which snapshot
counts (one row each). `entries` are the batches; an entry carries
`active_seconds` because keeping it confirms the claim, so that an append
touches one page. `parts` are the snapshots' parts, `members` the servers that
joined, `place` the file and the kernel it was used under last.

[Foreign logs] SQLite applies any `-wal` it finds beside a file. One that was
left behind by a journal that has been replaced would mix two journals, and
already closing the file would write the mixture. So the file is first read as
it is on disk, without locks and log; then, where there is a log, through it,
read-only; only if both say the same journal it is opened for writing. Every
entry carries the first bits of the id (`lineage`), because a log holds only the
pages that changed, and appends change nothing else.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from uuid import uuid4

from licserver.journal.interface import JournalUnusable
from licserver.journal.sqlite_connection import Connection
from licserver.journal.sqlite_file import JournalFile, check_file_system, explain
from licserver.journal.sqlite_place import Place, check_original, note_place

APPLICATION_ID = 0x6C73706A
SCHEMA_VERSION = 1

_TABLES = """
CREATE TABLE journal (
    row INTEGER PRIMARY KEY CHECK (row = 1),
    journal_id TEXT NOT NULL,
    lineage INTEGER NOT NULL,
    server_name TEXT NOT NULL
) STRICT;
CREATE TABLE active_name (
    row INTEGER PRIMARY KEY CHECK (row = 1),
    lineage INTEGER NOT NULL,
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
    lineage INTEGER NOT NULL,
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

_LINEAGES = """
SELECT journal_id, n.lineage, (SELECT lineage FROM entries ORDER BY slot DESC LIMIT 1)
  FROM journal JOIN active_name n
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


def examine(file: JournalFile, server_name: str, connect: Callable[[str], Connection]) -> str:
    """
    The id of the journal in `file`. Changes nothing; `connect` makes a connection of a mode.

    Raises JournalUnusable unless it is one of this product, this schema and
    this name, no copy, and its log is its own. See [Foreign logs].
    """
    try:
        with closing(sqlite3.connect(file.uri("ro&immutable=1"), uri=True)) as connection:
            journal_id, lineage = _check_schema(connection, file.path, server_name)
    except sqlite3.Error as error:
        raise explain(error, file.path) from error
    if file.log_bytes():
        through_log = connect("ro")
        try:
            found = through_log.run(lambda cursor: cursor.execute(_LINEAGES).fetchone())
        finally:
            through_log.drop()
        if found != (journal_id, lineage, lineage):
            raise JournalUnusable(
                f"the log {file.path}-wal belongs to another journal, in whose place {file.path} was put; with all "
                "license servers stopped, remove the log, or put the journal back that it belongs to"
            )
    return journal_id


def _check_schema(connection: sqlite3.Connection, path: Path, server_name: str) -> tuple[str, int]:
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
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
    journal_id, lineage, name = connection.execute("SELECT journal_id, lineage, server_name FROM journal").fetchone()
    if name != server_name:
        raise JournalUnusable(f"{path} is the journal of {name!r}, not of {server_name!r}: two names need two journals")
    check_original(connection.cursor(), path)
    return journal_id, lineage


def _fill(draft: Path, journal_id: str, server_name: str) -> None:
    with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.executescript(_TABLES)
        lineage = int(journal_id[:12], 16)
        connection.execute("INSERT INTO journal VALUES (1, ?, ?, ?)", (journal_id, lineage, server_name))
        connection.execute("INSERT INTO active_name VALUES (1, ?, 0, NULL, NULL, NULL, 0, 0.0, 0.0, -1, 0)", (lineage,))
        connection.execute("INSERT INTO entries VALUES (0, ?, 0, 0.0, x'')", (lineage,))
        note_place(connection.cursor(), Place.of(draft))
        connection.execute("PRAGMA journal_mode = WAL")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
