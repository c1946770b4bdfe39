"""A pool before two real licservers on one journal: death and hang of the active one."""

import ctypes
import os
import signal
import socket
import subprocess
import sys

import pytest
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from lsproxy.config import model
from lsproxy.license.signature import sign
from lsproxy.net.address import Address
from tests.lsproxy.license.texts import KEY
from tests.lsproxy.proxy.test_session import scenario, session

LICSERVER = [sys.executable, "-c", "from licserver.cli import main; main()"]
CONFIG = """
name: {name}
server_name: acme-licenses
listen: "127.0.0.1:{port}"
license_file: acme.lic
vendor_keys: {{acme: acme.pub}}
journal: "sqlite:///{folder}/acme.db"
redundancy: {{scheme: duplicate}}
token_file: operator.token
state: {folder}/{name}.state
"""


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Pair:
    """Two licserver processes."""

    def __init__(self, folder):
        self.folder = folder
        self.ports = {"lic-a": free_port(), "lic-b": free_port()}
        self.processes = {}
        text = "SERVER this_host ANY\nVENDOR acme\nINCREMENT cad acme 2027.0 permanent 50\n"
        (folder / "acme.lic").write_text(sign(text, "acme.lic", KEY))
        for name, port in self.ports.items():
            (folder / f"{name}.yaml").write_text(CONFIG.format(name=name, port=port, folder=folder))
        subprocess.run([*LICSERVER, "init", "-c", folder / "lic-a.yaml"], check=True, capture_output=True)

    def start(self, name):
        log = (self.folder / f"{name}.log").open("a")
        self.processes[name] = subprocess.Popen(
            [*LICSERVER, "serve", "-c", self.folder / f"{name}.yaml"],
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - no thread of the tests holds a lock here
        )
        log.close()

    def signal(self, name, number):
        os.kill(self.processes[name].pid, number)

    def stop(self):
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def pair(world):
    """A pair that is started, and ended by its process ids."""
    made = Pair(world.folder)
    for name in made.ports:
        made.start(name)
    yield made
    made.stop()


async def served(world, pair):
    backends = {n: model.SeatBackend(address=Address("127.0.0.1", port)) for n, port in pair.ports.items()}
    await world.start_pool(backends=backends, health=model.Health(), hold=10.0)
    await world.until(lambda: world.pool.serving is not None, 10)
    await world.until(lambda: all(b.health == "up" for b in world.pool.snapshot().backends), 10)
    return world.pool.serving


@scenario
async def test_kill_and_hang_lose_no_seat(world, pair):
    """A seat is held after kill -9 and after SIGSTOP of the active server; a hang costs under 1.5 s."""
    first = await served(world, pair)
    client = await world.client(session(1))
    client.ask("checkout", feature="cad")
    await client.told(id=2, ok=True)
    pair.signal(first, signal.SIGKILL)
    client.ask("heartbeat")
    assert (await client.told(id=3, ok=True))["seats"] == 1
    assert client.found(event="resumed")["held"] == [2]
    await deferToThread(pair.processes[first].wait)
    pair.start(first)
    await world.until(lambda: all(b.health == "up" for b in world.pool.snapshot().backends), 10)
    second = world.pool.serving
    begun = reactor.seconds()
    pair.signal(second, signal.SIGSTOP)
    client.ask("checkout", feature="cad")
    assert (await client.told(id=4, ok=True))["seat"] != client.found(id=2)["seat"]
    assert reactor.seconds() - begun < 1.5
    assert world.pool.serving == first


@scenario
async def test_planned_switch_between_licservers(world, pair):
    """A switchover of a busy client is answered in full, without a refusal."""
    first = await served(world, pair)
    client = await world.client(session(1))
    for _ in range(20):
        client.ask("heartbeat")
    await world.operator.switch()
    for _ in range(20):
        client.ask("heartbeat")
        await deferLater(reactor, 0.001)
    await client.told(id=41)
    assert all(one["ok"] for one in client.lines if "id" in one)
    assert world.pool.serving != first
