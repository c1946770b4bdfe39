"""A session told as a dialogue: what arrives, and what is said, on transports in memory."""

import json
import struct

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from lsproxy.proxy.arrival import Arrival
from lsproxy.proxy.doors import ONLY, PlainDoors
from lsproxy.proxy.leg import CLOSING_SECONDS, STALL_SECONDS
from lsproxy.proxy.session import Session
from lsproxy.proxy.traffic import Target, Traffic
from lsproxy.seat.messages import HELLO_SECONDS

CLIENT = IPv4Address("TCP", "192.0.2.1", 40_000)
HOST = IPv4Address("TCP", "192.0.2.10", 27_000)


class Line:
    """A transport in memory. What happens on it goes into the story, under its name."""

    def __init__(self, name, story, protocol):
        self.name = name
        self.story = story
        self.protocol = protocol
        self.producer = None
        self.is_ended = False
        self.acknowledged = 0
        protocol.makeConnection(self)

    def write(self, data):
        if not self.is_ended:
            self.story += [f"{self.name} < {line.decode()}" for line in data.splitlines()]

    def says(self, *messages):
        self.protocol.dataReceived(b"".join(json.dumps(one).encode() + b"\n" for one in messages))

    def ends(self, error=ConnectionDone):
        self.protocol.connectionLost(Failure(error()))

    def getHost(self):
        return HOST

    def getHandle(self):
        return self

    def fileno(self):
        return 0

    def getsockopt(self, *_):
        return struct.pack("120xQ", self.acknowledged)

    def setTcpKeepAlive(self, _on):
        pass

    def registerProducer(self, producer, streaming):
        assert streaming
        self.producer = producer

    def unregisterProducer(self):
        self.producer = None

    def note(self, what):
        self.story.append(f"{self.name} {what}")

    def loseConnection(self):
        assert self.producer is None, "a registered producer would hold it open"
        self.is_ended = True
        self.note("closed")

    def abortConnection(self):
        self.is_ended = True
        self.note("aborted")

    def loseWriteConnection(self):
        self.note("half closed")

    def pauseProducing(self):
        self.note("paused")

    def resumeProducing(self):
        self.note("resumed")


class Server:
    """An endpoint whose connections are made by hand."""

    def __init__(self, name, story):
        self.name = name
        self.story = story
        self.dials = []
        self.line = None

    def connect(self, factory):
        self.story.append(f"{self.name} dialled")
        self.dials.append((factory, Deferred(lambda _: self.story.append(f"{self.name} dial cancelled"))))
        return self.dials[-1][1]

    def accepts(self):
        factory, dial = self.dials.pop()
        self.line = Line(self.name, self.story, factory.buildProtocol(None))
        dial.callback(self.line.protocol)

    def welcomes(self, number=1, **keys):
        self.line.says({"id": number, "ok": True, "epoch": 1, "resumed": True, "held": [], **keys})


class Stage:
    """A client and two servers."""

    def __init__(self):
        self.story = []
        self.overs = []
        self.clock = Clock()
        self.traffic = Traffic(self.clock, 10.0, lambda: 0.5, lambda name: self.story.append(f"{name} suspected"))
        self.a, self.b = Server("a", self.story), Server("b", self.story)
        self.session = Session(self.clock, self.traffic, Arrival(self, CLIENT, ONLY, 0.0))
        self.client = Line("client", self.story, self.session)
        self.serve("a")

    def over(self, _arrival, backend, received, sent, ended):
        self.overs.append((backend, received, sent, ended))

    def serve(self, name):
        self.traffic.direct(Target(name, PlainDoors({ONLY: {"a": self.a, "b": self.b}[name]})))

    def since(self):
        told, self.story[:] = list(self.story), []
        return told


HELLO = {"id": 1, "op": "hello", "session": "0" * 32, "attempt": 1}
HELLO_LINE = json.dumps(HELLO)
BEAT = {"id": 2, "op": "heartbeat"}
BEAT_LINE = json.dumps(BEAT)


def opened():
    stage = Stage()
    stage.client.says(HELLO)
    stage.a.accepts()
    stage.a.welcomes()
    stage.since()
    return stage


def test_nothing_is_dialled_before_the_first_request():
    """A connection costs no server anything until a whole request is there."""
    stage = Stage()
    stage.session.dataReceived(HELLO_LINE.encode())
    assert stage.since() == []
    stage.session.dataReceived(b"\n")
    assert stage.since() == ["a dialled"]


def test_pipelined_requests_follow_the_hello():
    """Requests sent behind the hello follow when it is answered, in order, whole."""
    stage = Stage()
    stage.client.says(HELLO, BEAT, {"id": 3, "op": "bye"})
    stage.a.accepts()
    assert stage.since() == ["a dialled", f"a < {HELLO_LINE}"]
    stage.a.welcomes()
    _, *sent = stage.since()
    assert sent == [f"a < {BEAT_LINE}", 'a < {"id": 3, "op": "bye"}']


def test_old_server_is_gone_before_anything_is_repeated():
    """A failover: the old connection is aborted, its later words fall, then hello, then what was not answered."""
    stage = opened()
    stage.client.says(BEAT)
    old = stage.a.line
    stage.serve("b")
    old.says({"id": 2, "ok": True, "late": True})
    stage.b.accepts()
    old.says({"id": 2, "ok": True, "later": True})
    stage.b.welcomes(epoch=2)
    stage.b.line.says({"id": 2, "ok": True})
    assert stage.since() == [
        f"a < {BEAT_LINE}",
        "a aborted",
        "b dialled",
        f"b < {HELLO_LINE}",
        'client < {"event":"resumed","epoch":2,"resumed":true,"held":[]}',
        f"b < {BEAT_LINE}",
        'client < {"id": 2, "ok": true}',
    ]


def test_words_behind_not_active_are_dropped():
    """What stands behind `not_active` in the same bytes is not passed on; what stands before it is."""
    stage = opened()
    stage.client.says(BEAT, {"id": 3, "op": "heartbeat"}, {"id": 4, "op": "heartbeat"})
    stage.since()
    refusal = {"id": 3, "ok": False, "error": "not_active", "message": "m"}
    stage.a.line.says({"id": 2, "ok": True}, refusal, {"id": 4, "ok": True})
    assert stage.since() == ['client < {"id": 2, "ok": true}', "a aborted", "a suspected"]


def test_target_that_changes_while_dialling_cancels_the_dial():
    """A dial to a server that is not the target any more is cancelled for the new one."""
    stage = Stage()
    stage.client.says(HELLO)
    stage.serve("b")
    assert stage.since() == ["a dialled", "a dial cancelled", "b dialled"]


def test_connection_that_comes_too_late_is_aborted():
    """A server's connection whose client is gone by then is aborted at once."""
    stage = Stage()
    stage.client.says(HELLO)
    factory, _ = stage.a.dials[0]
    stage.client.ends()
    late = Line("late", stage.story, factory.buildProtocol(None))
    assert late.is_ended
    assert stage.traffic.clients == 0


def test_client_gone_closes_the_server_and_arms_an_abort():
    """When the client is gone its server is told by a close, and aborted if that takes too long."""
    stage = opened()
    stage.client.ends(ConnectionLost)
    assert stage.since() == ["a closed"]
    stage.clock.advance(CLOSING_SECONDS)
    assert stage.since() == ["a aborted"]


def test_closing_client_is_aborted_if_it_takes_too_long():
    """A client that does not take its last words is aborted in the end."""
    stage = opened()
    stage.a.line.says({"event": "superseded"})
    assert stage.since() == ['client < {"event": "superseded"}', "a closed", "client resumed", "client closed"]
    stage.clock.advance(CLOSING_SECONDS)
    assert "client aborted" in stage.since()


def test_closing_client_that_goes_on_talking_is_not_heard():
    """What a client says while it is being closed goes nowhere, and its end does not disarm the abort."""
    stage = opened()
    stage.a.line.says({"event": "superseded"})
    stage.since()
    stage.client.says(BEAT, {"id": 3, "op": "heartbeat"})
    stage.session.readConnectionLost()
    assert stage.since() == []
    assert stage.traffic.waiting == 0
    stage.clock.advance(CLOSING_SECONDS)
    assert "client aborted" in stage.since()


def test_back_pressure_goes_both_ways():
    """A side that does not read pauses the other one, a client also itself; reading again resumes them."""
    stage = opened()
    stage.client.producer.pauseProducing()
    stage.client.producer.resumeProducing()
    stage.a.line.producer.pauseProducing()
    stage.a.line.producer.resumeProducing()
    client_behind = ["a paused", "client paused", "a resumed", "client resumed"]
    assert stage.since() == [*client_behind, "client paused", "client resumed"]
    stage.clock.advance(STALL_SECONDS)
    assert stage.since() == []


def test_client_is_read_from_when_nobody_is_behind():
    """With both sides behind, the client is read from again only after both have caught up."""
    stage = opened()
    stage.client.producer.pauseProducing()
    stage.a.line.producer.pauseProducing()
    stage.since()
    stage.client.producer.resumeProducing()
    assert stage.since() == ["a resumed"]
    stage.a.line.producer.resumeProducing()
    assert stage.since() == ["client resumed"]


def test_side_that_never_reads_is_given_up():
    """A client that reads nothing for STALL_SECONDS is dropped; a server that does so is left for the next."""
    stage = opened()
    stage.client.producer.pauseProducing()
    stage.clock.advance(STALL_SECONDS)
    assert stage.since() == ["a paused", "client paused", "client aborted"]
    stage = opened()
    stage.a.line.producer.pauseProducing()
    stage.clock.advance(STALL_SECONDS)
    assert stage.since() == ["client paused", "a aborted"]


def test_side_that_reads_slowly_is_kept():
    """A side that takes a byte within STALL_SECONDS is given as long again, however full it stays."""
    for side in ("client", "server"):
        stage = opened()
        line = stage.client if side == "client" else stage.a.line
        line.producer.pauseProducing()
        stage.since()
        for _ in range(3):
            line.acknowledged += 1
            stage.clock.advance(STALL_SECONDS)
        assert stage.since() == []
        stage.clock.advance(STALL_SECONDS)
        assert stage.since() == [f"{line.name} aborted"]


def test_server_left_while_it_does_not_read_frees_the_client():
    """A client paused for a server that did not read is read again when that server is left."""
    stage = opened()
    stage.a.line.producer.pauseProducing()
    stage.serve("b")
    assert stage.since() == ["client paused", "client resumed", "a aborted", "b dialled"]


def test_half_close_is_passed_on_and_survives_a_failover():
    """A client that ends its side reaches the server so, and the next server too, after the repetition."""
    stage = opened()
    stage.client.says(BEAT)
    stage.session.readConnectionLost()
    assert stage.since() == [f"a < {BEAT_LINE}", "a half closed"]
    stage.serve("b")
    stage.b.accepts()
    stage.b.welcomes()
    assert stage.since()[-2:] == [f"b < {BEAT_LINE}", "b half closed"]
    stage.b.line.says({"id": 2, "ok": True})
    assert stage.since()[-1] == "client closed"


def test_client_that_ended_its_side_with_nothing_asked_is_closed():
    """A client that says nothing and ends is closed."""
    stage = Stage()
    stage.session.readConnectionLost()
    assert stage.since() == ["client resumed", "client closed"]


def test_silence_at_the_start_is_limited():
    """A client has HELLO_SECONDS for its first request, and bytes that are no whole request do not count."""
    stage = Stage()
    stage.session.dataReceived(b'{"id":1')
    stage.clock.advance(HELLO_SECONDS)
    assert stage.since() == ["client aborted"]


def test_first_request_ends_the_limit():
    """After the first request nothing is limited by time: license connections are silent for hours."""
    stage = opened()
    stage.clock.advance(100_000)
    assert stage.since() == []


def test_silent_session_is_closed_not_moved():
    """A client silent for two heartbeats is not said hello for again: a dead client would keep its seats for ever."""
    for seconds, ending in ((29, ["a suspected"]), (31, ["client resumed", "client closed", "a suspected"])):
        stage = opened()
        stage.traffic.start()
        stage.clock.pump([1] * seconds)
        stage.a.line.ends()
        assert sorted(stage.since()) == sorted(ending)


def test_silent_session_is_not_moved_by_a_switch_either():
    """When the target changes, a session silent for two heartbeats is closed."""
    stage = opened()
    stage.traffic.start()
    stage.clock.pump([1] * 31)
    stage.serve("b")
    assert stage.since() == ["a aborted", "client resumed", "client closed"]


def test_session_lost_while_greeting_is_dialled_again():
    """A server that dies between the hello and its reply leaves the hello to be said again."""
    stage = Stage()
    stage.client.says(HELLO)
    stage.a.accepts()
    stage.a.line.ends(ConnectionLost)
    assert "a suspected" in stage.since()
    stage.clock.advance(0.02)
    stage.a.accepts()
    assert stage.since() == ["a dialled", f"a < {HELLO_LINE}"]


def test_session_id_is_in_no_representation():
    """Neither a session nor what it keeps shows the session id where it could be logged."""
    stage = opened()
    shown = f"{stage.session!r} {stage.session._replay!r} {stage.session._leg!r} {stage.traffic!r}"
    assert "0" * 32 not in shown
