"""
How do uses of seats read in the debug log that analyzers of FlexNet know?

    8:00:00 (lmgrd) TIMESTAMP 11/21/2026
    8:09:01 (acme) OUT: "cad" alice@ws1  [192.0.2.7]
    8:09:05 (acme) OUT: "cad" bob@ws2  (5 licenses) [192.0.2.8]
    8:09:09 (acme) DENIED: "cad" carol@ws3  (Licensed number of users already reached. (-4,342)) [192.0.2.9]

Readers take what stands before the two spaces by regular expressions, and the number of licenses if it follows them;
the client's address is behind everything they look for. Times are local, the date stands in a TIMESTAMP: before the
first line, whenever the day has changed, and every six hours in which there is a line. A word that came from a client
cannot make a line, a column or a name of its own: what has no place in it becomes `_`.
"""

import re
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred

from licserver.core.uses import Use
from lsproxy.linefile import LineFile
from lsproxy.net.reactor import BoottimeReactor

TIMESTAMP_SECONDS: Final = 6 * 3600

_TEXTS: Final = {  # FlexNet's, with its numbers
    "no_seats": "Licensed number of users already reached. (-4,342)",
    "unknown_feature": "No such feature exists. (-5,357)",
    "host_mismatch": "Invalid host. (-9,57)",
    "expired": "Feature has expired. (-10,32)",
    "version_not_covered": "License server system does not support this version of this feature. (-25,334)",
    "over_limit": "Request for more licenses than this feature supports. (-26)",
    "not_started": "Feature start date is in the future. (-31)",
    "excluded": "User/host on EXCLUDE list for feature. (-38)",
}
_UNUSUAL: Final = re.compile(r"[^!-~]|[\"'()@\[\]]")
_UNUSUAL_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_.:-]")
_UNUSUAL_IN_REASON: Final = re.compile(r"[^ -~]|[\"()\[\]]")


class DebugLog:
    """
    The file at `path`; see the module. Call it with a use that the journal keeps. `wall` gives seconds since 1970,
    `local` makes local time of them.

    Raises LineFileError when the file cannot be opened.
    """

    def __init__(
        self,
        reactor: BoottimeReactor,
        path: Path,
        wall: Callable[[], float],
        local: Callable[[float], time.struct_time] = time.localtime,
    ) -> None:
        self.path = path
        self._file = LineFile(reactor, path, "debug log")
        self._wall = wall
        self._local = local
        self._second = -1
        self._clock = ""
        self._date = ""
        self._stamped_at = 0.0

    def __call__(self, use: Use) -> None:
        """Write a use down."""
        now = self._wall()
        stamp = self._tell_time(now)
        self._file.write(f"{stamp}{self._clock} {text_of(use)}\n".encode("ascii"))

    def reopen(self) -> None:
        """Go on in a new file: the old one was moved away."""
        self._date = ""
        self._file.reopen()

    def close(self) -> Deferred[None]:
        """Write what is there and close the file; fires when that is done."""
        return self._file.close()

    def _tell_time(self, now: float) -> str:
        """A TIMESTAMP line, if one is due."""
        second = int(now)
        if second == self._second and self._date:
            return ""
        self._second = second
        local = self._local(now)
        self._clock = f"{local.tm_hour}:{local.tm_min:02}:{local.tm_sec:02}"
        date = f"{local.tm_mon}/{local.tm_mday}/{local.tm_year}"
        if date == self._date and abs(now - self._stamped_at) < TIMESTAMP_SECONDS:
            return ""
        self._date, self._stamped_at = date, now
        return f"{self._clock} (lmgrd) TIMESTAMP {date}\n"


def text_of(use: Use) -> str:
    """A use as a line without its time; one line of printable ASCII, whatever the words in it are."""
    several = f"({use.count} licenses) " if use.count > 1 else ""
    why = f"({_reason(use)}) " if use.kind == "DENIED" else ""
    vendor, address = _name(use.vendor, "licserver"), _name(use.address, "-")
    return f'({vendor}) {use.kind}: "{_word(use.feature)}" {_who(use.user, use.host)}  {several}{why}[{address}]'


def _reason(use: Use) -> str:
    return _TEXTS.get(use.code) or _UNUSUAL_IN_REASON.sub("_", use.reason)


@lru_cache(8192)
def _who(user: str, host: str) -> str:
    return f"{_word(user)}@{_name(host, '-')}"


@lru_cache(1024)
def _word(text: str) -> str:
    return _UNUSUAL.sub("_", text) or "-"


@lru_cache(8192)
def _name(text: str, instead: str) -> str:
    return _UNUSUAL_IN_NAME.sub("_", text) or instead
