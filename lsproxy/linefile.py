"""
How do lines get into a log file without harm to what they tell of?

They are collected and written by a thread, at the latest `FLUSH_SECONDS` after they came. A disk that is full, slow or
gone costs lines, never a connection: up to `KEPT_BYTES` of them wait, what is beyond is counted, and the daemon's log
says it once at the beginning and once at the end. A file that was deleted is made anew; one that was moved away is left
when `reopen` is called.
"""

import errno
import os
import stat
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from lsproxy.errors import LsproxyError
from lsproxy.net.reactor import BoottimeReactor

FLUSH_SECONDS: Final = 0.2
FLUSH_BYTES: Final = 65_536
RETRY_SECONDS: Final = 1.0
KEPT_BYTES: Final = 4 << 20
MODE: Final = 0o640
_DEVICES: Final = Path("/dev")

log = Logger()


class LineFileError(LsproxyError):
    """The file of a log cannot be opened; `str()` says which and why."""


class LineFile:
    """
    The file at `path`, made with mode 0640 where it is missing; `what` it is for people, such as "debug log".

    Raises LineFileError when it cannot be opened.
    """

    def __init__(self, reactor: BoottimeReactor, path: Path, what: str) -> None:
        self._reactor = reactor
        self._path = path
        self._what = what
        self._file = _File(path, what)
        self._lines: list[bytes] = []
        self._kept_bytes = 0  # of all lines that are not in the file yet, those being written included
        self._lost = 0
        self._is_troubled = False
        self._is_writing = False
        self._later: IDelayedCall | None = None
        self._closed: Deferred[None] | None = None
        self._file.open()

    def write(self, line: bytes) -> None:
        """Write a line, or several, soon; the end of line is part of it."""
        if self._closed is not None:
            return
        if self._kept_bytes + len(line) > KEPT_BYTES:
            self._lose_one()
            return
        self._lines.append(line)
        self._kept_bytes += len(line)
        if self._is_writing:
            return
        if self._later is None:
            self._later = self._reactor.callLater(FLUSH_SECONDS, self._write)
        elif self._kept_bytes >= FLUSH_BYTES and not self._is_troubled:
            self._write()

    def reopen(self) -> None:
        """Go on in a file that is opened anew at the same path: the old one was moved away."""
        self._file.is_outdated = True
        if not self._is_writing and self._closed is None:
            self._write()

    def check(self, path: Path) -> None:
        """Raises LineFileError if `path` could not be gone on in."""
        if path != self._path:
            trial = _File(path, self._what)
            trial.open()
            trial.close()

    def go_on(self, path: Path) -> None:
        """What comes from now on goes to the file at `path`; what is there already may go to it too."""
        if path != self._path:
            self._path = path
            self._file.move(path)
            self.reopen()

    def close(self) -> Deferred[None]:
        """Write what is there and close the file; fires when that is done, or cannot be."""
        if self._closed is None:
            self._closed = Deferred()
            if not self._is_writing:
                self._write()
        return succeed(None) if self._closed.called else self._closed

    def _write(self) -> None:
        if self._later is not None and self._later.active():
            self._later.cancel()
        self._later = None
        self._is_writing = True
        lines, self._lines = b"".join(self._lines), []
        writing = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._file.append, lines)
        writing.addCallback(self._written, lines).addErrback(_unexpected)

    def _written(self, outcome: "tuple[int, str | None]", lines: bytes) -> None:
        count, fault = outcome
        self._is_writing = False
        self._kept_bytes -= count
        if count < len(lines):
            self._lines.insert(0, lines[count:])
        if fault is not None and not self._is_troubled:
            self._is_troubled = True
            self._say_trouble(fault)
        elif fault is None and self._is_troubled:
            self._say_over()
            self._is_troubled = False
            self._lost = 0
        if self._closed is not None and (fault is not None or not self._lines):
            self._file.close()
            self._closed.callback(None)
        elif self._closed is not None or (self._kept_bytes >= FLUSH_BYTES and fault is None):
            self._write()
        elif self._lines or self._file.is_outdated:
            self._later = self._reactor.callLater(FLUSH_SECONDS if fault is None else RETRY_SECONDS, self._write)

    def _lose_one(self) -> None:
        self._lost += 1
        if not self._is_troubled:
            self._is_troubled = True
            log.warn(
                "{path} takes the lines of the {log_what} too slowly, some are lost",
                event=self._event("failed"),
                log_what=self._what,
                path=self._path,
            )

    def _say_trouble(self, fault: str) -> None:
        log.warn(
            "the {log_what} is not written, connections go on: {fault}; up to {kept} MiB of lines wait for better",
            event=self._event("failed"),
            log_what=self._what,
            fault=fault,
            kept=KEPT_BYTES >> 20,
        )

    def _say_over(self) -> None:
        log.info(
            "the {log_what} {path} is written again, {lost} lines are lost",
            event=self._event("restored"),
            log_what=self._what,
            path=self._path,
            lost=self._lost,
        )

    def _event(self, what: str) -> str:
        return f"{self._what.replace(' ', '_')}_{what}"


class _File:
    """The file below; `append` runs in a thread, one at a time."""

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        self._what = what
        self._descriptor: int | None = None
        self._is_torn = False  # what was written last ends within a line
        self.is_outdated = False

    def open(self) -> None:
        """Open what is at the path now. Raises LineFileError."""
        try:
            # O_NONBLOCK: a pipe that nobody reads is an error, not a wait
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
            # Whoever may move logs away could lay a link to another file there; /dev/stdout is a link of root's.
            flags |= 0 if self._path.parent == _DEVICES else os.O_NOFOLLOW
            self._descriptor = os.open(self._path, flags, MODE)
        except OSError as error:
            raise LineFileError(
                f"the {self._what} {self._path} cannot be opened: {_why_not(self._path, error)}"
            ) from error

    def append(self, lines: bytes) -> tuple[int, str | None]:
        """How many bytes of `lines` need not be written again, and why not all of them."""
        done = 0
        try:
            if self._is_to_be_opened():
                self.close()
                self.open()
                if self._is_torn:  # its beginning is in the old file
                    done = lines.find(b"\n") + 1
                    self._is_torn = False
            assert self._descriptor is not None
            while done < len(lines):
                done += os.write(self._descriptor, lines[done:])
                self._is_torn = not lines.endswith(b"\n", 0, done)
        except LineFileError as error:
            return done, str(error)
        except OSError as error:
            return done, f"{self._path} cannot be written: {error.strerror}"
        return done, None

    def close(self) -> None:
        """Close it, if it is open."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def move(self, path: Path) -> None:
        """Go on at another path; told while lines may be being appended in a thread, so nothing is closed here."""
        self._path = path
        self.is_outdated = True

    def _is_to_be_opened(self) -> bool:
        if self._descriptor is None or self.is_outdated:
            self.is_outdated = False
            return True
        status = os.fstat(self._descriptor)
        return stat.S_ISREG(status.st_mode) and status.st_nlink == 0  # deleted: it takes lines that nobody will read


def _why_not(path: Path, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return f"the folder {path.parent} does not exist, make it or name another file"
        case errno.EISDIR:
            return "it is a folder, name a file"
        case errno.ELOOP:
            return "it is a symbolic link, name the file itself"
        case errno.ENXIO:
            return "it is a pipe or a socket that nobody reads, name a file"
        case _:
            return str(error.strerror)


def _unexpected(failure: Failure) -> None:
    log.failure("while a log file was written", failure)
