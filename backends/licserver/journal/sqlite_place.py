"""
Is the journal used where it was used before: the same file, by processes that see each other?

A copy of a journal beside its original would let two servers serve under one
name, so a file whose inode is not the one noted in it is refused until a person
accepts it. And because a silent holder is ended by its process number, all
processes that share a journal must count processes alike: one boot, one PID
namespace, one user namespace. After a reboot, or in a new container, the first
one that is alone with the file notes its own.
"""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec

from licserver.journal.interface import JournalUnusable
from licserver.journal.process import boot_id
from licserver.journal.sqlite_connection import Connection
from licserver.journal.sqlite_file import JournalFile, explain, is_busy

SETTLE_SECONDS = 2.0
AGAIN_SECONDS = 0.01

_RAISE = """
UPDATE active_name SET epoch = :epoch, holder = NULL, instance = NULL, heir = NULL WHERE epoch < :epoch
"""


class Place(msgspec.Struct, frozen=True):
    """
    Where a journal is used: the inode of its file, and the kernel (`boot_id`)
    and namespaces whose process numbers its members give.
    """

    inode: int
    boot_id: str
    pid_namespace: int
    user_namespace: int

    @classmethod
    def of(cls, path: Path) -> "Place":
        """The place of the file at `path` as this process sees it."""
        return cls(
            inode=path.stat().st_ino,
            boot_id=boot_id(),
            pid_namespace=Path("/proc/self/ns/pid").stat().st_ino,
            user_namespace=Path("/proc/self/ns/user").stat().st_ino,
        )


def note_place(cursor: sqlite3.Cursor, place: Place) -> None:
    """Write `place` into the journal, instead of the one before."""
    cursor.execute("INSERT OR REPLACE INTO place VALUES (1, ?, ?, ?, ?)", msgspec.structs.astuple(place))


def check_original(cursor: sqlite3.Cursor, path: Path) -> None:
    """Raise JournalUnusable if the file at `path` is not the one noted in it."""
    if _noted(cursor).inode != path.stat().st_ino:
        raise JournalUnusable(
            f"{path} is a copy of a journal, and the original may be in use; if it is not, "
            "`licserver journal accept -c FILE` goes on from this one knowingly"
        )


def settle(file: JournalFile, connection: Connection, seconds: Callable[[], float]) -> None:
    """Raise JournalUnusable unless the journal is used from here already, or by nobody; then note that it is."""
    here = Place.of(file.path)
    give_up_at = seconds() + SETTLE_SECONDS
    while True:
        noted = connection.run(_noted)
        if noted == here:
            return
        connection.drop()
        if _change_if_alone(file, lambda cursor: note_place(cursor, here)):
            continue
        if seconds() >= give_up_at:
            raise JournalUnusable(
                f"{file.path} is in use by license servers that run in another container or namespace; "
                "those that share a journal share the PID and the user namespace"
            )
        # Two servers that start at once after a reboot find each other here; one of them notes the place for both.
        time.sleep(AGAIN_SECONDS)


def accept_copy(path: Path) -> None:
    """
    Go on from the journal at `path` although it is a copy; nothing to do if it is none.

    Raises JournalUnusable while anybody uses it. What else is wrong with the file, `open_journal` says.
    """
    file = JournalFile(path)
    file.check_usable()
    here = Place.of(path)
    try:
        with closing(sqlite3.connect(file.uri("ro&immutable=1"), uri=True)) as connection:
            is_original = _noted(connection.cursor()).inode == here.inode
    except sqlite3.Error:
        return
    if is_original:
        return
    if file.log_bytes():
        raise JournalUnusable(
            f"{path}-wal is left beside the copy; it belongs to another state of the journal, so remove it first"
        )
    _change_alone(file, lambda cursor: note_place(cursor, here))


def raise_epoch(path: Path, epoch: int) -> None:
    """
    Let the epochs of a journal that was restored go on above `epoch`, so that none is ever used twice.

    Raises JournalUnusable while anybody uses it.
    """
    _change_alone(JournalFile(path), lambda cursor: cursor.execute(_RAISE, {"epoch": epoch}))


def _noted(cursor: sqlite3.Cursor) -> Place:
    row = cursor.execute("SELECT inode, boot_id, pid_namespace, user_namespace FROM place").fetchone()
    return Place(*row)


def _change_alone(file: JournalFile, change: Callable[[sqlite3.Cursor], object]) -> None:
    if not _change_if_alone(file, change):
        raise JournalUnusable(f"{file.path} is in use; stop the license servers that use it first")


def _change_if_alone(file: JournalFile, change: Callable[[sqlite3.Cursor], object]) -> bool:
    """Make a change if no other connection to the file is open anywhere, and whether that was so."""
    with closing(sqlite3.connect(file.uri("rw"), uri=True, isolation_level=None, timeout=0.0)) as connection:
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA synchronous = FULL")
            change(connection.cursor())
        except sqlite3.Error as error:
            if is_busy(error):
                return False
            raise explain(error, file.path) from error
    return True
