"""
What did each session know, when, and what contradicts itself already?

Reads a history once, in order of time, and keeps for every checkout what is
certain about it:

[Live] A seat is certainly live from the arrival of its first `ok`. It is
certainly live until the first checkin or bye that may have ended it was
*sent*, but no longer than `trust` after the sending of the last request whose
`ok` says that the session lives. A handle once free is never held again, so
one that is proved held later was live all the time between.

[Lapse] When more than `trust` passed since the last proof, the session may
have run out and have been opened again by a hello whose answer nobody saw. So
after a lapse a missing handle is no contradiction, and neither is a lost place
in a queue.

[Old connections] What an older connection still brings was decided before the
newest connection's hello. It is believed, but it is no news: a `resumed` on it
says nothing about now, a number of seats on it is no upper bound any more, and
nothing on it concerns a session that has begun anew since.

[Removed] An operator may have taken a seat long before its client heard of
it. So a seat that was ever `removed` is certain only up to the last hello that
named it.
"""

from collections.abc import Collection

from tests.promises.history import History, Record
from tests.promises.known import Confirmation, Doubt, Session, Take, Violation

UNKNOWN_OUTCOME = frozenset({"not_active", "isolated", "no_backend", "overloaded"})
NOT_ABOUT_THE_SEAT = UNKNOWN_OUTCOME | {"superseded", "blocked", "hello_required", "not_permitted"}


class Testimony:
    """Everything the clients of a history knew; `takes` and `confirmations` are complete after the constructor."""

    def __init__(self, history: History, removed: Collection[int] = ()) -> None:
        self._removed = frozenset(removed)
        self.takes: list[Take] = []
        self.confirmations: list[Confirmation] = []
        self.sightings: list[tuple[float, int]] = []
        self.violations: list[Violation] = []
        self._doubts: list[Doubt] = []
        self._sessions: dict[str, Session] = {}
        self._epochs: dict[int, tuple[int, str]] = {}
        self._owners: dict[int, Take] = {}
        self._latest: dict[tuple[str, int], Take] = {}
        for record in sorted(history, key=lambda record: record.time):
            session = self._sessions.setdefault(record.session, Session(record.session))
            if record.kind == "sent":
                self._sent(session, record)
            elif record.kind == "received":
                self._received(session, record)
        self.violations += [
            doubt.violation for doubt in self._doubts if not any(take.is_removed for take in doubt.takes)
        ]

    # --- requests ---

    def _sent(self, session: Session, record: Record) -> None:
        request = record.message
        session.unanswered[record.connection, request["id"]].append(record)
        match request["op"]:
            case "hello":
                session.newest = record.connection
            case "checkout":
                session.asked.add(request["id"])
                self._take(session, record).last_sent = record.time
            case "checkin" if request["handle"] in session.takes:
                take = session.takes[request["handle"]]
                take.freed_at = min(take.freed_at, record.time)
            case "bye":
                for take in session.takes.values():
                    take.freed_at = min(take.freed_at, record.time)

    def _take(self, session: Session, sent: Record) -> Take:
        request = sent.message
        handle = request["id"]
        if handle not in session.takes:
            take = Take(
                session.label,
                handle,
                request["feature"],
                request.get("count", 1),
                request.get("wait", 0.0),
                sent.time,
                session.trust,
            )
            session.takes[handle] = self._latest[session.label, handle] = take
            self.takes.append(take)
        return session.takes[handle]

    # --- replies and events ---

    def _received(self, session: Session, record: Record) -> None:
        message = record.message
        if "event" in message:
            self._event(session, record)
            return
        waiting = session.unanswered.get((record.connection, message.get("id", 0)))
        if not waiting:
            return
        sent = waiting.pop(0)
        operation = sent.message["op"]
        if not message["ok"]:
            if operation == "checkout":
                self._checkout_refused(session, sent, record)
            return
        match operation:
            case "hello":
                self._welcomed(session, sent, record)
            case "checkout":
                self._granted(session, sent, record)
            case "heartbeat":
                self._beat(session, sent, record)
            case "checkin":
                self._returned(session, sent, record)
        if operation in {"heartbeat", "checkin", "bye"}:
            self._confirm(session, operation, sent, record)

    def _event(self, session: Session, record: Record) -> None:
        event = record.message
        match event["event"]:
            case "queued" if event["id"] in session.takes:
                take = session.takes[event["id"]]
                take.queued_at = min(take.queued_at, record.time)
            case "removed" if (session.label, event["handle"]) in self._latest:
                self._latest[session.label, event["handle"]].is_removed = True
            case "resumed":
                before, _ = self._epochs.get(record.connection, (0, ""))
                if event["epoch"] < before:
                    self._violated(
                        4, record.time, f"session {session.label} was moved from epoch {before} to {event['epoch']}"
                    )
                self._epochs[record.connection] = (event["epoch"], "")
                self.sightings.append((record.time, event["epoch"]))
                if record.connection != session.newest:
                    return
                if event["resumed"]:
                    # Said in the stream after everything the server before it said: decided after it, too.
                    self._compare(session, set(event["held"]), record.time, record)
                else:
                    self._forgotten(session, record)

    def _welcomed(self, session: Session, sent: Record, received: Record) -> None:
        welcome = received.message
        self._epochs[received.connection] = (welcome["epoch"], welcome["backend"])
        self.sightings.append((received.time, welcome["epoch"]))
        if welcome["resumed"]:
            held = set(welcome["held"])
            self._mark_lapse(session, received.time)
            self._compare(session, held, sent.time, received)
            for take in session.takes.values():
                if take.handle in held:
                    take.named_at = sent.time
                elif take.grant is None and take.freed_at > received.time:
                    take.missing_at = sent.time
        else:
            self._forgotten(session, received)
        session.is_open = True
        session.trust = welcome["trust"]
        session.ttl = welcome["resume"] - welcome["trust"] - 1
        self._prove(session, sent.time)
        self._confirm(session, "hello", sent, received)

    def _compare(self, session: Session, held: set[int], sent: float, record: Record) -> None:
        """What a server says it holds at a moment after `sent`, told by `record`."""
        received = record.time
        for handle in sorted(held - session.asked):
            self._violated(3, received, f"session {session.label} holds handle {handle}, which it never asked for")
        for take in list(session.takes.values()):
            if take.handle in held and take.over_at < sent:
                self._violated(1, received, f"{take} is held again after it was told to be over")
            if take.handle in held or take.grant is None or take.granted_at > sent:
                continue
            if take.is_live_at(received):
                self._doubt(1, received, f"{take} was granted and is held no more", take)
            del session.takes[take.handle]
            for key in [key for key in session.unanswered if key[1] == take.handle and key[0] != record.connection]:
                del session.unanswered[key]

    def _forgotten(self, session: Session, received: Record) -> None:
        """The session is a new one: whatever it held must be able to have run out."""
        for take in session.takes.values():
            if session.is_open and take.is_live_at(received.time):
                self._doubt(1, received.time, f"{take} was live when its session was forgotten", take)
        session.takes.clear()
        for key in [key for key in session.unanswered if key[0] != received.connection]:
            del session.unanswered[key]
        session.is_open = False
        session.proved_at = float("-inf")

    def _granted(self, session: Session, sent: Record, received: Record) -> None:
        take = self._take(session, sent)
        grant = {key: value for key, value in received.message.items() if key not in {"id", "ok"}}
        if (grant["handle"], grant["feature"], grant["count"]) != (take.handle, take.feature, take.count):
            self._violated(3, received.time, f"{take}: {take.count} asked, but granted was {grant}")
        if take.over_at < sent.time:
            self._violated(3, received.time, f"{take} was granted after it was told to be over")
        if take.grant is not None and take.grant != grant:
            self._violated(3, received.time, f"{take} was granted as {take.grant}, then as {grant}")
        owner = self._owners.setdefault(grant["seat"], take)
        if owner is not take:
            self._violated(3, received.time, f"{take} has seat {grant['seat']}, which is that of {owner}")
        take.is_removed |= grant["seat"] in self._removed
        is_first = take.grant is None
        take.grant = grant
        take.granted_at = min(take.granted_at, received.time)
        take.trust = session.trust
        take.proved_at = max(take.proved_at, sent.time, session.proved_at)
        self._confirm(session, "grant" if is_first else "checkout", sent, received, take)

    def _checkout_refused(self, session: Session, sent: Record, received: Record) -> None:
        code = received.message["error"]
        take = session.takes.get(sent.message["id"])
        if take is None or code in NOT_ABOUT_THE_SEAT:
            return
        if take.granted_at < sent.time and take.is_live_at(received.time):
            self._doubt(1, received.time, f"{take} was granted, and repeated it was answered {code}", take)
        if code == "ended":
            take.over_at = min(take.over_at, received.time)
        if take.grant is None and not take.refusal and sent.time >= take.last_sent:
            take.refusal, take.refused_at = code, received.time

    def _beat(self, session: Session, sent: Record, received: Record) -> None:
        self._mark_lapse(session, received.time)
        held = [
            take for take in session.takes.values() if take.granted_at < sent.time and take.is_live_at(received.time)
        ]
        told = received.message["seats"]
        if told < len(held):
            self._doubt(1, received.time, f"session {session.label} holds {len(held)}, its server says {told}", *held)
        most = sum(
            take.count
            for take in session.takes.values()
            if take.over_at > sent.time and (take.refused_at > sent.time or take.last_sent > take.refused_at)
        )
        if told > most and received.connection == session.newest:
            self._violated(3, received.time, f"session {session.label} asked for {most} at most, and holds {told}")
        self._prove(session, sent.time)

    def _returned(self, session: Session, sent: Record, received: Record) -> None:
        take = session.takes.get(sent.message["handle"])
        if take is not None and take.granted_at < sent.time:
            take.over_at = min(take.over_at, received.time)

    # --- what is certain ---

    def _prove(self, session: Session, sent: float) -> None:
        session.proved_at = max(session.proved_at, sent)
        for take in session.takes.values():
            if take.grant is not None:
                take.proved_at = max(take.proved_at, sent)
                take.trust = session.trust

    def _mark_lapse(self, session: Session, received: float) -> None:
        """See [Lapse]."""
        if received > session.proved_at + session.trust:
            for take in session.takes.values():
                take.queued_at = float("inf")

    def _confirm(self, session: Session, kind: str, sent: Record, received: Record, take: Take | None = None) -> None:
        epoch, backend = self._epochs.get(received.connection, (0, ""))
        if epoch:
            self.confirmations.append(
                Confirmation(
                    kind, f"session {session.label}", epoch, backend, sent.time, received.time, take, session.ttl
                )
            )

    def _doubt(self, promise: int, time: float, sentence: str, *takes: Take) -> None:
        self._doubts.append(Doubt(Violation(promise, time, sentence), takes))

    def _violated(self, promise: int, time: float, sentence: str) -> None:
        self.violations.append(Violation(promise, time, sentence))
