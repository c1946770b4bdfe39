"""The admin API in this process: real pools whose license servers are down, real sockets."""

import http.client
import json
import socket
import time

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThread

from lsproxy.admin import socketfile
from lsproxy.admin.access import Access
from lsproxy.admin.api import Api
from lsproxy.admin.events import Events
from lsproxy.admin.http import Site
from lsproxy.admin.login import Logins
from lsproxy.admin.tokens import TokenBook
from lsproxy.cli.demo_files import prepare
from lsproxy.config.check import load_config
from lsproxy.config.tokens import SALT_BYTES, add_token
from lsproxy.errors import LsproxyError
from lsproxy.history.history import History
from lsproxy.metrics.metrics import Metrics
from lsproxy.net.endpoints import server_endpoint
from lsproxy.proxy.memory import InMemory
from lsproxy.services import Services
from tests.faults.system import free_port

TOKENS = {"operator": "of an operator", "viewer": "of a viewer"}


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content(self):
        return json.loads(self.body)


class Panel:
    """An admin API on a port of loopback and on a unix socket. `reload_problem` is what a reload fails with."""

    def __init__(self, demo):
        self.demo = demo
        self.events = Events("test", time.time)
        config = load_config(self.demo.proxy_config)
        services = Services(reactor, config, InMemory(), lambda: 0.5, self.events.tell, None)
        self.services = services
        self.reload_problem = None
        tokens = TokenBook(reactor, reactor.getThreadPool(), config.admin.tokens_file, bytes(32))
        self.logins = Logins(reactor.seconds, iter([f"secret{n}" for n in range(100)]).__next__)
        access = Access(reactor.seconds, tokens, self.logins)
        self.history = History(reactor, demo.folder / "history.db", time.time)
        metrics = Metrics(reactor, self, self.history, Events("metrics", time.time), "0.1.0")
        self.api = Api(self, access, self.logins, time.time, "0.1.0", self.history, metrics)
        self.site = Site(reactor, self.answer, self.events)
        self.fault = None
        self.ports = []

    @property
    def pools(self):
        return self.services.pools

    @property
    def operators(self):
        return self.services.operators

    @property
    def tallies(self):
        return self.services.tallies

    def reload(self):
        return fail(LsproxyError(self.reload_problem)) if self.reload_problem else succeed(["pools.demo.hold: changed"])

    async def answer(self, asked):
        if self.fault is not None:
            raise self.fault
        return await self.api.answer(asked)

    async def open(self):
        await self.history.open()
        await self.services.start()
        self.ports.append(socketfile.listen(reactor, self.demo.socket, self.site))
        self.ports.append(await server_endpoint(reactor, "127.0.0.1", 0).listen(self.site))

    async def close(self):
        self.site.close()
        for port in self.ports:
            await port.stopListening()
        await self.services.stop_listening()
        await self.services.stop_pools()
        await self.history.close()

    @property
    def port(self):
        return self.ports[1].getHost().port

    async def ask(self, method, path, body=None, *, role=None, over_unix=False, **headers):
        """One request on a connection of its own, in a thread."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if role is not None:
            named["Authorization"] = f"Bearer {TOKENS[role]}"
        if isinstance(body, dict):
            body = json.dumps(body)
        return await deferToThread(self._ask, method, path, body, named, over_unix)

    def _ask(self, method, path, body, headers, over_unix):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        if over_unix:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(10)
            connection.sock.connect(str(self.demo.socket))
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The files of a system; its journal takes a while to make."""
    prepared = prepare(tmp_path_factory.mktemp("demo"), free_port(), free_port())
    for role, token in TOKENS.items():
        add_token(prepared.folder / "tokens.yaml", role, role, token, bytes(SALT_BYTES))
    return prepared


@pytest.fixture
def panel(demo):
    opened = Panel(demo)
    pytest_twisted.blockon(Deferred.fromCoroutine(opened.open()))
    yield opened
    pytest_twisted.blockon(Deferred.fromCoroutine(opened.close()))
