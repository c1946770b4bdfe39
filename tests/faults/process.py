"""How is a real daemon started, stopped, killed and watched? A child process whose log is a file; it dies with us."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

Answer = TypeVar("Answer")

SETPRIV = "/usr/bin/setpriv"
PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.02


def wait_for(ask: Callable[[], Answer], what: str, seconds: float = PATIENCE_SECONDS) -> Answer:
    """The first truthy answer to `ask`; AssertionError with `what` if there is none in time."""
    end = time.monotonic() + seconds
    while not (answer := ask()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(LOOK_SECONDS)
    return answer


class Child:
    """A command that can be run again and again; all its runs write to one log."""

    def __init__(
        self, name: str, command: Sequence[str], log_path: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.command = [SETPRIV, "--pdeathsig", "KILL", *command]
        self.log_path = log_path
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """All it ever wrote."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def is_running(self) -> bool:
        """Also true of a stopped one."""
        return self._process is not None and self._process.poll() is None

    @property
    def is_stopped(self) -> bool:
        return self.is_running and self._status("State").startswith("T")

    def start(self) -> None:
        assert not self.is_running, f"{self.name} runs already"
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment
            )

    def kill(self) -> None:
        """SIGKILL; it is gone when this returns."""
        self.signal(signal.SIGKILL)
        self.wait()

    def signal(self, number: signal.Signals) -> None:
        if self.is_running:
            os.kill(self.pid, number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit status."""
        assert self._process is not None
        return self._process.wait(seconds)

    def resident_bytes(self) -> int:
        """Its resident memory."""
        return int(self._status("VmRSS").split()[0]) * 1024

    def descriptors(self) -> int:
        """How many file descriptors it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def _status(self, field: str) -> str:
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            return "0"
        return next((line.partition(":")[2].strip() for line in lines if line.startswith(f"{field}:")), "0")
