"""
Which processes does the demo run, and what becomes of one that ends?

Each dies with the demo, whatever ends it, and is started again a while after it ended.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final

AGAIN_SECONDS: Final = 3.0
STOP_SECONDS: Final = 8.0

_PR_SET_PDEATHSIG: Final = 1
_LOG_END_BYTES: Final = 4096
_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Child:
    """The process `name`, whose output goes to the file `log`. Started at once."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self._command = command
        self._log_path = log
        self._log: IO[bytes] = log.open("ab")
        self._ended_at: float | None = None
        self._process = self._start()

    @property
    def pid(self) -> int | None:
        """Its process id, None while it is down."""
        return None if self._ended_at is not None else self._process.pid

    @property
    def last_words(self) -> str:
        """The last line of its log."""
        with self._log_path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _LOG_END_BYTES))
            lines = log.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "nothing")

    def tend(self) -> str | None:
        """Start it again if it ended a while ago. Says what happened, if anything did."""
        now = time.monotonic()
        if self._ended_at is None:
            status = self._process.poll()
            if status is None:
                return None
            self._ended_at = now
            return f"{self.name} (process {self._process.pid}) {_how(status)}"
        if now - self._ended_at < AGAIN_SECONDS:
            return None
        self._ended_at = None
        self._process = self._start()
        return f"{self.name} was started again as process {self._process.pid}"

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process.poll() is None:
            self._process.terminate()

    def wait(self, until: float) -> None:
        """Until it has ended; killed at `until`, of the monotonic clock."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, until - time.monotonic()))
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C in the terminal is the demo's to handle, in order.
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            preexec_fn=_dies_with(os.getpid()),  # noqa: PLW1509 - the one way to set it before anything else runs
        )


def stop(children: Sequence[Child]) -> None:
    """End them in this order, each given its time."""
    until = time.monotonic() + STOP_SECONDS
    for child in children:
        child.terminate()
        child.wait(until)


def _dies_with(parent: int) -> Callable[[], None]:
    def set_death_signal() -> None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before this was set
            os._exit(1)

    return set_death_signal


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
