"""
How does a faultless license server answer? The protocol's rules for sessions, seats and the queue, in memory.

Pure: links (whatever stands for a connection) and `now` come in, messages to
links go out. `None` to a link means: close it. Takeovers keep everything, as a
journal would. `faults` break one promise each, to see who notices:

    over        seats are granted without counting
    forget      a takeover loses the first seat it finds
    twice       a repeated checkout takes another seat
    overtake    a free seat goes to whoever asks next, not to the queue
    unfenced    a takeover leaves the old server's connections in service
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]
Link = Hashable
Out = list[tuple[Link, Message | None]]

FAULTS = ("over", "forget", "twice", "overtake", "unfenced")


@dataclass
class Waiting:
    session: str
    request: Message
    until: float


@dataclass
class Session:
    attempt: int
    link: Link | None
    detached_at: float | None = None
    seats: dict[int, Message] = field(default_factory=dict)
    highest: int = 0
    removed: set[int] = field(default_factory=set)


class Reference:
    """`capacity`: seats of each feature. `resume`, `ttl`, `heartbeat` in seconds."""

    def __init__(
        self,
        capacity: dict[str, int],
        *,
        resume: float = 5.0,
        ttl: float = 0.5,
        heartbeat: float = 1.0,
        grace: float = 60.0,
        faults: frozenset[str] = frozenset(),
    ) -> None:
        self.capacity = capacity
        self.resume = resume
        self.ttl = ttl
        self.heartbeat = heartbeat
        self.grace = grace
        self.faults = faults
        self.epoch = 1
        self.sessions: dict[str, Session] = {}
        self.queue: list[Waiting] = []
        self._links: dict[Link, tuple[str, int]] = {}
        self._last_seat = 0
        self.removed: set[int] = set()

    # --- what happens ---

    def said(self, link: Link, message: Message, now: float) -> Out:
        """A request arrived."""
        out = self.passed(now)
        if message["op"] == "hello":
            return out + self._hello(link, message)
        if link not in self._links:
            return [*out, (link, _refusal(message, "hello_required", "say hello first"))]
        secret, _ = self._links[link]
        return out + getattr(self, f"_{message['op']}")(link, secret, message, now)

    def closed(self, link: Link, now: float) -> None:
        """A connection ended."""
        secret, _ = self._links.pop(link, ("", 0))
        session = self.sessions.get(secret)
        if session is not None and session.link == link:
            session.link, session.detached_at = None, now

    def passed(self, now: float) -> Out:
        """Windows and waits that are over by `now`."""
        out: Out = []
        for secret, session in list(self.sessions.items()):
            if session.detached_at is not None and now >= session.detached_at + self.resume:
                out += self._end(secret)
        for waiting in [waiting for waiting in self.queue if now >= waiting.until]:
            self.queue.remove(waiting)
            out += self._tell(waiting.session, _refusal(waiting.request, "no_seats", "the wait is over"))
        return out + self._serve_queue()

    def next_wake(self) -> float:
        """When `passed` has something to do."""
        windows = [s.detached_at + self.resume for s in self.sessions.values() if s.detached_at is not None]
        return min([*windows, *(waiting.until for waiting in self.queue)], default=float("inf"))

    def takeover(self, now: float, proxied: frozenset[Link] = frozenset()) -> Out:
        """
        Another server takes the name: every session is detached and every
        connection closed, but for the `proxied` ones: there lsproxy says the
        hello again and tells it as an event.
        """
        self.epoch += 1
        for session in self.sessions.values():
            session.detached_at = now if session.detached_at is None else session.detached_at
        if "forget" in self.faults:
            held = [session for session in self.sessions.values() if session.seats]
            if held:
                del held[0].seats[next(iter(held[0].seats))]
        if "unfenced" in self.faults:
            return []
        out: Out = []
        for link, (secret, _) in list(self._links.items()):
            session = self.sessions[secret]
            if link in proxied:
                self._links[link] = (secret, self.epoch)
                session.detached_at = None
                event = {"event": "resumed", "epoch": self.epoch, "resumed": True, "held": sorted(session.seats)}
                out.append((link, event))
            else:
                del self._links[link]
                session.link = None
                out.append((link, None))
        return out

    def remove(self, seat: int) -> Out:
        """An operator takes a seat back."""
        for secret, session in self.sessions.items():
            for handle, grant in list(session.seats.items()):
                if grant["seat"] == seat:
                    del session.seats[handle]
                    session.removed.add(handle)
                    self.removed.add(seat)
                    return self._tell(secret, _removed(handle)) + self._serve_queue()
        return []

    # --- requests ---

    def _hello(self, link: Link, message: Message) -> Out:
        out: Out = []
        secret = message["session"]
        session = self.sessions.get(secret)
        resumed = session is not None
        if session is None:
            session = self.sessions[secret] = Session(message["attempt"], link)
        if message["attempt"] < session.attempt:
            return [(link, _refusal(message, "superseded", "a newer connection has this session")), (link, None)]
        if session.link is not None and session.link != link:
            self._links.pop(session.link, None)
            out += [(session.link, {"event": "superseded"}), (session.link, None)]
        session.attempt, session.link, session.detached_at = message["attempt"], link, None
        self._links[link] = (secret, self.epoch)
        welcome = {
            "id": message["id"],
            "ok": True,
            "server": "small",
            "backend": f"lic-{self.epoch}",
            "epoch": self.epoch,
            "resumed": resumed,
            "heartbeat": self.heartbeat,
            "resume": self.resume,
            "trust": self.resume - self.ttl - 1,
            "held": sorted(session.seats),
        }
        return [*out, (link, welcome), *((link, _removed(handle)) for handle in sorted(session.removed))]

    def _checkout(self, link: Link, secret: str, message: Message, now: float) -> Out:
        session = self.sessions[secret]
        handle, feature = message["id"], message["feature"]
        if handle in session.seats:
            if "twice" in self.faults:
                self._last_seat += 1
                session.seats[handle] |= {"seat": self._last_seat}
            return [(link, {"id": handle, "ok": True, **session.seats[handle]})]
        if any(waiting.session == secret and waiting.request["id"] == handle for waiting in self.queue):
            return []
        if handle <= session.highest:
            return [(link, _refusal(message, "ended", "this checkout is over"))]
        if feature not in self.capacity:
            return [(link, _refusal(message, "unknown_feature", f"{feature} is not licensed"))]
        asked = message.get("count", 1)
        if asked > self.capacity[feature]:
            return [(link, _refusal(message, "over_limit", f"{asked} asked of {self.capacity[feature]}"))]
        is_queued = "overtake" not in self.faults and any(one.request["feature"] == feature for one in self.queue)
        if self._free(feature) >= asked and not is_queued:
            return [(link, {"id": handle, "ok": True, **self._grant(secret, message)})]
        if not message.get("wait"):
            return [(link, _refusal(message, "no_seats", f"{feature}: {asked} asked, {self._free(feature)} free"))]
        session.highest = handle
        self.queue.append(Waiting(secret, message, now + message["wait"]))
        position = sum(one.request["feature"] == feature for one in self.queue)
        return [(link, {"event": "queued", "id": handle, "position": position})]

    def _checkin(self, link: Link, secret: str, message: Message, now: float) -> Out:  # noqa: ARG002 - as the others
        out: Out = []
        for waiting in list(self.queue):
            if waiting.session == secret and waiting.request["id"] == message["handle"]:
                self.queue.remove(waiting)
                out.append((link, _refusal(waiting.request, "withdrawn", "you returned it")))
        self.sessions[secret].seats.pop(message["handle"], None)
        self.sessions[secret].removed.discard(message["handle"])
        return [*out, (link, {"id": message["id"], "ok": True}), *self._serve_queue()]

    def _heartbeat(self, link: Link, secret: str, message: Message, now: float) -> Out:  # noqa: ARG002 - as the others
        seats = len(self.sessions[secret].seats)
        return [(link, {"id": message["id"], "ok": True, "seats": seats, "notices": []})]

    def _bye(self, link: Link, secret: str, message: Message, now: float) -> Out:  # noqa: ARG002 - as the others
        self._links.pop(link, None)
        ended = self._end(secret)
        return [*ended, (link, {"id": message["id"], "ok": True}), (link, None)]

    # --- seats ---

    def _free(self, feature: str) -> int:
        held = (seat for session in self.sessions.values() for seat in session.seats.values())
        used = sum(seat["count"] for seat in held if seat["feature"] == feature)
        return 1_000_000 if "over" in self.faults else self.capacity[feature] - used

    def _grant(self, secret: str, message: Message) -> Message:
        self._last_seat += 1
        grant = {
            "handle": message["id"],
            "seat": self._last_seat,
            "feature": message["feature"],
            "version": "2027.0",
            "count": message.get("count", 1),
            "expires": "2027-12-31",
            "grace": self.grace,
        }
        session = self.sessions[secret]
        session.seats[message["id"]] = grant
        session.highest = max(session.highest, message["id"])
        return grant

    def _serve_queue(self) -> Out:
        out: Out = []
        blocked = set(self.capacity) if "overtake" in self.faults else set()
        for waiting in list(self.queue):
            feature = waiting.request["feature"]
            if feature in blocked or self._free(feature) < waiting.request.get("count", 1):
                blocked.add(feature)
                continue
            self.queue.remove(waiting)
            grant = self._grant(waiting.session, waiting.request)
            out += self._tell(waiting.session, {"id": waiting.request["id"], "ok": True, **grant})
        return out

    def _end(self, secret: str) -> Out:
        del self.sessions[secret]
        self._links = {link: (owner, epoch) for link, (owner, epoch) in self._links.items() if owner != secret}
        self.queue = [waiting for waiting in self.queue if waiting.session != secret]
        return self._serve_queue()

    def _tell(self, secret: str, message: Message) -> Out:
        session = self.sessions.get(secret)
        return [] if session is None or session.link is None else [(session.link, message)]


def _removed(handle: int) -> Message:
    return {"event": "removed", "handle": handle, "reason": "by an operator"}


def _refusal(message: Message, error: str, sentence: str) -> Message:
    return {"id": message["id"], "ok": False, "error": error, "message": sentence}
