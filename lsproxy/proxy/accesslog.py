"""
Which connections were there, and how did each end? One line in a file for each, when it has ended.

    2026-11-21T20:48:00.123Z client=192.0.2.7:51234 listener=lmgrd pool=mcad backend=fn-a received=120 sent=4096 \
duration=3.218 ended=client

The time is that of the end, in UTC. `received` and `sent` are bytes from and to the client, `duration` is in seconds,
a backend of `-` (null in JSON) means that the connection never got to one. The keys and their order stay.

How they get into the file stands in `lsproxy/linefile.py`.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec
from twisted.internet.defer import Deferred

from lsproxy.linefile import LineFile
from lsproxy.logs import Form
from lsproxy.net.reactor import BoottimeReactor

EndedBy = Literal["client", "server", "lsproxy", "timeout", "switch"]
"""Who or what ended a connection first."""


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

    Raises LineFileError when it cannot be opened.
    """

    def __init__(self, reactor: BoottimeReactor, path: Path, form: Form, wall: Callable[[], float]) -> None:
        self._file = LineFile(reactor, path, "access log")
        self._format = _FORMATS[form]
        self._wall = wall
        self._second = -1
        self._second_text = ""

    def record(self, ended: Ended) -> None:
        """Write a line about a connection, soon."""
        self._file.write(self._format(self._time(), ended))

    def reopen(self) -> None:
        """Go on in a file that is opened anew at the same path: the old one was moved away."""
        self._file.reopen()

    def check(self, path: Path) -> None:
        """Raises LineFileError if `path` could not be gone on in."""
        self._file.check(path)

    def go_on(self, path: Path, form: Form) -> None:
        """What comes from now on goes to the file at `path`, in this form; what is there already may go to it too."""
        self._format = _FORMATS[form]
        self._file.go_on(path)

    def close(self) -> Deferred[None]:
        """Write what is there and close the file; fires when that is done, or cannot be."""
        return self._file.close()

    def _time(self) -> str:
        now = self._wall()
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{int((now - second) * 1000):03}Z"


def _as_text(when: str, ended: Ended) -> bytes:
    return (
        f"{when} client={ended.client} listener={ended.listener} pool={ended.pool} backend={ended.backend or '-'}"
        f" received={ended.received} sent={ended.sent} duration={ended.duration:.3f} ended={ended.ended}\n"
    ).encode()


def _as_json(when: str, ended: Ended) -> bytes:
    line = {"time": when, **msgspec.structs.asdict(ended), "duration": round(ended.duration, 3)}
    return msgspec.json.encode(line) + b"\n"


_FORMATS: Final = {"text": _as_text, "json": _as_json}
