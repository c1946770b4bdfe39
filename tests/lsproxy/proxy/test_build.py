"""Tests of pools and listeners made from configuration, over TLS on both legs."""

import pytest
from twisted.internet import reactor

from lsproxy.config import model
from lsproxy.errors import LsproxyError
from lsproxy.license.hostid import Hostid
from lsproxy.net.address import Address
from lsproxy.net.endpoints import client_endpoint
from lsproxy.net.tls import client_tls, server_tls, wrap_client, wrap_server
from lsproxy.proxy.build import build_listener, plan_pool
from lsproxy.proxy.dialling import OneProtocol
from lsproxy.proxy.listener import Room
from tests.lsproxy.net.conftest import Authority
from tests.lsproxy.proxy.conftest import Client
from tests.lsproxy.proxy.test_session import scenario, session

NAME = "127.0.0.1"


@scenario
async def test_tls_on_both_legs(world, tmp_path):
    """Clients over TLS are served by servers over TLS, through a failover, and closed cleanly at the end."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue(NAME)
    for server in (world.a, world.b):
        server.wrap = lambda endpoint: wrap_server(reactor, endpoint, server_tls(certificate, key))
    tls = model.BackendTls(ca=authority.file)
    await world.a.start()
    await world.b.start()
    world.a.activate()
    backends = {s.name: model.SeatBackend(address=Address(NAME, s.number), tls=tls) for s in (world.a, world.b)}
    await world.start_pool(backends=backends, health=model.Health(interval=0.1, timeout=0.4))
    config = model.Listener(
        address=Address(NAME, 0), pool="acme", tls=model.ServerTls(certificate=certificate, key=key)
    )
    listener = build_listener(reactor, "secure", config, world.pool, None, Room(1024))
    port = (await listener.start()).getHost().port
    endpoint = wrap_client(reactor, client_endpoint(reactor, NAME, port), client_tls(NAME, authority.file))
    client = await endpoint.connect(OneProtocol(Client()))
    world.clients.append(client)
    client.hello(session(1))
    await client.told(id=1)
    client.ask("checkout", feature="cad")
    await client.told(id=2)
    world.a.kill()
    assert (await client.told(event="resumed"))["held"] == [2]
    client.ask("bye")
    await client.told(id=3)
    await client.closed()
    await listener.stop()
    assert listener.tally.accepted == 1


@scenario
async def test_server_that_cannot_prove_its_name_is_down(world, tmp_path):
    """A backend whose certificate is for another name is down, and the reason says so."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("other.example.com")
    world.a.wrap = world.b.wrap = lambda endpoint: wrap_server(reactor, endpoint, server_tls(certificate, key))
    await world.a.start()
    await world.b.start()
    tls = model.BackendTls(ca=authority.file)
    backends = {s.name: model.SeatBackend(address=Address(NAME, s.number), tls=tls) for s in (world.a, world.b)}
    await world.start_pool(backends=backends, health=model.Health(interval=0.1, timeout=0.4))
    await world.until(lambda: len(world.happened("backend_down")) == 2)
    assert 'the certificate is not for "127.0.0.1"' in world.happened("backend_down")[0]
    assert world.happened("backend_down")[0].count("lic-") == 1, "its name stands there once"


@scenario
async def test_files_that_cannot_be_read_are_named(world):
    """A license, key or token file that cannot be used is one sentence that names it."""
    await world.a.start()
    await world.b.start()
    for name in ("acme.lic", "acme.pub", "operator.token"):
        (world.folder / name).rename(world.folder / "away")
        with pytest.raises(LsproxyError, match=name):
            plan_pool(reactor, "acme", world.config(), lambda: 0.5)
        (world.folder / "away").rename(world.folder / name)


def test_what_binds_alike_is_equal(tmp_path):
    """A license that was not touched binds as before the reload; another one, or other hostids, may not."""
    file = tmp_path / "acme.lic"

    def bind(text, **settings):
        file.write_text(text)
        backend = model.RelayBackend(address=Address("fn-a", 27000), **settings)
        pool = model.RelayPool(kind="flexnet", license_file=file, backends={"a": backend})
        plan = plan_pool(reactor, "acme", pool, lambda: 0.5)
        return plan.places["a"].bind

    licensed = "SERVER fn-a ANY 27000\nVENDOR acme\nFEATURE f acme 1.0 permanent 1 SIGN=0\n"
    usual = bind(licensed)
    assert usual is not None
    assert usual == bind(licensed)
    assert usual != bind(licensed.replace("ANY", "INTERNET=192.0.2.77"))
    assert usual != bind(licensed, hostids=(Hostid("hostname", "fn-a"),))
