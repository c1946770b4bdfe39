"""SIGSTOP and SIGCONT of license servers at random moments under load."""

import random
import signal
import time

import pytest

from tests.faults.caller import Caller, Hung
from tests.faults.process import wait_for
from tests.faults.witness import Load


@pytest.fixture
def pair(make_system):
    """
    A running pair that soon forgets: a client that said bye to a stopped server
    is gone, and its seats are held until its window is over.
    """
    return make_system(ttl=1.0, heartbeat=1.0, resume=5.0).start()


@pytest.fixture(params=["direct", "lsproxy"])
def system(make_system, request):
    """The same; clients come directly, then through lsproxy."""
    if request.param == "direct":
        return make_system(ttl=1.0, heartbeat=1.0, resume=5.0).start()
    return make_system(heartbeat=2.0, resume=15.0, has_proxy=True).start()


def test_stops_of_the_active_one(system):
    """
    Stopped at any moment, the active one loses the name; continued, it grants
    nothing any more, or it is dead.
    """
    moments = random.Random(4)
    with Load(system, seed=4) as load:
        for _ in range(3):
            active, epoch = system.wait_active()
            server = system.servers[active]
            load.wait_for_grants(moments.randrange(3, 30))
            server.signal(signal.SIGSTOP)
            system.wait_active(after_epoch=epoch)
            load.wait_for_grants()
            server.signal(signal.SIGCONT)
            wait_for(lambda name=active: _is_out(system, name), f"{active} is standby or dead")
            if not system.servers[active].is_running:
                system.start_server(active)


def test_short_stops(pair):
    """A server that stops for less than its ttl keeps the name, for longer it may lose it: no promise is broken."""
    lengths = random.Random(5)
    with Load(pair, seed=5):
        for _ in range(4):
            active, _ = pair.wait_active()
            server = pair.servers[active]
            server.signal(signal.SIGSTOP)
            time.sleep(lengths.uniform(0.05, 1.2))
            server.signal(signal.SIGCONT)
            time.sleep(lengths.uniform(0.0, 0.3))
            if not server.is_running:
                pair.start_server(active)


def test_what_a_stopped_server_was_asked(pair):
    """Requests that reached a stopped server which then lost the name are never answered `ok`."""
    active, epoch = pair.wait_active()
    keeper = pair.keeper()
    seat = keeper.checkout("cad")
    server = pair.servers[active]
    old = keeper.line
    keeper.line = None
    server.signal(signal.SIGSTOP)
    for number in range(100, 110):
        old.send("checkout", id=number, feature="cad")
    old.send("heartbeat", id=200)
    pair.wait_active(after_epoch=epoch)
    server.signal(signal.SIGCONT)
    old.hear_all()
    assert not any(reply["ok"] for reply in old.replies.values())
    old.socket.close()
    keeper.last_id = 200
    keeper.connect()
    assert keeper.welcome["held"] == [seat["handle"]]


def test_both_stopped(pair):
    """Two servers that stop at once and go on at once: one is active, and no promise is broken."""
    with Load(pair, seed=6) as load:
        for seconds in (0.5, 3.0):
            for server in pair.servers.values():
                server.signal(signal.SIGSTOP)
            time.sleep(seconds)
            for server in pair.servers.values():
                server.signal(signal.SIGCONT)
            pair.wait_active()
            load.wait_for_grants()
            for name, server in pair.servers.items():
                if not server.is_running:
                    pair.start_server(name)


def test_a_stopped_standby(pair):
    """A stopped standby hinders nobody, and learns of everything when it goes on."""
    active, epoch = pair.wait_active()
    standby = next(name for name in pair.servers if name != active)
    with Load(pair, seed=7) as load:
        pair.servers[standby].signal(signal.SIGSTOP)
        load.wait_for_grants(50)
        assert not _answers(pair.addresses[standby])
        pair.servers[standby].signal(signal.SIGCONT)
        pair.servers[active].kill()
        assert pair.wait_active(after_epoch=epoch)[0] == standby
        load.wait_for_grants()
        pair.start_server(active)


def _is_out(system, name):
    if not system.servers[name].is_running:
        return True
    status = system.status(name)
    return status is not None and status["role"] == "standby"


def _answers(address):
    try:
        with Caller(address, seconds=0.3) as caller:
            return caller.ask("status")["ok"]
    except (OSError, Hung):
        return False
