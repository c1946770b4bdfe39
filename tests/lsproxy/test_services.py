"""Pools and listeners that become those of another configuration, on real sockets; the license servers are down."""

import json
import socket
import ssl

import msgspec
import pytest
import pytest_twisted
import yaml
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from lsproxy.cli.demo_files import prepare
from lsproxy.config.check import load_config
from lsproxy.errors import LsproxyError
from lsproxy.proxy.memory import InMemory
from lsproxy.services import LicenseLostError, Services
from tests.faults.system import free_port
from tests.lsproxy.net.conftest import Authority


class Running:
    """Services and the file they came from."""

    def __init__(self, demo):
        self.demo = demo
        self.path = demo.proxy_config
        self.original = self.path.read_text()
        self.services = Services(reactor, load_config(self.path), InMemory(), lambda: 0.5, lambda *_: None, None)

    async def change(self, edit):
        """The file edited as a tree and taken; the changes that were said."""
        tree = yaml.safe_load(self.path.read_text())
        edit(tree)
        self.path.write_text(json.dumps(tree))  # YAML too, and without anchors
        return await self.services.change(load_config(self.path), None)

    def clients(self, pool="demo"):
        return self.services.pools[pool].snapshot().clients


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("demo"), free_port(), free_port())


@pytest.fixture
def running(demo):
    running = Running(demo)
    pytest_twisted.blockon(Deferred.fromCoroutine(running.services.start()))
    yield running
    running.path.write_text(running.original)
    pytest_twisted.blockon(Deferred.fromCoroutine(running.services.stop_listening()))
    pytest_twisted.blockon(running.services.stop_pools())


def is_listening(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


async def connect(port):
    client = socket.create_connection(("127.0.0.1", port), 5)
    await deferLater(reactor, 0.05)
    return client


@pytest_twisted.ensureDeferred
async def test_a_listener_moves_without_dropping_who_is_connected(running):
    """The new address accepts, the old one does not, its client is still there."""
    port = free_port()
    with await connect(running.demo.port):
        said = await running.change(lambda tree: tree["listen"]["licenses"].update(address=f"127.0.0.1:{port}"))
        assert said == ["listen.licenses.address: changed"]
        assert is_listening(port)
        assert not is_listening(running.demo.port)
        await deferLater(reactor, 0.05)
        assert running.clients() >= 1


@pytest_twisted.ensureDeferred
async def test_a_pool_changes_without_dropping_who_is_connected(running):
    """Hold, health, a backend more and one less."""

    def edit(tree):
        pool = tree["pools"]["demo"]
        pool["hold"] = 3
        pool["backends"]["lic-c"] = {"address": f"127.0.0.1:{free_port()}"}
        del pool["backends"]["lic-b"]

    with await connect(running.demo.port):
        await running.change(edit)
        picture = running.services.pools["demo"].snapshot()
        assert picture.clients == 1
        assert picture.hold == 3
        assert [backend.name for backend in picture.backends] == ["lic-a", "lic-c"]


@pytest_twisted.ensureDeferred
async def test_another_operator_token_is_a_change(running):
    """It stands in a file that the configuration only names, and is told like a key; the backends stay as they are."""
    token = running.demo.folder / "operator.token"
    former, backends = token.read_text(), dict(running.services.pools["demo"].backends)
    token.write_text("another one\n")
    assert await running.change(lambda _: None) == ["pools.demo.token_file: changed"]
    assert await running.change(lambda _: None) == []
    assert running.services.pools["demo"].backends == backends
    token.write_text(former)


@pytest_twisted.ensureDeferred
async def test_pools_and_listeners_come_and_go(running):
    """A pool that goes closes its clients, the others keep theirs."""
    port = free_port()

    def add(tree):
        tree["pools"]["more"] = tree["pools"]["demo"]
        tree["listen"]["more"] = {"address": f"127.0.0.1:{port}", "pool": "more"}

    def remove(tree):
        del tree["pools"]["more"]
        del tree["listen"]["more"]

    with await connect(running.demo.port):
        assert await running.change(add) == ["listen.more: added", "pools.more: added"]
        with await connect(port) as leaving:
            assert running.clients("more") == 1
            assert await running.change(remove) == ["listen.more: removed", "pools.more: removed"]
            await deferLater(reactor, 0.05)
            assert leaving.recv(1) == b""
        assert list(running.services.pools) == list(running.services.operators) == ["demo"]
        assert running.clients() == 1
        assert not is_listening(port)


@pytest_twisted.ensureDeferred
async def test_a_listener_on_its_old_address_may_get_another_pool(running):
    """Who comes from now on is the other pool's."""

    def edit(tree):
        tree["pools"]["more"] = tree["pools"]["demo"]
        tree["listen"]["licenses"]["pool"] = "more"

    with await connect(running.demo.port):
        await running.change(edit)
        with await connect(running.demo.port):
            assert (running.clients("demo"), running.clients("more")) == (1, 1)


@pytest_twisted.ensureDeferred
async def test_a_changed_listener_refuses_nobody(running):
    """Who has connected to it before the change, and was not accepted yet, is accepted after it."""
    for number in range(3):
        waiting = [socket.create_connection(("127.0.0.1", running.demo.port), 5) for _ in range(20)]
        before = running.clients()
        await running.change(lambda tree, n=number: tree["listen"]["licenses"].update(max_connections=1000 + n))
        await deferLater(reactor, 0.05)
        assert running.clients() == before + 20
        for one in waiting:
            one.setblocking(False)
            with one, pytest.raises(BlockingIOError):
                one.recv(1)
        await deferLater(reactor, 0.05)


@pytest_twisted.ensureDeferred
async def test_a_changed_listener_counts_who_is_connected(running):
    """Its limits are for all of its name, those before the change too."""

    def limit(tree):
        tree["listen"]["licenses"].update(max_per_source=2)

    with await connect(running.demo.port), await connect(running.demo.port) as second:
        await running.change(limit)
        with await connect(running.demo.port) as third, pytest.raises(ConnectionResetError):
            third.recv(1)
        second.close()
        await deferLater(reactor, 0.05)
        with await connect(running.demo.port):
            assert running.clients() == 2


@pytest_twisted.ensureDeferred
async def test_a_listener_that_is_renamed_leaves_its_address(running):
    """The address passes from one name to the other without a gap."""

    def rename(tree):
        tree["listen"]["other"] = tree["listen"].pop("licenses")

    with socket.create_connection(("127.0.0.1", running.demo.port), 5):
        await running.change(rename)
        await deferLater(reactor, 0.05)
        assert running.clients() == 1
        assert is_listening(running.demo.port)


def shown_certificate(port, authority):
    """The serial number of the certificate that a listener shows."""
    context = ssl.create_default_context(cafile=authority.file)
    with (
        socket.create_connection(("127.0.0.1", port), 5) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as client,
    ):
        return client.getpeercert()["serialNumber"]


@pytest_twisted.ensureDeferred
async def test_a_renewed_certificate_is_shown_after_a_reload(running, tmp_path):
    """The configuration says the same, the file another thing; without a reload nothing changes."""
    authority = Authority(tmp_path)

    def edit(tree):
        certificate, key = authority.issue("localhost")
        tree["listen"]["licenses"]["tls"] = {"certificate": str(certificate), "key": str(key)}

    async def shown():
        return await deferToThread(shown_certificate, running.demo.port, authority)

    assert await running.change(edit) == ["listen.licenses.tls: changed"]
    first = await shown()
    authority.issue("localhost")
    assert await shown() == first
    assert await running.change(lambda _tree: None) == []
    assert await shown() != first


@pytest_twisted.ensureDeferred
async def test_an_address_that_is_taken_leaves_everything_as_it_was(running):
    """Also what could have been done is not."""
    with socket.create_server(("127.0.0.1", 0)) as taken:

        def edit(tree):
            tree["pools"]["demo"]["hold"] = 3
            tree["listen"]["fine"] = {"address": f"127.0.0.1:{free_port()}", "pool": "demo"}
            tree["listen"]["more"] = {"address": f"127.0.0.1:{taken.getsockname()[1]}", "pool": "demo"}

        before = running.services.config
        with pytest.raises(LsproxyError, match="the address is in use"):
            await running.change(edit)
        assert running.services.config is before
        assert running.services.pools["demo"].snapshot().hold == 10
        assert not is_listening(load_config(running.path).listen["fine"].address.port)
        assert is_listening(running.demo.port)


@pytest_twisted.ensureDeferred
async def test_an_address_that_cannot_be_widened_leaves_the_listener(running):
    """Stopped to make room for a wider address that is taken elsewhere, the old listener listens again."""
    port = running.services.config.listen["licenses"].address.port
    with socket.create_server(("127.0.0.2", port)):
        with pytest.raises(LsproxyError):
            await running.change(lambda tree: tree["listen"]["licenses"].update(address=f"0.0.0.0:{port}"))
        assert is_listening(port)


@pytest_twisted.ensureDeferred
async def test_a_license_that_was_good_is_not_given_up_for_a_forged_one(running):
    """The old one goes on, and the sentence says what is wrong with the new."""
    path = running.demo.folder / "demo.lic"
    good = path.read_text()
    path.write_text(good.replace(" 25 ", " 9999 ").replace(" 5 ", " 500 "))
    try:
        with pytest.raises(LicenseLostError, match="no validly signed line any more"):
            await running.change(lambda tree: tree["pools"]["demo"].update(hold=3))
    finally:
        path.write_text(good)
    assert running.services.pools["demo"].snapshot().hold == 10


@pytest_twisted.ensureDeferred
async def test_what_needs_a_restart_is_refused(running):
    """By its key."""
    with pytest.raises(LsproxyError, match=r"pools\.demo\.server_name cannot change while lsproxy runs"):
        await running.change(lambda tree: tree["pools"]["demo"].update(server_name="other"))


@pytest_twisted.ensureDeferred
async def test_no_change_is_no_change(running):
    """Read again, nothing is touched."""
    before = msgspec.structs.asdict(running.services.config)
    assert await running.change(lambda _tree: None) == []
    assert msgspec.structs.asdict(running.services.config) == before
