"""Every sentence of the protocol about one client's dialogue, as dialogue."""

import json

import pytest

from lsproxy.seat.messages import decode_request
from tests.licserver.core.office import TOKEN, Office

WELCOME = {
    "id": 1, "ok": True, "server": "acme-licenses", "backend": "lic-a", "epoch": 1, "resumed": False,
    "heartbeat": 15.0, "resume": 45.0, "trust": 42.0, "held": [],
}  # fmt: skip


@pytest.fixture
def office():
    return Office("cad 2027.0 2\nmesh 1.0 1")


@pytest.fixture
def alice(office):
    client = office.client()
    client.hello()
    return client


@pytest.fixture
def bob(office):
    client = office.client()
    client.hello("b")
    return client


def codes(messages):
    return [message.get("error", message.get("event", "ok")) for message in messages]


# --- hello ---------------------------------------------------------------------


def test_hello_opens(office):
    """An unknown session is opened, and told what it is promised."""
    assert office.client().hello() == [WELCOME]


def test_hello_resumes(office, alice):
    """A known session is resumed on another connection, and told what it holds; seats that wait are not held."""
    alice.checkout(2)
    alice.checkout(3, count=2, wait=30)
    alice.lose()
    again = office.client()
    assert again.hello(attempt=2, number=4) == [{**WELCOME, "id": 4, "resumed": True, "held": [2]}]


@pytest.mark.usefixtures("alice")
def test_session_in_any_case(office):
    """The session's hex digits are the same bits in either case."""
    assert office.client().hello("A", attempt=2)[0]["resumed"] is True


@pytest.mark.parametrize("missing", ["session", "attempt", "user", "host"])
def test_hello_lacks(office, missing):
    """A hello without a required key names it."""
    request = {
        "id": 1,
        "op": "hello",
        "protocol": "seat/1",
        "session": "a" * 32,
        "attempt": 1,
        "user": "u",
        "host": "h",
    }
    del request[missing]
    [reply] = office.client()(**request)
    assert (reply["error"], missing in reply["message"]) == ("bad_request", True)


def test_hello_again_after_a_wrong_one(office):
    """A connection whose hello was wrong may say a right one."""
    client = office.client()
    assert codes(client.hello(user="")) == ["bad_request"]
    assert codes(client.hello(number=2)) == ["ok"]


def test_other_protocol(office):
    """Another protocol is not spoken; which one is, is said."""
    [reply] = office.client()(id=1, op="hello", protocol="seat/2")
    assert reply["error"] == "unsupported_protocol"
    assert "seat/1" in reply["message"]
    assert codes(office.client()(id=1, op="hello")) == ["bad_request"]


def test_pid_that_cannot_be_kept(office):
    """A process id that no journal could keep is a bad request, and harms nobody."""
    client = office.client()
    assert codes(client.hello(pid=10**30)) == ["bad_request"]
    assert codes(client.hello(pid=-(10**30))) == ["bad_request"]
    assert codes(client.hello(number=2, pid=115)) == ["ok"]


@pytest.mark.usefixtures("alice")
def test_lower_attempt(office):
    """A hello with a lower attempt than the server knows is superseded and its connection closed; the newer goes on."""
    newer = office.client()
    newer.hello(attempt=5)
    late = office.client()
    assert codes(late.hello(attempt=4)) == ["superseded"]
    assert late.is_closed
    assert not newer.is_closed
    assert codes(newer(id=9, op="heartbeat")) == ["ok"]


@pytest.mark.parametrize("attempt", [1, 2])
def test_later_connection_wins(office, alice, attempt):
    """Of two connections with the same or a rising attempt the later wins; nothing the older sends is decided."""
    newer = office.client()
    assert codes(newer.hello(attempt=attempt)) == ["ok"]
    assert alice.heard[-1] == {"event": "superseded"}
    assert alice.is_closed
    alice.checkout(7)
    assert office.ledger.entries == {}
    alice.lose()
    assert codes(newer(id=9, op="heartbeat")) == ["ok"]
    assert office.ledger.sessions[1].deadline is None


@pytest.mark.usefixtures("alice")
def test_attempt_survives_a_takeover(office):
    """A forgotten half-open connection does not steal a session back on another server."""
    office.client().hello(attempt=3)
    other = office.taken_over()
    other.activate()
    assert codes(other.client().hello(attempt=3)) == ["ok"]
    assert codes(other.client().hello(attempt=2)) == ["superseded"]


def test_second_hello(alice):
    """A second hello on one connection is a bad request, of either sort; the session goes on."""
    assert codes(alice.hello(number=2)) == ["bad_request"]
    assert codes(alice.operator()) == ["bad_request"]
    assert codes(alice(id=3, op="heartbeat")) == ["ok"]


def test_hello_required(office):
    """A session's requests come after its hello; the connection stays."""
    client = office.client()
    for number, request in enumerate(({"op": "heartbeat"}, {"op": "checkout", "feature": "cad"}, {"op": "bye"}), 1):
        assert codes(client(id=number, **request)) == ["hello_required"]
    assert codes(client(id=9, op="checkin", handle=1)) == ["hello_required"]
    assert codes(client.hello(number=10)) == ["ok"]


def test_usage_before_hello(office):
    """Usage is answered before a hello and without one."""
    assert codes(office.client()(id=1, op="usage")) == ["ok"]


def test_status_is_an_errand(office):
    """Status is the shell's to answer, in every state."""
    client = office.client()
    client(id=1, op="status")
    [(conversation, request)] = office.desk.errands
    assert (conversation, request.id) == (client.conversation, 1)


def test_not_active(office):
    """A server that is not active says who is, and closes."""
    office.shut("not_active", closes=True, active="lic-b:27101")
    client = office.client()
    assert client.hello() == [
        {"id": 1, "ok": False, "error": "not_active", "message": "lic-a is not_active", "active": "lic-b:27101"}
    ]
    assert client.is_closed


def test_isolated(office, alice):
    """An isolated server answers every session request `isolated` at once, and keeps the connection."""
    alice.checkout(2)
    office.shut("isolated")
    for request in (
        {"op": "heartbeat"},
        {"op": "checkout", "feature": "cad"},
        {"op": "checkin", "handle": 2},
        {"op": "bye"},
    ):
        alice.conversation.receive(_request(9, **request), office.moment)
        [(_, said, _)] = office.desk.take_at_once()
        assert said.error == "isolated"
    assert not office.desk.outbox
    assert codes(office.client().hello("b")) == ["isolated"]
    assert office.ledger.held_handles(1) == [2]


def _request(number, **keys):
    return decode_request(json.dumps({"id": number, **keys}).encode())


# --- operators ------------------------------------------------------------------


def test_operator_hello(office):
    """A valid token makes an operator's connection in every role, without a session, and at once."""
    for shut in (False, True):
        if shut:
            office.shut("not_active", closes=True)
        client = office.client()
        client.conversation.receive(_request(1, op="hello", token=TOKEN), office.moment)
        assert not office.desk.outbox
        [(_, said, _)] = office.desk.take_at_once()
        assert (said.ok, said.operator, said.epoch) == (True, True, 1)
    assert office.ledger.sessions == {}


def test_wrong_token(office):
    """A wrong token is not permitted, is not repeated in the answer, and closes the connection."""
    client = office.client()
    [reply] = client(id=1, op="hello", token="guessé")  # noqa: S106 it is a wrong one
    assert reply["error"] == "not_permitted"
    assert "guess" not in reply["message"]
    assert client.is_closed


def test_no_token_configured(office):
    """Without an operator token nobody is an operator, not even with an empty one."""
    office.desk.token = None
    assert codes(office.client()(id=1, op="hello", token="")) == ["not_permitted"]


@pytest.mark.parametrize("request_", [
    {"op": "takeover"}, {"op": "stand_down"}, {"op": "reread"}, {"op": "install", "license": ""}, {"op": "stop"},
    {"op": "remove", "seat": 1},
])  # fmt: skip
def test_operators_only(office, alice, request_):
    """Operator requests without a valid token are not permitted, with a session or without."""
    assert codes(alice(id=5, **request_)) == ["not_permitted"]
    assert codes(office.client()(id=5, **request_)) == ["not_permitted"]
    assert office.desk.errands == []


def test_operator_has_no_session(office):
    """An operator's connection holds no seats."""
    operator = office.client()
    operator.operator()
    assert codes(operator.checkout(2)) == ["bad_request"]


def test_operators_requests_are_errands(office):
    """What operators ask beyond seats is the shell's to do."""
    operator = office.client()
    operator.operator()
    operator(id=2, op="takeover", after_epoch=1)
    assert [request.id for _, request in office.desk.errands] == [2]


# --- checkout -------------------------------------------------------------------


def test_grant(alice):
    """A granted checkout is told its seat and the license's terms."""
    assert alice.checkout(7, version="2026.1") == [
        {
            "id": 7, "handle": 7, "seat": 1, "feature": "cad", "version": "2027.0", "count": 1, "expires": None,
            "grace": 14400.0, "ok": True,
        }
    ]  # fmt: skip


def test_refusals(alice):
    """Each refusal has its code and a sentence with what was asked and what there is."""
    said = [
        alice.checkout(2, "nothing"),
        alice.checkout(3, version="2027.1"),
        alice.checkout(4, count=3),
        alice.checkout(5, count=2),
        alice.checkout(6),
    ]
    assert [codes(each)[0] for each in said] == [
        "unknown_feature",
        "version_not_covered",
        "over_limit",
        "ok",
        "no_seats",
    ]
    assert said[-1][0]["message"] == "cad: 1 asked, 0 of 2 free"


def test_repeated_held(alice):
    """A repeated checkout that is held gives the same answer and takes no second seat."""
    first = alice.checkout(7)
    assert alice.checkout(7) == first
    assert alice.checkout(8)[0]["seat"] == 2


def test_repeated_other_contents(alice):
    """The same id with other contents is a bad request while it is held or waiting."""
    alice.checkout(7, count=2)
    assert codes(alice.checkout(7)) == ["bad_request"]
    alice.checkout(8, wait=10)
    assert codes(alice.checkout(8, wait=11)) == ["bad_request"]
    assert codes(alice.checkout(8, version="1", wait=10)) == ["bad_request"]


def test_repeated_after_return(alice):
    """A repeated checkout that was returned has ended, and grants nothing."""
    alice.checkout(7)
    alice.checkin(8, 7)
    assert codes(alice.checkout(7)) == ["ended"]


def test_id_below_the_highest(alice):
    """A checkout id below the highest journaled one has ended."""
    alice.checkout(9)
    assert codes(alice.checkout(8)) == ["ended"]


def test_refused_is_decided_anew(alice, bob):
    """A refused checkout is decided anew as long as its id is above the highest journaled one."""
    bob.checkout(2, count=2)
    assert codes(alice.checkout(7)) == ["no_seats"]
    bob.checkin(3, 2)
    assert codes(alice.checkout(7)) == ["ok"]


def test_repeated_across_servers(office, alice):
    """A checkout repeated on the next server gives the same answer there."""
    first = alice.checkout(7)
    other = office.taken_over()
    other.activate()
    again = other.client()
    assert again.hello(attempt=2)[0]["held"] == [7]
    assert again.checkout(7) == first


# --- queue ----------------------------------------------------------------------


def test_queued_then_granted(alice, bob):
    """A checkout that waits hears its place, and later its seat."""
    alice.checkout(2, count=2)
    assert bob.checkout(2, wait=30) == [{"event": "queued", "id": 2, "position": 1}]
    alice.checkin(3, 2)
    assert codes(bob.news())[-1] == "ok"


def test_wait_is_over(office, alice, bob):
    """A wait that is over is answered no_seats, counted from its first arrival."""
    alice.checkout(2, count=2)
    bob.checkout(2, wait=10)
    office.pass_seconds(6)
    bob.checkout(2, wait=10)
    bob.news()
    office.pass_seconds(3.9)
    assert bob.news() == []
    office.pass_seconds(0.2)
    assert codes(bob.news()) == ["no_seats", "no_seats"]


def test_position_of_a_repetition(alice, bob):
    """A repeated checkout that waits goes on waiting, in its place."""
    alice.checkout(2, count=2)
    alice.checkout(3, wait=30)
    bob.checkout(2, wait=30)
    assert alice.checkout(3, wait=30) == [{"event": "queued", "id": 3, "position": 1}]
    assert bob.checkout(2, wait=30) == [{"event": "queued", "id": 2, "position": 2}]


def test_head_blocks(alice, bob):
    """The head of the queue blocks smaller requests, and those that do not wait."""
    alice.checkout(2)
    alice.checkout(3, count=2, wait=30)
    assert codes(bob.checkout(2)) == ["no_seats"]
    assert codes(bob.checkout(3, wait=30)) == ["queued"]
    assert codes(bob.checkout(4, "mesh")) == ["ok"]


def test_checkin_of_a_waiting_checkout(alice, bob):
    """A checkin of a waiting checkout leaves the queue: that checkout is withdrawn, whoever is behind moves up."""
    alice.checkout(2)
    alice.checkout(3, count=2, wait=30)
    bob.checkout(2, wait=30)
    assert codes(alice.checkin(4, 3)) == ["withdrawn", "ok"]
    assert codes(bob.news())[-1] == "ok"
    assert codes(alice.checkout(3, count=2, wait=30)) == ["ended"]


def test_head_that_cannot_be_served(office, alice, bob):
    """A head that can no longer be served is answered at once, and the next one gets its turn."""
    alice.checkout(2)
    alice.checkout(3, count=2, wait=30)
    bob.checkout(2, wait=30)
    alice.news(), bob.news()
    office.license("cad 2027.0 1 overdraft=0\nmesh 1.0 1")
    assert codes(alice.news()) == ["over_limit"]
    assert bob.news() == []
    alice.checkin(4, 2)
    assert codes(bob.news()) == ["ok"]


def test_head_whose_line_expired(office, alice, bob):
    """A head whose license expires is answered so."""
    office.license("cad 2027.0 2 expires=2027-01-15")
    alice.checkout(2, count=2)
    bob.checkout(2, wait=10_000_000)
    bob.news()
    office.wall += 30 * 86_400
    office.pass_seconds(0.1)
    assert codes(bob.news()) == ["expired"]
    assert office.ledger.held_handles(1) == [2]


def test_turn_of_a_detached_session(office, alice, bob):
    """A detached session keeps its place, its turn is granted to it, and freed with its window."""
    alice.checkout(2, count=2)
    bob.checkout(2, wait=300)
    bob.lose()
    alice.checkin(3, 2)
    again = office.client()
    assert again.hello("b", attempt=2)[0]["held"] == [2]
    again.lose()
    office.pass_seconds(44)
    assert codes(alice.checkout(4, count=2)) == ["no_seats"]
    alice(id=5, op="heartbeat")
    office.pass_seconds(1.1)
    assert codes(alice.checkout(6, count=2)) == ["ok"]


def test_waits_on_the_present_connection(office, alice, bob):
    """A waiting checkout is answered on the connection where it was repeated last, once for each time it was asked."""
    alice.checkout(2, count=2)
    bob.checkout(2, wait=300)
    again = office.client()
    again.hello("b", attempt=2)
    again.checkout(2, wait=300)
    again.checkout(2, wait=300)
    again.news(), bob.news()
    alice.checkin(3, 2)
    assert codes(again.news()) == ["ok", "ok"]
    assert bob.news() == []


def test_queue_after_a_takeover(office, alice, bob):
    """The queue is the same after a takeover, and no time passed between."""
    alice.checkout(2, count=2)
    bob.checkout(2, wait=30)
    alice.checkout(3, wait=30)
    other = office.taken_over()
    other.boot += 1000
    other.activate()
    first, second = other.client(), other.client()
    first.hello("a", attempt=2), second.hello("b", attempt=2)
    assert first.checkout(3, wait=30)[0]["position"] == 2
    assert second.checkout(2, wait=30)[0]["position"] == 1
    first.checkin(4, 2)
    assert codes(second.news())[-1] == "ok"


# --- checkin --------------------------------------------------------------------


def test_checkin(alice):
    """A seat is returned; returning what is not held is `ok` too."""
    alice.checkout(7)
    assert alice.checkin(8, 7) == [{"id": 8, "ok": True}]
    assert alice.checkin(9, 7) == [{"id": 9, "ok": True}]
    assert alice.checkin(10, 999) == [{"id": 10, "ok": True}]


# --- heartbeat, bye -------------------------------------------------------------


def test_heartbeat(alice):
    """A heartbeat tells how many seats the session holds."""
    assert alice(id=2, op="heartbeat") == [{"id": 2, "seats": 0, "notices": [], "ok": True}]
    alice.checkout(3)
    assert alice(id=4, op="heartbeat")[0]["seats"] == 1


def test_bye(office, alice, bob):
    """Bye returns everything: who waits gets it, what waited is withdrawn; the server answers and closes."""
    alice.checkout(2, count=2)
    bob.checkout(2, wait=30)
    alice.checkout(3, wait=30)
    assert codes(alice(id=4, op="bye")) == ["withdrawn", "ok"]
    assert alice.is_closed
    assert codes(bob.news())[-1] == "ok"
    alice.lose()
    assert office.client().hello(attempt=2)[0]["resumed"] is False


def test_after_bye(office, alice):
    """What is pipelined behind a bye is not decided."""
    heard = alice.line(
        *(json.dumps(each).encode() for each in ({"id": 2, "op": "bye"}, {"id": 3, "op": "checkout", "feature": "cad"}))
    )
    assert codes(heard) == ["ok"]
    assert office.ledger.entries == {}


def test_silence(office, alice, bob):
    """A session silent for three heartbeats is detached and its connection closed; its seats stay for its window."""
    alice.checkout(2, count=2)
    office.pass_seconds(40)
    bob(id=2, op="heartbeat")
    office.pass_seconds(5.1)
    assert alice.is_closed
    assert not bob.is_closed
    alice.lose()
    office.pass_seconds(30)
    bob(id=3, op="heartbeat")
    office.pass_seconds(14)
    assert codes(bob.checkout(4)) == ["no_seats"]
    office.pass_seconds(1.1)
    assert codes(bob.checkout(5)) == ["ok"]


def test_any_request_is_a_sign_of_life(office, alice):
    """Every session request counts as a heartbeat."""
    for number in range(2, 6):
        office.pass_seconds(40)
        alice.checkin(number, 99)
    assert not alice.is_closed


def test_resumed_in_time(office, alice):
    """A session resumed within its window goes on as if nothing happened; one that is late is a new one."""
    alice.checkout(2)
    alice.lose()
    office.pass_seconds(44.9)
    again = office.client()
    assert again.hello(attempt=2)[0]["held"] == [2]
    again.lose()
    office.boot, office.active = office.boot + 45, office.active + 45
    assert office.client().hello(attempt=3)[0]["resumed"] is False


def test_no_first_request(office):
    """A connection without a request within 5 s is told what is missing, and closed; one that asked status is not."""
    idle, asking = office.client(), office.client()
    asking(id=1, op="usage")
    office.pass_seconds(4.9)
    assert not idle.is_closed
    office.pass_seconds(0.1)
    assert codes(idle.news()) == ["hello_required"]
    assert (idle.is_closed, asking.is_closed) == (True, False)


# --- removed --------------------------------------------------------------------


def test_removed(office, alice, bob):
    """An operator takes a seat back: its client hears it, after each hello again, until it checks the handle in."""
    operator = office.client()
    operator.operator()
    alice.checkout(2, count=2)
    bob.checkout(2, wait=30)
    assert operator(id=2, op="remove", seat=1, reason="left open") == [{"id": 2, "ok": True}]
    assert alice.heard[-1] == {"event": "removed", "handle": 2, "reason": "left open"}
    assert codes(bob.news())[-1] == "ok"
    assert codes(alice.checkout(2, count=2)) == ["ended"]
    for attempt in (2, 3):
        again = office.client()
        assert codes(again.hello(attempt=attempt)) == ["ok", "removed"]
    assert again.checkin(5, 2) == [{"id": 5, "ok": True}]
    assert codes(office.client().hello(attempt=4)) == ["ok"]


def test_remove_a_waiting_one(office, alice):
    """An operator takes a waiting checkout out of the queue: it is withdrawn."""
    operator = office.client()
    operator.operator()
    alice.checkout(2, count=2)
    alice.checkout(3, wait=30)
    operator(id=2, op="remove", seat=2)
    assert codes(alice.news())[-1] == "withdrawn"


def test_remove_nobody(office):
    """A seat nobody holds cannot be removed; an isolated server removes none and keeps the operator."""
    operator = office.client()
    operator.operator()
    assert codes(operator(id=2, op="remove", seat=5)) == ["bad_request"]
    office.shut("not_active", closes=True)
    assert codes(operator(id=3, op="remove", seat=5)) == ["not_active"]
    assert not operator.is_closed


# --- messages -------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"{}", b'{"id":0,"op":"heartbeat"}', b"\xff\x00", b'"x"', b'{"op":"status"}']
)
def test_no_message(office, line):
    """What is no request object is answered with id 0, and the connection closed."""
    client = office.client()
    [reply] = client.line(line)
    assert (reply["id"], reply["error"]) == (0, "bad_request")
    assert client.is_closed


def test_unknown_op(alice):
    """An unknown operation is said to be one; the connection stays."""
    assert codes(alice(id=2, op="dance")) == ["unknown_op"]
    assert codes(alice(id=3, op="checkout", feature="cad", count="many")) == ["bad_request"]
    assert codes(alice(id=4, op="heartbeat", later="unknown keys are ignored")) == ["ok"]


def test_overloaded(office, alice, bob):
    """Of pipelined requests 1,000 may be unanswered; those beyond are refused, undecided, one answer each."""
    bob.checkout(2, count=2)
    lines = [b'{"id":%d,"op":"checkout","feature":"cad","wait":60}' % number for number in range(2, 1004)]
    heard = alice.line(*lines)
    assert codes(heard).count("overloaded") == 2
    assert [message["id"] for message in heard if message.get("error") == "overloaded"] == [1002, 1003]
    assert len(office.ledger.entries) == 1 + 1000
