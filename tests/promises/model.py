"""
Histories without a network: recording clients before the reference server, in simulated time.

Messages of one connection arrive in their order, late by a random time;
connections break with messages under way; sessions sleep past their windows;
takeovers close connections or, as behind lsproxy, move them.
"""

import heapq
import random
from collections.abc import Callable
from typing import Any

from tests.promises.history import History, Record
from tests.promises.recording_client import RecordingClient, Session
from tests.promises.reference import Message, Out, Reference

THINK = 0.1


class Wire:
    """One simulated connection; `is_useless` as the client sees it, `is_dead` as the server does."""

    def __init__(self, model: "Model", number: int, session: Session, is_proxied: bool) -> None:
        self._model = model
        self.number = number
        self.session = session
        self.is_proxied = is_proxied
        self.is_useless = False
        self.is_dead = False
        self.is_welcome = False
        self._last_up = self._last_down = 0.0

    def send(self, request: Message) -> None:
        self._model.record(self, "sent", {key: value for key, value in request.items() if key != "session"})
        self._last_up = max(self._last_up, self._model.now + self._model.delay())
        self._model.at(self._last_up, lambda: self._arrived(request))

    def close(self) -> None:
        self.is_useless = True
        self._last_up = max(self._last_up, self._model.now + self._model.delay())
        self._model.at(self._last_up, self._closed)

    def tell(self, message: Message | None) -> None:
        self._last_down = max(self._last_down, self._model.now + self._model.delay())
        if message is None:
            self.is_dead = True
        self._model.at(self._last_down, lambda: self._told(message))

    def _arrived(self, request: Message) -> None:
        if not self.is_dead:
            self._model.perform(self._model.reference.said(self, request, self._model.now))

    def _closed(self) -> None:
        self.is_dead = True
        self._model.reference.closed(self, self._model.now)

    def _told(self, message: Message | None) -> None:
        if self.is_useless:
            return
        if message is None:
            self.is_useless = True
            return
        self._model.record(self, "received", message)
        if "event" not in message and not self.is_welcome:
            self._greeted(message)
        elif self.session.connection is self:
            self.session.heard(self, message)  # type: ignore[arg-type] - it sends and closes like one

    def _greeted(self, welcome: Message) -> None:
        self.is_welcome = True
        self.session.connection = None
        if not welcome["ok"]:
            self.is_useless = self.session.is_over = True
            return
        self.session.welcomed(welcome)
        self.session.connection = self  # type: ignore[assignment] - as above
        for request in list(self.session.unanswered.values()):
            self.send(request)


class Model:
    """`run` gives the history of `clients` clients over `seconds` simulated seconds."""

    def __init__(self, seed: int, capacity: dict[str, int], clients: int, faults: frozenset[str]) -> None:
        self.now = 1000.0
        self.history: History = []
        self.reference = Reference(capacity, faults=faults)
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._features = sorted(capacity)
        self._clients = [self._client(number) for number in range(clients)]
        self._wires: list[Wire] = []

    def run(self, seconds: float) -> History:
        end = self.now + seconds
        for number in range(len(self._clients)):
            self._begin(number, 1)
        self.at(self.now + self._random.uniform(0, 2), self._take_over)
        self.at(self.now, self._time)
        while self._events and self._events[0][0] < end:
            self.now, _, event = heapq.heappop(self._events)
            event()
        return self.history

    def at(self, time: float, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, event))

    def delay(self) -> float:
        return self._random.choice((0.0005, 0.001, 0.002, 0.02, 0.3))

    def record(self, wire: Wire, kind: Any, message: Message) -> None:
        self.now += 1e-6
        self.history.append(Record(self.now, wire.session.label, wire.number, kind, message))

    def perform(self, out: Out) -> None:
        for wire, message in out:
            assert isinstance(wire, Wire)
            wire.tell(message)

    def _client(self, number: int) -> RecordingClient:
        return RecordingClient(
            number,
            [],
            features=self._features,
            randomness=self._random,
            history=self.history,
            clock=lambda: self.now,
            end=float("inf"),
            think=THINK,
        )

    def _begin(self, number: int, count: int) -> None:
        session = Session(f"{number}.{count}", f"{self._random.getrandbits(128):032x}")
        self._connect(number, count, session)

    def _connect(self, number: int, count: int, session: Session) -> None:
        wire = Wire(self, len(self._wires), session, self._random.random() < 0.5)
        self._wires.append(wire)
        session.attempt += 1
        hello = {"id": session.next_id(), "op": "hello", "session": session.secret, "attempt": session.attempt}
        wire.send(hello)
        self._later(lambda: self._step(number, count, wire))

    def _step(self, number: int, count: int, wire: Wire) -> None:
        session = wire.session
        if session.is_over:
            self._begin(number, count + 1)
        elif wire.is_useless:
            sleep = self._random.choice((0.0, 0.0, 0.1, 2.0, 7.0))
            self.at(self.now + sleep, lambda: self._connect(number, count, session))
        elif wire.is_welcome and self._clients[number].act(session, wire) == "double":
            self._connect(number, count, session)
        else:
            self._later(lambda: self._step(number, count, wire))

    def _later(self, event: Callable[[], None]) -> None:
        self.at(self.now + self._random.expovariate(1 / THINK), event)

    def _take_over(self) -> None:
        proxied = frozenset(wire for wire in self._wires if wire.is_proxied)
        self.perform(self.reference.takeover(self.now, proxied))
        self.at(self.now + self._random.uniform(0.5, 3), self._take_over)

    def _time(self) -> None:
        self.perform(self.reference.passed(self.now))
        seats = [grant["seat"] for session in self.reference.sessions.values() for grant in session.seats.values()]
        if seats and self._random.random() < 0.01:
            self.perform(self.reference.remove(self._random.choice(seats)))
        self.at(self.now + 0.05, self._time)


def simulate(
    seed: int,
    *,
    capacity: dict[str, int],
    clients: int = 8,
    seconds: float = 12.0,
    faults: frozenset[str] = frozenset(),
) -> tuple[History, set[int]]:
    """A history of the reference server, legal unless `faults` say otherwise, and the seats an operator removed."""
    model = Model(seed, capacity, clients, faults)
    return model.run(seconds), model.reference.removed
