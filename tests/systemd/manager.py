"""
A service manager of the tests' own: it holds the sockets of a service, starts it as systemd does (LISTEN_FDS,
NOTIFY_SOCKET, WATCHDOG_USEC), and hears what it is told.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

FIRST = 3
HEARD_SECONDS = 20.0


class Manager:
    """See the module; a context that ends what it started. `sockets` are listening."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        sockets: Sequence[socket.socket] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.command = list(command)
        self.log_path = folder / "service.log"
        self._sockets = list(sockets)
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.bind(str(folder / "notify.sock"))
        self._environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(folder / "notify.sock"),
            **({"LISTEN_FDS": str(len(self._sockets))} if self._sockets else {}),
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def start(self) -> None:
        numbers = range(FIRST, FIRST + len(self._sockets))
        # Out of the way first: one of them may have the number of another.
        copies = [os.dup(one.fileno()) for one in self._sockets]
        high = [self._above(copy, numbers.stop) for copy in copies]

        def in_child() -> None:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
            for number, copy in zip(numbers, high, strict=True):
                os.dup2(copy, number)

        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", 'export LISTEN_PID=$$ WATCHDOG_PID=$$; exec "$@"', "sh", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                pass_fds=tuple(numbers),
                preexec_fn=in_child,  # noqa: PLW1509 - nothing of Python's is used that another thread may hold
            )
        for copy in {*copies, *high}:
            os.close(copy)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float = 15.0) -> int:
        assert self._process is not None
        return self._process.wait(seconds)

    def hear(self, beginning: str, seconds: float = HEARD_SECONDS) -> str:
        """The next message that begins so; those before it are passed over."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._told.settimeout(left)
            with contextlib.suppress(TimeoutError):
                said = self._told.recv(4096).decode()
                if said.startswith(beginning):
                    return said
        raise AssertionError(f"{beginning} was not told within {seconds:g} s:\n{self.log}")

    def heard(self, seconds: float) -> list[str]:
        """All messages that come within `seconds`, those that waited included."""
        found = []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._told.settimeout(left)
            with contextlib.suppress(TimeoutError):
                found.append(self._told.recv(4096).decode())
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._told.close()

    def _above(self, descriptor: int, lowest: int) -> int:
        taken = []
        while descriptor < lowest:
            taken.append(descriptor)
            descriptor = os.dup(descriptor)
        for one in taken:
            os.close(one)
        return descriptor
