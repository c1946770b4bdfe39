"""
What does one recording client do next?

It asks for seats with and without waiting, returns them, beats, says bye,
drops its connection, opens a second one beside the first, and repeats what was
not answered, with the same ids in their order, on the next connection.
"""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.promises.history import History, Record

CONNECT_SECONDS = 2.0
REPLY_SECONDS = 12.0
GOODBYE_SECONDS = 2.0
MOST_HELD = 3
LONGEST_WAIT = 3.0
UNKNOWN_OUTCOME = frozenset({"not_active", "isolated", "no_backend", "overloaded"})

ACTIONS = {"ask": 30, "queue": 20, "return": 35, "beat": 10, "repeat": 3, "drop": 1, "double": 1, "leave": 1}

Message = dict[str, Any]
Endpoint = tuple[str, int]


class Line(asyncio.Protocol):
    """A connection that cuts lines and stamps them as they come."""

    def __init__(self, hear: Callable[[float, Message], None], lost: Callable[[], None], clock: Callable[[], float]):
        self._hear = hear
        self._lost = lost
        self._clock = clock
        self._rest = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        stamp = self._clock()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._hear(stamp, json.loads(line))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it ended makes no difference
        self._lost()


class Connection:
    """One recorded connection. `is_useless` once it is closed or the server is not the one to talk to."""

    def __init__(self, client: "RecordingClient", number: int, session: "Session") -> None:
        self._client = client
        self.number = number
        self.session = session
        self.line = Line(self._heard, self._lost, client.clock)
        self.is_useless = False
        self.sent: dict[int, float] = {}
        self.welcome: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

    def send(self, request: Message) -> None:
        self._client.record(self, "sent", request)
        self.sent[request["id"]] = self._client.clock()
        secret = {"session": self.session.secret} if request["op"] == "hello" else {}
        self.line.transport.write(json.dumps(request | secret).encode() + b"\n")

    def close(self) -> None:
        self.is_useless = True
        self.line.transport.abort()

    def is_overdue(self) -> bool:
        return any(stamp < self._client.clock() - REPLY_SECONDS for stamp in self.sent.values())

    def _heard(self, stamp: float, message: Message) -> None:
        self._client.record(self, "received", message, stamp)
        if "event" not in message:
            self.sent.pop(message["id"], None)
            if not self.welcome.done():
                self.welcome.set_result(message)
                return
        if self.session.connection is self:
            self.session.heard(self, message)

    def _lost(self) -> None:
        self.is_useless = True
        self._client.record(self, "closed", {})
        if not self.welcome.done():
            self.welcome.set_result({"ok": False, "error": "no_backend"})


class Session:
    """What a client knows of its session: what it holds, what it waits for, what was not answered."""

    def __init__(self, label: str, secret: str) -> None:
        self.label = label
        self.secret = secret
        self.attempt = 0
        self.last_id = 0
        self.heartbeat = 1.0
        self.last_beat = 0.0
        self.connection: Connection | None = None
        self.active: Endpoint | None = None
        self.unanswered: dict[int, Message] = {}
        self.held: dict[int, Message] = {}
        self.is_over = False

    def next_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def ask(self, op: str, **rest: Any) -> None:
        """Send a request of this session, to be repeated until it is answered for good."""
        request = {"id": self.next_id(), "op": op, **rest}
        if op != "heartbeat":
            self.unanswered[request["id"]] = request
        if op == "checkin":
            self.held.pop(rest["handle"], None)
        if self.connection is not None:
            self.connection.send(request)

    def welcomed(self, welcome: Message) -> None:
        self.heartbeat = welcome["heartbeat"]
        self._compare(welcome["resumed"], welcome["held"])

    def heard(self, connection: Connection, message: Message) -> None:
        match message:
            case {"event": "superseded"} | {"ok": False, "error": "superseded"}:
                self.is_over = connection.is_useless = True
            case {"event": "removed", "handle": handle}:
                self.held.pop(handle, None)
                self.ask("checkin", handle=handle)
            case {"event": "resumed", "resumed": resumed, "held": held}:
                self._compare(resumed, held)
            case {"event": "standing_down"}:
                self.find_active(message)
                connection.is_useless = True
            case {"event": _}:
                pass
            case {"ok": False, "error": code} if code in UNKNOWN_OUTCOME:
                self.find_active(message)
                connection.is_useless = True
            case {"id": number}:
                request = self.unanswered.pop(number, None)
                if request is not None and request["op"] == "checkout" and message["ok"]:
                    self.held[number] = request

    def find_active(self, message: Message) -> None:
        host, colon, port = (message.get("active") or "").rpartition(":")
        self.active = (host, int(port)) if colon else None

    def _compare(self, resumed: bool, held: Sequence[int]) -> None:
        there = set(held) if resumed else set()
        self.held = {handle: request for handle, request in self.held.items() if handle in there}
        returning = {request.get("handle") for request in self.unanswered.values()}
        for handle in sorted(there - set(self.held) - set(self.unanswered) - returning):
            self.ask("checkin", handle=handle)


class RecordingClient:
    """One client, session after session until `end`."""

    def __init__(
        self,
        number: int,
        addresses: Sequence[Endpoint],
        *,
        features: Sequence[str],
        randomness: random.Random,
        history: History,
        clock: Callable[[], float],
        end: float,
        think: float,
    ) -> None:
        self._number = number
        self._addresses = list(addresses)
        self._features = features
        self._random = randomness
        self._history = history
        self.clock = clock
        self._end = end
        self._think = think
        self._sessions = 0
        self._connections = 0
        self._turn = number

    def record(self, connection: Connection, kind: Any, message: Message, stamp: float | None = None) -> None:
        time = self.clock() if stamp is None else stamp
        self._history.append(Record(time, connection.session.label, connection.number, kind, message))

    async def run(self) -> None:
        await asyncio.sleep(self._random.uniform(0, self._think))
        while self.clock() < self._end:
            self._sessions += 1
            session = Session(f"{self._number}.{self._sessions}", f"{self._random.getrandbits(128):032x}")
            connections: list[Connection] = []
            try:
                while self.clock() < self._end and not session.is_over:
                    await self._visit(session, connections)
                await self._say_goodbye(session)
            finally:
                for connection in connections:
                    if connection.line.transport is not None:
                        connection.close()
            await asyncio.sleep(0)

    async def _visit(self, session: Session, connections: list[Connection]) -> None:
        connection = await self._dial(session)
        if connection is None:
            await asyncio.sleep(self._random.uniform(0.02, 0.2))
            return
        connections.append(connection)
        if not await self._greet(session, connection):
            connection.close()
            await asyncio.sleep(self._random.uniform(0.02, 0.2))
            return
        while not (connection.is_useless or session.is_over or self.clock() >= self._end):
            await asyncio.sleep(self._random.expovariate(1 / self._think))
            if connection.is_useless or session.is_over:
                break
            if connection.is_overdue():
                connection.close()
                break
            if self.act(session, connection) == "double":
                return  # the next connection is opened while this one still stands
        if connection.is_useless or not (session.is_over or self.clock() >= self._end):
            connection.close()  # otherwise it is left for the bye

    async def _dial(self, session: Session) -> Connection | None:
        address, session.active = session.active, None
        if address is None:
            address = self._addresses[self._turn % len(self._addresses)]
            self._turn += 1
        self._connections += 1
        connection = Connection(self, self._number * 1_000_000 + self._connections, session)
        self.record(connection, "opened", {"address": f"{address[0]}:{address[1]}"})
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.create_connection(lambda: connection.line, *address)
        except OSError:
            self.record(connection, "closed", {})
            return None
        return connection

    async def _greet(self, session: Session, connection: Connection) -> bool:
        # The event `superseded` that this hello causes on an older connection is not the session's end.
        session.connection = None
        session.attempt += 1
        connection.send(
            {
                "id": session.next_id(),
                "op": "hello",
                "protocol": "seat/1",
                "attempt": session.attempt,
                "user": f"user{self._number}",
                "host": "swarm",
            }
        )
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                welcome = await connection.welcome
        except TimeoutError:
            return False
        if not welcome["ok"]:
            session.find_active(welcome)
            session.is_over = welcome["error"] not in UNKNOWN_OUTCOME
            return False
        session.welcomed(welcome)
        session.connection = connection
        for request in list(session.unanswered.values()):
            connection.send(request)
        return True

    def act(self, session: Session, connection: Any) -> str:
        """One thing at random; which."""
        if self.clock() - session.last_beat > session.heartbeat / 2:
            action = "beat"
        else:
            action = self._random.choices(list(ACTIONS), list(ACTIONS.values()))[0]
        full = len(session.held) >= MOST_HELD
        match action:
            case "beat":
                session.last_beat = self.clock()
                session.ask("heartbeat")
            case "return" if session.held or session.unanswered:
                self._return_something(session)
            case "ask" | "queue" if not full:
                wait = round(self._random.uniform(0.1, LONGEST_WAIT), 3) if action == "queue" else 0
                count = self._random.choice((1, 1, 1, 2))
                session.ask("checkout", feature=self._random.choice(self._features), count=count, wait=wait)
            case "repeat" if session.held:
                connection.send(self._random.choice(list(session.held.values())))
            case "drop":
                connection.close()
            case "leave":
                session.ask("bye")
                session.held.clear()
                session.is_over = True
        return action

    def _return_something(self, session: Session) -> None:
        waiting = [request["id"] for request in session.unanswered.values() if request.get("wait")]
        may_be_left = waiting if self._random.random() < 0.2 else []
        if session.held or may_be_left:
            session.ask("checkin", handle=self._random.choice([*session.held, *may_be_left]))

    async def _say_goodbye(self, session: Session) -> None:
        connection = session.connection
        if connection is None or connection.is_useless:
            return
        if not any(request["op"] == "bye" for request in session.unanswered.values()):
            session.ask("bye")
        limit = self.clock() + GOODBYE_SECONDS
        while session.unanswered and not connection.is_useless and self.clock() < limit:  # noqa: ASYNC110 - bounded
            await asyncio.sleep(0.01)
