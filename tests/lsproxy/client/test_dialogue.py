"""What a session says, and what it believes."""

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from lsproxy.client.dialogue import Application, Dialogue
from lsproxy.client.events import Answered, Denied, HelloRefused, SeatWasLost, Superseded, Useless, Waiting, Welcomed
from lsproxy.client.trust import Grace, Lost, Trusted
from tests.promises.reference import Reference

SECRET = "9f86d081884c7d659a2feaa0c55ad015"  # noqa: S105 - a session of this test only
WELCOME = {"ok": True, "server": "s", "backend": "a", "epoch": 1, "heartbeat": 15.0, "resume": 45.0, "trust": 42.0}


def dialogue() -> Dialogue:
    return Dialogue(SECRET, Application("alice", "ws1", "", 1, "cad"), reply_seconds=12.0)


def said(talk: Dialogue, now: float) -> list[dict]:
    return [json.loads(line) for line in talk.lines_to_send(now)]


def told(talk: Dialogue, **message) -> list:
    return talk.line_received(json.dumps(message).encode())


def greeted(talk: Dialogue, now: float, *, resumed: bool = False, held: tuple = ()) -> list:
    talk.connected(now)
    (hello,) = said(talk, now)
    return told(talk, id=hello["id"], **WELCOME, resumed=resumed, held=list(held))


def grant(handle: int, seat: int = 7, grace: float = 100.0) -> dict:
    return {"id": handle, "ok": True, "handle": handle, "seat": seat, "feature": "cad", "version": "2027.0"} | {
        "count": 1,
        "expires": None,
        "grace": grace,
    }


def holding(now: float) -> tuple[Dialogue, int]:
    talk = dialogue()
    greeted(talk, now)
    handle = talk.checkout("cad", "0", 1, 0)
    said(talk, now)
    told(talk, **grant(handle))
    return talk, handle


def test_hello_comes_first_and_alone():
    """Nothing is asked before the server has taken the session; then everything, in the order of the ids."""
    talk = dialogue()
    first, second = talk.checkout("cad", "0", 1, 0), talk.checkout("cad", "2026.1", 2, 30)
    talk.connected(5.0)
    (hello,) = said(talk, 5.0)
    assert hello["op"] == "hello"
    assert (hello["session"], hello["attempt"], hello["id"] > second) == (SECRET, 1, True)
    assert said(talk, 5.1) == []
    assert told(talk, id=hello["id"], **WELCOME, resumed=False, held=[]) == [Welcomed()]
    assert [request["id"] for request in said(talk, 5.2)] == [first, second]
    assert said(talk, 5.3) == []


def test_unanswered_requests_are_said_again_with_their_ids():
    """After a lost connection the hello has the next attempt, and the same lines follow it."""
    talk = dialogue()
    greeted(talk, 1.0)
    handle = talk.checkout("cad", "0", 1, 0)
    before = talk.lines_to_send(1.0)
    talk.disconnected()
    talk.connected(2.0)
    (hello,) = said(talk, 2.0)
    assert (hello["attempt"], hello["id"]) == (2, handle + 1)
    told(talk, id=hello["id"], **WELCOME, resumed=True, held=[])
    assert talk.lines_to_send(2.0) == before


def test_an_answer_that_leaves_the_outcome_unknown_keeps_the_request():
    """not_active names who is active; the checkout is said again there."""
    talk = dialogue()
    greeted(talk, 1.0)
    handle = talk.checkout("cad", "0", 1, 0)
    said(talk, 1.0)
    events = told(talk, id=handle, ok=False, error="not_active", message="lic-b is active", active="lic-b:27101")
    assert events == [Useless("it answered not_active: lic-b is active", "lic-b:27101")]
    talk.disconnected()
    greeted(talk, 2.0, resumed=True)
    assert [request["id"] for request in said(talk, 2.0)] == [handle]


def test_a_refusal_ends_the_request():
    """no_seats is told with its sentence, and not asked again."""
    talk = dialogue()
    greeted(talk, 1.0)
    handle = talk.checkout("cad", "0", 1, 0)
    said(talk, 1.0)
    assert told(talk, id=handle, ok=False, error="no_seats", message="none") == [Denied(handle, "no_seats", "none")]
    talk.disconnected()
    greeted(talk, 2.0, resumed=True)
    assert said(talk, 2.0) == []


def test_trust_counts_from_the_sending():
    """A seat asked for at 100 and granted at 130 is trusted until 142."""
    talk = dialogue()
    greeted(talk, 100.0)
    handle = talk.checkout("cad", "0", 1, 0)
    said(talk, 100.0)
    assert isinstance(told(talk, **grant(handle))[0], Answered)
    assert talk.standing(handle, 141.9) == Trusted(142.0)
    assert talk.standing(handle, 142.0) == Grace(242.0)
    assert isinstance(talk.standing(handle, 242.0), Lost)


def test_a_heartbeat_renews_trust_from_its_own_sending():
    """The heartbeat goes out when it is due, once, and its answer moves the trust."""
    talk, handle = holding(100.0)
    assert talk.wake_at() == 115.0
    (beat,) = said(talk, 115.0)
    assert beat["op"] == "heartbeat"
    assert said(talk, 116.0) == []
    assert told(talk, id=beat["id"], ok=True, seats=1, notices=[]) == []
    assert talk.standing(handle, 120.0) == Trusted(157.0)


def test_a_silent_server_is_left():
    """An unanswered heartbeat makes the connection useless after the reply limit, not before."""
    talk, _ = holding(100.0)
    said(talk, 115.0)
    assert talk.time_passed(126.9) == []
    assert talk.wake_at() == 127.0
    assert talk.time_passed(127.0) == [Useless("it left a request unanswered for 12 s")]


def test_a_waiting_checkout_may_be_answered_late():
    """A checkout with a wait makes no server silent."""
    talk = dialogue()
    greeted(talk, 100.0)
    handle = talk.checkout("cad", "0", 1, 60)
    said(talk, 100.0)
    assert told(talk, event="queued", id=handle, position=3) == [Waiting("cad", 3)]
    assert talk.time_passed(114.0) == []


def test_without_any_server_the_seat_is_lost_after_its_grace():
    """Trust, grace, then the loss is told, once."""
    talk, handle = holding(100.0)
    talk.disconnected()
    assert talk.wake_at() == 242.0
    assert talk.time_passed(241.9) == []
    assert talk.time_passed(242.0) == [SeatWasLost(handle, "no license server could be reached for 142 s")]
    assert talk.time_passed(243.0) == []


def test_a_seat_the_server_lacks_is_lost():
    """`held` without the handle, or a session that was not resumed, lose the seat."""
    talk, handle = holding(100.0)
    talk.disconnected()
    assert greeted(talk, 101.0, resumed=True)[1:] == [SeatWasLost(handle, "the server holds it no more")]
    talk, handle = holding(100.0)
    talk.disconnected()
    assert greeted(talk, 101.0, held=(handle,))[1:] == [SeatWasLost(handle, "the session was over")]
    talk, handle = holding(100.0)
    assert told(talk, event="resumed", epoch=2, resumed=True, held=[handle]) == []
    assert told(talk, event="resumed", epoch=3, resumed=False, held=[]) == [SeatWasLost(handle, "the session was over")]


def test_a_removed_seat_is_lost_and_checked_in():
    """An operator's removal is told with its reason and acknowledged."""
    talk, handle = holding(100.0)
    events = told(talk, event="removed", handle=handle, reason="needed elsewhere")
    assert events == [SeatWasLost(handle, "it was taken back: needed elsewhere")]
    assert [(r["op"], r["handle"]) for r in said(talk, 100.0)] == [("checkin", handle)]
    assert told(talk, event="removed", handle=handle, reason="needed elsewhere") == []
    assert said(talk, 100.0) == []


def test_a_handle_nobody_wants_is_checked_in():
    """A checkout given up after it was sent, and a handle found in `held`, are returned; an unsent one is forgotten."""
    talk = dialogue()
    unsent = talk.checkout("cad", "0", 1, 0)
    talk.abandon(unsent)
    greeted(talk, 1.0)
    assert said(talk, 1.0) == []
    handle = talk.checkout("cad", "0", 1, 0)
    said(talk, 1.0)
    talk.abandon(handle)
    assert [(r["op"], r["handle"]) for r in said(talk, 1.0)] == [("checkin", handle)]
    assert told(talk, **grant(handle)) == []
    assert isinstance(talk.standing(handle, 1.0), Lost)
    talk.disconnected()
    greeted(talk, 2.0, resumed=True, held=(handle, 99))
    assert [(r["op"], r["handle"]) for r in said(talk, 2.0)] == [("checkin", handle), ("checkin", 99)]


def test_superseded_stops():
    """As an event or as the answer to a hello, it is the end."""
    talk, _ = holding(1.0)
    assert told(talk, event="superseded") == [Superseded()]
    talk.disconnected()
    talk.connected(2.0)
    (hello,) = said(talk, 2.0)
    assert told(talk, id=hello["id"], ok=False, error="superseded", message="") == [Superseded()]


def test_a_hello_refused_for_good_ends_an_unopened_session_only():
    """Before the session was ever open a refusal is final; later another address may know better."""
    talk = dialogue()
    talk.connected(1.0)
    (hello,) = said(talk, 1.0)
    assert told(talk, id=hello["id"], ok=False, error="unsupported_protocol", message="no") == [
        HelloRefused("unsupported_protocol", "no")
    ]
    talk, handle = holding(1.0)
    talk.disconnected()
    talk.connected(2.0)
    (hello,) = said(talk, 2.0)
    assert told(talk, id=hello["id"], ok=False, error="bad_request", message="no") == [
        Useless("it answered bad_request: no")
    ]
    assert isinstance(talk.standing(handle, 2.0), Trusted)


def test_a_server_that_speaks_something_else_is_left():
    """Bytes that are no JSON, JSON of the wrong shape and a date that is none make the connection useless."""
    for line in (b"HTTP/1.1 400 Bad Request", b"[1]", b'{"id":"x"}', b"\xff\xfe"):
        talk, _ = holding(1.0)
        assert talk.line_received(line) == [Useless("it answered something that is not seat/1")]
    talk = dialogue()
    greeted(talk, 1.0)
    handle = talk.checkout("cad", "0", 1, 0)
    said(talk, 1.0)
    assert told(talk, **(grant(handle) | {"expires": "soon"})) == [Useless("it answered something that is not seat/1")]


def test_unknown_words_are_ignored():
    """Events, keys and ids nobody knows change nothing."""
    talk, handle = holding(1.0)
    assert told(talk, event="weather", sun=True) == []
    assert told(talk, id=4711, ok=True, news=1) == []
    assert isinstance(talk.standing(handle, 1.0), Trusted)


def test_the_session_id_is_in_no_repr():
    """What a log or a traceback may print holds no session id."""
    talk, _ = holding(1.0)
    assert SECRET not in repr(talk)
    assert SECRET not in repr(talk.time_passed(1e9))


def test_at_most_a_thousand_unanswered():
    """With 3,000 wishes at once the connection carries fewer than 1,000, and the others follow the answers."""
    talk = dialogue()
    greeted(talk, 1.0)
    for _ in range(3000):
        talk.checkout("cad", "0", 1, 0)
    sent = said(talk, 1.0)
    assert len(sent) == 990
    told(talk, **grant(sent[0]["id"]))
    assert [request["id"] for request in said(talk, 1.0)] == [sent[-1]["id"] + 1]


class Rig:
    """A dialogue before the reference server, in simulated time, with connections cut at every point."""

    def __init__(self) -> None:
        self.reference = Reference({"cad": 3}, resume=5.0, ttl=0.5, heartbeat=1.0, grace=3.0)
        self.talk = Dialogue(SECRET, Application("alice", "ws1", "", 1, "cad"), reply_seconds=2.0)
        self.now = 100.0
        self.link = 0
        self.is_up = False
        self.handles: list[int] = []
        self.lines: dict[int, bytes] = {}
        self.last_new = 0

    def connect(self) -> None:
        if not self.is_up:
            self.link += 1
            self.is_up = True
            self.talk.connected(self.now)

    def cut(self) -> None:
        if self.is_up:
            self.is_up = False
            self.reference.closed(self.link, self.now)
            self.talk.disconnected()

    def flow(self, *, answers_arrive: bool = True) -> None:
        while self.is_up and (lines := self.talk.lines_to_send(self.now)):
            out = []
            for line in lines:
                self.note(line)
                out += self.reference.said(self.link, json.loads(line), self.now)
            if not answers_arrive:
                self.cut()
                return
            self.deliver(out)

    def note(self, line: bytes) -> None:
        number = json.loads(line)["id"]
        if number in self.lines:
            assert self.lines[number] == line
        else:
            assert number > self.last_new or json.loads(line)["op"] != "hello"
        self.lines[number] = line
        self.last_new = max(self.last_new, number)

    def deliver(self, out: list) -> None:
        for link, message in out:
            if link != self.link or not self.is_up:
                continue
            if message is None:
                self.cut()
                return
            for event in self.talk.line_received(json.dumps(message).encode()):
                if isinstance(event, Useless | Superseded):
                    self.cut()
                    return

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            wake = min(end, max(self.now, self.talk.wake_at()), self.reference.next_wake())
            moved = wake > self.now
            self.now = max(self.now, wake)
            self.deliver(self.reference.passed(self.now))
            events = self.talk.time_passed(self.now)
            if any(isinstance(event, Useless) for event in events):
                self.cut()
            before = len(self.lines)
            self.flow()
            assert moved or events or len(self.lines) > before or self.talk.wake_at() > self.now

    def is_believed(self, handle: int) -> bool:
        return not isinstance(self.talk.standing(handle, self.now), Lost)

    def check(self) -> None:
        session = self.reference.sessions.get(SECRET)
        held = set(session.seats) | session.removed if session is not None else set()
        trusted = {handle for handle in self.handles if isinstance(self.talk.standing(handle, self.now), Trusted)}
        assert trusted <= held


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("checkout"), st.sampled_from([0.0, 2.0])),
        st.tuples(st.just("checkin"), st.integers(0, 5)),
        st.tuples(st.just("abandon"), st.integers(0, 5)),
        st.tuples(st.sampled_from(["connect", "cut", "flow", "lose", "takeover", "remove"]), st.none()),
        st.tuples(st.just("time"), st.floats(0.01, 8)),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_a_trusted_seat_is_held(steps):
    """Whatever breaks, a seat believed in is held (or was just removed); in the end both hold the same seats."""
    rig = Rig()
    for step, value in steps:
        match step:
            case "checkout":
                rig.handles.append(rig.talk.checkout("cad", "0", 1, value))
            case "checkin" if value < len(rig.handles) and rig.is_believed(rig.handles[value]):
                rig.talk.checkin(rig.handles[value])
            case "abandon" if value < len(rig.handles):
                rig.talk.abandon(rig.handles[value])
            case "connect":
                rig.connect()
            case "cut":
                rig.cut()
            case "flow" | "lose":
                rig.flow(answers_arrive=step == "flow")
            case "takeover":
                rig.deliver(rig.reference.takeover(rig.now))
            case "remove":
                seats = [s["seat"] for one in rig.reference.sessions.values() for s in one.seats.values()]
                rig.deliver(rig.reference.remove(min(seats, default=0)))
            case "time":
                rig.pass_time(value)
        rig.check()
    for _ in range(3):
        rig.connect()
        rig.flow()
        rig.pass_time(3.0)
    rig.check()
    believed = set(filter(rig.is_believed, rig.handles))
    assert believed == set(rig.reference.sessions[SECRET].seats)


def test_hello_is_complete():
    """The hello holds what the protocol requires, and a session of 32 hex digits."""
    talk = dialogue()
    talk.connected(1.0)
    (hello,) = said(talk, 1.0)
    assert hello["protocol"] == "seat/1"
    assert re.fullmatch("[0-9a-f]{32}", hello["session"])
    assert (hello["user"], hello["host"], hello["app"]) == ("alice", "ws1", "cad")
