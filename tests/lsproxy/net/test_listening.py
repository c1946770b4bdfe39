"""Accepting connections, also when there is no descriptor left for one."""

import ctypes
import json
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest_twisted

LOOPBACK = "127.0.0.1"
DESCRIPTORS = 80
ANSWER_SECONDS = 0.3
STARVED = f"""
import json, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS}, {DESCRIPTORS}))
from lsproxy.net import reactor as net_reactor
reactor = net_reactor.install()
from lsproxy.net.endpoints import server_endpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import globalLogPublisher, formatEvent
def say(**what):
    print(json.dumps(what), flush=True)
globalLogPublisher.addObserver(lambda event: say(log=formatEvent(event), level=event["log_level"].name))
class Echo(Protocol):
    def dataReceived(self, received):
        self.transport.write(received)
factory = Factory.forProtocol(Echo)
factory.noisy = False
server_endpoint(reactor, "{LOOPBACK}", 0).listen(factory).addCallback(lambda port: say(port=port.getHost().port))
reactor.run()
"""


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def test_out_of_descriptors():
    """Without descriptors: those there are answered, new ones wait and are answered later, the log says it once."""
    server = subprocess.Popen(
        [sys.executable, "-c", STARVED],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one call into the kernel, no lock taken
    )
    peers = []
    with closing(server.stdout):
        try:
            port = json.loads(server.stdout.readline())["port"]
            peers = [socket.create_connection((LOOPBACK, port), timeout=5) for _ in range(DESCRIPTORS + 10)]
            answered, waiting = _ask(peers)
            assert len(answered) > DESCRIPTORS // 2
            assert len(waiting) > 10
            assert _ask(answered) == (answered, [])
            for peer in answered[: len(waiting)]:
                peer.close()
            assert all(peer.recv(1) == b"?" for peer in waiting)
            assert _ask(waiting) == (waiting, [])
        finally:
            server.kill()
            server.wait()
            for peer in peers:
                peer.close()
        said = [json.loads(line) for line in server.stdout]
    assert [event["level"] for event in said if "log" in event] == ["warn"]
    assert f"(this process may have {DESCRIPTORS} descriptors)" in said[0]["log"]


def _ask(peers):
    for peer in peers:
        peer.send(b"?")
    answered = []
    end = time.monotonic() + ANSWER_SECONDS
    while len(answered) < len(peers) and time.monotonic() < end:
        ready, _, _ = select.select([peer for peer in peers if peer not in answered], [], [], 0.05)
        assert all(peer.recv(1) == b"?" for peer in ready)
        answered += ready
    return [peer for peer in peers if peer in answered], [peer for peer in peers if peer not in answered]


@pytest_twisted.ensureDeferred
async def test_stop_listening_keeps_connections(net):
    """After stopListening the address is free and refuses, and the connections there are go on; twice is once."""
    served, peer = await net.raw(lambda: net.Recorder(on_bytes=lambda it, received: it.transport.write(received)))
    port = net._ports[0].getHost().port
    await net._ports[0].stopListening()
    await net._ports[0].stopListening()
    with closing(socket.socket()) as late:
        assert late.connect_ex((LOOPBACK, port)) != 0
    peer.send(b"still")
    assert await net.read(peer, 5) == b"still"
    assert not served.is_lost


@pytest_twisted.ensureDeferred
async def test_refused_by_the_factory(net):
    """A connection for which the factory has no protocol is closed."""
    port = await net.listen(lambda: None)
    assert await net.read(net.connect_raw(port), 1) == b""
    net.accepted.clear()


@pytest_twisted.ensureDeferred
async def test_stopped_by_a_connection(net):
    """A protocol may stop the listening that made it, while more connections wait."""
    port = await net.listen(lambda: net.Recorder(on_made=lambda _: net._ports[0].stopListening()))
    peers = [net.connect_raw(port) for _ in range(3)]
    await net.until(lambda: net.accepted)
    assert all(peer.fileno() != -1 for peer in peers)


@pytest_twisted.ensureDeferred
async def test_ended_in_its_first_turn_closes_no_other(net):
    """Connections that end in connectionMade give their descriptor back once: others keep theirs."""

    def end(protocol):
        if len(net.accepted) % 2:
            protocol.transport.abortConnection()

    port = await net.listen(lambda: net.Recorder(end, lambda it, received: it.transport.write(received)))
    peers = [net.connect_raw(port) for _ in range(200)]
    await net.until(lambda: len(net.accepted) == 200 and sum(it.is_lost for it in net.accepted) == 100)
    kept = 0
    for peer in peers:
        try:
            peer.send(b"!")
            kept += await net.read(peer, 1) == b"!"
        except (ConnectionResetError, BrokenPipeError):
            continue
    assert kept == 100
