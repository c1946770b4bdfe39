"""Tests of sessions through a pool, over real connections."""

import json

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from lsproxy.config import model


def scenario(coroutine):
    """A test written as a coroutine."""
    return pytest_twisted.ensureDeferred(coroutine)


def session(number):
    return f"{number:032x}"


@scenario
async def test_checkout_passes_both_ways(world):
    """A client's hello, checkout and checkin reach the active server, and its replies come back unchanged."""
    await world.start()
    client = await world.client(session(1))
    assert client.found(id=1)["backend"] == "lic-a"
    client.ask("checkout", feature="cad")
    assert (await client.told(id=2))["seat"] == 1
    client.ask("checkin", handle=2)
    assert await client.told(id=3) == {"id": 3, "ok": True}
    assert world.a.ops() == ["hello", "checkout", "checkin"]
    assert world.b.ops() == []


@scenario
async def test_death_is_a_pause(world):
    """After a kill the session is resumed on the standby with its seat, and the unanswered request is answered."""
    await world.start()
    client = await world.client(session(1))
    client.ask("checkout", feature="cad")
    await client.told(id=2)
    world.a.script["heartbeat"] = lambda *_: True
    client.ask("heartbeat")
    await world.until(lambda: "heartbeat" in world.a.ops())
    world.a.kill()
    assert (await client.told(id=3))["seats"] == 1
    assert client.found(event="resumed") == {"event": "resumed", "epoch": 2, "resumed": True, "held": [2]}
    assert world.b.ops() == ["hello", "heartbeat"]
    assert world.book.seats == 1


@scenario
async def test_takeover_is_asked_in_the_turn_the_end_is_felt(world):
    """A killed server costs milliseconds, not `fall` checks: the standby is asked at the end of the connection."""
    await world.start(health=model.Health(interval=3.0, timeout=3.0))
    client = await world.client(session(1))
    begun = reactor.seconds()
    world.a.kill()
    await client.told(event="resumed")
    assert reactor.seconds() - begun < 1.0


@scenario
async def test_frozen_server_is_found(world):
    """A server that accepts and says nothing is left within interval * fall + timeout, and a takeover."""
    await world.start()
    client = await world.client(session(1))
    begun = reactor.seconds()
    world.a.is_frozen = True
    client.ask("heartbeat")
    await client.told(id=2)
    assert reactor.seconds() - begun < 2 * 0.05 + 0.1 + 0.5


@scenario
async def test_late_bytes_of_the_old_server_are_dropped(world):
    """What a server that was left still says does not reach the client; each request has one reply."""
    await world.start()
    client = await world.client(session(1))
    old = world.a.clients[0]
    world.a.is_frozen = True
    client.ask("checkout", feature="cad")
    await client.told(id=2)
    if old.transport is not None and old.transport.connected:
        old.say(id=2, ok=True, handle=2, seat=666)
    world.a.thaw()
    client.ask("heartbeat")
    await client.told(id=3)
    assert [one.get("seat") for one in client.lines if one.get("id") == 2] == [1]


@scenario
async def test_half_a_line_of_a_dead_server_is_dropped(world):
    """A server that dies in the middle of a line leaves no half line before the next server's."""
    await world.start()
    client = await world.client(session(1))

    def half(connection, _message):
        connection.transport.write(b'{"id":2,"ok":true,"sea')
        reactor.callLater(0.02, world.a.kill)
        return True

    world.a.script["heartbeat"] = half
    client.ask("heartbeat")
    assert (await client.told(id=2))["ok"] is True
    assert client.rest == b""


@scenario
async def test_one_byte_at_a_time(world):
    """Requests that arrive byte by byte are requests."""
    await world.start()
    client = await world.client(session(1))
    for byte in json.dumps({"id": 2, "op": "heartbeat"}).encode() + b"\n":
        client.transport.write(bytes([byte]))
        await deferLater(reactor, 0.0005)
    await client.told(id=2)


@scenario
async def test_a_thousand_pipelined_survive_a_kill(world):
    """1,000 requests sent at once are each answered once, in spite of a kill among them; more are `overloaded`."""
    await world.start()
    client = await world.client(session(1))
    seen = []
    world.a.script["heartbeat"] = lambda _connection, message: (
        seen.append(message) or (len(seen) == 500 and world.a.kill() is None)
    )
    client.transport.write(b"".join(b'{"id":%d,"op":"heartbeat"}\n' % n for n in range(2, 1002)))
    client.transport.write(b'{"id":5000,"op":"heartbeat"}\n')
    await client.told(id=1001)
    answers = [one["id"] for one in client.lines if "id" in one and one["ok"]]
    assert sorted(answers) == list(range(1, 1002))
    assert client.found(id=5000)["error"] == "overloaded"


@scenario
async def test_replies_may_come_in_another_order(world):
    """A reply that comes late does not hold up others, before a failover and after."""
    await world.start()
    client = await world.client(session(1))
    world.a.script["checkout"] = lambda *_: True
    client.ask("checkout", feature="cad", wait=30)
    client.ask("heartbeat")
    await client.told(id=3)
    world.a.kill()
    await client.told(id=2)
    assert world.b.ops() == ["hello", "checkout"]


@scenario
async def test_client_killed_reaches_the_server(world):
    """A client that is gone is gone at the server, also in the middle of a checkout."""
    await world.start()
    world.a.script["checkout"] = lambda *_: True
    client = await world.client(session(1))
    client.ask("checkout", feature="cad")
    await world.until(lambda: "checkout" in world.a.ops())
    client.transport.abortConnection()
    await world.until(lambda: not world.a.clients)
    assert world.pool.traffic.clients == 0


@scenario
async def test_client_that_ended_its_side_gets_its_answer(world):
    """shutdown(SHUT_WR) after a request reaches the server, and the answer still comes back; nothing leaks."""
    await world.start()
    client = await world.client(session(1))
    world.a.script["checkout"] = lambda connection, message: reactor.callLater(
        0.05, connection.say, id=message["id"], ok=True, late=True
    )
    world.a.lingers = 0.1
    client.ask("checkout", feature="cad")
    client.transport.loseWriteConnection()
    assert (await client.told(id=2))["late"] is True
    await client.closed()
    assert "EOF" in [message["op"] for _, message in world.a.heard]
    await world.until(lambda: world.pool.traffic.clients == 0 and not world.a.clients)


@scenario
async def test_nobody_to_serve_is_said_after_hold(world):
    """With no server for `hold` seconds, unanswered requests get `no_backend` with the reason, and it closes."""
    await world.start(hold=0.3)
    client = await world.client(session(1))
    world.b.kill()
    begun = reactor.seconds()
    world.a.kill()
    await deferLater(reactor, 0.05)
    client.ask("heartbeat")
    refusal = await client.told(id=2)
    assert refusal["error"] == "no_backend"
    assert "lic-a does not answer" in refusal["message"]
    assert 0.25 < reactor.seconds() - begun < 0.6
    await client.closed()
    late = await world.client()
    late.hello(session(2))
    await late.told(0.1, id=1, error="no_backend")


@scenario
async def test_client_waits_for_a_server_that_comes_back(world):
    """A server that is back within `hold` serves who waited, also a client that came meanwhile."""
    await world.start()
    client = await world.client(session(1))
    world.b.kill()
    world.a.kill()
    client.ask("heartbeat")
    newcomer = await world.client()
    newcomer.hello(session(2))
    await deferLater(reactor, 0.2)
    await world.a.start()
    await client.told(id=2)
    await newcomer.told(id=1, ok=True)


@scenario
async def test_session_that_is_unknown_after_a_failover_is_told(world):
    """`resumed` false comes as the event, an unanswered checkout is answered `ended`, and nothing is granted."""
    await world.start()
    client = await world.client(session(1))
    world.a.script["checkout"] = lambda *_: True
    client.ask("checkout", feature="cad")
    await world.until(lambda: "checkout" in world.a.ops())
    world.book.held.clear()
    world.a.kill()
    assert (await client.told(id=2))["error"] == "ended"
    assert client.found(event="resumed")["resumed"] is False
    assert world.book.seats == 0


@scenario
async def test_superseded_goes_on_and_closes(world):
    """The event `superseded` reaches the client, then the connection closes."""
    await world.start()
    client = await world.client(session(1))
    world.a.clients[0].say(event="superseded")
    await client.told(event="superseded")
    await client.closed()


@scenario
async def test_superseded_by_the_next_server_becomes_the_event(world):
    """If the proxy's hello is answered `superseded`, the client gets the event and is closed."""
    await world.start()
    client = await world.client(session(1))

    def superseded(connection, message):
        if "session" not in message:
            return False
        connection.say(id=message["id"], ok=False, error="superseded", message="m")
        return True

    world.b.script["hello"] = superseded
    world.a.kill()
    await client.told(event="superseded")
    await client.closed()


@scenario
async def test_bye_is_answered_and_closes(world):
    """`bye` is answered and the connection closes; no other server hears of the session."""
    await world.start()
    client = await world.client(session(1))
    client.ask("bye")
    await client.told(id=2)
    await client.closed()
    assert world.book.held == {}
    assert world.a.ops() == ["hello", "bye"]


@scenario
async def test_operator_request_is_not_repeated(world):
    """An operator request that was not answered when the server died gets `no_backend`."""
    await world.start()
    client = await world.client(session(1))
    world.a.script["remove"] = lambda *_: True
    client.ask("remove", seat=1)
    await world.until(lambda: "remove" in world.a.ops())
    world.a.kill()
    assert (await client.told(id=2))["error"] == "no_backend"
    await client.told(event="resumed")
    assert "remove" not in world.b.ops()


@scenario
async def test_isolated_server_is_left(world):
    """`isolated` does not reach the client: the session waits for a server and its request is answered there."""
    await world.start()
    client = await world.client(session(1))
    answers = []

    def isolated(connection, message):
        answers.append(message)
        if len(answers) > 3:
            return False
        connection.say(id=message["id"], ok=False, error="isolated", message="m")
        return True

    world.a.script["heartbeat"] = isolated
    client.ask("heartbeat")
    assert (await client.told(id=2))["ok"] is True
    assert len(answers) == 4


@scenario
async def test_garbage_and_long_lines_are_refused(world):
    """No request, or a line over 65,536 bytes, is answered with id 0 and closed; no server hears of it."""
    await world.start()
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"x" * 70_000, b"[1]\n", b"\n"):
        client = await world.client()
        client.transport.write(junk)
        assert (await client.told(id=0))["error"] == "bad_request"
        await client.closed()
    assert world.a.ops() == []


@scenario
async def test_status_needs_no_hello(world):
    """`status` before a hello is the active server's."""
    await world.start()
    client = await world.client()
    client.ask("status")
    assert (await client.told(id=1))["backend"] == "lic-a"


@scenario
async def test_server_that_closes_a_session_is_asked_again(world):
    """A server that closes one connection without a word gets the session again, and a flapping one is not hammered."""
    await world.start()
    client = await world.client(session(1))
    world.a.clients[0].transport.loseConnection()
    await client.told(event="resumed")
    assert world.a.ops() == ["hello", "hello"]

    def slam(connection, _message):
        connection.transport.abortConnection()
        return True

    world.a.script["heartbeat"] = slam
    client.ask("heartbeat")
    await deferLater(reactor, 0.5)
    assert world.a.ops().count("heartbeat") < 8
    del world.a.script["heartbeat"]
    await client.told(id=2)


@scenario
async def test_herd_comes_back(world):
    """500 sessions are all resumed on the standby after a kill, with at most 256 dials at once."""
    await world.start()
    clients = [await world.client() for _ in range(500)]
    for number, client in enumerate(clients):
        client.hello(session(number))
    await gatherResults([Deferred.fromCoroutine(client.told(id=1)) for client in clients])
    for client in clients[::7]:
        client.ask("checkout", feature="cad")
    await gatherResults([Deferred.fromCoroutine(client.told(id=2)) for client in clients[::7]])
    world.a.kill()
    await gatherResults([Deferred.fromCoroutine(client.told(event="resumed")) for client in clients])
    assert len(world.b.clients) == 500
    assert world.pool.traffic.waiting == 0
    for client in clients[::7]:
        assert client.found(event="resumed")["held"] == [2]


@scenario
async def test_client_that_does_not_read_pauses_its_server(world):
    """A client that reads nothing stops the server's side, not the proxy's memory; when it reads, all is there."""
    await world.start()
    big = "x" * 100_000

    def usage(connection, message):
        connection.say(id=message["id"], ok=True, next=None, features=[], filling=big)
        return True

    world.a.script["usage"] = usage
    client = await world.client(session(1))
    client.transport.pauseProducing()
    for _ in range(300):
        client.ask("usage")
    await deferLater(reactor, 0.3)
    (proxied,) = world.pool.traffic._sessions
    assert proxied._is_client_full
    assert proxied.transport._uv.get_write_buffer_size() < 2_000_000
    client.transport.resumeProducing()
    await client.told(10, id=301)
    assert len(client.lines) == 301
