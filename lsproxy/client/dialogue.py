"""
What does a session say to a license server next, and what may it believe?

    Offline --connected--> Greeting --hello answered ok--> Talking
       ^                      |                               |
       +----------- disconnected, or found Useless -----------+

Wishes (checkout, checkin, bye) become requests whose ids rise over all
connections. A request stays *pending* until it is answered for good; on every
new connection, after the hello, all pending ones are said again in their
order with their old ids. So a lost connection, and the answers that leave the
outcome unknown, cost a pause and never a seat.

[Handles nobody wants] A checkout whose caller gave up may have been granted
all the same, and a seat given up here for lost may still be held there. So a
handle named by a server that is neither a seat here nor asked for is checked
in, and so is one that was removed.

No I/O, clock or randomness: bytes and `now` (seconds of one clock) come in,
lines and events go out. Nothing in here prints the session id.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from lsproxy.client import words
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
from lsproxy.client.requests import Requests
from lsproxy.client.trust import Lost, Standing, lost_at, standing
from lsproxy.seat.messages import UNREADABLE, Bye, Checkin, Checkout, Granted, Heartbeat, Hello, encode

SHORTEST_HEARTBEAT = 0.05


@dataclass(frozen=True, slots=True)
class Application:
    """Who asks: what a hello tells beside the session."""

    user: str
    host: str
    display: str
    pid: int
    app: str


@dataclass(slots=True)
class _Seat:
    granted: Granted
    proved_at: float


@dataclass(slots=True)
class _Greeting:
    hello: int
    sent_at: float


@dataclass(slots=True)
class _Talking:
    proved_at: float
    beat_due: float
    beat: int = 0
    beat_sent_at: float = 0.0


class Dialogue:
    """One session's side of seat/1. `reply_seconds`: how long an answer may take before the server counts as silent."""

    def __init__(self, session: str, application: Application, reply_seconds: float) -> None:
        self._session = session
        self._application = application
        self._reply_seconds = reply_seconds
        self._attempt = 0
        self._last_id = 0
        self._requests = Requests()
        self._seats: dict[int, _Seat] = {}
        self._link: _Greeting | _Talking | None = None
        self._proved_at = 0.0
        self._heartbeat = 15.0
        self._trust = 0.0
        self.is_open = False

    # --- wishes ---

    def checkout(self, feature: str, version: str, count: int, wait: float) -> int:
        """Ask for a seat; the id is its handle."""
        return self._requests.add(Checkout(self._next_id(), feature=feature, version=version, count=count, wait=wait))

    def checkin(self, handle: int) -> int:
        """Give the seat back. From now on it is nobody's seat here."""
        self._seats.pop(handle, None)
        return self._requests.add(Checkin(self._next_id(), handle=handle))

    def bye(self) -> int:
        """Give everything back and end the session."""
        return self._requests.add(Bye(self._next_id()))

    def abandon(self, handle: int) -> None:
        """The caller of this checkout waits no more. See [Handles nobody wants]."""
        pending = self._requests.pop(handle)
        if handle in self._seats or (pending is not None and pending.was_sent):
            self.checkin(handle)

    # --- the connection ---

    def connected(self, now: float) -> None:
        """A connection stands; the hello is the next line out."""
        self._attempt += 1
        self._link = _Greeting(0, now)
        self._requests.unsay()

    def disconnected(self) -> None:
        """The connection is gone; everything unanswered will be said again."""
        self._link = None

    @property
    def is_talking(self) -> bool:
        """Whether a server has taken the session on the present connection."""
        return isinstance(self._link, _Talking)

    def lines_to_send(self, now: float) -> list[bytes]:
        """The lines to write, now and in this order."""
        match self._link:
            case _Greeting(hello=0) as link:
                link.hello, link.sent_at = self._next_id(), now
                return [self._hello(link.hello)]
            case _Talking() as link:
                return [*self._requests.lines_to_send(now), *self._heartbeats(now, link)]
            case _:
                return []

    def line_received(self, line: bytes) -> list[Event]:
        """What a line from the server means."""
        try:
            return self._understand(words.understand(line), line)
        except (*UNREADABLE, ValueError):
            return [Useless("it answered something that is not seat/1")]

    # --- time ---

    def time_passed(self, now: float) -> list[Event]:
        """What is true at `now` without anybody having said a word."""
        events: list[Event] = []
        for handle in list(self._seats):
            match self.standing(handle, now):
                case Lost(reason):
                    events += self._lose([handle], reason)
        if now >= self._silent_since() + self._reply_seconds:
            events.append(Useless(f"it left a request unanswered for {self._reply_seconds:g} s"))
        elif isinstance(self._link, _Talking) and now >= self._link.proved_at + self._trust:
            events.append(Useless(f"it has confirmed nothing for {self._trust:g} s"))
        return events

    def wake_at(self) -> float:
        """When `time_passed` or `lines_to_send` have something to say next; infinity for never."""
        moments = [lost_at(seat.proved_at, self._trust, seat.granted.grace) for seat in self._seats.values()]
        moments.append(self._silent_since() + self._reply_seconds)
        if isinstance(self._link, _Talking):
            moments.append(self._link.proved_at + self._trust)
            if not self._link.beat:
                moments.append(self._link.beat_due)
        return min(moments)

    def standing(self, handle: int, now: float) -> Standing:
        """What the seat of `handle` is worth at `now`."""
        seat = self._seats.get(handle)
        if seat is None:
            return Lost("it was given back")
        return standing(seat.proved_at, self._trust, seat.granted.grace, now)

    def lose_all(self, reason: str) -> list[Event]:
        """No seat is anybody's any more."""
        return self._lose(list(self._seats), reason)

    # --- what goes out ---

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _hello(self, hello: int) -> bytes:
        who = self._application
        return encode(
            Hello(
                hello,
                protocol="seat/1",
                session=self._session,
                attempt=self._attempt,
                user=who.user,
                host=who.host,
                display=who.display,
                pid=who.pid,
                app=who.app,
            )
        )

    def _heartbeats(self, now: float, link: _Talking) -> list[bytes]:
        if link.beat or now < link.beat_due:
            return []
        link.beat, link.beat_sent_at = self._next_id(), now
        return [encode(Heartbeat(link.beat))]

    def _silent_since(self) -> float:
        """When the oldest request was sent that should have been answered at once; infinity if there is none."""
        match self._link:
            case _Greeting() as link:
                return link.sent_at
            case _Talking() as link:
                beat_sent_at = link.beat_sent_at if link.beat else float("inf")
                return min(beat_sent_at, self._requests.silent_since())
            case _:
                return float("inf")

    # --- what comes in ---

    def _understand(self, word: words.Word, line: bytes) -> list[Event]:
        if word.event:
            return self._event_received(word, line)
        match self._link:
            case _Greeting(hello) if hello and word.id in (0, hello):
                return self._greeted(self._link, word, line)
            case _Talking(beat=beat) if beat and word.id == beat:
                return self._beat_answered(self._link, word)
            case _Talking() if word.id in self._requests:
                return self._answered(word, line)
            case _ if word.id == 0 and not word.ok:
                return [Useless(f"it answered {word.error}: {word.message}")]
        return []

    def _event_received(self, word: words.Word, line: bytes) -> list[Event]:
        match word.event:
            case "queued":
                pending = self._requests.get(word.id)
                if pending is not None and isinstance(pending.request, Checkout):
                    return [Waiting(pending.request.feature, words.queued(line).position)]
            case "superseded":
                return [Superseded()]
            case "removed":
                removed = words.removed(line)
                events = self._lose([removed.handle], f"it was taken back: {removed.reason}")
                self._check_in_unwanted([removed.handle])
                return events
            case "standing_down":
                return [Useless("it gave the active name up", words.standing_down(line).active)]
            case "resumed":
                resumed = words.resumed(line)
                return self._compare(resumed.resumed, resumed.held)
        return []

    def _greeted(self, link: _Greeting, word: words.Word, line: bytes) -> list[Event]:
        if not word.ok:
            if word.error == "superseded":
                return [Superseded()]
            if self.is_open or word.error in (*words.UNKNOWN_OUTCOME, "blocked"):
                return [Useless(f"it answered {word.error}: {word.message}", word.active)]
            return [HelloRefused(word.error, word.message)]
        welcome = words.welcome(line)
        self._heartbeat = max(min(welcome.heartbeat, welcome.trust / 2), SHORTEST_HEARTBEAT)
        self._trust = welcome.trust
        self._link = _Talking(proved_at=link.sent_at, beat_due=link.sent_at + self._heartbeat)
        self._proved_at = link.sent_at
        self.is_open = True
        events = self._compare(welcome.resumed, welcome.held)
        for seat in self._seats.values():
            seat.proved_at = link.sent_at
        return [Welcomed(), *events]

    def _beat_answered(self, link: _Talking, word: words.Word) -> list[Event]:
        link.beat = 0
        if not word.ok:
            return [Useless(f"it answered {word.error}: {word.message}", word.active)]
        link.proved_at = self._proved_at = link.beat_sent_at
        link.beat_due = link.beat_sent_at + self._heartbeat
        for seat in self._seats.values():
            seat.proved_at = max(seat.proved_at, link.beat_sent_at)
        return []

    def _answered(self, word: words.Word, line: bytes) -> list[Event]:
        if not word.ok and word.error in words.UNKNOWN_OUTCOME:
            return [Useless(f"it answered {word.error}: {word.message}", word.active)]
        if not word.ok and word.error == "superseded":
            return [Superseded()]
        pending = self._requests.get(word.id)
        is_seat = pending is not None and word.ok and isinstance(pending.request, Checkout)
        granted = words.granted(line) if is_seat else None
        self._requests.pop(word.id)
        if not word.ok:
            return [Denied(word.id, word.error, word.message)]
        if pending is not None and granted is not None:
            # A seat granted after a long wait is worth what the session is worth: it ends only with the session.
            self._seats[word.id] = _Seat(granted, max(pending.sent_at or 0.0, self._proved_at))
        is_bye = pending is not None and isinstance(pending.request, Bye)
        return [Answered(word.id, granted), Left()] if is_bye else [Answered(word.id, granted)]

    def _compare(self, resumed: bool, held: Iterable[int]) -> list[Event]:
        """What the server says it holds against what is believed here."""
        there = set(held) if resumed else set()
        reason = "the server holds it no more" if resumed else "the session was over"
        events = self._lose([handle for handle in self._seats if handle not in there], reason)
        self._check_in_unwanted(sorted(there))
        return events

    def _lose(self, handles: list[int], reason: str) -> list[Event]:
        return [SeatWasLost(handle, reason) for handle in handles if self._seats.pop(handle, None) is not None]

    def _check_in_unwanted(self, handles: list[int]) -> None:
        wanted = self._requests.mentioned() | set(self._seats)
        for handle in handles:
            if handle not in wanted:
                self.checkin(handle)
