"""
Is the file at the journal's path still the one that was opened, and one that SQLite may share between processes?

A deleted file is written on happily while another process makes a new one, so
the device and inode of the path are compared at every write, and those of
`-wal` and `-shm` with them. Nothing here opens the journal's files: closing
any descriptor of theirs would drop the locks SQLite holds on them.
"""

import os
import sqlite3
import stat
from pathlib import Path
from threading import Lock

from licserver.journal.interface import JournalError, JournalUnusable

MOUNTS = Path("/proc/self/mountinfo")

# Locks or shared memory do not reach the other machines that may mount these.
_SHARED_FILE_SYSTEMS = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"ocfs2", "orangefs", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs"}
    | {"fuse.ceph-fuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "fuse.vmhgfs-fuse"}
)

_SENTENCES = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_READONLY: "it may not be written; its file and folder must belong to the license server's user",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; its folder must exist and be writable for the license server's user",
    sqlite3.SQLITE_PERM: "it may not be opened; its file and folder must belong to the license server's user",
    sqlite3.SQLITE_IOERR: "its disk failed",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore it from a backup",
    sqlite3.SQLITE_NOTADB: "it is no journal of licserver",
}
_UNUSABLE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class JournalFile:
    """
    The journal's file at `path`, with its `-wal` and `-shm`, as they were when they were opened.

    SQLite may delete `-wal` and `-shm` when the last connection closes, so they
    are expected to stay the same only while this handle has a connection.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        real = os.path.realpath(path)
        self.shm_path = f"{real}-shm"
        self.folder = Path(real).parent
        self._address = Path(real).as_uri()
        self._name = str(path)
        self._log_path = f"{real}-wal"
        self._companions = (self._log_path, self.shm_path)
        self._lock = Lock()
        self._connections = 0
        self._identity: tuple[int, int] | None = None
        self._expected: list[tuple[str, tuple[int, int]]] = []

    def uri(self, mode: str) -> str:
        """For sqlite3.connect: opens the file and never creates it. `mode` is "rw" or "ro"."""
        return f"{self._address}?mode={mode}"

    def check_usable(self) -> None:
        """Raise JournalUnusable unless there is a file that can be written, where locks hold."""
        try:
            status = self.path.stat()
        except FileNotFoundError as error:
            raise JournalUnusable(f"{self.path} does not exist; `licserver init` creates the journal") from error
        except OSError as error:
            raise JournalUnusable(f"{self.path} cannot be reached: {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode):
            raise JournalUnusable(f"{self.path} is no file; the journal is one")
        if status.st_nlink > 1:
            raise JournalUnusable(
                f"{self.path} has a second name (a hard link); SQLite keeps its log beside one name, remove the other"
            )
        for needed in (self.path, self.folder):
            if not os.access(needed, os.W_OK, effective_ids=True):
                raise JournalUnusable(
                    f"{needed} may not be written by this user; the journal needs its file and folder"
                )
        check_file_system(self.folder)

    def opened(self) -> None:
        """
        A connection has just been opened: from now on its files are expected to stay.

        Raises JournalUnusable if they are not those at the path, or another file than before.
        """
        with self._lock:
            try:
                names = (self._name, *self._companions)
                present = [(name, _identity(name)) for name in names]
            except OSError as error:
                raise self._moved() from error
            identity = present[0][1]
            known = dict(self._expected)
            if not {found for _, found in present} <= _open_here() or self._identity not in (None, identity):
                raise self._moved()
            if any(known.get(name, found) != found for name, found in present):
                raise self._moved()
            self._identity = identity
            self._expected = present
            self._connections += 1

    def closed(self) -> None:
        """A connection that was `opened` is closed."""
        with self._lock:
            self._connections -= 1
            if self._connections == 0:
                self._expected = []

    def check(self) -> None:
        """Raise JournalUnusable if one of the files is no longer the one that was opened."""
        try:
            for name, expected in self._expected:
                if _identity(name) != expected:
                    raise self._moved()
        except OSError as error:
            raise self._moved() from error

    def log_bytes(self) -> int:
        """The size of the write-ahead log's file."""
        try:
            return os.stat(self._log_path).st_size  # noqa: PTH116 - as the others here
        except OSError:
            return 0

    def _moved(self) -> JournalUnusable:
        return JournalUnusable(
            f"{self.path} (or its -wal or -shm) was deleted or replaced while in use; "
            "put it back, or stop all license servers that share it and start them again"
        )


def check_file_system(folder: Path, mounts: Path = MOUNTS) -> None:
    """Raise JournalUnusable where several machines may mount the file system of `folder`; `mounts`: see proc(5)."""
    kind = file_system(os.path.realpath(folder), mounts.read_text(encoding="utf-8"))
    if kind in _SHARED_FILE_SYSTEMS:
        raise JournalUnusable(
            f"{folder} is on a network file system ({kind}), where file locks do not keep two servers apart; "
            "put the journal on a local disk, or use etcd for several machines"
        )


def file_system(path: str, mountinfo: str) -> str:
    """The type of the file system that holds `path`, from the text of /proc/self/mountinfo (proc(5))."""
    longest, kind = -1, ""
    for line in mountinfo.splitlines():
        fields, _, source = line.partition(" - ")
        mounted = fields.split(" ")[4].encode().decode("unicode_escape")
        is_above = path == mounted or path.startswith(mounted.rstrip("/") + "/")
        if is_above and len(mounted) >= longest:
            longest, kind = len(mounted), source.split(" ")[0]
    return kind


def explain(error: sqlite3.Error, path: Path) -> JournalError:
    """What a person is told about a failure of SQLite."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    kind = JournalUnusable if code in _UNUSABLE else JournalError
    return kind(f"the journal {path} failed: {_SENTENCES.get(code, str(error))}")


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process holds a lock, so that the same call may succeed later."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL)


def _identity(name: str) -> tuple[int, int]:
    status = os.stat(name)  # noqa: PTH116 - at every write, and a Path costs as much again
    return status.st_dev, status.st_ino


def _open_here() -> set[tuple[int, int]]:
    """Device and inode of every file this process has open."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            status = os.fstat(int(descriptor.name))
        except OSError:
            continue
        found.add((status.st_dev, status.st_ino))
    return found
