"""What one license server makes of another's answers, over real connections."""

import errno
import socket
import time

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import fail
from twisted.internet.error import (
    ConnectBindError,
    ConnectionRefusedError,  # noqa: A004 Twisted's name
    DNSLookupError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,  # noqa: A004 as above
)
from twisted.internet.protocol import Factory, Protocol

from licserver.core.role import Answered, Silent, StoodDown, Unasked
from licserver.journal.interface import Member, Process
from licserver.peer import LATE_SECONDS, LIFE_SECONDS, Peers
from lsproxy.net import tls
from lsproxy.net.endpoints import client_endpoint, server_endpoint
from tests.licserver.house import TOKEN
from tests.licserver.live import LOOPBACK
from tests.lsproxy.net.conftest import Authority

MEMBER = Member("lic-b", "b1", "b:1", Process(1, 1, "boot"), "b:1")


class Scripted(Protocol):
    """A server that answers each request with the next of `lines`; None closes, nothing more is silence."""

    lines = ()

    def connectionMade(self):
        self.rest = list(self.lines)

    def dataReceived(self, data):
        for _ in range(data.count(b"\n")):
            if not self.rest:
                return
            line = self.rest.pop(0)
            if line is None:
                self.transport.abortConnection()
                return
            self.transport.write(line + b"\n")


@pytest.fixture
def listen():
    """Listen with a script, and give the peers that ask it."""
    ports = []

    async def listen(*lines, token=TOKEN, patience=0.5):
        protocol = type("Script", (Scripted,), {"lines": lines})
        factory = Factory.forProtocol(protocol)
        factory.noisy = False
        port = await server_endpoint(reactor, LOOPBACK, 0).listen(factory)
        ports.append(port)
        number = port.getHost().port
        return Peers(reactor, lambda _: client_endpoint(reactor, LOOPBACK, number, timeout=0.2), token, patience)

    yield listen
    for port in ports:
        port.stopListening()


WELCOME = b'{"id":1,"ok":true}'


@pytest_twisted.ensureDeferred
async def test_role(listen):
    """The holder's role is what its status says; lines that are no replies are passed over."""
    peers = await listen(b'nonsense\n{"event":"x"}\n{"id":2,"ok":true,"role":"active"}')
    assert await peers.ask_whether_active(MEMBER) == Answered("active")


@pytest.mark.parametrize(("answer", "meaning"), [
    (b'{"id":2,"ok":true}', StoodDown()),
    (b'{"id":2,"ok":false,"error":"not_active","message":"m"}', StoodDown()),
    (b'{"id":2,"ok":false,"error":"not_permitted","message":"no"}', Answered("refuses", "no")),
    (None, Answered("refuses", "it answers, but closed the connection before it was done")),
])  # fmt: skip
@pytest_twisted.ensureDeferred
async def test_stand_down(listen, answer, meaning):
    """A holder stands down, did before, refuses, or answered and then broke off: then it is not silent."""
    peers = await listen(WELCOME, answer)
    assert await peers.ask_to_stand_down(MEMBER, "lic-a", "why") == meaning


@pytest_twisted.ensureDeferred
async def test_wrong_token(listen):
    """A holder that does not know the token refuses with its own sentence."""
    peers = await listen(b'{"id":1,"ok":false,"error":"not_permitted","message":"not the token"}')
    assert await peers.ask_to_stand_down(MEMBER, "lic-a", "why") == Answered("refuses", "not the token")


@pytest_twisted.ensureDeferred
async def test_no_token_here(listen):
    """Without a token of one's own a holder that answers cannot be asked to stand down."""
    peers = await listen(b'{"id":2,"ok":true,"role":"active"}', token=None)
    assert await peers.ask_to_stand_down(MEMBER, "lic-a", "why") == Answered(
        "refuses", "there is no token_file here with which to ask it"
    )


@pytest_twisted.ensureDeferred
async def test_token_stays_here():
    """Who may not be told the token is asked for its status alone."""
    asked = []

    class Listening(Protocol):
        def dataReceived(self, data):
            asked.append(data)
            self.transport.write(b'{"id":2,"ok":true,"role":"active"}\n')

    port = await server_endpoint(reactor, LOOPBACK, 0).listen(Factory.forProtocol(Listening))
    number = port.getHost().port
    peers = Peers(
        reactor, lambda _: client_endpoint(reactor, LOOPBACK, number, timeout=0.2), TOKEN, 0.5, lambda _: False
    )
    answer = await peers.ask_to_stand_down(MEMBER, "lic-a", "why")
    assert answer == Answered(
        "refuses", "it is asked at b:1, on another host, and the token is sent there over TLS only"
    )
    assert asked == [b'{"id":2,"op":"status"}\n']
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_slow(listen):
    """A holder that answered the hello and takes long for the rest is there, and busy."""
    peers = await listen(WELCOME, patience=0.1)
    answer = await peers.ask_to_stand_down(MEMBER, "lic-a", "why")
    assert answer == Answered("refuses", "it answers, but was not done after 0.1 s")


@pytest_twisted.ensureDeferred
async def test_silent(listen):
    """A holder that says nothing within 0.2 s is silent, with a token or without."""
    began = reactor.seconds()
    assert await (await listen()).ask_to_stand_down(MEMBER, "lic-a", "why") == Silent()
    assert 0.15 < reactor.seconds() - began < 1.0
    assert await (await listen(token=None)).ask_to_stand_down(MEMBER, "lic-a", "why") == Silent()
    assert await (await listen(None)).ask_whether_active(MEMBER) == Silent()


@pytest_twisted.ensureDeferred
async def test_nobody_there():
    """A refused connection is silence."""
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = free.getsockname()[1]
    peers = Peers(reactor, lambda _: client_endpoint(reactor, LOOPBACK, port, timeout=0.2), TOKEN, 0.5)
    assert await peers.ask_whether_active(MEMBER) == Silent()


@pytest_twisted.ensureDeferred
async def test_stopped_behind_tls(tmp_path):
    """A stopped holder, whose kernel accepts while nobody shakes hands, is silent behind TLS too."""
    certificate, _ = Authority(tmp_path).issue("127.0.0.1", names=("127.0.0.1",))
    with socket.socket() as stopped:
        stopped.bind((LOOPBACK, 0))
        stopped.listen()
        port = stopped.getsockname()[1]
        believed = tls.client_tls(LOOPBACK, certificate)
        endpoint = tls.wrap_client(reactor, client_endpoint(reactor, LOOPBACK, port, timeout=0.2), believed)
        peers = Peers(reactor, lambda _: endpoint, TOKEN, 0.5)
        assert await peers.ask_to_stand_down(MEMBER, "lic-a", "why") == Silent()


@pytest_twisted.ensureDeferred
async def test_holder_with_another_certificate(tmp_path):
    """A holder that answers, but not as who it should be, is there and refuses."""
    authority = Authority(tmp_path)
    served = tls.server_tls(*authority.issue("lic-x"))
    factory = Factory.forProtocol(Scripted)
    factory.noisy = False
    port = await tls.wrap_server(reactor, server_endpoint(reactor, LOOPBACK, 0), served).listen(factory)
    endpoint = client_endpoint(reactor, LOOPBACK, port.getHost().port, timeout=0.2)
    asked = tls.wrap_client(reactor, endpoint, tls.client_tls("lic-b", authority.file))
    answer = await Peers(reactor, lambda _: asked, TOKEN, 0.5).ask_to_stand_down(MEMBER, "lic-a", "why")
    await port.stopListening()
    assert isinstance(answer, Answered)
    assert answer.role == "refuses"
    assert 'the certificate is not for "lic-b"' in answer.reason


class Failing:
    """An endpoint that fails with each of `errors` in turn, then connects as `endpoint` does."""

    def __init__(self, *errors, endpoint=None):
        self.errors = list(errors)
        self.endpoint = endpoint
        self.dials = 0

    def connect(self, factory):
        self.dials += 1
        return fail(self.errors.pop(0)) if self.errors else self.endpoint.connect(factory)


@pytest.mark.parametrize("error", [ConnectBindError(errno.EADDRNOTAVAIL), NoRouteError(), DNSLookupError("lic-b")])
@pytest_twisted.ensureDeferred
async def test_a_fault_on_this_side_says_nothing_of_the_holder(error):
    """No port, no route, no name: whoever cannot be asked from here is not taken for dead."""
    peers = Peers(reactor, lambda _: Failing(error), TOKEN, 0.5)
    answer = await peers.ask_to_stand_down(MEMBER, "lic-a", "why")
    assert answer == Unasked(str(error))


@pytest.mark.parametrize("error", [ConnectionRefusedError(), TimeoutError(), TCPTimedOutError()])
@pytest_twisted.ensureDeferred
async def test_no_connection_is_silence(error):
    """Nobody listens where the holder should, or nothing comes back from there, as with a cable that is cut."""
    peers = Peers(reactor, lambda _: Failing(error), TOKEN, 0.5)
    assert await peers.ask_whether_active(MEMBER) == Silent()


class Late(Protocol):
    """Answers; but whoever asked was held up meanwhile, and finds its time over before it reads."""

    def connectionMade(self):
        if self.factory.asked:
            self.transport.write(b'{"id":2,"ok":true,"role":"active"}\n')
        else:
            time.sleep(LIFE_SECONDS + 2 * LATE_SECONDS)
        self.factory.asked += 1


@pytest_twisted.ensureDeferred
async def test_one_that_was_held_up_itself_asks_again():
    """Silence counts only if this process was awake to hear."""
    factory = Factory.forProtocol(Late)
    factory.noisy, factory.asked = False, 0
    port = await server_endpoint(reactor, LOOPBACK, 0).listen(factory)
    endpoint = client_endpoint(reactor, LOOPBACK, port.getHost().port)
    assert await Peers(reactor, lambda _: endpoint, TOKEN, 0.5).ask_whether_active(MEMBER) == Answered("active")
    assert factory.asked == 2
    port.stopListening()
