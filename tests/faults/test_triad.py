"""Three machines, a license server and an etcd member on each: which losses are survived, and what a cut does."""

import os
import random
import signal
import subprocess
import time
from contextlib import ExitStack

import pytest

from tests.faults.caller import Caller
from tests.faults.etcd_system import EtcdSystem
from tests.faults.machines import Machines, SpreadSystem
from tests.faults.process import wait_for
from tests.faults.witness import Load
from tests.licserver.journal.etcd_cluster import EtcdCluster

NAMES = ("lic-a", "lic-b", "lic-c")
TTL = 2.0
LATE_SECONDS = 0.5
ROUND_SECONDS = 60.0
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "3600"))
SOAK_SEED = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def running():
    with EtcdCluster(3) as cluster:
        yield cluster


@pytest.fixture
def make_triad(running, tmp_path):
    """Triads on journals of their own, not started."""
    with ExitStack() as ending:

        def make(number=0, **wishes):
            running.restore()
            folder = tmp_path / str(number)
            folder.mkdir()
            prefix = f"{tmp_path.name}-{number}"
            system = EtcdSystem(folder, running, prefix, names=NAMES, redundancy="triad", **wishes)
            ending.callback(assert_no_faults, system)
            ending.callback(system.end)
            return system

        yield make


def assert_no_faults(system):
    faults = system.faults_in_logs()
    assert not faults, "\n".join(faults)


def lose(system, cluster, name):
    """The machine with that server and its etcd member."""
    system.servers[name].kill()
    cluster.members[NAMES.index(name)].kill()


def test_machines_are_lost(make_triad, running):
    """
    With one machine of three its server is isolated, says so, and lets its clients go; with two seats are granted,
    whichever two they are, and those that were held still are.
    """
    system = make_triad(resume=9, heartbeat=3).start()
    assert system.wait_active() == ("lic-a", 1)
    keeper = system.keeper()
    keeper.checkout("cad")
    lose(system, running, "lic-b")
    lose(system, running, "lic-c")
    line, began = keeper.line, time.monotonic()
    refusal = wait_for(lambda: refused(line.ask("heartbeat")), "a refusal")
    assert time.monotonic() - began < TTL + LATE_SECONDS
    assert refusal[0] == "isolated"
    assert "confirm its claim to acme-licenses" in refusal[1]
    line.hear_all()
    assert time.monotonic() - began < TTL + 9 / 3 + LATE_SECONDS
    running.members[1].start()
    system.wait_active()
    keeper.assert_keeps()
    system.servers["lic-b"].start()
    running.restore()
    with Load(system, seed=1) as load:
        lose(system, running, "lic-a")
        assert system.wait_active(after_epoch=1)[0] == "lic-b"
        load.wait_for_grants()
    keeper.assert_keeps()


def refused(reply):
    """Code and sentence of a refusal, None for another reply."""
    return None if reply["ok"] else (reply["error"], reply["message"])


def test_through_lsproxy(make_triad):
    """The application's seat outlives each active server in turn; one that is back stands by."""
    system = make_triad(has_proxy=True).start()
    with system.application("alice") as application, application.checkout("cad") as seat:
        for _ in range(2):
            active, epoch = system.wait_active()
            system.servers[active].kill()
            assert system.wait_active(after_epoch=epoch)[0] != active
            application.checkout("mesh").checkin()
            system.start_server(active)
            assert system.status(active)["role"] == "standby"
        wait_for(lambda: seat.is_trusted, "the seat is vouched for")
        seat.check()


class Cut:
    """At most one machine that is cut off; `machines` is None where they are all one."""

    def __init__(self, machines=None):
        self._machines = machines
        self._mend = None

    @property
    def is_cut(self):
        return self._mend is not None

    def make(self, chance):
        """What was cut off, None if that cannot be."""
        if self._machines is None:
            return None
        name = chance.choice(NAMES)
        if chance.random() < 0.5:
            self._machines.pull_out(name)
            self._mend = lambda: self._machines.plug_in(name)
        else:
            self._machines.part(name)
            self._mend = lambda: self._machines.join(name)
        return f"cut {name}"

    def mend(self):
        if self._mend is not None:
            self._mend()
            self._mend = None


def random_round(system, cluster, seed, seconds, cut):
    """Kills, stops, cuts and mending at random, everything in order at the end; what was done."""
    chance = random.Random(seed)
    done = []
    with Load(system, seed=seed):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            done.append(one_fault(system, cluster, chance, cut))
            time.sleep(chance.choice((0.05, 0.3, 1.0)))
        cut.mend()
        for child in (*system.servers.values(), *cluster.members):
            mend(child)
        system.wait_active()
    return [each for each in done if each]


def one_fault(system, cluster, chance, cut):
    """
    What was broken, None if something was mended. Of etcd's members one is lost at a time: without its majority nothing
    happens any more.
    """
    child = chance.choice([*system.servers.values(), *cluster.members])
    is_whole = all(one.is_running and not one.is_stopped for one in cluster.members) and not cut.is_cut
    is_well = child.is_running and not child.is_stopped and (is_whole or child not in cluster.members)
    match chance.choice(["kill", "stop", "cut", "mend", "mend", "mend"]):
        case "kill" if is_well:
            child.kill()
            return f"kill {child.name}"
        case "stop" if is_well:
            child.signal(signal.SIGSTOP)
            return f"stop {child.name}"
        case "cut" if is_whole:
            return cut.make(chance)
        case _:
            if chance.random() < 0.3:
                cut.mend()
            mend(child)
            return None


def mend(child):
    if child.is_running:
        child.signal(signal.SIGCONT)
    else:
        child.start()


def test_random_faults(make_triad, running):
    """A minute of kills and stops, of servers and of etcd: no promise is broken."""
    system = make_triad().start()
    assert random_round(system, running, 1, ROUND_SECONDS, Cut())
    assert system.wait_active()[1] > 1


@pytest.mark.soak
def test_random_faults_for_long(make_triad, running):
    """The same, round after round, on a new triad each time, through lsproxy and directly."""
    end, rounds = time.monotonic() + SOAK_SECONDS, 0
    print(f"seed {SOAK_SEED}")  # noqa: T201 - what happened is what a soak is for
    while time.monotonic() < end:
        rounds += 1
        system = make_triad(rounds, has_proxy=bool(rounds % 2)).start()
        done = random_round(system, running, SOAK_SEED + rounds, min(ROUND_SECONDS, SOAK_SECONDS), Cut())
        print(f"round {rounds}: {', '.join(done)}")  # noqa: T201 - as above
        system.end()


# --- a cut between machines -----------------------------------------------------------


@pytest.fixture
def machines():
    """Three machines and their network."""
    try:
        with Machines(NAMES) as made:
            yield made
    except subprocess.CalledProcessError as refused:
        pytest.skip(f"network namespaces cannot be made here: {refused.stderr.decode().strip()}")


@pytest.fixture
def spread(machines, tmp_path):
    """A triad on them, running."""
    places = [(address, machines.on(name)) for name, address in machines.addresses.items()]
    # Without it a member that comes back makes the others elect anew, and the active server may be isolated meanwhile.
    with EtcdCluster(3, ["--pre-vote"], places=places) as cluster:
        system = SpreadSystem(tmp_path, cluster, machines, redundancy="triad")
        try:
            yield system.start()
        finally:
            system.end()
    assert_no_faults(system)


@pytest.mark.root
@pytest.mark.nft
@pytest.mark.parametrize("cut", ["cable", "between servers", "from etcd alone"])
def test_cut(spread, machines, cut):
    """
    The active server's machine is cut off: it vouches for nothing within `ttl`, another one serves, and no seat is
    granted twice, also to clients that reach both sides. Joined again, it stands by.
    """
    lost, epoch = spread.wait_active()
    apart, together = {
        "cable": (machines.pull_out, machines.plug_in),
        "between servers": (machines.part, machines.join),
        "from etcd alone": (lambda name: machines.part_from(name, spread.cluster.ports), machines.join),
    }[cut]
    with Load(spread, seed=1) as load:
        cut_at = time.monotonic()
        apart(lost)
        with machines.seen_from(lost), Caller(spread.addresses[lost]) as caller:
            wait_for(lambda: caller.ask("status")["role"] != "active", "it is isolated", 2 * TTL)
            assert time.monotonic() - cut_at < TTL + LATE_SECONDS
        heir = spread.wait_active(after_epoch=epoch)[0]
        assert heir != lost
        load.wait_for_grants()
        together(lost)
        wait_for(lambda: (spread.status(lost) or {}).get("epoch", 0) > epoch, "it knows of the other one")
        assert spread.status(lost)["role"] == "standby"
        assert spread.wait_active()[0] == heir


@pytest.mark.root
@pytest.mark.nft
def test_random_cuts(spread, machines):
    """A minute of kills, stops and cuts between three machines: no promise is broken."""
    assert random_round(spread, spread.cluster, 1, ROUND_SECONDS, Cut(machines))


@pytest.mark.root
@pytest.mark.nft
@pytest.mark.soak
def test_cuts_for_long(spread, machines):
    """Kills, stops and cuts between three machines, minute after minute: no promise is broken."""
    end, rounds = time.monotonic() + SOAK_SECONDS, 0
    print(f"seed {SOAK_SEED}")  # noqa: T201 - what happened is what a soak is for
    while time.monotonic() < end:
        rounds += 1
        seconds = min(ROUND_SECONDS, SOAK_SECONDS)
        done = random_round(spread, spread.cluster, SOAK_SEED + rounds, seconds, Cut(machines))
        print(f"round {rounds}: {', '.join(done)}")  # noqa: T201 - as above
