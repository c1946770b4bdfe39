"""Relays between real sockets: what one side does is what the other side gets, and nothing stays behind."""

import contextlib
import os
import resource
import socket
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from lsproxy.net.endpoints import client_endpoint
from lsproxy.proxy.doors import PlainDoors
from lsproxy.proxy.relay.relay import KEPT_BYTES
from lsproxy.proxy.traffic import Target
from tests.lsproxy.proxy.relay.line import Line, Peer

MIB = 1 << 20


@pytest.fixture
def line():
    """A line that is served by `a`; after the test nothing of it is left."""
    made = Line()
    pytest_twisted.blockon(Deferred.fromCoroutine(made.listen()))
    made.serve(made.a)
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.stop()))


@pytest_twisted.ensureDeferred
async def test_bytes_pass_both_ways(line):
    """What one side says the other one gets, unread, and the record counts it."""
    client = line.client()
    client.send(b"hello")
    served = await line.accepted(line.a)
    await line.received(served, b"hello")
    served.send(b"welcome")
    await line.received(client, b"welcome")
    client.send(b" again")
    await line.received(served, b"hello again")
    client.close()
    assert await line.ended(served) == "EOF"
    served.close()
    record = await line.recorded()
    assert (record.backend, record.received, record.sent, record.ended) == ("fn-a", 11, 7, "client")
    assert (record.listener, record.pool) == ("lmgrd", "mcad")


@pytest_twisted.ensureDeferred
async def test_server_may_speak_first(line):
    """A server's banner comes to a client that has said nothing."""
    client = line.client()
    served = await line.accepted(line.a)
    served.send(b"220 ready")
    await line.received(client, b"220 ready")


# --- the four half-states -----------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_client_ends_its_half_and_is_answered(line):
    """An EOF of the client reaches the server, whose answer still comes back; then all is closed."""
    client = line.client()
    client.send(b"request")
    client.shut()
    served = await line.accepted(line.a)
    assert await line.ended(served) == "EOF"
    assert served.received == b"request"
    await line.turns()
    assert client.end is None
    served.send(b"answer")
    await line.turns()
    served.send(b", the rest")
    served.close()
    assert await line.ended(client) == "EOF"
    assert client.received == b"answer, the rest"
    assert (await line.recorded()).ended == "client"


@pytest_twisted.ensureDeferred
async def test_server_ends_its_half_and_still_listens(line):
    """An EOF of the server reaches the client, whose bytes still go to the server; then all is closed."""
    client, served = await line.pair()
    served.shut()
    assert await line.ended(client) == "EOF"
    client.send(b"upload")
    await line.received(served, b"upload")
    await line.turns()
    assert served.end is None
    client.close()
    assert await line.ended(served) == "EOF"
    assert (await line.recorded()).ended == "server"


@pytest_twisted.ensureDeferred
async def test_both_end_at_once(line):
    """When both sides end their half at the same time nothing is left open."""
    client, served = await line.pair()
    client.shut()
    served.shut()
    assert await line.ended(client) == await line.ended(served) == "EOF"
    await line.recorded()


@pytest_twisted.ensureDeferred
async def test_half_closed_client_may_still_be_reset(line):
    """A half-closed connection whose client goes away is reset at the server."""
    client, served = await line.pair()
    client.shut()
    await line.ended(served)
    client.reset()

    def is_felt():
        try:
            served.socket.send(b"x")
        except OSError:
            return True
        return False

    await line.until(is_felt)
    await line.recorded()


@pytest_twisted.ensureDeferred
async def test_last_bytes_before_an_eof_are_not_lost(line):
    """Megabytes that a side sends before it closes all arrive, and then the EOF, though the reader is slow."""
    client, served = await line.pair()
    data = os.urandom(3 * MIB)
    left = data

    def pushed():
        nonlocal left
        left = left[served.send(left[:MIB]) :]
        client.poll(most=MIB // 4)
        return not left

    await line.until(pushed)
    served.close()
    client.shut()
    assert await line.ended(client) == "EOF"
    assert client.received == data
    assert (await line.recorded()).sent == len(data) + 1


# --- resets ---------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_reset_of_the_client_is_passed_on(line):
    """A client that resets its connection resets the server's."""
    client, served = await line.pair()
    client.reset()
    assert await line.ended(served) == "RST"
    assert (await line.recorded()).ended == "client"


@pytest_twisted.ensureDeferred
async def test_reset_of_the_server_is_passed_on(line):
    """A server that resets its connection resets the client's."""
    client, served = await line.pair()
    served.reset()
    assert await line.ended(client) == "RST"
    assert (await line.recorded()).ended == "server"
    assert line.verified == []


# --- before the server's first byte -----------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_was_said_is_said_again_to_the_next_server(line):
    """A server that dies unanswered costs the client nothing: the next one gets all that it said."""
    client = line.client()
    client.send(b"one ")
    first = await line.accepted(line.a)
    await line.received(first, b"one ")
    line.verdict = Deferred()
    first.reset()
    await line.until(lambda: line.verified)
    client.send(b"two ")
    await line.turns()
    line.serve(line.b)
    second = await line.accepted(line.b)
    await line.received(second, b"one two ")
    client.send(b"three")
    await line.received(second, b"one two three")
    second.send(b"ok")
    await line.received(client, b"ok")
    line.verdict.callback(False)
    await line.turns()
    assert client.end is None


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("way", ["reset", "close"])
async def test_server_that_is_not_well_is_left(line, way):
    """A server that ends the connection unanswered and fails its check is not the client's business."""
    client = line.client()
    client.send(b"hello")
    first = await line.accepted(line.a)
    await line.received(first, b"hello")
    line.verdict = False
    getattr(first, way)()
    await line.until(lambda: line.verified == ["fn-a"])
    assert line.suspects == ["fn-a"]
    line.serve(line.b)
    second = await line.accepted(line.b)
    await line.received(second, b"hello")
    assert client.end is None


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("way", "end"), [("reset", "RST"), ("close", "EOF"), ("shut", "EOF")])
async def test_server_that_is_well_meant_it(line, way, end):
    """What a server did before its first byte is passed on when it passes its check."""
    client = line.client()
    client.send(b"hello")
    first = await line.accepted(line.a)
    await line.received(first, b"hello")
    getattr(first, way)()
    assert await line.ended(client) == end
    assert line.verified == ["fn-a"]
    client.close()
    assert (await line.recorded()).ended == "server"


@pytest_twisted.ensureDeferred
async def test_client_that_says_nothing_is_no_reason_for_a_check(line):
    """A client that connects and closes, as a check does, is passed on as it is."""
    client = line.client()
    client.shut()
    served = await line.accepted(line.a)
    await line.ended(served)
    served.close()
    assert await line.ended(client) == "EOF"
    assert line.verified == []


@pytest_twisted.ensureDeferred
async def test_refused_dial_is_repeated_at_the_next_server(line):
    """A dead server's refusal is told, and the client is answered by the next one."""
    line.a.kill()
    client = line.client()
    client.send(b"hello")
    await line.until(lambda: line.suspects)
    line.serve(line.b)
    served = await line.accepted(line.b)
    await line.received(served, b"hello")


@pytest_twisted.ensureDeferred
async def test_client_is_refused_by_a_reset(line):
    """With no server for longer than `hold` a client is reset, at once when nobody shall wait."""
    line.traffic.halt("all are down", is_hopeless=True)
    client = line.client()
    assert await line.ended(client) == "RST"
    record = await line.recorded()
    assert (record.backend, record.ended) == (None, "lsproxy")


@pytest_twisted.ensureDeferred
async def test_held_client_is_served_when_there_is_a_server(line):
    """A client waits for a server, with what it says, half-closed or not."""
    line.traffic.halt("all are down", is_hopeless=False)
    client = line.client()
    client.send(b"hello")
    client.shut()
    await line.turns()
    line.serve(line.b)
    served = await line.accepted(line.b)
    assert await line.ended(served) == "EOF"
    assert served.received == b"hello"
    served.send(b"ok")
    served.close()
    assert await line.ended(client) == "EOF"
    assert client.received == b"ok"


@pytest_twisted.ensureDeferred
async def test_who_says_more_than_is_kept_waits_and_is_then_committed(line):
    """While nobody takes it a client is read up to a bound; said to a server it is no more than its own."""
    line.traffic.halt("all are down", is_hopeless=False)
    client = line.client()
    sent = 0
    for _ in range(200):
        sent += client.send(b"x" * 65_536)
        await line.turns(0.001)
    relay = next(iter(line.traffic._sessions))
    assert KEPT_BYTES < len(relay.kept) < KEPT_BYTES + 2 * 262_144
    line.serve(line.a)
    served = await line.accepted(line.a)
    served.is_keeping = False

    def all_there():
        served.poll()
        return served.count == sent

    await line.until(all_there)
    assert relay.kept is None
    served.reset()
    assert await line.ended(client) == "RST"
    assert line.verified == []


@pytest_twisted.ensureDeferred
async def test_silence_is_told_once(line):
    """A server that leaves a request unanswered is suspected, once; it may still answer."""
    line.relays.unanswered.seconds = 0.05
    client = line.client()
    client.send(b"hello")
    served = await line.accepted(line.a)
    await line.until(lambda: line.suspects)
    client.send(b"hello?")
    await line.turns(0.1)
    assert line.suspects == ["fn-a"]
    served.send(b"yes")
    await line.received(client, b"yes")


@pytest_twisted.ensureDeferred
async def test_answer_in_time_is_no_silence(line):
    """A server that has said something is not suspected, however long it is silent then."""
    line.relays.unanswered.seconds = 0.05
    client, _served = await line.pair()
    client.send(b"hello")
    await line.turns(0.1)
    assert line.suspects == []


# --- switches and stops -----------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_switch_resets_both_sides(line):
    """After the server's first byte a connection cannot be moved: both sides are reset."""
    client, served = await line.pair()
    line.traffic.cut("fn-a")
    assert await line.ended(client) == "RST"
    assert await line.ended(served) == "RST"
    record = await line.recorded()
    assert (record.backend, record.ended) == ("fn-a", "switch")


@pytest_twisted.ensureDeferred
async def test_new_target_moves_who_can_be_moved(line):
    """Of the connections of the old server the unanswered go to the new one, the others are reset."""
    answered, _ = await line.pair()
    unanswered = line.client()
    unanswered.send(b"hello")
    await line.received(await line.accepted(line.a), b"hello")
    line.serve(line.b)
    assert await line.ended(answered) == "RST"
    served = await line.accepted(line.b)
    await line.received(served, b"hello")
    served.send(b"ok")
    await line.received(unanswered, b"ok")
    assert line.traffic.connections() == {"fn-b": 1}


@pytest_twisted.ensureDeferred
async def test_port_that_is_gone(line):
    """Clients of a port that a reload has renamed are reset, and take no place of those of other ports."""
    line.traffic.halt("all are down", is_hopeless=False)
    clients = [line.client() for _ in range(3)]
    clients[0].send(b"hello")
    await line.until(lambda: line.traffic.waiting == 3)
    endpoint = client_endpoint(reactor, "127.0.0.1", line.a.port)
    line.traffic.direct(Target("fn-a", PlainDoors({"vendor": endpoint})))
    for client in clients:
        assert await line.ended(client) == "RST"
    await line.recorded(3)
    assert {record.ended for record in line.records} == {"lsproxy"}
    line.serve(line.b)
    served = line.client()
    served.send(b"hello")
    await line.received(await line.accepted(line.b), b"hello")
    assert line.traffic._dials == 0


@pytest_twisted.ensureDeferred
async def test_stop_closes_cleanly(line):
    """At the daemon's stop clients and servers get what was said to them, and an EOF."""
    client, served = await line.pair()
    served.send(b"last words")
    await line.turns()
    stopped = line.traffic.stop()
    assert await line.ended(client) == await line.ended(served) == "EOF"
    assert client.received == b"last words"
    await stopped
    assert (await line.recorded()).ended == "lsproxy"


@pytest_twisted.ensureDeferred
async def test_stop_does_not_wait_for_who_does_not_read(line):
    """A client that reads nothing is reset when its time to close is over."""
    line.relays.closing.seconds = 0.1
    client, served = await line.pair(buffer=4096)
    await line.until(lambda: not served.send(b"x" * 65_536))
    await line.traffic.stop()
    assert await line.ended(client) == "RST"


# --- back-pressure ------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("way", ["down", "up"])
async def test_64_mib_to_a_reader_that_stalls(line, way):
    """A side that does not read stops the other one within a bound, and then gets every byte."""
    client, served = await line.pair()
    source, sink = (served, client) if way == "down" else (client, served)
    sink.is_keeping = False
    size, sent = 64 * MIB, 0
    chunk = b"0123456789abcdef" * 16_384
    quiet = 0
    while quiet < 20:
        taken = source.send(chunk)
        sent += taken
        quiet = 0 if taken else quiet + 1
        await line.turns(0.001)
    assert sent < 20 * MIB
    relay = next(iter(line.traffic._sessions))
    wire = relay.transport if way == "down" else relay._leg.transport
    assert wire._uv.get_write_buffer_size() < 1 * MIB

    def all_passed():
        nonlocal sent
        if sent < size:
            sent += source.send(chunk[: size - sent])
        sink.poll()
        return sink.count == size

    await line.until(all_passed, 30)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("way", ["down", "up"])
async def test_reader_that_stalls_for_good_is_reset(line, way):
    """A side that reads nothing for long ends the connection: timeout."""
    line.relays.stalled.seconds = 0.2
    client, served = await line.pair()
    source = served if way == "down" else client

    def is_reset():
        try:
            source.socket.send(b"x" * 65_536)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return False

    await line.until(is_reset)
    record = await line.recorded()
    assert record.ended == "timeout"


@pytest_twisted.ensureDeferred
async def test_slow_reader_is_not_a_stalled_one(line):
    """Who reads a little now and then keeps the connection."""
    line.relays.stalled.seconds = 0.3
    client, served = await line.pair()
    client.is_keeping = False
    for _ in range(60):
        served.send(b"x" * 262_144)
        client.poll(most=400_000)
        await line.turns(0.01)
    assert line.records == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("ways", [("down",), ("up",), ("down", "up")])
async def test_slow_readers_are_not_stalled_ones(line, ways):
    """Who takes a little all the time keeps the connection, however full it is meanwhile, one way or both."""
    line.relays.stalled.seconds = 0.3
    client, served = await line.pair()
    relay = next(iter(line.traffic._sessions))
    sources = {"down": (served, client), "up": (client, served)}
    full = {"down": 0, "up": 0}
    end = reactor.seconds() + 1.2
    while reactor.seconds() < end:
        for way in ways:
            source, sink = sources[way]
            sink.is_keeping = False
            for _ in range(16):
                source.send(b"x" * 262_144)
            sink.poll(most=40_000)
        full["down"] += relay._is_client_full
        full["up"] += relay._leg.is_full
        await line.turns(0.01)
    assert line.records == []
    assert all(full[way] > 50 for way in ways)


# --- clients that go ------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("way", ["close", "reset"])
@pytest.mark.parametrize("stage", ["held", "dialling", "connected", "doubted", "committed"])
async def test_client_that_disappears_leaves_nothing(line, stage, way):
    """At whatever stage a client goes, its connection to the server goes too and is recorded once."""
    if stage == "held":
        line.traffic.halt("all are down", is_hopeless=False)
    if stage == "doubted":
        line.verdict = Deferred()
    client = line.client()
    if stage != "dialling":
        client.send(b"hello")
    await line.until(lambda: line.traffic.clients)
    served = None
    if stage in {"connected", "doubted", "committed"}:
        served = await line.accepted(line.a)
        await line.received(served, b"hello")
    if stage == "doubted":
        served.shut()
        await line.until(lambda: line.verified)
    if stage == "committed":
        served.send(b"ok")
        await line.received(client, b"ok")
    getattr(client, way)()
    if served is not None:
        assert await line.ended(served) == ("RST" if way == "reset" else "EOF")
        served.close()
    if stage == "doubted":
        line.verdict.callback(True)
    if stage == "held" and way == "close":
        line.serve(line.b)
        (await line.accepted(line.b)).close()
    if stage == "dialling" and way == "close":
        (await line.accepted(line.a)).close()
    await line.recorded()
    await line.turns()
    assert len(line.records) == 1
    assert line.traffic.clients == 0


@pytest_twisted.ensureDeferred
async def test_descriptors_are_given_back(line):
    """A hundred connections, ended in every way, leave no descriptor open."""

    def count():
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for number in range(100):
        client = line.client()
        client.send(b"x")
        served = await line.accepted(line.a)
        await line.received(served, b"x")
        if number % 2:
            served.send(b"y")
        side = client if number % 3 else served
        (side.reset if number % 5 else side.close)()
    await line.until(lambda: len(line.records) >= 65)
    for peer in (*line.clients, *line.a.peers):
        peer.close()
    await line.recorded(100)
    await line.turns()
    assert count() == before


@pytest_twisted.ensureDeferred
async def test_both_legs_are_kept_alive(line):
    """The kernel probes the client from the beginning, and the server once the connection has lasted a moment."""
    line.relays.young.seconds = 0.05
    await line.pair()
    relay = next(iter(line.traffic._sessions))
    assert relay.transport.getTcpKeepAlive()
    await line.until(relay._leg.transport.getTcpKeepAlive)


@pytest_twisted.ensureDeferred
async def test_shortage_is_not_the_servers_fault(line):
    """Out of descriptors a client is refused at once, and no server is suspected for it."""
    client = socket.socket()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard))
    fillers = []
    try:
        with contextlib.suppress(OSError):
            while True:
                fillers.append(os.dup(client.fileno()))
        os.close(fillers.pop())
        client.connect(("127.0.0.1", line.port))
        line.clients.append(Peer(client))
        assert await line.ended(line.clients[-1]) == "RST"
    finally:
        for descriptor in fillers:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (await line.recorded()).ended == "lsproxy"
    assert line.suspects == []
