"""What does a client of a relayed server see? One connection, lines asked and answered, and how it ended."""

import socket
import time
from typing import Self

from tests.relay.standin import exchange, sent

SECONDS = 15.0


class Line:
    """A connection as a context: to a port of 127.0.0.1 from `source`; or `there`, one that is made already."""

    def __init__(self, port: int, *, source: str = "127.0.0.1", there: socket.socket | None = None) -> None:
        bound = None if source == "127.0.0.1" else (source, 0)  # a port that is picked before is gone for a minute
        self.socket = there or socket.create_connection(("127.0.0.1", port), SECONDS, source_address=bound)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def say(self, text: str) -> None:
        self.socket.sendall(text.encode() + b"\n")

    def hear(self) -> str:
        """The next line, empty at EOF."""
        return self._lines.readline().decode().rstrip("\n")

    def ask(self, text: str) -> str:
        self.say(text)
        return self.hear()

    def shut(self) -> None:
        """Send an EOF."""
        self.socket.shutdown(socket.SHUT_WR)

    def end(self, seconds: float = SECONDS) -> str:
        """How the other side ends it, without another byte: `eof`, `reset`, or `still open` after so many seconds."""
        self.socket.settimeout(seconds)
        try:
            rest = self.socket.recv(1)
        except ConnectionResetError:
            return "reset"
        except TimeoutError:
            return "still open"
        finally:
            self.socket.settimeout(SECONDS)
        assert not rest, rest
        return "eof"

    def exchange(self, length: int) -> tuple[str, str, str]:
        """So many bytes both ways at once; what was received here, what there, and what was to be received there."""
        self.say(f"exchange {length}")
        here = exchange(self.socket, self._lines.read, length, seed=1)
        return here, self.hear(), checksum(length, seed=1)

    def upload(self, length: int) -> tuple[str, str]:
        """So many bytes, then EOF; what was sent, and what the server says to have received."""
        self.say("upload")
        told = sent(self.socket, length, seed=1)
        self.shut()
        return told, self.hear()

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


class _Nowhere:
    """Where bytes are only counted."""

    def sendall(self, _bytes: bytes) -> None:
        pass


def checksum(length: int, seed: int) -> str:
    """Length and checksum of what is sent with that seed."""
    return sent(_Nowhere(), length, seed)


def ask(port: int, text: str = "who") -> str:
    """One question on a connection of its own."""
    with Line(port) as line:
        return line.ask(text)


def outcome(port: int, text: str = "who", *, source: str = "127.0.0.1") -> str:
    """The answer to one question, or `refused`, `reset`, `eof`, `silence`."""
    try:
        with Line(port, source=source) as line:
            return line.ask(text) or "eof"
    except ConnectionRefusedError:
        return "refused"
    except (ConnectionResetError, BrokenPipeError):
        return "reset"
    except TimeoutError:
        return "silence"


def answered(port: int, text: str = "who", seconds: float = SECONDS) -> tuple[str, float]:
    """The first answer to a client that connects again whenever it is refused, and how many seconds it took."""
    began = time.monotonic()
    while True:
        answer = outcome(port, text)
        taken = time.monotonic() - began
        if answer not in {"refused", "reset", "eof", "silence"} or taken > seconds:
            return answer, taken
        time.sleep(0.005)
