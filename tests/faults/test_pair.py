"""A primary and its redundant server as real processes: kills, the limit, and the primary's return."""

import os
import random
import signal
import time

import pytest

from tests.faults.etcd_system import EtcdSystem
from tests.faults.operating import Operator
from tests.faults.process import wait_for
from tests.faults.witness import Load
from tests.licserver.journal.etcd_cluster import EtcdCluster

LIMIT_HOURS = 0.002  # 7.2 s
ROUND_SECONDS = 60.0
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "3600"))
SOAK_SEED = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)


@pytest.fixture(params=["direct", "lsproxy"])
def pair(make_system, request):
    """A running pair; clients come directly, then through lsproxy, which gives the primary its name back after 1 s."""
    system = make_system(redundancy="pair", has_proxy=request.param == "lsproxy")
    if system.proxy is not None:
        text = (system.folder / "lsproxy.yaml").read_text()
        (system.folder / "lsproxy.yaml").write_text(text.replace('"hold"', '"failback_after": 1, "hold"'))
    return system.start()


def test_the_primary_goes_and_comes(pair):
    """The redundant server serves while the primary is away and gives the name back; an application notices nothing."""
    assert pair.active() == "lic-a"
    with Load(pair, seed=1) as load, pair.application("alice") as application, application.checkout("cad") as seat:
        pair.servers["lic-a"].kill()
        assert pair.wait_active(1)[0] == "lic-b"
        takeover = pair.status("lic-b")["takeover"]
        assert (takeover["number"], round(takeover["remaining"] / 3600)) == (1, 72)
        load.wait_for_grants()
        if pair.proxy is not None:
            wait_for(lambda: "lic-b serves in its primary's place, 71 h 59 min left" in status(pair), "status says so")
        pair.servers["lic-a"].start()
        assert wait_for(lambda: pair.active(2), "the primary has the name again") == "lic-a"
        load.wait_for_grants()
        wait_for(lambda: seat.is_trusted, "the seat is vouched for")
        seat.check()


@pytest.mark.etcd
def test_on_etcd(tmp_path):
    """With the journal in etcd, as on two hosts, the primary goes and comes as with SQLite."""
    with EtcdCluster(1) as cluster:
        system = EtcdSystem(tmp_path, cluster, redundancy="pair").start()
        try:
            with Load(system, seed=1) as load:
                system.servers["lic-a"].kill()
                assert system.wait_active(1)[0] == "lic-b"
                load.wait_for_grants()
                system.servers["lic-a"].start()
                assert wait_for(lambda: system.active(2), "the primary has the name again") == "lic-a"
        finally:
            system.end()
        assert not system.faults_in_logs()


def status(system):
    return Operator(system).do("status")


def test_the_limit(make_system):
    """At its limit the redundant server is blocked, killed or not, and the vendor's key unblocks it."""
    system = make_system(redundancy="pair", has_proxy=True, takeover_hours=LIMIT_HOURS).start()
    operator = Operator(system)
    with system.application("alice") as application, application.checkout("cad") as seat:
        system.servers["lic-a"].kill()
        system.wait_active(1)
        wait_for(lambda: system.status("lic-b")["role"] == "blocked", "the limit is spent", 15)
        system.servers["lic-b"].kill()
        system.servers["lic-b"].start()
        wait_for(lambda: (system.status("lic-b") or {}).get("role") == "blocked", "it is blocked from its start")
        assert system.keeper().ask("checkout", feature="cad")["error"] == "blocked"
        assert "lic-b is blocked, the takeover limit is spent" in operator.do("status")
        events = operator.do("events")
        assert "lic-b is blocked" in events
        key = operator.do("request-key", "acme").strip()
        (system.folder / "vendor.key").touch(0o600)
        (system.folder / "vendor.key").write_bytes(system.vendor_pem())
        answer = system.licserver_without(f"issue-key {key} --key {system.folder / 'vendor.key'} --hours 1").strip()
        assert operator.do("activate", "acme", answer).startswith("1 h more: 1.0 h left")
        assert "was counted already" in operator.ask("activate", "acme", answer).stderr
        application.checkout("mesh").checkin()
        wait_for(lambda: seat.is_trusted, "the seat is vouched for")
        seat.check()


def test_an_older_copy_of_the_journal(make_system):
    """A copy from before the takeover, in which nothing is spent, is refused by a server that has seen a newer one."""
    system = make_system(redundancy="pair").start()
    system.servers["lic-b"].kill()
    system.servers["lic-a"].kill()
    copy = system.journal.read_bytes()
    system.start_server("lic-b")
    wait_for(lambda: system.active() == "lic-b", "the redundant server serves")
    system.servers["lic-b"].kill()
    for beside in ("-wal", "-shm"):
        system.journal.with_name(f"{system.journal.name}{beside}").unlink()
    system.journal.write_bytes(copy)
    refused = system.licserver("check", "lic-b")
    assert refused.returncode == 2
    assert "is older than what this server has seen" in refused.stderr
    system.servers["lic-b"].start()
    assert system.servers["lic-b"].wait() == 2
    assert "begins with its takeover limit spent" in system.licserver("journal accept", "lic-b").stdout
    system.servers["lic-b"].start()
    wait_for(lambda: (system.status("lic-b") or {}).get("role") == "blocked", "it is blocked from its start")


def random_round(system, seed, seconds):
    """The primary is lost, then kills, stops and starts at random, and everything in order at the end."""
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    with Load(system, seed=seed):
        system.servers["lic-a"].kill()
        assert system.wait_active(1)[0] == "lic-b"
        while time.monotonic() < end:
            name = chance.choice(list(system.servers))
            server = system.servers[name]
            match chance.choice(["kill", "stop", "start", "continue", "start", "continue"]):
                case "kill" if server.is_running:
                    server.kill()
                case "stop" if server.is_running and not server.is_stopped:
                    server.signal(signal.SIGSTOP)
                case "start" if not server.is_running:
                    server.start()
                case "continue" if server.is_stopped:
                    server.signal(signal.SIGCONT)
            time.sleep(chance.choice((0.05, 0.3, 1.0)))
        for server in system.servers.values():
            server.signal(signal.SIGCONT)
            if not server.is_running:
                server.start()
        wait_for(lambda: system.active() is not None, "a server is active")
        if system.active() != "lic-a":
            wait_for(lambda: system.licserver("takeover", "lic-a").returncode == 0, "the primary takes the name")


def test_random_faults(make_system):
    """A minute of kills and stops: no promise is broken, and no seat is granted beyond the takeover limit."""
    system = make_system(redundancy="pair", takeover_hours=LIMIT_HOURS).start()
    random_round(system, 1, ROUND_SECONDS)


@pytest.mark.soak
def test_random_faults_for_long(make_system):
    """The same, round after round, on a new pair each time, through lsproxy and directly."""
    end, rounds = time.monotonic() + SOAK_SECONDS, 0
    print(f"seed {SOAK_SEED}")  # noqa: T201 - what happened is what a soak is for
    while time.monotonic() < end:
        rounds += 1
        system = make_system(redundancy="pair", takeover_hours=LIMIT_HOURS, has_proxy=bool(rounds % 2)).start()
        random_round(system, SOAK_SEED + rounds, ROUND_SECONDS)
        system.end()
