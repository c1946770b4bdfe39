"""Tests of checks, on a clock that is told and against a server that is scripted."""

import json

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from lsproxy.proxy.control import ControlLostError
from lsproxy.proxy.prober import PATIENCE_SECONDS, TOKEN_SECONDS, Prober, Timing
from lsproxy.seat.messages import Remove
from tests.lsproxy.proxy.seatserver import Book, SeatServer


class Line:
    """A transport in memory: what was sent."""

    def __init__(self, protocol):
        self.protocol = protocol
        self.sent = []
        self.is_over = False
        protocol.makeConnection(self)

    def write(self, data):
        self.sent += [json.loads(line) for line in data.splitlines()]

    def setTcpKeepAlive(self, _on):
        pass

    def abortConnection(self):
        self.end()

    def end(self):
        self.is_over = True
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def greet(self, *, ok):
        """The answer to the hello; a token that is refused ends the connection."""
        reply = {"id": 1, "ok": ok, "error": "not_permitted", "message": "not the operator token"}
        self.protocol.dataReceived(json.dumps(reply).encode() + b"\n")
        if not ok:
            self.end()

    def answer(self, number):
        status = SeatServer(None, "lic-a", Book()).status(number)
        self.protocol.dataReceived(json.dumps(status).encode() + b"\n")

    @property
    def tokens(self):
        return [one["token"] for one in self.sent if one["op"] == "hello"]

    @property
    def checks(self):
        return [one["id"] for one in self.sent if one["op"] == "status"]


class Endpoint:
    """Connects at once, refuses, or lets it hang."""

    def __init__(self):
        self.does = "connect"
        self.lines = []
        self.dials = 0

    def connect(self, factory):
        self.dials += 1
        dial = Deferred()
        if self.does == "connect":
            self.lines.append(Line(factory.buildProtocol(None)))
            dial.callback(self.lines[-1].protocol)
        elif self.does == "refuse":
            dial.errback(ConnectError())
        return dial


class Heard:
    """What the prober said, in order."""

    def __init__(self):
        self.said = []

    def check_passed(self, status):
        self.said.append(status.role)

    def check_failed(self, reason, *, is_lost):
        self.said.append(("lost" if is_lost else "silent", reason))

    @property
    def kinds(self):
        return [one if isinstance(one, str) else one[0] for one in self.said]


def probing(does="connect"):
    clock, endpoint, heard = Clock(), Endpoint(), Heard()
    endpoint.does = does
    prober = Prober(clock, endpoint, "lic-a", "token", Timing(0.25, 0.5), lambda: 0.0, heard)
    prober.start()
    return clock, endpoint, heard, prober


def test_first_words_are_hello_and_status():
    """A connection begins with the operator's hello and a check."""
    _, endpoint, heard, _ = probing()
    assert [one["op"] for one in endpoint.lines[0].sent] == ["hello", "status"]
    endpoint.lines[0].answer(2)
    assert heard.said == ["standby"]


def test_checks_go_out_whether_or_not_the_last_was_answered():
    """Every `interval` a check goes out, and each fails on its own deadline: two are late after fall * interval."""
    clock, endpoint, heard, _ = probing()
    line = endpoint.lines[0]
    clock.advance(0.25)
    clock.advance(0.24)
    assert (line.checks, heard.said) == ([2, 3], [])
    clock.advance(0.02)
    assert heard.kinds == ["silent"]
    clock.advance(0.25)
    assert heard.kinds == ["silent", "silent"]
    assert "no answer within 0.5 s" in heard.said[0][1]


def test_late_answer_is_no_answer():
    """A reply after its deadline passes no check; the next one in time does, and how long it took is counted."""
    clock, endpoint, heard, prober = probing()
    clock.advance(0.25)
    clock.advance(0.26)
    endpoint.lines[0].answer(2)
    assert heard.kinds == ["silent"]
    endpoint.lines[0].answer(3)
    assert heard.kinds == ["silent", "standby"]
    assert (sum(prober.latencies.counts), prober.latencies.sum) == (1, 0.26)


def test_end_is_felt_and_dialled_again_at_once():
    """The end of the connection is one failed check, and the next dial is made in the same turn."""
    _, endpoint, heard, _ = probing()
    endpoint.does = "refuse"
    endpoint.lines[0].end()
    assert heard.kinds == ["lost", "lost"]
    assert endpoint.dials == 2


def test_refused_is_tried_again_every_interval():
    """A server that refuses is dialled once an interval."""
    clock, endpoint, heard, _ = probing("refuse")
    clock.pump([0.25, 0.25, 0.25])
    assert endpoint.dials == 4
    assert heard.kinds == ["lost"] * 4


def test_dial_that_hangs_fails_by_its_deadline():
    """One dial at a time, and each ends with the timeout."""
    clock, endpoint, heard, _ = probing("hang")
    clock.advance(0.25)
    assert endpoint.dials == 1
    clock.advance(0.25)
    assert heard.kinds == ["lost"]
    assert "no connection in time" in heard.said[0][1]


def test_path_that_is_gone_is_dialled_anew():
    """A connection on which nothing comes for a while is given up for a new one."""
    clock, endpoint, _, _ = probing()
    clock.pump([0.25] * int(PATIENCE_SECONDS / 0.25 + 2))
    assert len(endpoint.lines) == 2


def test_suspicion_is_one_check():
    """A herd that suspects a server causes one check, and only after a moment the next."""
    clock, endpoint, _, prober = probing()
    clock.advance(0.1)
    for _ in range(1000):
        prober.suspect()
    assert endpoint.lines[0].checks == [2, 3]


def test_request_fails_with_its_connection():
    """An operator request fails when the connection ends, and where there is none."""
    _, endpoint, _, prober = probing()
    outcomes = []
    prober.ask(Remove, 5.0, seat=1).addErrback(outcomes.append)
    endpoint.does = "refuse"
    endpoint.lines[0].end()
    prober.ask(Remove, 5.0, seat=1).addErrback(outcomes.append)
    assert all(outcome.check(ControlLostError) for outcome in outcomes)
    assert len(outcomes) == 2


def test_stopped_prober_is_silent():
    """After `stop` nothing is sent, said or left on the clock."""
    clock, endpoint, heard, prober = probing()
    prober.stop()
    clock.pump([0.25] * 10)
    assert heard.said == []
    assert endpoint.dials == 1
    assert clock.getDelayedCalls() == []


def test_what_is_no_status_is_a_failed_check():
    """A server that answers something else is said, and one that speaks no seat/1 is left."""
    _, endpoint, heard, prober = probing()
    endpoint.lines[0].protocol.dataReceived(b'{"id":2,"ok":true}\n')
    assert "status cannot be read" in heard.said[0][1]
    endpoint.does = "refuse"
    endpoint.lines[0].protocol.dataReceived(b"HTTP/1.1 400\n")
    assert "does not speak seat/1" in heard.said[1][1]
    assert prober.complaint is None


def test_a_refused_token_is_no_outage():
    """The status is asked without a token at once, nothing has failed, and what is wrong is said."""
    _, endpoint, heard, prober = probing()
    endpoint.lines[0].greet(ok=False)
    assert endpoint.lines[1].tokens == []
    endpoint.lines[1].answer(1)
    assert heard.said == ["standby"]
    assert "lic-a refuses the pool's operator token" in prober.complaint


def test_a_refused_token_is_tried_again():
    """Beside the connection in use, every TOKEN_SECONDS; once it is accepted, that connection is the one in use."""
    clock, endpoint, heard, prober = probing()
    endpoint.lines[0].greet(ok=False)
    keep_answering(clock, endpoint.lines[1], TOKEN_SECONDS)
    assert endpoint.lines[2].tokens == ["token"]
    endpoint.lines[2].greet(ok=False)
    keep_answering(clock, endpoint.lines[1], TOKEN_SECONDS)
    endpoint.lines[3].greet(ok=True)
    assert prober.complaint is None
    prober.check()
    assert endpoint.lines[3].checks == [2]
    assert set(heard.said) == {"standby"}


def test_a_renewed_token_is_said_beside_the_connection_in_use():
    """Which stays while the server refuses it, and is left when it accepts it; no check fails either way."""
    clock, endpoint, heard, prober = probing()
    endpoint.lines[0].greet(ok=True)
    prober.renew("another")
    endpoint.lines[1].greet(ok=False)
    assert "refuses the pool's operator token" in prober.complaint
    prober.ask(Remove, 1.0, seat=1, reason="r").addErrback(lambda _: None)
    assert endpoint.lines[0].sent[-1]["op"] == "remove"
    keep_answering(clock, endpoint.lines[0], TOKEN_SECONDS)
    assert endpoint.lines[2].tokens == ["another"]
    endpoint.lines[2].greet(ok=True)
    assert (prober.complaint, endpoint.lines[0].is_over) == (None, True)
    assert set(heard.said) == {"standby"}


def test_a_token_is_said_again_after_a_loss():
    """A server that was started again may have the right one: it is not asked without first."""
    _, endpoint, _, _ = probing()
    endpoint.lines[0].greet(ok=False)
    endpoint.lines[1].end()
    assert endpoint.lines[2].tokens == ["token"]


def keep_answering(clock, line, seconds):
    for _ in range(int(seconds / 0.25) + 1):
        line.answer(line.checks[-1])
        clock.advance(0.25)
