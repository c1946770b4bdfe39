"""
How long did a client wait in the last failover?

A thread asks `status` through the proxy, twenty times a second. An answer of a
higher epoch ends a failover: what was measured is how long that answer took,
from the first asking that the old server left unanswered.
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

INTERVAL_SECONDS: Final = 0.05
AGAIN_SECONDS: Final = 0.002
TIMEOUT_SECONDS: Final = 15.0
_STATUS: Final = b'{"id":1,"op":"status"}\n'


def ask_role(port: int) -> str | None:
    """What the license server at 127.0.0.1:`port` says it is; None where nobody answers yet."""
    try:
        with _lines(port, INTERVAL_SECONDS * 10) as (connection, lines):
            connection.sendall(_STATUS)
            return str(json.loads(lines.readline())["role"])
    except (OSError, ValueError, KeyError):
        return None


class Probe:
    """Asks the proxy at 127.0.0.1:`port` from `start` on, as long as the process lives."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)
        self._epoch = 0
        self._asked_at: float | None = None
        self.waited: float | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                with _lines(self._port, TIMEOUT_SECONDS) as (connection, lines):
                    self._ask(connection, lines)
            except (OSError, ValueError):
                pass  # the proxy is being started again
            time.sleep(AGAIN_SECONDS)

    def _ask(self, connection: socket.socket, lines: BinaryIO) -> None:
        """Until the connection ends; what was not answered on the last one is asked again at once."""
        while True:
            if self._asked_at is None:
                time.sleep(INTERVAL_SECONDS)
                self._asked_at = time.monotonic()
            connection.sendall(_STATUS)
            line = lines.readline()
            if not line or not self._is_answer(json.loads(line), time.monotonic() - self._asked_at):
                return
            self._asked_at = None

    def _is_answer(self, reply: dict[str, Any], waited: float) -> bool:
        if not reply.get("ok"):
            return False
        epoch = int(reply["epoch"])
        if self._epoch and epoch > self._epoch:
            self.waited = waited
        self._epoch = max(self._epoch, epoch)
        return True


@contextlib.contextmanager
def _lines(port: int, timeout: float) -> Iterator[tuple[socket.socket, BinaryIO]]:
    with socket.create_connection(("127.0.0.1", port), timeout) as connection, connection.makefile("rb") as lines:
        yield connection, lines
