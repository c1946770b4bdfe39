"""Where one can listen and where not, and the endpoints of a system without uvloop."""

import socket
import subprocess
import sys
from contextlib import closing

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.interfaces import IListeningPort, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from zope.interface.verify import verifyObject

from lsproxy.net.endpoints import ListenError, client_endpoint, heir_endpoint, server_endpoint

LOOPBACK = "127.0.0.1"


@pytest_twisted.ensureDeferred
async def test_provide_what_they_declare(net):
    """Endpoints and port have the methods of their interfaces."""
    assert verifyObject(IStreamServerEndpoint, server_endpoint(reactor, LOOPBACK, 0))
    assert verifyObject(IStreamClientEndpoint, client_endpoint(reactor, LOOPBACK, 1))
    await net.listen()
    assert verifyObject(IListeningPort, net._ports[0])


@pytest_twisted.ensureDeferred
async def test_address_in_use(net):
    """A second listener on one address is refused in a sentence that names it."""
    port = await net.listen()
    with pytest.raises(ListenError, match=f"^cannot listen on {LOOPBACK}:{port}: the address is in use"):
        await server_endpoint(reactor, LOOPBACK, port).listen(Factory())


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("192.0.2.1", "this machine does not have the address 192.0.2.1"),
        ("nowhere.invalid", 'the name "nowhere.invalid" is not known here'),
    ],
)
@pytest_twisted.ensureDeferred
async def test_address_that_is_not_here(host, says):
    """An address of another machine, or of none, is refused in a sentence."""
    with pytest.raises(ListenError, match=says):
        await server_endpoint(reactor, host, 0).listen(Factory())


@pytest_twisted.ensureDeferred
async def test_name(net):
    """Listening on a name takes its IPv4 address before its IPv6 one."""
    port = await net.listen(host="localhost")
    assert net._ports[0].getHost().host == LOOPBACK
    net.connect_raw(port)
    await net.until(lambda: net.accepted)


@pytest_twisted.ensureDeferred
async def test_address_is_free_after_a_stop(net):
    """An address is listened on again right after a stop, although connections through it linger."""
    served, peer = await net.raw()
    port = net._ports[0].getHost().port
    served.transport.loseConnection()
    assert await net.read(peer, 1) == b""
    await net._ports[0].stopListening()
    factory = Factory()
    factory.noisy = False
    again = await server_endpoint(reactor, LOOPBACK, port).listen(factory)
    await again.stopListening()


@pytest_twisted.ensureDeferred
async def test_heir_serves_who_waits_for_the_former(net):
    """Connections that the kernel has for a port when it stops are those of its heir, and so are later ones."""
    heard = []

    def factory(name):
        made = Factory()
        made.noisy = False
        made.buildProtocol = lambda _: heard.append(name)
        return made

    former = await server_endpoint(reactor, LOOPBACK, 0).listen(factory("former"))
    number = former.getHost().port
    waiting = [net.connect_raw(number) for _ in range(20)]
    heir = await heir_endpoint(reactor, former).listen(factory("heir"))
    await former.stopListening()
    waiting.append(net.connect_raw(number))
    await net.until(lambda: len(heard) == len(waiting))
    assert set(heard) == {"heir"}
    await heir.stopListening()
    with closing(socket.socket()) as late:
        assert late.connect_ex((LOOPBACK, number)) != 0


WITHOUT_UVLOOP = """
import sys
sys.modules["uvloop"] = None
from lsproxy.net import reactor as net_reactor
reactor = net_reactor.install()
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from lsproxy.net.endpoints import ListenError, client_endpoint, heir_endpoint, server_endpoint

class Echo(Protocol):
    def dataReceived(self, received):
        self.transport.write(received)

class Asks(Protocol):
    def connectionMade(self):
        self.answer = Deferred()
        self.transport.write(b"hello")

    def dataReceived(self, received):
        self.answer.callback(received)

async def main(_reactor):
    port = await server_endpoint(reactor, "127.0.0.1", 0).listen(Factory.forProtocol(Echo))
    number = port.getHost().port
    client = await client_endpoint(reactor, "127.0.0.1", number).connect(Factory.forProtocol(Asks))
    print(await client.answer)
    try:
        await server_endpoint(reactor, "127.0.0.1", number).listen(Factory.forProtocol(Echo))
    except ListenError as error:
        print(str(error).replace(str(number), "PORT"))
    print(type(client.transport).__module__)
    print(heir_endpoint(reactor, port))
    await port.stopListening()

task.react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""


def test_without_uvloop():
    """Without uvloop the endpoints are Twisted's own, with the same sentences."""
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_UVLOOP], capture_output=True, text=True, timeout=20, check=False
    )
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [
        "b'hello'",
        "cannot listen on 127.0.0.1:PORT: the address is in use, stop what listens there or choose another port",
        "twisted.internet.tcp",
        "None",
    ]


def test_refused_socket_is_closed():
    """A listener that could not be had leaves no socket open."""
    with closing(socket.socket()) as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        failed = server_endpoint(reactor, LOOPBACK, taken.getsockname()[1]).listen(Factory())
    assert isinstance(failed.result.value, ListenError)
    failed.addErrback(lambda _: None)
