"""Tests of what is repeated after a failover and what is answered instead: lines in, lines out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lsproxy.core.replay import MOST_UNANSWERED_BYTES, Answer, Denied, Drop, Move, Opened, Parting, Replay, Stage


def line(**keys):
    return json.dumps(keys).encode()


def read(lines):
    return [json.loads(one) for one in lines.splitlines()]


def hello(number=1):
    return line(id=number, op="hello", protocol="seat/1", session="0" * 32, attempt=1, user="u", host="h")


def welcome(number=1, resumed=False, epoch=3, held=()):
    return line(id=number, ok=True, server="s", epoch=epoch, resumed=resumed, heartbeat=7.0, held=list(held))


def refused(number, error):
    return line(id=number, ok=False, error=error, message="m")


def opened():
    """A session whose hello was answered by its first server."""
    replay = Replay()
    assert replay.asked(hello()) is None
    assert replay.connected() == hello() + b"\n"
    assert replay.answered(welcome()) == Opened(welcome() + b"\n", b"")
    return replay


def moved(replay, *, resumed=True):
    """The server was lost; what the next one is told after it answered the hello."""
    said = replay.lost()
    assert replay.connected() == hello() + b"\n"
    return said, replay.answered(welcome(resumed=resumed, epoch=4, held=[7]))


def test_reply_passes_and_is_forgotten():
    """A request whose reply passed is not repeated."""
    replay = opened()
    assert replay.asked(line(id=2, op="heartbeat")) is None
    assert replay.answered(line(id=2, ok=True, seats=0, notices=[])) is None
    assert replay.is_idle
    assert moved(replay)[1].to_server == b""


def test_unanswered_are_repeated_in_order():
    """After a failover hello comes first, then every unanswered request byte for byte in its order."""
    replay = opened()
    asked = [line(id=n, op=op) for n, op in enumerate(["checkout", "heartbeat", "status", "checkin", "usage"], 2)]
    for one in asked:
        replay.asked(one)
    replay.answered(line(id=3, ok=True))
    _, again = moved(replay)
    assert again.to_server == b"".join(one + b"\n" for one in asked if one != asked[1])


def test_own_hello_becomes_resumed():
    """The reply to a hello that the client did not wait for becomes the event `resumed`."""
    _, again = moved(opened())
    assert read(again.to_client) == [{"event": "resumed", "epoch": 4, "resumed": True, "held": [7]}]


def test_clients_own_unanswered_hello_is_passed_on():
    """A hello that was never answered is repeated, its reply passes, and nothing is answered `ended`."""
    replay = Replay()
    replay.asked(hello())
    replay.asked(line(id=2, op="checkout", feature="cad"))
    replay.connected()
    _, again = moved(replay, resumed=False)
    assert read(again.to_client) == [json.loads(welcome(resumed=False, epoch=4, held=[7]))]
    assert read(again.to_server)[0]["op"] == "checkout"


def test_resumed_false_ends_checkouts():
    """When the session is gone, unanswered checkouts are answered `ended`; other requests are repeated."""
    replay = opened()
    replay.asked(line(id=2, op="checkout", feature="cad"))
    replay.asked(line(id=3, op="heartbeat"))
    _, again = moved(replay, resumed=False)
    event, ended = read(again.to_client)
    assert event["resumed"] is False
    assert (ended["id"], ended["ok"], ended["error"]) == (2, False, "ended")
    assert [one["id"] for one in read(again.to_server)] == [3]


def test_operator_request_is_never_repeated():
    """An operator request that may have been sent gets `no_backend` at once; one never sent is sent once."""
    replay = opened()
    replay.asked(line(id=2, op="takeover"))
    replay.asked(line(id=3, op="checkin", handle=1))
    said = replay.lost()
    assert [(one["id"], one["error"]) for one in read(said)] == [(2, "no_backend")]
    replay.asked(line(id=4, op="reread"))
    replay.connected()
    assert [one["id"] for one in read(replay.answered(welcome(resumed=True)).to_server)] == [3, 4]


@pytest.mark.parametrize("error", ["not_active", "isolated"])
def test_server_that_is_not_active_is_left(error):
    """`not_active` and `isolated` move the session and leave the request where it was in the order."""
    replay = opened()
    for number in (2, 3, 4):
        replay.asked(line(id=number, op="heartbeat"))
    assert replay.answered(refused(3, error)) == Move(error)
    assert [one["id"] for one in read(moved(replay)[1].to_server)] == [2, 3, 4]


def test_standing_down_is_left():
    """The event `standing_down` moves the session and does not reach the client."""
    assert opened().answered(line(event="standing_down", active=None)) == Move("standing_down")


def test_other_events_and_refusals_pass():
    """`queued`, unknown events and refusals for the client pass, and a refusal counts as the reply."""
    replay = opened()
    replay.asked(line(id=2, op="checkout", feature="cad"))
    assert replay.answered(line(event="queued", id=2, position=1)) is None
    assert replay.answered(line(event="news")) is None
    assert not replay.is_idle
    assert replay.answered(refused(2, "bad_request")) is None
    assert replay.is_idle


def test_a_checkout_that_is_denied_passes_and_is_noted():
    """What was asked and by whom stands beside the line; what is no checkout is no denial."""
    replay = opened()
    request = line(id=2, op="checkout", feature="cad")
    replay.asked(request)
    assert replay.answered(refused(2, "no_seats")) == Denied(refused(2, "no_seats"), request, hello())
    assert replay.is_idle
    replay.asked(line(id=3, op="checkin", handle=2))
    assert replay.answered(refused(3, "no_seats")) is None


def test_superseded_ends_it():
    """`superseded` goes on and closes, as event, as reply, and as the answer to the proxy's own hello."""
    event = line(event="superseded")
    assert opened().answered(event) == Parting(event + b"\n")
    assert opened().answered(refused(2, "superseded")) == Parting(refused(2, "superseded") + b"\n")
    replay = opened()
    replay.lost()
    replay.connected()
    parting = replay.answered(refused(1, "superseded"))
    assert isinstance(parting, Parting)
    assert read(parting.lines) == [{"event": "superseded"}]


def test_bye_is_the_end():
    """The reply to `bye` passes and closes; a bye that was not answered is repeated."""
    replay = opened()
    replay.asked(line(id=2, op="bye"))
    assert moved(replay)[1].to_server == line(id=2, op="bye") + b"\n"
    assert isinstance(replay.answered(line(id=2, ok=True)), Parting)


def test_hello_not_accepted_elsewhere_is_retried_or_given_up():
    """The proxy's hello: `overloaded` is retried, any other refusal answers all with `no_backend` and closes."""
    replay = opened()
    replay.asked(line(id=2, op="heartbeat"))
    replay.lost()
    replay.connected()
    assert replay.answered(refused(1, "overloaded")) == Move("overloaded")
    replay.connected()
    parting = replay.answered(refused(1, "unsupported_protocol"))
    assert [one["error"] for one in read(parting.lines)] == ["no_backend"]
    assert replay.is_idle


def test_clients_own_hello_may_be_refused():
    """A refused hello is passed on, not repeated, and another one may follow on the same connection."""
    replay = Replay()
    replay.asked(hello(1))
    replay.connected()
    assert replay.answered(refused(1, "unsupported_protocol")).to_client == refused(1, "unsupported_protocol") + b"\n"
    assert not replay.has_session
    replay.asked(hello(2))
    assert replay.answered(welcome(2)) is None
    replay.lost()
    assert replay.connected() == hello(2) + b"\n"


def test_status_needs_no_hello():
    """Without a hello, requests go to the next server as they are."""
    replay = Replay()
    replay.asked(line(id=1, op="status"))
    assert replay.connected() == line(id=1, op="status") + b"\n"
    replay.lost()
    assert replay.connected() == line(id=1, op="status") + b"\n"


@pytest.mark.parametrize(
    "bad",
    [b"", b"nonsense", b"[]", b"{}", b'{"id":0,"op":"status"}', b'{"id":"1"}', b'{"id":1.5}', b"\xff{", b"{" * 999],
)
def test_line_that_is_no_request_is_answered_with_id_0(bad):
    """What is no request is answered `bad_request` with id 0, and the connection closes."""
    parting = Replay().asked(bad)
    assert isinstance(parting, Parting)
    assert [(one["id"], one["error"]) for one in read(parting.lines)] == [(0, "bad_request")]


def test_bad_request_of_the_server_closes():
    """A server's reply with id 0 goes on and closes: it would be the same on the next one."""
    assert isinstance(opened().answered(refused(0, "bad_request")), Parting)


def test_server_that_speaks_something_else_is_left():
    """A line of the server that is no message moves the session."""
    assert isinstance(opened().answered(b"HTTP/1.1 400 Bad Request"), Move)


def test_more_than_1000_unanswered_are_overloaded():
    """The 1,001st unanswered request is answered `overloaded` and not kept; so are more than 4 MiB."""
    replay = opened()
    for number in range(2, 1002):
        assert replay.asked(line(id=number, op="heartbeat")) is None
    refusal = replay.asked(line(id=5000, op="heartbeat"))
    assert isinstance(refusal, Answer)
    assert read(refusal.lines)[0]["error"] == "overloaded"
    replay = opened()
    big = b'{"id":%d,"op":"checkout","x":"' + b"x" * 60000 + b'"}'
    taken = sum(replay.asked(big % number) is None for number in range(2, 102))
    assert MOST_UNANSWERED_BYTES <= taken * 60000 <= MOST_UNANSWERED_BYTES + 120000


def test_repetitions_of_one_id_count_too():
    """A client that sends one request again and again is owed 1,000 answers at most, like any other."""
    replay = opened()
    taken = sum(replay.asked(line(id=2, op="heartbeat")) is None for _ in range(3000))
    assert taken == 1000
    for _ in range(1000):
        assert replay.answered(line(id=2, ok=True)) is None
    assert replay.is_idle
    assert replay.asked(line(id=2, op="heartbeat")) is None


def test_deep_nesting_is_no_request_and_no_reply():
    """A line that would exhaust the decoder's stack closes the client, or leaves the server."""
    deep = b'{"id":7,"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    assert isinstance(Replay().asked(deep), Parting)
    assert isinstance(opened().answered(deep), Move)


def test_repeated_request_is_owed_two_replies():
    """A client that repeats an unanswered id gets a reply for each, and both are repeated after a failover."""
    replay = opened()
    first, second = line(id=2, op="checkout", feature="a"), line(id=2, op="checkout", feature="b")
    replay.asked(first)
    replay.asked(second)
    assert moved(replay)[1].to_server == first + b"\n" + second + b"\n"
    assert replay.answered(line(id=2, ok=True)) is None
    assert not replay.is_idle
    assert replay.answered(refused(2, "bad_request")) is None
    assert replay.is_idle
    assert replay._bytes == 0


def test_nothing_passes_before_the_hello_is_answered():
    """Replies that come before the hello's are dropped, and requests meanwhile are only kept."""
    replay = opened()
    replay.asked(line(id=2, op="heartbeat"))
    replay.lost()
    replay.connected()
    assert replay.answered(line(id=2, ok=True)) == Drop()
    replay.asked(line(id=3, op="heartbeat"))
    assert replay.stage is Stage.GREETING
    assert [one["id"] for one in read(replay.answered(welcome(resumed=True)).to_server)] == [2, 3]


def test_giving_up_answers_everything():
    """When no server can be had, each unanswered request gets `no_backend` with the reason."""
    replay = Replay()
    replay.asked(hello())
    replay.asked(line(id=2, op="checkout", feature="cad"))
    said = read(replay.given_up("lic-a does not answer"))
    assert [(one["id"], one["error"]) for one in said] == [(1, "no_backend"), (2, "no_backend")]
    assert "lic-a does not answer" in said[0]["message"]


@given(st.binary(max_size=200))
def test_no_bytes_break_it(junk):
    """Any line from either side has an answer."""
    replay = opened()
    replay.asked(junk)
    replay.answered(junk)
    replay.lost()
    replay.connected()
    replay.answered(junk)


class Dialogue(RuleBasedStateMachine):
    """A client, servers that are lost at any moment, and the books of who is owed an answer."""

    def __init__(self):
        super().__init__()
        self.replay = Replay()
        self.last_id = 1
        self.owed = {1}
        self.at_server = {}
        self.receive_from_client(hello())

    def receive_from_client(self, request):
        assert self.replay.asked(request) is None
        if self.replay.stage is Stage.OPEN:
            self.to_server(request)

    def to_server(self, lines):
        for one in read(lines):
            assert one["id"] in self.owed, "an answered request was repeated"
            assert one["id"] not in self.at_server, "a request was sent twice to one server"
            self.at_server[one["id"]] = one["op"]

    def to_client(self, lines):
        for one in read(lines):
            if "event" not in one:
                assert one["id"] in self.owed, "answered twice"
                self.owed.discard(one["id"])

    @rule(op=st.sampled_from(["checkout", "checkin", "heartbeat", "status", "usage", "remove", "stop"]))
    def ask(self, op):
        self.last_id += 1
        self.owed.add(self.last_id)
        self.receive_from_client(line(id=self.last_id, op=op))

    @precondition(lambda self: self.replay.stage is Stage.OPEN and self.at_server)
    @rule(data=st.data(), error=st.sampled_from([None, "no_seats", "bad_request"]))
    def answer(self, data, error):
        number = data.draw(st.sampled_from(sorted(self.at_server)))
        del self.at_server[number]
        reply = line(id=number, ok=True) if error is None else refused(number, error)
        verdict = self.replay.answered(reply)
        assert verdict is None or (isinstance(verdict, Denied) and verdict.line == reply)
        self.to_client(reply)

    @precondition(lambda self: self.replay.stage is Stage.OPEN and self.at_server)
    @rule(data=st.data())
    def answer_not_active(self, data):
        number = data.draw(st.sampled_from(sorted(self.at_server)))
        assert isinstance(self.replay.answered(refused(number, "not_active")), Move)
        self.lose()

    @precondition(lambda self: self.replay.stage is not Stage.APART)
    @rule()
    def lose(self):
        self.at_server.clear()
        self.to_client(self.replay.lost())

    @precondition(lambda self: self.replay.stage is Stage.APART)
    @rule()
    def connect(self):
        assert self.replay.connected() == hello() + b"\n"

    @precondition(lambda self: self.replay.stage is Stage.GREETING)
    @rule(resumed=st.booleans())
    def greet(self, resumed):
        verdict = self.replay.answered(welcome(resumed=resumed))
        self.to_client(verdict.to_client)
        self.to_server(verdict.to_server)

    @invariant()
    def open_server_has_all_that_is_owed(self):
        if self.replay.stage is Stage.OPEN:
            assert set(self.at_server) == self.owed
        assert self.replay.is_idle == (not self.owed)

    def teardown(self):
        self.to_client(self.replay.given_up("over"))
        assert not self.owed
        assert self.replay._bytes == 0


TestDialogue = Dialogue.TestCase
TestDialogue.__doc__ = (
    "Each request taken is answered exactly once, and in the open stage the server has all that is owed."
)
