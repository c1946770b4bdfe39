"""What is recorded of a session when it has ended: where it was, how much was said, and who ended it."""

import pytest
import pytest_twisted
from twisted.internet import reactor

from lsproxy.net.endpoints import server_endpoint
from lsproxy.proxy.listener import Listener


def scenario(coroutine):
    """A test written as a coroutine."""
    return pytest_twisted.ensureDeferred(coroutine)


async def recording(world):
    """The list that gets the records of the world's listener."""
    records = []
    await world.start()
    await world.listener.stop()
    endpoint = server_endpoint(reactor, "127.0.0.1", 0)
    world.listener = Listener(reactor, "licenses", endpoint, world.pool, record=records.append)
    world.number = (await world.listener.start()).getHost().port
    return records


async def ended(world, records):
    await world.until(lambda: records)
    assert len(records) == 1
    return records[0]


@scenario
async def test_client_that_leaves(world):
    """A client that closes ended it; every byte both ways is counted."""
    records = await recording(world)
    client = await world.client("1" * 32)
    client.ask("checkout", feature="cad")
    await client.told(id=2)
    port = client.transport.getHost().port
    client.transport.loseConnection()
    record = await ended(world, records)
    assert (record.client, record.listener, record.pool) == (f"127.0.0.1:{port}", "licenses", "acme")
    assert (record.backend, record.ended) == ("lic-a", "client")
    assert record.received > 100
    assert record.sent > 100
    assert 0 < record.duration < 5


@scenario
async def test_stop_of_the_proxy(world):
    """A session that is closed because the pool stops was ended by lsproxy, on the server it had last."""
    records = await recording(world)
    await world.client("1" * 32)
    world.a.kill()
    await world.served_by("lic-b")
    await world.until(lambda: world.pool.traffic.connections() == {"lic-b": 1})
    await world.stop_pool()
    record = await ended(world, records)
    assert (record.backend, record.ended) == ("lic-b", "lsproxy")


@scenario
async def test_client_that_never_asks(world, monkeypatch):
    """A client that says nothing in time is ended by the time limit, and had no server."""
    monkeypatch.setattr("lsproxy.proxy.session.HELLO_SECONDS", 0.05)
    records = await recording(world)
    await world.client()
    record = await ended(world, records)
    assert (record.backend, record.received, record.sent, record.ended) == (None, 0, 0, "timeout")


@scenario
@pytest.mark.parametrize("line", [b"garbage\n", b"x" * 200_000])
async def test_request_that_is_none(world, line):
    """A client that breaks the protocol is closed by lsproxy."""
    records = await recording(world)
    client = await world.client()
    client.transport.write(line)
    record = await ended(world, records)
    assert record.ended == "lsproxy"
