"""Who is let in, on real sockets, and what is said of those who are not."""

import socket
import ssl

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher

from lsproxy.net.announcing import accept_proxy_protocol
from lsproxy.net.network import parse_network
from lsproxy.net.tls import server_tls, wrap_server
from lsproxy.proxy.listener import Limits, Listener, Room
from tests.lsproxy.net.conftest import Authority
from tests.lsproxy.proxy.relay.line import Line, Peer


@pytest.fixture
def line():
    """A line that listens when the test says how."""
    made = Line()
    made.serve(made.a)
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.stop()))


@pytest.fixture
def warnings():
    """What is logged as a warning meanwhile, as text."""
    texts = []

    def observe(event):
        if event["log_level"].name == "warn":
            texts.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(observe)
    yield texts
    globalLogPublisher.removeObserver(observe)


@pytest_twisted.ensureDeferred
async def test_no_more_than_max_connections(line, warnings):
    """Who comes when all places are taken is reset at once; a place that is given back is there for the next one."""
    await line.listen(max_connections=2)
    first, _ = await line.pair()
    await line.pair()
    third = line.client()
    assert await line.ended(third) == "RST"
    record = line.records[-1]
    assert (record.backend, record.received, record.sent, record.duration, record.ended) == (None, 0, 0, 0.0, "lsproxy")
    assert record.client == f"127.0.0.1:{third.socket.getsockname()[1]}"
    assert line.listener.tally.refused == {"max_connections": 1}
    assert warnings == [
        f"listen.lmgrd.max_connections: {record.client} was refused: there are 2 connections already",
    ]
    first.reset()
    await line.recorded(2)
    await line.pair()
    assert (line.listener.tally.accepted, line.listener.tally.connections) == (4, 2)


@pytest_twisted.ensureDeferred
async def test_refusals_are_said_once_a_minute(line, warnings, monkeypatch):
    """Many refusals are one line in the log, with the number of those before."""
    await line.listen(max_connections=1)
    await line.pair()
    for _ in range(3):
        assert await line.ended(line.client()) == "RST"
    assert len(warnings) == 1
    monkeypatch.setattr("lsproxy.proxy.listener.REMIND_SECONDS", 0.0)
    assert await line.ended(line.client()) == "RST"
    assert "was refused, and so were 2 others since this was said last: " in warnings[1]
    assert line.listener.tally.refused["max_connections"] == 4


@pytest_twisted.ensureDeferred
async def test_no_more_than_max_per_source(line):
    """Of one address only so many are let in, others come in all the same."""
    await line.listen(max_per_source=1)
    first, _ = await line.pair()
    assert await line.ended(line.client()) == "RST"
    other = socket.create_connection(("127.0.0.1", line.port), source_address=("127.0.0.2", 0))
    await line.until(lambda: line.listener.tally.connections == 2)
    assert line.listener.tally.refused == {"max_per_source": 1}
    other.close()
    first.reset()
    await line.until(lambda: len(line.records) >= 2)


@pytest_twisted.ensureDeferred
async def test_no_more_than_there_are_descriptors_for(line, warnings):
    """Each client needs two, so that who is let in can be served; a place that is given back is there again."""
    room = Room(4)
    await line.listen(room=room)
    first, _ = await line.pair()
    second = line.client()
    assert await line.ended(second) == "RST"
    assert line.listener.tally.refused == {"descriptors": 1}
    assert len(warnings) == 1
    assert warnings[0].endswith("this process has descriptors for 1 clients, raise its limit (LimitNOFILE)")
    first.reset()
    await line.recorded(2)
    assert room.taken == 0
    await line.pair()


@pytest_twisted.ensureDeferred
async def test_only_who_is_allowed(line, warnings):
    """A client of another network is reset before any server hears of it."""
    await line.listen(allow=(parse_network("192.0.2.0/24"), parse_network("127.0.0.2")))
    refused = line.client()
    assert await line.ended(refused) == "RST"
    assert line.a.accept() is None
    assert warnings[0].endswith("was refused: its address is in none of the networks named there")
    allowed = socket.create_connection(("127.0.0.1", line.port), source_address=("127.0.0.2", 0))
    await line.accepted(line.a)
    allowed.close()


@pytest_twisted.ensureDeferred
async def test_limits_are_for_the_client_behind_a_proxy(line):
    """Behind the PROXY protocol it is the announced address that is let in, counted and recorded."""
    networks = (parse_network("127.0.0.0/8"),)
    await line.listen(
        lambda endpoint, _: accept_proxy_protocol(reactor, endpoint, networks),
        allow=(parse_network("192.0.2.7"),),
    )
    refused, allowed = line.client(), line.client()
    refused.send(b"PROXY TCP4 127.0.0.1 198.51.100.1 1111 27000\r\n")
    allowed.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 2222 27000\r\nhello")
    assert await line.ended(refused) == "RST"
    served = await line.accepted(line.a)
    await line.received(served, b"hello")
    served.send(b"ok")
    await line.received(allowed, b"ok")
    allowed.reset()
    record = await line.recorded(2)
    assert (record.client, record.received) == ("192.0.2.7:2222", 5)


def behind_proxies(header_seconds=3.0):
    """What has a listener read a PROXY protocol header from everybody."""
    networks = (parse_network("127.0.0.0/8"),)
    return lambda endpoint, prefaces: accept_proxy_protocol(
        reactor, endpoint, networks, header_seconds=header_seconds, prefaces=prefaces
    )


def over_tls(tmp_path, handshake_seconds=3.0):
    """What has a listener speak TLS."""
    tls = server_tls(*Authority(tmp_path).issue("127.0.0.1"))
    return lambda endpoint, prefaces: wrap_server(
        reactor, endpoint, tls, handshake_seconds=handshake_seconds, prefaces=prefaces
    )


@pytest.mark.parametrize("kind", ["proxy", "tls"])
@pytest_twisted.ensureDeferred
async def test_silent_connections_count(line, tmp_path, kind):
    """A connection that has yet to say its header or to shake hands has a place of its own until it is over."""
    room = Room(200)
    await line.listen(over_tls(tmp_path) if kind == "tls" else behind_proxies(), room, max_connections=2)
    silent = [line.client() for _ in range(2)]
    await line.until(lambda: line.listener.tally.prefaces == 2)
    assert room.taken == 2
    third = line.client()
    assert await line.ended(third) == "RST"
    record = line.records[-1]
    assert record.client == f"127.0.0.1:{third.socket.getsockname()[1]}"
    assert (record.backend, record.ended) == (None, "lsproxy")
    assert line.listener.tally.refused == {"max_connections": 1}
    for one in silent:
        one.close()
    await line.recorded(3)
    assert {record.ended for record in line.records[1:]} == {"client"}
    assert (room.taken, line.listener.tally.accepted) == (0, 3)


@pytest_twisted.ensureDeferred
async def test_place_of_a_preface_is_the_connections(line):
    """Who is through its header has one place, not two, and gives it back at its end."""
    room = Room(200)
    await line.listen(behind_proxies(), room, max_connections=1)
    client = line.client()
    client.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 2222 27000\r\nhello")
    await line.received(await line.accepted(line.a), b"hello")
    tally = line.listener.tally
    assert (tally.prefaces, tally.connections, tally.accepted, room.taken) == (0, 1, 1, 1)
    client.reset()
    assert (await line.recorded()).client == "192.0.2.7:2222"
    assert room.taken == 0


@pytest.mark.parametrize(
    ("said", "way", "ended"),
    [
        (b"GET / HTTP/1.1\r\n", None, "lsproxy"),
        (b"PROXY TCP4", None, "timeout"),
        (b"PROXY TCP4", "close", "client"),
        (b"", "reset", "client"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_connection_without_a_header_is_recorded(line, said, way, ended):
    """Of a connection that comes to nothing for its header the record names the proxy's end and who ended it."""
    await line.listen(behind_proxies(0.05 if ended == "timeout" else 3.0))
    client = line.client()
    client.send(said)
    number = client.socket.getsockname()[1]
    if way is not None:
        await line.turns()
        getattr(client, way)()
    record = await line.recorded()
    assert (record.client, record.backend, record.ended) == (f"127.0.0.1:{number}", None, ended)
    await line.turns()
    assert len(line.records) == 1
    assert line.listener.tally.ended == {ended: 1}


@pytest.mark.parametrize(
    ("ended", "said"), [("lsproxy", b"hello, hello, is this a license server?"), ("timeout", b""), ("client", None)]
)
@pytest_twisted.ensureDeferred
async def test_failed_handshake_is_recorded(line, tmp_path, ended, said):
    """Garbage is refused by this side, silence by the time; a client that does not believe the server ends it."""
    await line.listen(over_tls(tmp_path, 0.05 if ended == "timeout" else 3.0))
    client = line.client()
    number = client.socket.getsockname()[1]
    if said is None:
        client.socket.setblocking(True)
        with pytest.raises(ssl.SSLCertVerificationError):
            await deferToThread(ssl.create_default_context().wrap_socket, client.socket, server_hostname="127.0.0.1")
    else:
        client.send(said)
    record = await line.recorded()
    assert (record.client, record.backend, record.ended) == (f"127.0.0.1:{number}", None, ended)
    await line.turns()
    assert len(line.records) == 1


@pytest_twisted.ensureDeferred
async def test_handshakes_of_one_source_count_for_it(line, tmp_path):
    """Behind TLS alone the client is known from the beginning: its network and its number are looked at then."""
    await line.listen(over_tls(tmp_path), max_per_source=1, allow=(parse_network("127.0.0.1"),))
    line.client()
    await line.until(lambda: line.listener.tally.prefaces)
    assert await line.ended(line.client()) == "RST"
    line.clients.append(Peer(socket.create_connection(("127.0.0.1", line.port), source_address=("127.0.0.2", 0))))
    assert await line.ended(line.clients[-1]) == "RST"
    assert line.listener.tally.refused == {"max_per_source": 1, "allow": 1}
    line.clients[0].close()
    await line.until(lambda: not line.listener.tally.sources)


@pytest_twisted.ensureDeferred
async def test_successor_counts_on(line):
    """Connections of the listener before count for the one after it, down too; so do the numbers since the start."""
    await line.listen(max_connections=2)
    former = line.listener
    first, _ = await line.pair()
    await line.pair()
    line.listener = Listener(
        reactor,
        "lmgrd",
        former.heir_endpoint(),
        line,
        limits=Limits(max_connections=2, max_per_source=2),
        record=line.records.append,
        tally=former.tally,
    )
    await line.listener.start()
    await former.stop()
    assert await line.ended(line.client()) == "RST"
    first.reset()
    await line.recorded(2)
    await line.pair()
    assert await line.ended(line.client()) == "RST"
    tally = line.listener.tally
    assert (tally.accepted, tally.connections, tally.refused) == (5, 2, {"max_connections": 2})
    assert tally.sources == {"127.0.0.1": 2}
    assert tally.ended == {"client": 1}


@pytest_twisted.ensureDeferred
async def test_stopped_listener_keeps_its_connections(line):
    """A listener that accepts no more leaves its connections alone, and goes on to count them."""
    await line.listen()
    client, served = await line.pair()
    await line.listener.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", line.port))
    client.send(b"still here")
    await line.received(served, b"still here")
    client.reset()
    await line.recorded()
    assert line.listener.tally.connections == 0
