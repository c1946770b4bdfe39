"""
Which connections were there, and how did each end? One line in a file for each, when it has ended.

    2026-11-21T20:48:00.123Z client=192.0.2.7:51234 listener=lmgrd pool=mcad backend=fn-a received=120 sent=4096 \
duration=3.218 ended=client

The time is that of the end, in UTC. `received` and `sent` are bytes from and to the client, `duration` is in seconds,
a backend of `-` (null in JSON) means that the connection never got to one. The keys and their order stay.

A log must not harm what it tells of: lines are collected and written by a thread, at the latest `FLUSH_SECONDS` after
they came. A disk that is full, slow or gone costs lines, never a connection: up to `KEPT_BYTES` of them wait, what is
beyond is counted, and the daemon's log says it once at the beginning and once at the end.
"""

import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec
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

EndedBy = Literal["client", "server", "lsproxy", "timeout", "switch"]
"""Who or what ended a connection first."""

log = Logger()


class AccessLogError(LsproxyError):
    """The file of the access log cannot be opened; `str()` says which and why."""


class Ended(msgspec.Struct, frozen=True, gc=False):
    """
    How one connection went: `client` is host:port, `received` and `sent` are bytes from and to it, `duration` is in
    seconds, `ended` is who ended it first.
    """

    client: str
    listener: str
    pool: str
    backend: str | None
    received: int
    sent: int
    duration: float
    ended: EndedBy


class AccessLog:
    """
    The file at `path`, made with mode 0640 where it is missing. `wall` gives seconds since 1970.

    Raises AccessLogError when it cannot be opened.
    """

    def __init__(
        self, reactor: BoottimeReactor, path: Path, form: Literal["text", "json"], wall: Callable[[], float]
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._format = _as_text if form == "text" else _as_json
        self._wall = wall
        self._second = -1
        self._second_text = ""
        self._file = _File(path)
        self._lines: list[bytes] = []
        self._kept_bytes = 0  # of all lines that are not in the file yet, those being written included
        self._lost = 0
        self._is_troubled = False
        self._is_writing = False
        self._later: IDelayedCall | None = None
        self._closed: Deferred[None] | None = None
        self._file.open()

    def record(self, ended: Ended) -> None:
        """Write a line about a connection, soon."""
        if self._closed is not None:
            return
        line = self._format(self._time(), ended)
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

    def close(self) -> Deferred[None]:
        """Write what is there and close the file; fires when that is done, or cannot be."""
        if self._closed is None:
            self._closed = Deferred()
            if not self._is_writing:
                self._write()
        return succeed(None) if self._closed.called else self._closed

    def _time(self) -> str:
        now = self._wall()
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{int((now - second) * 1000):03}Z"

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
            log.warn(
                "the access log is not written, connections go on: {fault}; up to {kept} MiB of lines wait for better",
                fault=fault,
                kept=KEPT_BYTES >> 20,
            )
        elif fault is None and self._is_troubled:
            log.info("the access log {path} is written again, {lost} lines are lost", path=self._path, lost=self._lost)
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
            log.warn("{path} takes the lines of the access log too slowly, some are lost", path=self._path)


class _File:
    """The file below; `append` runs in a thread, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._is_torn = False  # what was written last ends within a line
        self.is_outdated = False

    def open(self) -> None:
        """Open what is at the path now. Raises AccessLogError."""
        try:
            # O_NONBLOCK: a pipe that nobody reads is an error, not a wait
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
            self._descriptor = os.open(self._path, flags, MODE)
        except OSError as error:
            raise AccessLogError(_why_not(self._path, error)) from error

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
        except AccessLogError as error:
            return done, str(error)
        except OSError as error:
            return done, f"{self._path} cannot be written: {error.strerror}"
        return done, None

    def close(self) -> None:
        """Close it, if it is open."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _is_to_be_opened(self) -> bool:
        if self._descriptor is None or self.is_outdated:
            self.is_outdated = False
            return True
        status = os.fstat(self._descriptor)
        return stat.S_ISREG(status.st_mode) and status.st_nlink == 0  # deleted: it takes lines that nobody will read


def _as_text(when: str, ended: Ended) -> bytes:
    return (
        f"{when} client={ended.client} listener={ended.listener} pool={ended.pool} backend={ended.backend or '-'}"
        f" received={ended.received} sent={ended.sent} duration={ended.duration:.3f} ended={ended.ended}\n"
    ).encode()


def _as_json(when: str, ended: Ended) -> bytes:
    line = {"time": when, **msgspec.structs.asdict(ended), "duration": round(ended.duration, 3)}
    return msgspec.json.encode(line) + b"\n"


def _why_not(path: Path, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            why = f"the folder {path.parent} does not exist, make it or name another file"
        case errno.EISDIR:
            why = "it is a folder, name a file"
        case errno.ENXIO:
            why = "it is a pipe or a socket that nobody reads, name a file"
        case _:
            why = str(error.strerror)
    return f"the access log {path} cannot be opened: {why}"


def _unexpected(failure: Failure) -> None:
    log.failure("while the access log was written", failure)
