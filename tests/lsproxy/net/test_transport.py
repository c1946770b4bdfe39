"""What a Twisted protocol sees of a uvloop connection, on real sockets."""

import gc
import hashlib
import socket
import struct
import weakref

import pytest
import pytest_twisted
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from zope.interface import implementer
from zope.interface.verify import verifyObject

from lsproxy.net.transport import WRITE_HIGH_BYTES

CHUNK = b"0123456789abcdef" * 4096  # 64 KiB
RESET = struct.pack("ii", 1, 0)


@implementer(IPushProducer)
class Hose:
    """Writes without end while it is not paused."""

    def __init__(self, transport):
        self.transport = transport
        self.written = 0
        self.calls = []

    def flow(self):
        while not self.calls or self.calls[-1] == "resume":
            self.transport.write(CHUNK)
            self.written += len(CHUNK)

    def pauseProducing(self):
        self.calls.append("pause")

    def resumeProducing(self):
        self.calls.append("resume")

    def stopProducing(self):
        self.calls.append("stop")


def echo(protocol, received):
    protocol.transport.write(received)


def pause(protocol):
    protocol.transport.pauseProducing()


@pytest_twisted.ensureDeferred
async def test_provides_what_it_declares(net):
    """The transport has every method of the interfaces it declares."""
    served, _client = await net.pair()
    assert verifyObject(ITCPTransport, served.transport)
    assert verifyObject(IConsumer, served.transport)
    assert verifyObject(IPushProducer, served.transport)


@pytest_twisted.ensureDeferred
async def test_echo_and_clean_close(net):
    """Bytes come back as they went, and a close is felt as ConnectionDone on both sides, once."""
    served, client = await net.pair(server=lambda: net.Recorder(on_bytes=echo))
    client.transport.write(b"one ")
    client.transport.writeSequence([b"two ", b"three"])
    await net.until(lambda: client.received == b"one two three")
    client.transport.loseConnection()
    await net.until(lambda: served.is_lost and client.is_lost)
    assert client.happened == served.happened == ["made", "lost"]
    assert isinstance(client.reason, ConnectionDone)
    assert isinstance(served.reason, ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_close_sends_what_was_written(net):
    """A close right after a write that the kernel does not take at once loses no byte."""
    size = 16 * len(CHUNK) * 8
    served, peer = await net.raw()
    served.transport.write(CHUNK * 16 * 8)
    served.transport.loseConnection()
    served.transport.write(b"too late")
    assert served.transport.disconnecting
    assert len(await net.read(peer, size + 1)) == size
    await net.until(lambda: served.is_lost)
    assert isinstance(served.reason, ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_64_mib_both_ways_in_bounded_memory(net):
    """64 MiB go to an echo and back unchanged, while neither side keeps more than a few chunks unsent."""
    size = 64 << 20
    most_unsent = 0

    def echo_bounded(protocol, received):
        nonlocal most_unsent
        protocol.received = b""
        protocol.transport.write(received)
        most_unsent = max(most_unsent, protocol.transport._uv.get_write_buffer_size())

    def be_own_producer(protocol):
        protocol.transport.registerProducer(protocol.transport, True)

    class Source:
        """A pull producer of `size` bytes."""

        def __init__(self, transport):
            self.transport = transport
            self.left = size
            self.sent = hashlib.blake2b()

        def resumeProducing(self):
            nonlocal most_unsent
            self.left -= len(CHUNK)
            chunk = self.left.to_bytes(8, "big") + CHUNK[8:]
            self.sent.update(chunk)
            self.transport.write(chunk)
            most_unsent = max(most_unsent, self.transport._uv.get_write_buffer_size())
            if self.left == 0:
                self.transport.unregisterProducer()

        def stopProducing(self):
            self.left = -1

    back = hashlib.blake2b()
    count = 0

    def digest(protocol, received):
        nonlocal count
        protocol.received = b""
        count += len(received)
        back.update(received)

    _served, client = await net.pair(
        server=lambda: net.Recorder(be_own_producer, echo_bounded),
        client=lambda: net.Recorder(on_bytes=digest),
    )
    source = Source(client.transport)
    client.transport.registerProducer(source, False)
    await net.until(lambda: count == size, seconds=20)
    assert back.digest() == source.sent.digest()
    assert most_unsent < WRITE_HIGH_BYTES + 4 * len(CHUNK)


@pytest_twisted.ensureDeferred
async def test_peer_that_does_not_read_pauses_the_producer(net):
    """A producer is paused when the peer reads nothing, and resumed when it reads, so little is kept unsent."""
    served, peer = await net.raw()
    hose = Hose(served.transport)
    served.transport.registerProducer(hose, True)
    hose.flow()
    assert hose.calls == ["pause"]
    assert served.transport._uv.get_write_buffer_size() <= WRITE_HIGH_BYTES + len(CHUNK)
    await net.turns()
    assert hose.calls == ["pause"]
    assert len(await net.read(peer, hose.written)) == hose.written
    await net.until(lambda: hose.calls == ["pause", "resume"])


@pytest_twisted.ensureDeferred
async def test_producer_registered_late_is_paused_at_once(net):
    """A producer that comes when too much is unsent already is paused before it writes."""
    served, _peer = await net.raw()
    served.transport.write(CHUNK * 256)
    hose = Hose(served.transport)
    served.transport.registerProducer(hose, True)
    assert hose.calls == ["pause"]


@pytest_twisted.ensureDeferred
async def test_second_producer_is_refused(net):
    """A second producer is refused as long as the first is registered."""
    served, _client = await net.pair()
    served.transport.registerProducer(Hose(served.transport), True)
    with pytest.raises(RuntimeError, match="never unregistered"):
        served.transport.registerProducer(Hose(served.transport), True)
    served.transport.unregisterProducer()
    served.transport.registerProducer(Hose(served.transport), True)


@pytest_twisted.ensureDeferred
async def test_close_while_a_producer_is_registered(net):
    """A close happens although a producer is registered, and the producer is stopped, once."""
    served, client = await net.pair()
    hose = Hose(served.transport)
    served.transport.registerProducer(hose, True)
    served.transport.loseConnection()
    await net.until(lambda: served.is_lost and client.is_lost)
    assert hose.calls == ["stop"]
    assert isinstance(served.reason, ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_close_while_the_producer_is_paused(net):
    """What a paused producer wrote before loseConnection is sent, and it is asked for no more."""
    served, peer = await net.raw()
    hose = Hose(served.transport)
    served.transport.registerProducer(hose, True)
    hose.flow()
    served.transport.loseConnection()
    assert len(await net.read(peer, hose.written + 1)) == hose.written
    await net.until(lambda: served.is_lost)
    assert hose.calls == ["pause", "stop"]


@pytest_twisted.ensureDeferred
async def test_producer_of_an_ended_connection_is_stopped(net):
    """A producer registered after the end is told to stop."""
    served, client = await net.pair()
    transport = served.transport
    client.transport.loseConnection()
    await net.until(lambda: served.is_lost)
    hose = Hose(transport)
    transport.registerProducer(hose, True)
    assert hose.calls == ["stop"]


@pytest_twisted.ensureDeferred
async def test_eof_then_answer(net):
    """After the client's EOF the answer still reaches it; the end comes when the server has ended its half too."""
    served, peer = await net.raw(net.HalfRecorder)
    peer.send(b"question")
    peer.shutdown(socket.SHUT_WR)
    await net.until(lambda: "read lost" in served.happened)
    await net.turns()
    assert served.happened == ["made", "read lost"]
    served.transport.write(b"answer")
    served.transport.loseWriteConnection()
    assert await net.read(peer, 100) == b"answer"
    await net.until(lambda: served.is_lost)
    assert served.happened == ["made", "read lost", "write lost", "lost"]
    assert isinstance(served.reason, ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_own_eof_then_answer(net):
    """After loseWriteConnection the other side's bytes are still received; its EOF then ends the connection."""
    served, peer = await net.raw(net.HalfRecorder)
    served.transport.write(b"question")
    served.transport.loseWriteConnection()
    served.transport.write(b"too late")
    assert await net.read(peer, 100) == b"question"
    await net.until(lambda: "write lost" in served.happened)
    peer.send(b"answer")
    await net.until(lambda: served.received == b"answer")
    assert served.happened == ["made", "write lost"]
    peer.shutdown(socket.SHUT_WR)
    await net.until(lambda: served.is_lost)
    assert served.happened == ["made", "write lost", "read lost", "lost"]
    assert isinstance(served.reason, ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_own_eof_waits_for_unsent_bytes(net):
    """An own EOF with bytes unsent: all of them arrive, then the EOF, then writeConnectionLost."""
    served, peer = await net.raw(net.HalfRecorder)
    served.transport.write(CHUNK * 128)
    served.transport.loseWriteConnection()
    await net.turns()
    assert served.happened == ["made"]
    assert len(await net.read(peer, 129 * len(CHUNK))) == 128 * len(CHUNK)
    await net.until(lambda: "write lost" in served.happened)
    peer.shutdown(socket.SHUT_WR)
    await net.until(lambda: served.is_lost)


@pytest_twisted.ensureDeferred
async def test_both_sides_end_at_once(net):
    """Two sides that end their halves at the same moment both see one end."""
    served, client = await net.pair(net.HalfRecorder, net.HalfRecorder)
    served.transport.loseWriteConnection()
    client.transport.loseWriteConnection()
    await net.until(lambda: served.is_lost and client.is_lost)
    assert sorted(served.happened) == sorted(client.happened) == ["lost", "made", "read lost", "write lost"]
    assert served.happened[-1] == client.happened[-1] == "lost"


@pytest_twisted.ensureDeferred
async def test_close_while_half_closed(net):
    """A close ends a connection whose other half has ended, from either half."""
    served, peer = await net.raw(net.HalfRecorder)
    peer.shutdown(socket.SHUT_WR)
    await net.until(lambda: "read lost" in served.happened)
    served.transport.loseConnection()
    await net.until(lambda: served.is_lost)
    assert isinstance(served.reason, ConnectionDone)
    net.accepted.clear()
    served, _peer = await net.raw(net.HalfRecorder)
    served.transport.loseWriteConnection()
    await net.until(lambda: "write lost" in served.happened)
    served.transport.loseConnection()
    await net.until(lambda: served.is_lost)
    assert isinstance(served.reason, ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_eof_ends_a_protocol_without_halves(net):
    """A protocol that knows no half-close is ended by an EOF, after what it wrote has been sent."""
    served, peer = await net.raw(lambda: net.Recorder(on_bytes=lambda it, _: it.transport.write(CHUNK * 64)))
    peer.send(b"question")
    peer.shutdown(socket.SHUT_WR)
    assert len(await net.read(peer, 65 * len(CHUNK))) == 64 * len(CHUNK)
    await net.until(lambda: served.is_lost)
    assert isinstance(served.reason, ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_reset_is_felt_as_connection_lost(net):
    """A peer's RST is ConnectionLost, and not the clean kind."""
    served, peer = await net.raw(net.HalfRecorder)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    peer.close()
    await net.until(lambda: served.is_lost)
    assert isinstance(served.reason, ConnectionLost)
    assert served.happened == ["made", "lost"]


@pytest_twisted.ensureDeferred
async def test_abort_is_a_reset(net):
    """An abort is felt by the peer as RST, and drops what was not sent."""
    served, peer = await net.raw()
    served.transport.write(CHUNK * 256)
    served.transport.abortConnection()
    served.transport.abortConnection()
    await net.until(lambda: served.is_lost)
    assert isinstance(served.reason, ConnectionAborted)
    with pytest.raises(ConnectionResetError):
        await net.read(peer, 256 * len(CHUNK))
    assert served.happened == ["made", "lost"]


@pytest_twisted.ensureDeferred
async def test_abort_after_a_close_that_cannot_be_flushed(net):
    """A close held up by a peer that does not read is ended by an abort."""
    served, _peer = await net.raw()
    served.transport.write(CHUNK * 256)
    served.transport.loseConnection()
    await net.turns()
    assert not served.is_lost
    served.transport.abortConnection()
    await net.until(lambda: served.is_lost)
    assert isinstance(served.reason, ConnectionAborted)


@pytest.mark.parametrize("end", ["loseConnection", "abortConnection"])
@pytest_twisted.ensureDeferred
async def test_end_in_connection_made(net, end):
    """A protocol that ends its connection in connectionMade receives nothing and is told of the end, once."""
    port = await net.listen(lambda: net.Recorder(on_made=lambda it: getattr(it.transport, end)()))
    net.connect_raw(port).send(b"too late")
    await net.until(lambda: net.accepted and net.accepted[0].is_lost)
    assert net.accepted[0].happened == ["made", "lost"]
    assert net.accepted[0].received == b""


@pytest_twisted.ensureDeferred
async def test_pause_in_connection_made_holds(net):
    """A protocol that pauses in connectionMade receives nothing that was sent already, until it resumes; then all."""
    port = await net.listen(lambda: net.Recorder(on_made=pause))
    peer = net.connect_raw(port)
    peer.send(b"first")
    await net.until(lambda: net.accepted)
    served = net.accepted[0]
    await net.turns()
    assert served.received == b""
    peer.send(b" second")
    await net.turns()
    assert served.received == b""
    served.transport.resumeProducing()
    await net.until(lambda: served.received == b"first second")


@pytest_twisted.ensureDeferred
async def test_pause_in_connection_made_holds_an_eof(net):
    """An EOF that is there before the first resume is told after the bytes before it."""
    port = await net.listen(lambda: net.HalfRecorder(on_made=pause))
    silent, talking = net.connect_raw(port), net.connect_raw(port)
    talking.send(b"first")
    for peer in (silent, talking):
        peer.shutdown(socket.SHUT_WR)
    await net.until(lambda: len(net.accepted) == 2)
    await net.turns()
    assert [it.happened for it in net.accepted] == [["made"], ["made"]]
    for served in net.accepted:
        served.transport.resumeProducing()
    await net.until(lambda: all("read lost" in it.happened for it in net.accepted))
    assert sorted(it.received for it in net.accepted) == [b"", b"first"]


@pytest_twisted.ensureDeferred
async def test_held_eof_ends_a_protocol_without_halves(net):
    """An EOF that is there before the first resume ends a protocol that knows no half-close, after the bytes."""
    port = await net.listen(lambda: net.Recorder(on_made=pause))
    peer = net.connect_raw(port)
    peer.shutdown(socket.SHUT_WR)
    await net.until(lambda: net.accepted)
    await net.turns()
    net.accepted[0].transport.resumeProducing()
    await net.until(lambda: net.accepted[0].is_lost)
    assert isinstance(net.accepted[0].reason, ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_fault_on_held_bytes(net, logged):
    """An exception over bytes that were held ends the connection like any other."""

    def fail(_protocol, _received):
        raise ZeroDivisionError

    port = await net.listen(lambda: net.Recorder(pause, fail))
    net.connect_raw(port).send(b"bad")
    await net.until(lambda: net.accepted)
    await net.turns()
    net.accepted[0].transport.resumeProducing()
    await net.until(lambda: net.accepted[0].is_lost)
    assert [event["log_failure"].type for event in logged if "log_failure" in event] == [ZeroDivisionError]


@pytest_twisted.ensureDeferred
async def test_reset_before_it_was_accepted(net, logged):
    """A connection that was reset while it waited in the kernel's queue is lost at once, without a word."""
    port = await net.listen()
    peer = net.connect_raw(port)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    peer.close()
    await net.until(lambda: net.accepted and net.accepted[0].is_lost)
    assert isinstance(net.accepted[0].reason, ConnectionLost)
    assert logged == []


@pytest_twisted.ensureDeferred
async def test_pull_producer_waits_for_the_peer(net):
    """A pull producer is asked while the peer reads, not while it does not, and no more once writing has ended."""
    served, peer = await net.raw()
    asked = []

    class Source:
        def resumeProducing(self):
            asked.append(CHUNK)
            served.transport.write(CHUNK)

        def stopProducing(self):
            asked.clear()

    served.transport.registerProducer(Source(), False)
    await net.turns()
    stuck = len(asked)
    await net.turns()
    assert len(asked) == stuck
    await net.read(peer, stuck * len(CHUNK))
    assert len(asked) > stuck
    served.transport.loseWriteConnection()
    asked_before = len(asked)
    await net.read(peer, asked_before * len(CHUNK))
    await net.turns()
    assert len(asked) == asked_before


@pytest_twisted.ensureDeferred
async def test_pause_and_resume_in_connection_made(net):
    """A pause taken back in connectionMade holds nothing up."""

    def hesitate(protocol):
        protocol.transport.pauseProducing()
        protocol.transport.resumeProducing()

    served, peer = await net.raw(lambda: net.Recorder(on_made=hesitate))
    peer.send(b"first")
    await net.until(lambda: served.received == b"first")


@pytest_twisted.ensureDeferred
async def test_close_while_holding(net):
    """A protocol that closes before it ever resumed is told of the end and gets none of what was held."""
    port = await net.listen(lambda: net.Recorder(on_made=pause))
    net.connect_raw(port).send(b"first")
    await net.until(lambda: net.accepted)
    await net.turns()
    served = net.accepted[0]
    served.transport.resumeProducing()
    served.transport.loseConnection()
    await net.until(lambda: served.is_lost)
    assert served.received == b""


@pytest_twisted.ensureDeferred
async def test_paused_transport_reads_nothing(net):
    """Between pauseProducing and resumeProducing nothing is received."""
    served, peer = await net.raw()
    served.transport.pauseProducing()
    peer.send(b"first")
    await net.turns()
    assert served.received == b""
    served.transport.resumeProducing()
    await net.until(lambda: served.received == b"first")


@pytest_twisted.ensureDeferred
async def test_resume_after_eof(net):
    """Resuming after an EOF tells no second one."""
    served, peer = await net.raw(net.HalfRecorder)
    peer.shutdown(socket.SHUT_WR)
    await net.until(lambda: "read lost" in served.happened)
    served.transport.pauseProducing()
    served.transport.resumeProducing()
    await net.turns()
    assert served.happened == ["made", "read lost"]


@pytest_twisted.ensureDeferred
async def test_fault_of_one_protocol_ends_its_connection_only(net, logged):
    """An exception in dataReceived is logged and resets that connection; the others go on."""

    def fail_or_echo(protocol, received):
        if received == b"bad":
            raise ZeroDivisionError
        echo(protocol, received)

    port = await net.listen(lambda: net.Recorder(on_bytes=fail_or_echo))
    good, bad = await net.dial(port), await net.dial(port)
    bad.transport.write(b"bad")
    await net.until(lambda: bad.is_lost)
    assert type(bad.reason) is ConnectionLost
    await net.until(lambda: any(it.is_lost for it in net.accepted))
    assert [type(it.reason) for it in net.accepted if it.is_lost] == [ConnectionLost]
    assert [event["log_failure"].type for event in logged if "log_failure" in event] == [ZeroDivisionError]
    good.transport.write(b"good")
    await net.until(lambda: good.received == b"good")


@pytest.mark.parametrize("where", ["connectionMade", "connectionLost", "buildProtocol"])
@pytest_twisted.ensureDeferred
async def test_fault_elsewhere_is_logged(net, logged, where):
    """An exception in any other place is logged, the connection is ended and its socket closed."""

    def fail(*_):
        raise ZeroDivisionError

    def new():
        protocol = net.Recorder()
        if where == "buildProtocol":
            fail()
        setattr(protocol, where, fail)
        return protocol

    peer = net.connect_raw(await net.listen(new))
    if where == "connectionLost":
        await net.until(lambda: net.accepted)
        net.accepted[0].transport.loseConnection()
    ended = []

    def is_ended():
        try:
            ended.append(peer.recv(1))
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True
        return True

    await net.until(is_ended)
    assert [event["log_failure"].type for event in logged if "log_failure" in event] == [ZeroDivisionError]


@pytest_twisted.ensureDeferred
async def test_everything_after_the_end_is_ignored(net):
    """Every call on an ended connection's transport is without effect, and its addresses are still known."""
    served, client = await net.pair()
    transport = served.transport
    peer = transport.getPeer()
    client.transport.abortConnection()
    await net.until(lambda: served.is_lost)
    transport.write(b"x")
    transport.writeSequence([b"x"])
    transport.pauseProducing()
    transport.resumeProducing()
    transport.loseWriteConnection()
    transport.setTcpKeepAlive(True)
    transport.unregisterProducer()
    transport.stopProducing()
    transport.abortConnection()
    await net.turns()
    assert served.happened == ["made", "lost"]
    assert transport.getPeer() == peer
    assert not transport.connected


@pytest_twisted.ensureDeferred
async def test_write_takes_bytes_only(net):
    """A str is refused where it is written."""
    served, _client = await net.pair()
    with pytest.raises(TypeError):
        served.transport.write("text")


@pytest_twisted.ensureDeferred
async def test_addresses_ipv6(net):
    """Both ends of an IPv6 connection know each other's address."""
    port = await net.listen(host="::1")
    client = await net.dial(port, host="::1")
    await net.until(lambda: net.accepted)
    served = net.accepted[0]
    assert (client.transport.getPeer().host, client.transport.getPeer().port) == ("::1", port)
    assert served.transport.getPeer() == client.transport.getHost()
    assert served.transport.getHost() == client.transport.getPeer()


@pytest_twisted.ensureDeferred
async def test_small_writes_leave_at_once(net):
    """TCP_NODELAY is on at both ends, and can be taken off."""
    for protocol in await net.pair():
        assert protocol.transport.getTcpNoDelay()
        protocol.transport.setTcpNoDelay(False)
        assert not protocol.transport.getTcpNoDelay()


@pytest_twisted.ensureDeferred
async def test_keepalive_flag(net):
    """The keepalive flag is the socket's own: set on what is accepted, and where it is asked for."""
    served, client = await net.pair()
    assert served.transport.getTcpKeepAlive()
    served.transport.setTcpKeepAlive(False)
    assert not served.transport.getTcpKeepAlive()
    assert not client.transport.getTcpKeepAlive()
    client.transport.setTcpKeepAlive(True)
    assert client.transport.getTcpKeepAlive()


@pytest_twisted.ensureDeferred
async def test_connections_leave_nothing_behind(net):
    """Of 1,000 connections at once, closed, aborted and half-closed, no protocol and no transport remains."""
    port = await net.listen(net.HalfRecorder)
    clients = [await net.dial(port, net.HalfRecorder()) for _ in range(1000)]
    await net.until(lambda: len(net.accepted) == 1000)
    alive = weakref.WeakSet(it for both in (net.accepted, clients) for it in both)
    transports = weakref.WeakSet(it.transport for it in alive)
    inner = weakref.WeakSet(it._uv for it in transports)
    assert len(alive) == len(transports) == len(inner) == 2000
    for number, client in enumerate(clients):
        if number % 3 == 0:
            client.transport.loseConnection()
        elif number % 3 == 1:
            client.transport.abortConnection()
        else:
            client.transport.loseWriteConnection()
    for served in net.accepted:
        served.transport.loseWriteConnection()
    await net.until(lambda: all(it.is_lost for it in alive))
    assert all(it.happened.count("lost") == 1 for it in alive)
    net.accepted.clear()
    net._dialed.clear()
    del clients, client, served
    gc.collect()
    await net.turns()
    gc.collect()
    assert (len(alive), len(transports), len(inner)) == (0, 0, 0)
