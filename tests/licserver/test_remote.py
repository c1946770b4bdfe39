"""One question to a license server without a reactor: what comes back, and what is said when nothing good does."""

import socket
import threading

import pytest

from licserver.remote import Declined, TokenExposed, Unreachable, ask
from lsproxy.net.address import Address
from lsproxy.net.network import parse_network
from lsproxy.net.proxyprotocol import LOCAL_HEADER


@pytest.fixture
def answering():
    """A server that reads a request and answers with the given bytes, then closes; what it was asked."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    asked, threads = [], []

    def start(answer, requests=1):
        def serve():
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as lines:
                asked.extend(lines.readline() for _ in range(requests))
                connection.sendall(answer)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return Address("127.0.0.1", listening.getsockname()[1]), asked

    yield start
    for thread in threads:
        thread.join(5)
    listening.close()


def test_reply(answering):
    """The reply to the request is given, whatever came before it."""
    address, asked = answering(b'{"id":1,"ok":true}\n{"event":"x"}\n{"id":2,"ok":true,"epoch":3}\n', requests=2)
    assert ask(address, {"op": "takeover"}, "a token", None) == {"id": 2, "ok": True, "epoch": 3}
    assert asked == [b'{"op":"hello","token":"a token","id":1}\n', b'{"op":"takeover","id":2}\n']


def test_without_a_token(answering):
    """Without a token nothing is said but the request."""
    address, asked = answering(b'{"id":2,"ok":true}\n')
    ask(address, {"op": "status"}, None, None)
    assert asked == [b'{"op":"status","id":2}\n']


@pytest.mark.parametrize(("network", "first"), [("127.0.0.0/8", LOCAL_HEADER), ("192.0.2.0/24", b"")])
def test_behind_a_proxy(answering, network, first):
    """A server that wants a PROXY protocol header from here gets one before anything else, no other does."""
    address, asked = answering(b'{"id":2,"ok":true}\n', requests=1 + first.count(b"\n"))
    ask(address, {"op": "status"}, None, None, [parse_network(network)])
    assert b"".join(asked) == first + b'{"op":"status","id":2}\n'


def test_refused(answering):
    """A refusal is the server's own sentence."""
    address, _ = answering(b'{"id":2,"ok":false,"error":"stale","message":"too late"}\n')
    with pytest.raises(Declined, match="too late"):
        ask(address, {"op": "takeover"}, None, None)


@pytest.mark.parametrize(("answer", "words"), [
    (b"", "closed the connection without an answer"),
    (b"SSH-2.0\n", "no license server of the seat protocol"),
    (b"[1]\n", "no license server of the seat protocol"),
])  # fmt: skip
def test_no_answer(answering, answer, words):
    """Whatever else answers is said to be no license server."""
    address, _ = answering(answer)
    with pytest.raises(Unreachable, match=words):
        ask(address, {"op": "status"}, None, None)


def test_nobody_there():
    """A refused connection names the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", free.getsockname()[1])
        with pytest.raises(Unreachable, match=f"answers at {address}"):
            ask(address, {"op": "status"}, None, None)


def test_token_beyond_loopback():
    """The operator token goes to another host over TLS only; a request without it goes there all the same."""
    with pytest.raises(TokenExposed, match=r"192.0.2.1:27101 is on another host, where the operator token needs TLS"):
        ask(Address("192.0.2.1", 27101), {"op": "activate"}, "a token", None)
    with pytest.raises(Unreachable):
        ask(Address("localhost.invalid", 27101), {"op": "status"}, None, None)
