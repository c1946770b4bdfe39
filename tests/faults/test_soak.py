"""Anything at any time: a minute, or SOAK_SECONDS, of random kills, stops, restarts and switches under load."""

import os
import random
import signal
import time
from contextlib import ExitStack

import pytest

from tests.faults.process import wait_for
from tests.faults.witness import Load

SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "3600"))
SOAK_SEED = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
ROUND_SECONDS = 30.0


def test_a_minute_of_anything(make_system):
    """Two rounds of random faults: no promise is broken, and applications keep their seats through all of it."""
    break_and_mend(make_system, 1, 2 * ROUND_SECONDS)


@pytest.mark.soak
def test_anything_at_any_time(make_system):
    """The same, round after round."""
    break_and_mend(make_system, SOAK_SEED, SOAK_SECONDS)


def break_and_mend(make_system, seed, seconds):
    """Two servers of one name behind lsproxy, and all that can happen to them."""
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    print(f"seed {seed}")  # noqa: T201 - what happened is what a soak is for
    system = make_system(has_proxy=True).start()
    with ExitStack() as stack:
        applications = [stack.enter_context(system.application(f"app{number}")) for number in range(3)]
        seats = [application.checkout("cad") for application in applications]
        rounds = 0
        while time.monotonic() < end:
            rounds += 1
            with Load(system, seed=seed + rounds) as load:
                done = _one_round(system, chance, min(end, time.monotonic() + ROUND_SECONDS))
                _mend(system)
            print(f"round {rounds}: {', '.join(done)}; {load.grants()} grants")  # noqa: T201 - as above
            for seat in seats:
                wait_for(lambda seat=seat: seat.is_trusted, f"{seat} is vouched for")
            held = {holder["seat"] for holder in system.usage("cad")["cad"]["holders"]}
            assert held >= {seat.number for seat in seats}


def _one_round(system, chance, end):
    """Break things at random until `end`; what was done."""
    faults = {
        "kill": 4,
        "stop": 4,
        "continue": 6,
        "start": 6,
        "kill both": 1,
        "switch": 2,
        "kill lsproxy": 1,
        "stop lsproxy": 1,
    }
    done = []
    while time.monotonic() < end:
        fault = chance.choices(list(faults), list(faults.values()))[0]
        name = chance.choice(list(system.servers))
        if _break(system, fault, name):
            done.append(f"{fault} {name}" if fault in {"kill", "stop", "continue", "start", "switch"} else fault)
        time.sleep(chance.choice((0.01, 0.1, 0.5, 2.0)))
    return done


def _break(system, fault, name):
    """Whether there was something to do."""
    server = system.servers[name]
    match fault:
        case "kill" if server.is_running:
            server.kill()
        case "stop" if server.is_running and not server.is_stopped:
            server.signal(signal.SIGSTOP)
        case "continue" if server.is_stopped:
            server.signal(signal.SIGCONT)
        case "start" if not server.is_running:
            server.start()
        case "kill both":
            for one in system.servers.values():
                if one.is_running:
                    one.kill()
        case "switch" if server.is_running and not server.is_stopped:
            system.licserver("takeover --force", name)
        case "kill lsproxy":
            system.proxy.kill()
            system.proxy.start()
        case "stop lsproxy":
            system.proxy.signal(signal.SIGSTOP)
            time.sleep(0.5)
            system.proxy.signal(signal.SIGCONT)
        case _:
            return False
    return True


def _mend(system):
    """Everything runs again."""
    for server in system.servers.values():
        server.signal(signal.SIGCONT)
    for server in system.servers.values():
        if not server.is_running:
            server.start()
    system.wait_active()
