"""One connection that speaks the seat protocol by hand, and a session that is kept over several of them."""

import json
import secrets
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, Self

Address = tuple[str, int]
Message = dict[str, Any]

SECONDS = 20.0
UNKNOWN_OUTCOME = frozenset({"not_active", "isolated", "no_backend", "overloaded"})


class Hung(AssertionError):
    """Nothing came in time."""


class Caller:
    """A connection to `address`. Events are kept in `events`, replies that nobody asked for yet in `replies`."""

    def __init__(self, address: Address, seconds: float = SECONDS) -> None:
        self.socket = socket.create_connection(address, timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.seconds = seconds
        self.events: list[Message] = []
        self.replies: dict[int, Message] = {}
        self._rest = b""
        self._last_id = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, op: str, **fields: Any) -> int:
        """Its id, one higher than the last unless `id` is given."""
        number = fields.pop("id", self._last_id + 1)
        self._last_id = max(self._last_id, number)
        self.write(json.dumps({"id": number, "op": op, **fields}).encode() + b"\n")
        return number

    def write(self, content: bytes) -> None:
        self.socket.sendall(content)

    def ask(self, op: str, **fields: Any) -> Message:
        """The reply to one request."""
        return self.reply(self.send(op, **fields))

    def reply(self, number: int) -> Message:
        """The reply with that id. Raises Hung, and ConnectionError when the connection ends before."""
        while number not in self.replies:
            message = self.hear()
            if message is None:
                raise ConnectionResetError(f"closed before the reply to {number}")
        return self.replies.pop(number)

    def hear(self) -> Message | None:
        """The next message, also put where it belongs; None at the end of the connection."""
        while b"\n" not in self._rest:
            try:
                arrived = self.socket.recv(262_144)
            except TimeoutError:
                raise Hung(f"nothing came in {self.seconds:g} s") from None
            if not arrived:
                return None
            self._rest += arrived
        line, _, self._rest = self._rest.partition(b"\n")
        message: Message = json.loads(line)
        if "event" in message:
            self.events.append(message)
        else:
            self.replies[message["id"]] = message
        return message

    def hear_all(self) -> list[Message]:
        """Everything up to the end of the connection, which a reset may be."""
        heard = []
        try:
            while (message := self.hear()) is not None:
                heard.append(message)
        except ConnectionError:
            pass
        return heard

    def hello(self, session: str, attempt: int = 1, **fields: Any) -> Message:
        hello = {"protocol": "seat/1", "session": session, "attempt": attempt, "user": "kim", "host": "faults"}
        return self.ask("hello", **{**hello, **fields})

    def reset(self) -> None:
        """End the connection with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Keeper:
    """A session that goes on at whichever of `addresses` serves. `seats`: handle to grant."""

    def __init__(self, addresses: Sequence[Address], user: str = "keeper") -> None:
        self._addresses = addresses
        self._user = user
        self.secret = secrets.token_hex(16)
        self.attempt = 0
        self.last_id = 0
        self.seats: dict[int, Message] = {}
        self.welcome: Message = {}
        self.line: Caller | None = None

    def connect(self, seconds: float = SECONDS) -> Message:
        """Say hello until a server welcomes this session; the welcome."""
        self.hang_up()
        end = time.monotonic() + seconds
        while True:
            for address in self._addresses:
                welcome = self._try(address)
                if welcome.get("ok"):
                    self.welcome = welcome
                    return welcome
            assert welcome["error"] in UNKNOWN_OUTCOME, welcome
            assert time.monotonic() < end, f"nobody welcomed a session in {seconds:g} s: {welcome}"
            time.sleep(0.05)

    def ask(self, op: str, **fields: Any) -> Message:
        """A request of this session, repeated with its id on new connections until its outcome is known."""
        if "id" not in fields:
            self.last_id += 1
            fields["id"] = self.last_id
        while True:
            try:
                if self.line is None:
                    self.connect()
                assert self.line is not None
                reply = self.line.ask(op, **fields)
            except ConnectionError:
                self.hang_up()
                continue
            if reply.get("error") not in UNKNOWN_OUTCOME:
                return reply
            self.hang_up()

    def checkout(self, feature: str, **fields: Any) -> Message:
        """A checkout that must succeed."""
        grant = self.ask("checkout", feature=feature, **fields)
        assert grant["ok"], grant
        self.seats[grant["handle"]] = {key: value for key, value in grant.items() if key != "id"}
        return grant

    def hang_up(self) -> None:
        if self.line is not None:
            self.line.socket.close()
            self.line = None

    def assert_keeps(self) -> None:
        """On a new connection every seat is still held, and each checkout repeated gives the same answer."""
        welcome = self.connect()
        assert set(welcome["held"]) == set(self.seats), welcome
        for handle, grant in self.seats.items():
            again = self.ask("checkout", id=handle, feature=grant["feature"], count=grant["count"])
            assert {key: value for key, value in again.items() if key != "id"} == grant

    def _try(self, address: Address) -> Message:
        self.attempt += 1
        self.last_id += 1
        line = None
        try:
            line = Caller(address)
            reply = line.hello(self.secret, self.attempt, id=self.last_id, user=self._user)
        except ConnectionError as problem:
            reply = {"ok": False, "error": "no_backend", "message": str(problem)}
        if reply["ok"]:
            self.line = line
        elif line is not None:
            line.socket.close()
        return reply
