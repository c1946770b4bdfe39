"""How events reach one who listens."""

import http.client
import json
import socket

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread

from lsproxy.admin.events import Events
from lsproxy.admin.exchange import RefusedError, Stream
from lsproxy.admin.stream import KEEPALIVE_SECONDS, MOST_UNREAD, EventStream
from tests.lsproxy.admin.conftest import TOKENS


class Listener:
    """A connection that reads events; its methods block, so they are called in a thread."""

    def __init__(self, port, path="/api/v1/events", **headers):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {TOKENS['viewer']}", **headers})
        self.answer = self._connection.getresponse()

    def read(self, count):
        """The next `count` events of the test's own."""
        found = []
        while len(found) < count:
            line = self.answer.readline()
            assert line, "the stream ended"
            event = json.loads(line[6:]) if line.startswith(b"data: ") else None
            if event is not None and event["event"] == "test":  # not those of the pool, whose servers are down
                found.append(event)
        return found

    def close(self):
        self.answer.close()
        self._connection.close()


@pytest_twisted.ensureDeferred
async def test_a_listener_hears_what_was_and_what_comes(panel):
    """First the backlog, then each event as it happens."""
    panel.events.tell("test", "demo", "before", {})
    listener = await deferToThread(Listener, panel.port)
    assert listener.answer.headers["Content-Type"] == "text/event-stream"
    panel.events.tell("test", None, "after", {"n": 1})
    heard = await deferToThread(listener.read, 2)
    assert [event["message"] for event in heard] == ["before", "after"]
    assert heard[-1]["details"] == {"n": 1}
    listener.close()


@pytest_twisted.ensureDeferred
async def test_who_comes_back_misses_nothing_and_hears_nothing_twice(panel):
    """By the id of the last one it saw."""
    for number in range(3):
        panel.events.tell("test", "demo", f"event {number}", {})
    first = await deferToThread(Listener, panel.port)
    (one,) = await deferToThread(first.read, 1)
    first.close()
    again = await deferToThread(lambda: Listener(panel.port, **{"Last-Event-ID": one["id"]}))
    assert [e["message"] for e in await deferToThread(again.read, 2)] == ["event 1", "event 2"]
    again.close()


@pytest_twisted.ensureDeferred
async def test_a_look_back_ends(panel):
    """Without following, the answer is whole when the backlog is told."""
    panel.events.tell("test", "demo", "before", {})
    listener = await deferToThread(Listener, panel.port, "/api/v1/events?follow=false")
    assert b"before" in await deferToThread(listener.answer.read)
    listener.close()


@pytest_twisted.ensureDeferred
async def test_a_listener_that_does_not_read_is_dropped(panel):
    """Its unread events are bounded, and nobody else is held up."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", panel.port))
    request = f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKENS['viewer']}\r\n\r\n"
    deaf.sendall(request.encode())
    await deferLater(reactor, 0.3)
    assert len(panel.events._followers) == 1
    for _ in range(150 + MOST_UNREAD):
        panel.events.tell("test", "demo", "x" * 100_000, {})
        await deferLater(reactor, 0)
        if not panel.events._followers:
            break
    await deferLater(reactor, 0.05)
    assert not panel.events._followers
    deaf.close()


@pytest_twisted.ensureDeferred
async def test_a_listener_that_goes_leaves_nothing_behind(panel):
    """Neither a follower nor a timer."""
    listener = await deferToThread(Listener, panel.port)
    assert len(panel.events._followers) == 1
    listener.close()
    await deferLater(reactor, 0.1)
    assert not panel.events._followers


class Request:
    """What a stream needs of a request, in memory."""

    def __init__(self):
        self.written = b""
        self.ended = Deferred()
        self.is_aborted = False
        self.channel = self

    def write(self, data):
        self.written += data

    def notifyFinish(self):
        return self.ended

    def registerProducer(self, _producer, streaming):
        assert streaming

    def unregisterProducer(self):
        self.has_producer = False

    def finish(self):
        self.ended.callback(None)

    def forceAbortClient(self):
        self.is_aborted = True

    @property
    def messages(self):
        lines = self.written.split(b"\n")
        return [json.loads(line[6:])["message"] for line in lines if line.startswith(b"data: ")]


async def allowed():
    """Whoever listens may."""


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def begun(clock):
    """Events, a request that follows them, and its stream."""
    events, request = Events("test", clock.seconds), Request()
    stream = EventStream(clock, events, request, Stream(after=None, is_followed=True, permit=allowed))
    stream.start()
    return events, request, stream


def test_what_happens_while_a_listener_pauses_comes_after_it_in_order(begun):
    """Nothing is written meanwhile."""
    events, request, stream = begun
    stream.pauseProducing()
    for number in range(3):
        events.tell("test", None, str(number), {})
    assert request.messages == []
    stream.resumeProducing()
    events.tell("test", None, "3", {})
    assert request.messages == ["0", "1", "2", "3"]


def test_a_pause_too_long_ends_the_stream(begun):
    """At the first event too many, not before."""
    events, request, stream = begun
    stream.pauseProducing()
    for number in range(MOST_UNREAD):
        events.tell("test", None, str(number), {})
    assert not request.is_aborted
    events.tell("test", None, "one too many", {})
    assert request.is_aborted


def test_silence_is_broken_now_and_then(begun, clock):
    """So that a listener that is gone is found; not while it does not read, and not after the end."""
    _, request, stream = begun
    clock.advance(KEEPALIVE_SECONDS)
    assert request.written.count(b"still here") == 1
    stream.pauseProducing()
    clock.advance(KEEPALIVE_SECONDS)
    assert request.written.count(b"still here") == 1
    request.ended.callback(None)
    assert not clock.getDelayedCalls()


def test_who_may_hear_no_more_hears_no_more(clock):
    """A token that was taken out ends the stream at the next keepalive, and nothing is left behind."""
    events, request, is_known = Events("test", clock.seconds), Request(), True

    async def permit():
        if not is_known:
            raise RefusedError(401, "unauthorized", "a token is needed")

    EventStream(clock, events, request, Stream(after=None, is_followed=True, permit=permit)).start()
    clock.advance(KEEPALIVE_SECONDS)
    assert not request.ended.called
    is_known = False
    clock.advance(KEEPALIVE_SECONDS)
    assert request.ended.called
    assert not request.has_producer
    assert not events._followers
    assert not clock.getDelayedCalls()


def test_a_listener_that_goes_while_it_is_asked_for_leaves_nothing_behind(clock):
    """The answer comes to nobody."""
    events, request, answer = Events("test", clock.seconds), Request(), Deferred()
    EventStream(clock, events, request, Stream(after=None, is_followed=True, permit=lambda: answer)).start()
    clock.advance(KEEPALIVE_SECONDS)
    request.ended.callback(None)
    assert not clock.getDelayedCalls()
    assert b"still here" not in request.written


@pytest_twisted.ensureDeferred
async def test_a_token_that_is_taken_out_ends_its_streams(panel, monkeypatch):
    """So does the end of a login, by the same way."""
    monkeypatch.setattr("lsproxy.admin.stream.KEEPALIVE_SECONDS", 0.1)
    listener = await deferToThread(Listener, panel.port)
    await deferLater(reactor, 0.3)
    assert panel.events._followers
    path = panel.demo.folder / "tokens.yaml"
    kept = path.read_text()
    try:
        path.write_text("tokens: []\n")
        await deferToThread(listener.answer.read)
        assert not panel.events._followers
    finally:
        path.write_text(kept)
        listener.close()
