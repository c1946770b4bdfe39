"""
The thread that keeps a session: dials, greets, sends, listens, dials again.

Everything it decides is decided in `dialogue` and `route`; here are the lock
they are under, the connection, and the callers who wait for an answer. What
an application is to be told is handed to `queued` and `lost`, under the lock:
they must not block and must not come back.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from typing import assert_never

from lsproxy.client.connection import Connection, dial, sleep
from lsproxy.client.dialogue import Dialogue
from lsproxy.client.errors import ClientError, NoServer, Refused, SessionEnded
from lsproxy.client.events import (
    Answered,
    Denied,
    Event,
    HelloRefused,
    Left,
    SeatWasLost,
    Superseded,
    Useless,
    Waiting,
    Welcomed,
)
from lsproxy.client.route import Route
from lsproxy.client.seat import Seat
from lsproxy.client.trust import Standing
from lsproxy.errors import LsproxyError
from lsproxy.net.address import Address, parse_address

POLITE_SECONDS = 2.0
WORKED_SECONDS = 2.0
LONGEST_SLEEP = 60.0

_CLOSED = "the client was closed"

Outcome = Seat | Denied | None


class Session:
    """
    One client's session. `queued` and `lost` are told of a waiting checkout
    and of a lost seat; without `lost`, lost seats are kept for `next_untold`.
    """

    def __init__(
        self,
        dialogue: Dialogue,
        route: Route,
        tls: ssl.SSLContext | None,
        connect_seconds: float,
        clock: Callable[[], float],
        *,
        queued: Callable[[Waiting], None] | None,
        lost: Callable[[Seat], None] | None,
    ) -> None:
        self._dialogue = dialogue
        self._route = route
        self._tls = tls
        self._connect_seconds = connect_seconds
        self._clock = clock
        self._tell_queued = queued
        self._tell_lost = lost
        self._changed = threading.Condition()
        self._outcomes: dict[int, Outcome] = {}
        self._answered: set[int] = set()
        self._seats: dict[int, Seat] = {}
        self._untold: list[Seat] = []
        self._problems: dict[Address, str] = {}
        self._over: ClientError | None = None
        self._waker, self._wakes = socket.socketpair()
        self._waker.setblocking(False)
        self._wakes.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="lsproxy-client", daemon=True)
        self._thread.start()

    # --- for callers, from any thread ---

    def check_out(self, feature: str, version: str, count: int, wait: float, until: float) -> Seat:
        """A seat. Raises Refused, NoServer (`until` is over) or SessionEnded."""
        handle = self._ask(lambda: self._dialogue.checkout(feature, version, count, wait))
        try:
            outcome = self._outcome(handle, until)
        except BaseException:
            self._abandon(handle)
            raise
        if isinstance(outcome, Denied):
            raise Refused(outcome.code, outcome.message)
        if outcome is None:
            raise SessionEnded(f"{feature}: the answer to this checkout held no seat")
        return outcome

    def check_in(self, handle: int) -> None:
        """Give a seat back. Waits a little for the answer; without one it is said again until it is answered."""
        with self._changed:
            self._seats.pop(handle, None)
            if self._over is not None:
                return
            request = self._ask(lambda: self._dialogue.checkin(handle))
        self._await_politely(request)

    def standing(self, handle: int) -> Standing:
        """What the seat of `handle` is worth now."""
        with self._changed:
            return self._dialogue.standing(handle, self._clock())

    def was_told(self, seat: Seat) -> bool:
        """Note that the application learns now that this seat is lost; whether it knew before."""
        with self._changed:
            if seat in self._untold:
                self._untold.remove(seat)
                return False
            return self._tell_lost is not None or self._seats.pop(seat.handle, None) is None

    def next_untold(self) -> Seat | None:
        """A seat that was lost without anybody having been told, or None."""
        with self._changed:
            return self._untold.pop(0) if self._untold else None

    def close(self) -> None:
        """Give everything back and stop, within twice POLITE_SECONDS, whatever the servers do."""
        with self._changed:
            for seat in self._seats.values():
                seat.mark_lost(_CLOSED)
            self._seats.clear()
            request = self._ask(self._dialogue.bye) if self._dialogue.is_open and self._over is None else None
        if request is not None:
            self._await_politely(request)
        with self._changed:
            self._finish(SessionEnded(_CLOSED))
        self._wake()
        self._thread.join(POLITE_SECONDS)

    # --- waiting for answers ---

    def _ask(self, wish: Callable[[], int]) -> int:
        with self._changed:
            if self._over is not None:
                raise self._over
            request = wish()
            self._outcomes[request] = None
        self._wake()
        return request

    def _outcome(self, request: int, until: float) -> Outcome:
        with self._changed:
            while request not in self._answered:
                if self._over is not None:
                    raise self._over
                left = until - self._clock()
                if left <= 0:
                    raise NoServer(self._why_nobody_answered())
                self._changed.wait(min(left, 1.0))  # a condition's clock stands still while the machine sleeps
            return self._forget(request)

    def _await_politely(self, request: int) -> None:
        try:
            self._outcome(request, self._clock() + POLITE_SECONDS)
        except ClientError:
            with self._changed:
                self._forget(request)

    def _abandon(self, handle: int) -> None:
        with self._changed:
            seat = self._forget(handle)
            if isinstance(seat, Seat):
                self._seats.pop(handle, None)
            self._dialogue.abandon(handle)
        self._wake()

    def _forget(self, request: int) -> Outcome:
        self._answered.discard(request)
        return self._outcomes.pop(request, None)

    def _why_nobody_answered(self) -> str:
        if not self._problems:
            return "no license server answered in time"
        told = "; ".join(f"{address.port}@{address.host}: {problem}" for address, problem in self._problems.items())
        return f"no license server answered in time: {told}"

    def _wake(self) -> None:
        try:
            self._wakes.send(b"w")
        except OSError:  # full: it is awake already; closed: it is over
            return

    # --- the thread ---

    def _run(self) -> None:
        try:
            while self._over is None:
                pause, address = self._route.next()
                self._pause(pause)
                if self._over is None:
                    self._visit(address)
        finally:
            self._waker.close()
            self._wakes.close()

    def _pause(self, seconds: float) -> None:
        end = self._clock() + seconds
        while self._over is None and (left := end - self._clock()) > 0:
            with self._changed:
                now = self._clock()
                self._hear(self._dialogue.time_passed(now))
                left = min(left, max(0.0, self._dialogue.wake_at() - now))
            sleep(left, self._waker)

    def _visit(self, address: Address) -> None:
        try:
            connection = dial(address, self._tls, self._connect_seconds, self._waker)
        except (OSError, UnicodeError) as problem:  # a name that is none for the resolver is a UnicodeError
            with self._changed:
                self._problems[address] = str(problem)
                self._hear(self._dialogue.time_passed(self._clock()))
            return
        began = self._clock()
        with self._changed:
            self._dialogue.connected(began)
        try:
            useless = self._converse(connection)
        except OSError as problem:
            useless = Useless(str(problem))
        finally:
            connection.close()
        with self._changed:
            has_worked = self._clock() - began >= WORKED_SECONDS and self._dialogue.is_talking
            self._dialogue.disconnected()
            self._problems[address] = useless.problem
            self._follow(useless.active)
        if has_worked:
            self._route.worked()
            self._pause(self._route.spread())

    def _converse(self, connection: Connection) -> Useless:
        while self._over is None:
            with self._changed:
                now = self._clock()
                useless = self._hear(self._dialogue.time_passed(now))
                lines = self._dialogue.lines_to_send(now)
                wake_at = self._dialogue.wake_at()
            if useless is not None:
                return useless
            connection.write(lines)
            connection.wait(min(max(0.0, wake_at - now), LONGEST_SLEEP))
            arrived = connection.read()
            if arrived is None:
                return Useless("it closed the connection")
            with self._changed:
                for line in arrived:
                    useless = self._hear(self._dialogue.line_received(line))
                    if useless is not None:
                        return useless
        return Useless(_CLOSED)

    def _hear(self, events: list[Event]) -> Useless | None:
        useless: Useless | None = None
        for event in events:
            match event:
                case Useless():
                    useless = useless or event
                case Welcomed():
                    self._problems.clear()
                case Answered() | Denied():
                    self._settle(event)
                case SeatWasLost(handle, reason):
                    self._lose(handle, reason)
                case Waiting():
                    if self._tell_queued is not None:
                        self._tell_queued(event)
                case Superseded() | HelloRefused() | Left():
                    self._finish(_why_it_ended(event))
                case _:
                    assert_never(event)
        return useless

    def _settle(self, answer: Answered | Denied) -> None:
        outcome: Outcome = answer if isinstance(answer, Denied) else None
        if isinstance(answer, Answered) and answer.granted is not None:
            outcome = self._seats[answer.id] = Seat(self, answer.granted)
        if answer.id in self._outcomes:
            self._outcomes[answer.id] = outcome
            self._answered.add(answer.id)
            self._changed.notify_all()

    def _lose(self, handle: int, reason: str) -> None:
        seat = self._seats.pop(handle, None)
        if seat is None:
            return
        seat.mark_lost(reason)
        if self._tell_lost is not None:
            self._tell_lost(seat)
        else:
            self._untold.append(seat)

    def _finish(self, over: ClientError) -> None:
        if self._over is None:
            self._over = over
            self._hear(self._dialogue.lose_all(str(over)))
            self._changed.notify_all()

    def _follow(self, active: str | None) -> None:
        if active is None:
            return
        try:
            self._route.named(parse_address(active))
        except LsproxyError:
            return  # a server that names nonsense is as good as one that names nobody


def _why_it_ended(event: Superseded | HelloRefused | Left) -> ClientError:
    if isinstance(event, HelloRefused):
        return Refused(event.code, event.message)
    if isinstance(event, Left):
        return SessionEnded(_CLOSED)
    return SessionEnded("another connection took this session over; this client has stopped")
