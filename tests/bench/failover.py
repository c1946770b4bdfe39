"""How long from the death, or hang, of the active license server to the first new grant; is a seat lost or doubled?"""

import signal
import statistics
import subprocess
import threading
import time
from pathlib import Path

from tests.bench.clients import Client
from tests.bench.rig import Rig, until

SESSIONS = 200


def kills(rig: Rig, rounds: int) -> list[float]:
    """Seconds from kill -9 to a new grant through lsproxy under 200 sessions, each with a seat that must stay."""
    clients = [Client(rig.ports["lsproxy"]) for _ in range(SESSIONS)]
    for client in clients:
        client.checkout()
    taken = []
    for round_ in range(rounds):
        until(rig.is_redundant, "the pair is redundant")
        victim = rig.active()
        client = clients[round_ % SESSIONS]
        began = time.monotonic()
        rig.processes[victim].send_signal(signal.SIGKILL)
        reply = client.checkout()
        taken.append(time.monotonic() - began)
        _expect(reply["ok"], f"a grant after the kill, not {reply}")
        rig.kill(victim)
        check_seats(clients)
        rig.start_server(victim)
    for client in clients:
        client.close()
    return taken


def check_seats(clients: list[Client]) -> None:
    """Every seat is held, by one client only, and by the server's book too."""
    for client in clients:
        reply = client.ask({"op": "heartbeat"})
        _expect(reply["ok"] and reply["seats"] == len(client.seats), f"{len(client.seats)} seats held, not {reply}")
        for event in client.resumed:
            _expect(event["resumed"] and set(client.seats) >= set(event["held"]), f"a resumed session, not {event}")
    numbers = [seat for client in clients for seat in client.seats.values()]
    _expect(len(numbers) == len(set(numbers)), "seat numbers that differ")
    usage = clients[0].ask({"op": "usage", "holders": False})
    in_use = usage["features"][0]["in_use"]
    _expect(in_use == len(numbers), f"{len(numbers)} seats in use, not {in_use}")


def hangs(rig: Rig, rounds: int, load: Path) -> list[float]:
    """Seconds from SIGSTOP, at odd moments under full load, to a new grant through lsproxy."""
    client = Client(rig.ports["lsproxy"])
    taken = []
    for round_ in range(rounds):
        until(rig.is_redundant, "the pair is redundant")
        victim = rig.active()
        command = [str(load), "127.0.0.1", str(rig.ports["lsproxy"]), "64", "checkout", "2", "1", "big"]
        loading = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.4 + 0.0137 * (round_ % 17))
        began = time.monotonic()
        rig.processes[victim].send_signal(signal.SIGSTOP)
        reply = client.checkout()
        taken.append(time.monotonic() - began)
        _expect(reply["ok"], f"a grant after the stop, not {reply}")
        loading.wait(60)
        rig.processes[victim].send_signal(signal.SIGCONT)
        until(lambda name=victim: _is_silent(rig, name), f"{victim} is dead or no longer active")
        rig.kill(victim)
        rig.start_server(victim)
    check_seats([client])
    client.close()
    return taken


def peer_kills(rig: Rig, peer: str, rounds: int) -> list[float]:
    """The same as `kills` through HAProxy, with clients that reconnect: there is nobody who does it for them."""
    taken = []
    for _ in range(rounds):
        _prefer_first(rig)
        client = Client(rig.ports[peer])
        client.checkout()
        began = time.monotonic()
        rig.processes["lic-a"].send_signal(signal.SIGKILL)
        done = threading.Thread(target=client.checkout_whatever_happens, daemon=True)
        done.start()
        done.join(30)
        taken.append(time.monotonic() - began if not done.is_alive() else float("inf"))
        rig.kill("lic-a")
        rig.start_server("lic-a")
    return taken


def summary(seconds: list[float]) -> str:
    """Median and worst, in milliseconds."""
    return f"median {statistics.median(seconds) * 1000:.0f} ms, worst {max(seconds) * 1000:.0f} ms, n={len(seconds)}"


def _prefer_first(rig: Rig) -> None:
    """HAProxy's primary is lic-a: make it the active one, and let its checks notice."""
    until(rig.is_redundant, "the pair is redundant")
    if rig.active() == "lic-b":
        rig.kill("lic-b")
        until(lambda: (rig.status("lic-a") or {}).get("role") == "active", "lic-a is active")
        rig.start_server("lic-b")
        until(rig.is_redundant, "the pair is redundant")
    time.sleep(5)


def _is_silent(rig: Rig, name: str) -> bool:
    return rig.processes[name].poll() is not None or (rig.status(name) or {}).get("role") != "active"


def _expect(is_so: bool, what: str) -> None:
    if not is_so:
        raise SystemExit(f"expected {what}")
