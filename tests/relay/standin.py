"""
A license server of another make, as far as a proxy can tell: it answers lines on one or several ports.

    python standin.py NAME [PORTNAME=]PORT… [--host 127.0.0.1] [--proxied] [--slow SECONDS]

    who       its name, and the port's name if that has one
    count     how many connections have said something and are open, this one included
    nth       the number of this connection among all of its port
    from      who has connected: HOST:PORT of the client, then of what it dialled
    bye       the answer `bye`, then EOF
    reset     a reset
    shut      an EOF; what still comes is kept
    kept      what came after the last `shut`
    upload    all until EOF; the answer is its length and checksum
    exchange N   N bytes both ways at once; then each tells length and checksum of what it has received

Any other line comes back. `--proxied`: connections begin with a PROXY header. `--slow`: each is answered that late.
What takes its time has a thread of its own; all others share one, so that thousands of them cost little.
"""

import argparse
import contextlib
import hashlib
import io
import itertools
import selectors
import socket
import struct
import threading
import time

BLOCK = 1 << 20
AT_ONCE = 65_536
LONG = {b"upload", b"exchange", b"shut"}
SIGNATURE_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Conversation:
    """One connection: `key` is its port's name and its number there; `rest` is read, and no whole line yet."""

    def __init__(self, connection: socket.socket, key: tuple[str, int]) -> None:
        self.connection = connection
        self.key = key
        self.rest = b""


class Unread(io.RawIOBase):
    """What was read of a connection already, then what still comes."""

    def __init__(self, first: bytes, connection: socket.socket) -> None:
        self._first = first
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, room) -> int:
        if not self._first:
            return self._connection.recv_into(room)
        piece, self._first = self._first[: len(room)], self._first[len(room) :]
        room[: len(piece)] = piece
        return len(piece)


class Server:
    """What all connections share."""

    def __init__(self, name: str, *, is_proxied: bool, slow: float) -> None:
        self._name = name
        self._is_proxied = is_proxied
        self._slow = slow
        self._open: set[tuple[str, int]] = set()
        self._kept = b""
        self._selector = selectors.DefaultSelector()

    def listen(self, listening: socket.socket, port_name: str) -> None:
        listening.setblocking(False)
        numbers = itertools.count()
        self._selector.register(listening, selectors.EVENT_READ, (listening, port_name, numbers))

    def run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if isinstance(key.data, Conversation):
                    self._hear(key.data)
                else:
                    self._accept(*key.data)

    def _accept(self, listening: socket.socket, port_name: str, numbers: itertools.count) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = listening.accept()
                connection.setblocking(True)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                one = Conversation(connection, (port_name, next(numbers)))
                if self._is_proxied or self._slow:
                    self._go_on_alone(one)
                else:
                    self._selector.register(connection, selectors.EVENT_READ, one)

    def _hear(self, one: Conversation) -> None:
        """What has come on a connection that shares the thread."""
        try:
            received = one.connection.recv(AT_ONCE)
            one.rest += received
            while received and b"\n" in one.rest:
                if one.rest.partition(b"\n")[0].partition(b" ")[0] in LONG:
                    self._selector.unregister(one.connection)
                    self._go_on_alone(one)
                    return
                line, _, one.rest = one.rest.partition(b"\n")
                self._open.add(one.key)
                ends = (one.connection.getpeername(), one.connection.getsockname())
                one.connection.sendall(self._answer(one, io.BytesIO(), line.decode("latin-1"), ends))
        except (OSError, EOFError):
            received = b""
        if not received:
            self._selector.unregister(one.connection)
            self._open.discard(one.key)
            one.connection.close()

    def _go_on_alone(self, one: Conversation) -> None:
        threading.Thread(target=self._converse, args=(one,), daemon=True).start()

    def _converse(self, one: Conversation) -> None:
        with one.connection as connection, contextlib.suppress(OSError, EOFError):
            lines = io.BufferedReader(Unread(one.rest, connection), 4 * AT_ONCE)
            ends = header(lines) if self._is_proxied else (connection.getpeername(), connection.getsockname())
            try:
                for line in iter(lines.readline, b""):
                    self._open.add(one.key)
                    time.sleep(self._slow)
                    connection.sendall(self._answer(one, lines, line.decode("latin-1"), ends))
            finally:
                self._open.discard(one.key)

    def _answer(self, one: Conversation, lines, line: str, ends) -> bytes:
        """The answer to a line; EOFError where the connection is to end."""
        connection = one.connection
        match line.split():
            case ["who"]:
                answer = f"{self._name} {one.key[0]}".strip()
            case ["nth"]:
                answer = str(one.key[1])
            case ["count"]:
                answer = str(len(self._open))
            case ["from"]:
                answer = " ".join(f"{host}:{port}" for host, port in ends)
            case ["kept"]:
                answer = self._kept.decode("latin-1")
            case ["bye"]:
                connection.sendall(b"bye\n")
                raise EOFError
            case ["reset"]:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                raise EOFError
            case ["shut"]:
                connection.shutdown(socket.SHUT_WR)
                self._kept = lines.read()
                raise EOFError
            case ["upload"]:
                answer = summed(lines.read)
            case ["exchange", length]:
                answer = exchange(connection, lines.read, int(length), seed=2)
            case _:
                answer = line.rstrip("\n")
        return answer.encode("latin-1") + b"\n"


def block(seed: int) -> bytes:
    """A mebibyte that looks like noise, the same for the same seed."""
    return hashlib.shake_128(bytes([seed])).digest(BLOCK)


def sent(connection: socket.socket, length: int, seed: int) -> str:
    """Send so many bytes; their length and checksum."""
    noise = block(seed)
    digest = hashlib.sha256()
    for start in range(0, length, BLOCK):
        piece = noise[: length - start]
        connection.sendall(piece)
        digest.update(piece)
    return f"{length} {digest.hexdigest()}"


def summed(read, most: int | None = None) -> str:
    """Length and checksum of all that comes until EOF, or of the first `most` bytes."""
    digest = hashlib.sha256()
    length = 0
    while most is None or length < most:
        piece = read(BLOCK if most is None else min(BLOCK, most - length))
        if not piece:
            break
        length += len(piece)
        digest.update(piece)
    return f"{length} {digest.hexdigest()}"


def exchange(connection: socket.socket, read, length: int, seed: int) -> str:
    """Send and receive so many bytes at once; length and checksum of those received."""
    sending = threading.Thread(target=sent, args=(connection, length, seed), daemon=True)
    sending.start()
    received = summed(read, length)
    sending.join()
    return received


def header(lines) -> tuple[tuple[str, int], tuple[str, int]]:
    """The two ends that a PROXY header of version 1 or 2 names; EOFError where there is none."""
    first = lines.read(6)
    if first == b"PROXY ":
        family, *words = lines.readline().decode().split()
        if family != "TCP4":
            raise EOFError
        source, destination, source_port, destination_port = words
        return (source, int(source_port)), (destination, int(destination_port))
    if first + lines.read(6) != SIGNATURE_V2:
        raise EOFError
    command, family, length = struct.unpack("!BBH", lines.read(4))
    rest = lines.read(length)
    if (command, family) != (0x21, 0x11):  # PROXY, TCP over IPv4
        raise EOFError
    source, destination, source_port, destination_port = struct.unpack("!4s4sHH", rest[:12])
    return (socket.inet_ntoa(source), source_port), (socket.inet_ntoa(destination), destination_port)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("name")
    arguments.add_argument("ports", nargs="+")
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--proxied", action="store_true")
    arguments.add_argument("--slow", type=float, default=0.0)
    told = arguments.parse_args()
    server = Server(told.name, is_proxied=told.proxied, slow=told.slow)
    for place in told.ports:
        port_name, _, number = place.rpartition("=")
        server.listen(socket.create_server((told.host, int(number)), backlog=4096), port_name)
    server.run()


if __name__ == "__main__":
    main()
