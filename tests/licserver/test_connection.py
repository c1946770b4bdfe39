"""Bytes of every sort on a real connection, and clients that do not behave."""

import os
import random
import socket
import ssl
import struct

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from licserver.core.sessions import Terms
from lsproxy.net import tls
from lsproxy.net.announcing import accept_proxy_protocol
from lsproxy.net.ends import Ends
from lsproxy.net.network import parse_network
from lsproxy.net.proxyprotocol import LOCAL_HEADER, header_v2
from lsproxy.seat.lines import REQUEST_LIMIT
from tests.licserver.house import license_text
from tests.licserver.live import LOOPBACK, Live, until
from tests.lsproxy.net.conftest import Authority

BEAT = b'{"id":%d,"op":"heartbeat"}\n'


def codes(messages):
    return [message.get("error", message.get("event", "ok")) for message in messages]


@pytest_twisted.ensureDeferred
async def test_half_close(live):
    """A client that has sent all it wants to say gets its answers, then the end; its session is detached."""
    client = live.client()
    await client.hello()
    await client.send(b"".join(BEAT % number for number in range(2, 200)))
    client.socket.shutdown(socket.SHUT_WR)
    assert len(await client.end()) == 199
    await until(lambda: live.server.desk.ledger.sessions[1].deadline is not None)


@pytest_twisted.ensureDeferred
async def test_half_close_while_waiting(live):
    """A half-closed client that waits for a seat gets it, and is let go then."""
    holder, waiting = live.client(), live.client()
    await holder.hello()
    await holder.say(id=2, op="checkout", feature="cad", count=10)
    await holder.answer(2)
    await waiting.hello("b")
    await waiting.say(id=2, op="checkout", feature="cad", wait=60)
    waiting.socket.shutdown(socket.SHUT_WR)
    await until(lambda: codes(waiting.messages())[-1] == "queued")
    await holder.say(id=3, op="checkin", handle=2)
    assert codes(await waiting.end()) == ["ok", "queued", "ok"]


@pytest_twisted.ensureDeferred
async def test_half_close_before_anything(live):
    """A client that closes without a word is let go at once."""
    client = live.client()
    client.socket.shutdown(socket.SHUT_WR)
    assert await client.end() == []


@pytest_twisted.ensureDeferred
async def test_reset(live):
    """A client that resets is forgotten, its session detached."""
    client = live.client()
    await client.hello()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    await until(lambda: live.server.desk.ledger.sessions[1].deadline is not None)
    assert not live.connections._open


@pytest_twisted.ensureDeferred
async def test_one_byte_at_a_time(live):
    """Requests may come in pieces of any size."""
    client = live.client()
    await client.hello()
    for byte in BEAT % 2:
        await client.send(bytes([byte]))
    assert (await client.answer(2))["ok"]


@pytest_twisted.ensureDeferred
async def test_longest_request(live):
    """A request of 65,536 bytes is answered."""
    client = live.client()
    await client.hello()
    request = (BEAT % 2).strip()[:-1]
    padded = request + b" " * (REQUEST_LIMIT - len(request) - 1) + b"}"
    assert len(padded) == REQUEST_LIMIT
    await client.send(padded + b"\n")
    assert (await client.answer(2))["ok"]


@pytest.mark.parametrize("newline", [b"", b"\n"])
@pytest_twisted.ensureDeferred
async def test_too_long(live, newline):
    """A longer one is a bad request with id 0, and the connection is closed; what came before it is answered."""
    client = live.client()
    await client.hello()
    await client.send(BEAT % 2 + b"x" * (REQUEST_LIMIT + 1) + newline)
    messages = await client.end()
    assert codes(messages[1:]) == ["bad_request", "ok"] or codes(messages[1:]) == ["ok", "bad_request"]
    assert {message["id"] for message in messages[1:]} == {0, 2}
    assert not client.is_reset


@pytest.mark.parametrize("seed", range(20))
@pytest_twisted.ensureDeferred
async def test_garbage(live, seed):
    """Any bytes are answered in the protocol's own words or not at all, and harm nobody else."""
    rng = random.Random(seed)
    good, bad = live.client(), live.client()
    await good.hello()
    pieces = [
        b'{"id":1,"op":"hello","protocol":"seat/1","session":"%032x","attempt":1,"user":"u","host":"h","pid":%d}\n'
        % (rng.getrandbits(128), 10 ** rng.randrange(40)),
        b'{"id":2,"op":"heartbeat","x":' + b"[" * 30_000 + b"\n",
        b'{"id":%d,"op":"checkout","feature":"\\ud800"}\n' % rng.getrandbits(60),
        b'{"id":3,"op":"usage"}\n',
        b'{"id":4,"op":"status"}\n',
        rng.randbytes(rng.randrange(3000)),
        b"\n",
        b'{"id":1e400}\n',
    ]
    rng.shuffle(pieces)
    await bad.send(b"".join(pieces))
    bad.socket.shutdown(socket.SHUT_WR)
    for message in await bad.end():
        assert "ok" in message or "event" in message
    await good.say(id=2, op="heartbeat")
    assert (await good.answer(2))["ok"]


@pytest_twisted.ensureDeferred
async def test_deeply_nested(live):
    """A request nested beyond reading is a bad request."""
    client = live.client()
    await client.send(b'{"id":2,"op":"heartbeat","x":' + b"[" * 60_000 + b"\n")
    assert codes(await client.end()) == ["bad_request"]


@pytest_twisted.ensureDeferred
async def test_pipeline(live):
    """1,000 pipelined requests are answered, each once; of those beyond, sent in one piece, some are overloaded."""
    client = live.client()
    await client.hello()
    await client.send(b"".join(BEAT % number for number in range(2, 1002)))
    await until(lambda: len(client.messages()) == 1001)
    assert set(codes(client.messages())) == {"ok"}
    await client.send(
        b"".join(
            b'{"id":%d,"op":"checkout","feature":"cad","count":10,"wait":60}\n' % number for number in range(2, 1010)
        )
    )
    await until(lambda: codes(client.messages()).count("overloaded") in (7, 8))


@pytest_twisted.ensureDeferred
async def test_client_that_never_reads(live):
    """A client that never reads is read from no more, so that it costs a bounded amount; others are served."""
    greedy, good = live.client(receive_bytes=4096), live.client()
    await good.hello()
    sent = 0
    line = b'{"id":%d,"op":"usage","x":"%s"}\n' % (7, b"x" * 1000)

    def stuck():
        nonlocal sent
        try:
            sent += greedy.socket.send(line * 50)
        except BlockingIOError:
            return True
        return False

    await until(stuck, 10.0)
    [full] = [each for each in live.connections._open if each.conversation.session is None]
    await until(lambda: full.conversation.is_full, 10.0)
    for number in range(2, 50):
        await good.say(id=number, op="heartbeat")
        assert (await good.answer(number))["ok"]
    assert sent < 64 * 1024 * 1024
    assert full.transport._uv.get_write_buffer_size() < 4 * 1024 * 1024


@pytest_twisted.ensureDeferred
async def test_usage_holds_nobody_up(live):
    """A thousand pages of a thousand holders, asked for in one piece, do not keep another client waiting."""
    live.server.licenses.path.write_text(license_text(2000))
    live.server.reread()
    good, greedy = live.client(), live.client()
    await good.hello()
    await good.send(b"".join(b'{"id":%d,"op":"checkout","feature":"cad"}\n' % number for number in range(2, 900)))
    await until(lambda: len(good.messages()) >= 899)
    await greedy.send(b'{"id":7,"op":"usage","limit":1000}\n' * 1000)
    before = reactor.seconds()
    await good.say(id=1000, op="heartbeat")
    assert (await good.answer(1000))["ok"]
    assert reactor.seconds() - before < 0.5


@pytest_twisted.ensureDeferred
async def test_half_open_hellos(live):
    """1,000 connections that never finish a request are told so and closed after 5 s; those who are in stay."""
    count = min(1000, len(os.sched_getaffinity(0)) * 500)
    good = live.client()
    await good.hello()
    idle = [live.client() for _ in range(count)]
    for client in idle[::2]:
        await client.send(b'{"id":1,"op":"hel')
    await until(lambda: len(live.connections._open) == count + 1)
    await until(lambda: len(live.connections._open) <= count // 2 or all(c.messages() for c in idle[:1]), 8.0)
    for client in idle:
        [message] = await client.end()
        assert message["error"] == "hello_required"
        client.close()
    await until(lambda: len(live.connections._open) == 1)
    await good.say(id=2, op="heartbeat")
    assert (await good.answer(2))["ok"]


@pytest_twisted.ensureDeferred
async def test_silent_session(tmp_path):
    """A session silent for three heartbeats is closed; one that speaks is not."""
    live = await Live(tmp_path).start(terms=Terms(0.1, 5.0, 2.0))
    silent, alive = live.client(), live.client()
    await silent.hello()
    await alive.hello("b")
    for number in range(2, 8):
        await alive.say(id=number, op="heartbeat")
        assert (await alive.answer(number))["ok"]
        await deferLater(reactor, 0.1)
    await silent.end()
    assert not alive.is_at_end
    await live.close()


@pytest_twisted.ensureDeferred
async def test_tls(tmp_path):
    """Over TLS the same is said, and a server that stops closes it cleanly."""
    certificate, key = Authority(tmp_path).issue("lic-a", names=(LOOPBACK,))
    served = tls.server_tls(certificate, key)
    live = await Live(tmp_path).start(wrap=lambda endpoint: tls.wrap_server(reactor, endpoint, served))
    context = ssl.create_default_context(cafile=tmp_path / "test CA.ca.pem")

    def talk():
        with (
            socket.create_connection((LOOPBACK, live.port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=LOOPBACK) as secure,
            secure.makefile("rwb") as lines,
        ):
            lines.write(b'{"id":1,"op":"usage"}\n{"id":2,"op":"bye"}\n')
            lines.flush()
            heard = [lines.readline(), lines.readline()]
            closing.append(True)
            return heard, lines.readline()

    closing = []
    talking = deferToThread(talk)
    await until(lambda: closing)
    await live.connections.close()
    heard, after = await talking
    assert [b'"ok":true' in line or b"hello_required" in line for line in heard] == [True, True]
    assert after == b""
    await live.close()


@pytest_twisted.ensureDeferred
async def test_client_behind_a_proxy(tmp_path):
    """The address of a holder is the one that its proxy announces; without one, that of the connection."""
    ends = Ends(IPv4Address("TCP", "192.0.2.7", 51234), IPv4Address("TCP", "198.51.100.1", 27000))
    here = [parse_network("127.0.0.0/8")]
    live = await Live(tmp_path).start(wrap=lambda endpoint: accept_proxy_protocol(reactor, endpoint, here))
    announced, own = live.client(), live.client()
    await announced.send(header_v2(ends))
    await own.send(LOCAL_HEADER)
    for client, session in ((announced, "a"), (own, "b")):
        await client.hello(session)
        await client.say(id=2, op="checkout", feature="cad")
        await client.answer(2)
    await own.say(id=3, op="usage")
    holders = (await own.answer(3))["features"][0]["holders"]
    assert [holder["address"] for holder in holders] == ["192.0.2.7", LOOPBACK]
    await live.close()


@pytest_twisted.ensureDeferred
async def test_superseded_is_told_before_the_end(live):
    """The older connection of a session hears `superseded`, then the end, no reset."""
    older, newer = live.client(), live.client()
    await older.hello()
    await newer.hello()
    assert codes(await older.end()) == ["ok", "superseded"]
    assert not older.is_reset


@pytest_twisted.ensureDeferred
async def test_client_that_does_not_close(live):
    """A client that was hung up on and does not close its side is reset in the end; nothing is kept of it."""
    client = live.client()
    await client.hello()
    await client.say(id=2, op="bye")
    await until(lambda: client.messages() and client.is_at_end)
    [connection] = live.connections._open
    connection.abort()
    await until(lambda: not live.connections._open)


@pytest_twisted.ensureDeferred
async def test_everybody_is_hung_up_on(live):
    """Closing all connections tells when the last is gone."""
    clients = [live.client() for _ in range(5)]
    for number, client in enumerate(clients):
        await client.hello("abcde"[number])
    closing = live.connections.close()
    for client in clients:
        assert await client.end() is not None
        client.close()
    await closing
    await live.connections.close()
