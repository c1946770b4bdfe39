"""Seat clients of the benchmarks: raw seat/1 over sockets, blocking, nothing hidden."""

import contextlib
import json
import os
import socket
import time
from typing import Any

PATIENCE_SECONDS = 30.0


class Client:
    """One session on one connection to a port; `seats` maps handles to seat numbers as told."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._session = os.urandom(16).hex()
        self._attempt = 0
        self._id = 0
        self.seats: dict[int, int] = {}
        self.resumed: list[dict[str, Any]] = []
        self.connect()

    def connect(self) -> dict[str, Any]:
        """Connect, and say hello; the reply. Raises OSError."""
        self._attempt += 1
        self._connection = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_SECONDS)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._connection.makefile("rb")
        hello = {"op": "hello", "protocol": "seat/1", "session": self._session, "attempt": self._attempt}
        return self.ask({**hello, "user": "bench", "host": "bench"})

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request, which gets the next id. Raises OSError when the connection ends."""
        return self.receive(self.send(request))

    def send(self, request: dict[str, Any]) -> int:
        """Send a request; its id."""
        self._id = request.setdefault("id", self._id + 1)
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        return self._id

    def receive(self, number: int) -> dict[str, Any]:
        """The reply to request `number`."""
        while line := self._lines.readline():
            message: dict[str, Any] = json.loads(line)
            if message.get("event") == "resumed":
                self.resumed.append(message)
            elif message.get("id") == number and "event" not in message:
                return message
        raise ConnectionError("closed")

    def checkout(self) -> dict[str, Any]:
        """Take one seat."""
        reply = self.ask({"op": "checkout", "feature": "big"})
        if reply["ok"]:
            self.seats[reply["handle"]] = reply["seat"]
        return reply

    def checkout_whatever_happens(self) -> None:
        """Take one seat, with as many new connections as it takes: what a client does without lsproxy."""
        number = self._id + 1
        while True:
            with contextlib.suppress(OSError, ValueError):
                reply = self.ask({"id": number, "op": "checkout", "feature": "big"})
                if reply["ok"]:
                    self.seats[reply["handle"]] = reply["seat"]
                    return
            self.close()
            time.sleep(0.01)
            with contextlib.suppress(OSError, ValueError):
                number = self._id + 2
                self.connect()

    def close(self) -> None:
        """Drop the connection."""
        self._lines.close()
        self._connection.close()
