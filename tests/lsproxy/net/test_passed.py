"""Sockets that were passed: which of them is for which address, and what is said of the others."""

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from lsproxy.net.address import Address
from lsproxy.net.passed import PassedSocketError, passed_sockets


@pytest.fixture
def passed():
    """Passes listening sockets bound to hosts, with one port that is free on all; says which."""
    made, given = [], []

    def make(*hosts):
        port = 0
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            made.append(socket.create_server((host, port), family=family))
            port = made[-1].getsockname()[1]
        given.append(passed_sockets([os.dup(one.fileno()) for one in made]))
        return given[-1], port

    yield make
    for one in made + given:
        one.close()


def test_an_address_is_matched_as_the_kernel_writes_it(passed):
    """A name by the address behind it, IPv6 in any spelling; the wildcard is no other address."""
    sockets, port = passed("127.0.0.1", "::1")
    for host in ("127.0.0.1", "localhost", "::1", "0:0::1"):
        assert sockets.endpoint(reactor, Address(host, port)) is not None
    for host in ("0.0.0.0", "::", "127.0.0.2"):  # noqa: S104 - never bound
        assert sockets.endpoint(reactor, Address(host, port)) is None
    assert sockets.endpoint(reactor, Address("127.0.0.1", port - 1)) is None


def test_a_stranger_is_told_with_its_address(passed):
    """Each that was passed must be somebody's."""
    sockets, port = passed("127.0.0.1", "::1")
    sockets.refuse_strangers([Address("localhost", port), Address("::1", port), Address("127.0.0.1", 1)])
    with pytest.raises(PassedSocketError, match=rf"bound to \[::1\]:{port}, and nothing in the configuration listens"):
        sockets.refuse_strangers([Address("127.0.0.1", port)])


def test_a_unix_socket_is_matched_by_its_path(tmp_path):
    """Whoever asks gets a copy."""
    path = tmp_path / "admin.sock"
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(path))
        listening.listen()
        sockets = passed_sockets([os.dup(listening.fileno())])
        assert sockets.unix(tmp_path / "other.sock") is None
        with sockets.unix(path) as copy:
            assert copy.getsockname() == str(path)
        sockets.refuse_strangers([], path)
        with pytest.raises(PassedSocketError, match=str(path)):
            sockets.refuse_strangers([], Path("/run/lsproxy/admin.sock"))
        sockets.close()


def test_what_does_not_listen_is_refused(tmp_path):
    """A file, a socket that is connected."""
    with (tmp_path / "file").open("w") as file, pytest.raises(PassedSocketError, match="that listens for connections"):
        passed_sockets([file.fileno()])


@pytest_twisted.ensureDeferred
async def test_it_outlives_who_listens_on_it(passed):
    """Between one listener and the next clients wait."""
    sockets, port = passed("127.0.0.1")
    made = []

    class Greeting(Protocol):
        def connectionMade(self):
            made.append(self)
            self.transport.loseConnection()

    endpoint = sockets.endpoint(reactor, Address("127.0.0.1", port))
    for number in (1, 2):
        with socket.create_connection(("127.0.0.1", port), 5):
            listening = await endpoint.listen(Factory.forProtocol(Greeting))
            for _ in range(200):
                if len(made) == number:
                    break
                await deferLater(reactor, 0.01)
            assert len(made) == number
            await listening.stopListening()
