"""lsproxy itself killed, stopped and overrun."""

import resource
import secrets
import signal
import time
from contextlib import ExitStack

from tests.faults.herd import Herd
from tests.faults.process import wait_for
from tests.faults.witness import Load

HERD = 1000


def test_lsproxy_killed_and_started_again(make_system):
    """Applications of the client library go on with the seats they had, and a switch is not made for it."""
    system = make_system(has_proxy=True).start()
    before = system.wait_active()
    with ExitStack() as stack:
        clients = [stack.enter_context(system.application(f"app{number}")) for number in range(4)]
        seats = [client.checkout("cad") for client in clients]
        numbers = {seat.number for seat in seats}
        with Load(system, seed=70) as load:
            for _ in range(3):
                system.proxy.kill()
                system.start_proxy()
                load.wait_for_grants()
        for seat in seats:
            wait_for(lambda seat=seat: seat.is_trusted, f"{seat} is vouched for")
            seat.check()
        held = {holder["seat"] for holder in system.usage()["cad"]["holders"] if holder["user"].startswith("app")}
        assert held == numbers == {seat.number for seat in seats}
        clients[0].checkout("mesh").checkin()
    assert system.wait_active() == before


def test_lsproxy_and_the_active_one_killed_at_once(make_system):
    """Both deaths together are survived like each alone."""
    system = make_system(has_proxy=True).start()
    with system.application("app") as client, client.checkout("cad", count=2) as seat:
        with Load(system, seed=71) as load:
            for _ in range(2):
                active, epoch = system.wait_active()
                system.servers[active].kill()
                system.proxy.kill()
                system.start_proxy()
                system.wait_active(after_epoch=epoch)
                load.wait_for_grants()
                system.start_server(active)
        wait_for(lambda: seat.is_trusted, f"{seat} is vouched for")


def test_lsproxy_stopped_for_a_while(make_system):
    """A proxy that stood still goes on, also when the active server died meanwhile."""
    system = make_system(has_proxy=True).start()
    active, epoch = system.wait_active()
    with Load(system, seed=72) as load:
        system.proxy.signal(signal.SIGSTOP)
        system.servers[active].kill()
        system.wait_active(after_epoch=epoch)
        time.sleep(1)
        system.proxy.signal(signal.SIGCONT)
        load.wait_for_grants()
        system.start_server(active)


def test_a_failover_herd(make_system):
    """A thousand sessions live through a kill on their own connections, each with its seat."""
    system = make_system(has_proxy=True, features={"cad": 2 * HERD}).start()
    active, epoch = system.wait_active()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sessions = [secrets.token_hex(16) for _ in range(HERD)]
    try:
        with Herd(system.addresses["proxy"], sessions) as herd:
            herd.join()
            system.servers[active].kill()
            herd.beat()
            assert system.wait_active(after_epoch=epoch)[1] == epoch + 1
            cad = system.usage("cad")["cad"]
            assert cad["in_use"] == HERD
            assert {holder["seat"] for holder in cad["holders"]} == set(herd.seats)
            assert {holder["state"] for holder in cad["holders"]} == {"held"}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
