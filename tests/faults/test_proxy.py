"""lsproxy itself killed, stopped and overrun."""

import asyncio
import json
import resource
import secrets
import signal
import time
from contextlib import ExitStack

from lsproxy.client import LicenseClient
from tests.faults.process import wait_for
from tests.faults.witness import Load

HERD = 1000
HERD_SECONDS = 60.0


def test_lsproxy_killed_and_started_again(make_system):
    """Applications of the client library go on with the seats they had, and a switch is not made for it."""
    system = make_system(has_proxy=True).start()
    before = system.wait_active()
    with ExitStack() as stack:
        clients = [stack.enter_context(_library_client(system, f"app{number}")) for number in range(4)]
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
    with _library_client(system, "app") as client, client.checkout("cad", count=2) as seat:
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
    try:
        with asyncio.Runner() as runner:
            herd = [_Member(system) for _ in range(HERD)]
            runner.run(_all(member.join() for member in herd))
            system.servers[active].kill()
            runner.run(_all(member.beat() for member in herd))
            assert system.wait_active(after_epoch=epoch)[1] == epoch + 1
            cad = system.usage("cad")["cad"]
            assert cad["in_use"] == HERD
            assert {holder["seat"] for holder in cad["holders"]} == {member.seat for member in herd}
            assert {holder["state"] for holder in cad["holders"]} == {"held"}
            runner.run(_all(member.leave() for member in herd))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class _Member:
    """One session of the herd, on one connection all the time."""

    def __init__(self, system):
        self._address = system.addresses["proxy"]
        self._session = secrets.token_hex(16)
        self.seat = 0

    async def join(self):
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        hello = {"protocol": "seat/1", "session": self._session, "attempt": 1, "user": "herd", "host": "h"}
        assert (await self._ask(1, "hello", **hello))["ok"]
        self.seat = (await self._ask(2, "checkout", feature="cad"))["seat"]

    async def beat(self):
        reply = await self._ask(3, "heartbeat")
        assert (reply["ok"], reply.get("seats")) == (True, 1), reply

    async def leave(self):
        self._writer.close()
        await self._writer.wait_closed()

    async def _ask(self, number, op, **fields):
        self._writer.write(json.dumps({"id": number, "op": op, **fields}).encode() + b"\n")
        async with asyncio.timeout(HERD_SECONDS):
            while line := await self._reader.readline():
                message = json.loads(line)
                if message.get("id") == number:
                    return message
        raise AssertionError(f"{op}: the connection was closed")


async def _all(tasks):
    await asyncio.gather(*tasks)


def _library_client(system, user):
    host, port = system.addresses["proxy"]
    return LicenseClient(f"{port}@{host}", user=user, app="faults")
