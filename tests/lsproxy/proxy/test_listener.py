"""Who is let in, on real sockets, and what is said of those who are not."""

import socket

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from lsproxy.net.announcing import accept_proxy_protocol
from lsproxy.net.network import parse_network
from lsproxy.proxy.listener import OTHER_DESCRIPTORS, Room
from tests.lsproxy.proxy.relay.line import Line


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
    assert line.listener.refused == {"max_connections": 1}
    assert warnings == [
        f"listen.lmgrd.max_connections: {record.client} was refused: there are 2 connections already",
    ]
    first.reset()
    await line.recorded(2)
    await line.pair()
    assert (line.listener.accepted, line.listener.connections) == (4, 2)


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
    assert line.listener.refused["max_connections"] == 4


@pytest_twisted.ensureDeferred
async def test_no_more_than_max_per_source(line):
    """Of one address only so many are let in, others come in all the same."""
    await line.listen(max_per_source=1)
    first, _ = await line.pair()
    assert await line.ended(line.client()) == "RST"
    other = socket.create_connection(("127.0.0.1", line.port), source_address=("127.0.0.2", 0))
    await line.until(lambda: line.listener.connections == 2)
    assert line.listener.refused == {"max_per_source": 1}
    other.close()
    first.reset()
    await line.until(lambda: len(line.records) >= 2)


@pytest_twisted.ensureDeferred
async def test_no_more_than_there_are_descriptors_for(line, warnings):
    """Each client needs two, so that who is let in can be served; a place that is given back is there again."""
    room = Room(OTHER_DESCRIPTORS + 3)
    await line.listen(room=room)
    first, _ = await line.pair()
    second = line.client()
    assert await line.ended(second) == "RST"
    assert line.listener.refused == {"descriptors": 1}
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
        lambda endpoint: accept_proxy_protocol(reactor, endpoint, networks),
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
    assert line.listener.connections == 0
