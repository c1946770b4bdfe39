"""How long from the death, or hang, of the active license server to the first new grant; is a seat lost or doubled?"""

import signal
import statistics
import subprocess
import threading
import time
from pathlib import Path

from tests.bench.clients import Client
from tests.bench.rig import FEATURE, Rig
from tests.faults.process import wait_for

SESSIONS = 200
LONGEST_SECONDS = 60.0


def kills(rig: Rig, rounds: int) -> list[float]:
    """Seconds from kill -9 to a new grant through lsproxy under 200 sessions, each with a seat that must stay."""
    clients = [Client(rig.port("proxy")) for _ in range(SESSIONS)]
    for client in clients:
        client.checkout()
    taken = []
    for round_ in range(rounds):
        victim = rig.wait_redundant()
        client = clients[round_ % SESSIONS]
        began = time.monotonic()
        rig.child(victim).signal(signal.SIGKILL)
        reply = client.checkout()
        taken.append(time.monotonic() - began)
        assert reply["ok"], reply
        check_seats(clients)
        rig.child(victim).wait()
        rig.system.start_server(victim)
    for client in clients:
        client.close()
    return taken


def hangs(rig: Rig, rounds: int, load: Path) -> list[float]:
    """Seconds from SIGSTOP, at odd moments under full load, to a new grant through lsproxy."""
    client = Client(rig.port("proxy"))
    taken = []
    for round_ in range(rounds):
        victim = rig.wait_redundant()
        command = [str(load), "127.0.0.1", str(rig.port("proxy")), "64", "checkout", "3", "1", FEATURE]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as loading:
            time.sleep(0.4 + 0.0137 * (round_ % 17))
            began = time.monotonic()
            rig.child(victim).signal(signal.SIGSTOP)
            reply = client.checkout()
            taken.append(time.monotonic() - began)
            assert reply["ok"], reply
            _, errors = loading.communicate(timeout=LONGEST_SECONDS)
            assert loading.returncode == 0, errors
        rig.child(victim).signal(signal.SIGCONT)
        wait_for(lambda name=victim: _is_silent(rig, name), f"{victim} is dead or not active any more")
        rig.child(victim).kill()
        rig.system.start_server(victim)
    check_seats([client])
    client.close()
    return taken


def peer_kills(rig: Rig, peer: str, rounds: int) -> list[float]:
    """The same as `kills` through HAProxy, with clients that reconnect: there is nobody who does it for them."""
    taken = []
    for _ in range(rounds):
        _make_first_active(rig)
        client = Client(rig.port(peer))
        client.checkout()
        began = time.monotonic()
        rig.child("lic-a").signal(signal.SIGKILL)
        asking = threading.Thread(target=client.checkout_whatever_happens, daemon=True)
        asking.start()
        asking.join(LONGEST_SECONDS)
        taken.append(float("inf") if asking.is_alive() else time.monotonic() - began)
        rig.child("lic-a").wait()
        rig.system.start_server("lic-a")
    return taken


def check_seats(clients: list[Client]) -> None:
    """Every seat is held, by one client only, and by the server's book too."""
    for client in clients:
        reply = client.ask({"op": "heartbeat"})
        assert reply["ok"], reply
        assert reply["seats"] == len(client.seats), (reply, client.seats)
        for event in client.resumed:
            assert event["resumed"], event
            assert set(client.seats) >= set(event["held"]), (event, client.seats)
    numbers = [seat for client in clients for seat in client.seats.values()]
    assert len(numbers) == len(set(numbers)), numbers
    usage = clients[0].ask({"op": "usage", "feature": FEATURE, "holders": False})
    assert usage["features"][0]["in_use"] == len(numbers), (usage, len(numbers))


def summary(seconds: list[float]) -> str:
    """Median and worst, in milliseconds."""
    return f"median {statistics.median(seconds) * 1000:.0f} ms, worst {max(seconds) * 1000:.0f} ms, n={len(seconds)}"


def _make_first_active(rig: Rig) -> None:
    """HAProxy's primary is lic-a: make it the active one, and let HAProxy's checks notice."""
    if rig.wait_redundant() == "lic-b":
        epoch = rig.system.wait_active()[1]
        rig.child("lic-b").kill()
        rig.system.wait_active(epoch)
        rig.system.start_server("lic-b")
        rig.wait_redundant()
    time.sleep(5)


def _is_silent(rig: Rig, name: str) -> bool:
    return not rig.child(name).is_running or (rig.system.status(name) or {}).get("role") != "active"
