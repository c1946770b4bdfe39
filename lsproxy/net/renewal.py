"""
Is there anything new in files that a daemon has read, such as its certificate, and is it fit for use?

    in use --a file is another--> changing --the same twice running--> read --fit--> in use
                                      ^                                  |
                                      +---------- not fit: said ---------+

Files are looked at every `LOOK_SECONDS`. Who renews a certificate and its key writes one after the other, so what has
just changed is left to settle until the next look. What does not fit then is said once, and what was read before stays.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from lsproxy.errors import LsproxyError

LOOK_SECONDS: Final = 2.0

T = TypeVar("T")
Stamp = tuple[tuple[int, ...] | None, ...]

log = Logger()


class Renewed(Generic[T]):
    """
    `value` is what `read` makes of `files`, now and whenever they have changed. `what` is what the log calls them, such
    as "the certificate FILE".

    Raises LsproxyError, that of `read`, if it cannot be read now.
    """

    def __init__(self, what: str, files: Sequence[Path], read: Callable[[], T]) -> None:
        self.become(what, files, read)

    def become(self, what: str, files: Sequence[Path], read: Callable[[], T]) -> None:
        """Go on with other files. Raises LsproxyError, and then nothing has changed."""
        stamp = _stamp(files)  # before reading: what comes in between is seen as a change
        self.value = read()
        self._what = what
        self._files = tuple(files)
        self._read = read
        self._taken: Stamp = stamp
        self._seen: Stamp = stamp

    def look(self) -> bool:
        """Whether `value` is another one now."""
        stamp = _stamp(self._files)
        if stamp == self._taken or stamp != self._seen:
            self._seen = stamp
            return False
        self._taken = stamp
        try:
            self.value = self._read()
        except LsproxyError as problem:
            log.error(
                "{what} was changed and cannot be used, the old one goes on: {problem}",
                event="renewal_refused",
                what=self._what,
                problem=problem,
            )
            return False
        log.info("{what} was renewed", event="renewed", what=self._what)
        return True


class Lookout:
    """Looks at something every `LOOK_SECONDS` from `start` to `stop`."""

    def __init__(self, reactor: IReactorTime, look: Callable[[], object]) -> None:
        self._looking = LoopingCall(look)
        self._looking.clock = reactor

    def start(self) -> None:
        """Begin."""
        self._looking.start(LOOK_SECONDS, now=False).addErrback(_unexpected)

    def stop(self) -> None:
        """End."""
        if self._looking.running:
            self._looking.stop()


def _stamp(files: Sequence[Path]) -> Stamp:
    return tuple(_stamp_of(file) for file in files)


def _stamp_of(file: Path) -> tuple[int, ...] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _unexpected(failure: Failure) -> None:
    log.failure("files are not looked at any more", failure)
