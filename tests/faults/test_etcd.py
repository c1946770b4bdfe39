"""Three license servers on a cluster of three etcd members: what dies, what goes on, and what is said of it."""

import time

import pytest

from tests.faults.etcd_system import EtcdSystem
from tests.faults.process import wait_for
from tests.faults.witness import Load
from tests.licserver.journal.etcd_cluster import EtcdCluster

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def running():
    with EtcdCluster(3) as cluster:
        yield cluster


@pytest.fixture
def system(running: EtcdCluster, tmp_path):
    """Three servers on a journal of this test's, not started."""
    running.restore()
    system = EtcdSystem(tmp_path, running, tmp_path.name, names=("lic-a", "lic-b", "lic-c"))
    yield system
    system.end()
    faults = system.faults_in_logs()
    assert not faults, "\n".join(faults)


def test_kills_of_servers_and_of_the_leader(system: EtcdSystem, running: EtcdCluster):
    """The active server is killed, then etcd's leader: grants go on, every promise is kept, every seat as well."""
    system.start()
    keeper = system.keeper()
    keeper.checkout("cad")
    with Load(system, seed=1) as load:
        active, epoch = system.wait_active()
        system.servers[active].kill()
        system.wait_active(after_epoch=epoch)
        load.wait_for_grants()
        system.start_server(active)
        leader = running.leader()
        assert leader is not None
        running.members[leader].kill()
        time.sleep(1.0)
        load.wait_for_grants()
        assert keeper.ask("heartbeat")["seats"] == 1
    keeper.assert_keeps()


def test_without_a_majority(system: EtcdSystem, running: EtcdCluster):
    """With one etcd member of three nobody grants or confirms; with two the seats are there as they were."""
    system.start()
    keeper = system.keeper()
    keeper.checkout("cad")
    leader = running.leader()
    assert leader is not None
    lost = [at for at in range(3) if at != leader]
    for at in lost:
        running.members[at].kill()
    wait_for(lambda: system.active() is None, "nobody says that it is active", 6)
    assert keeper.line is not None
    running.members[lost[0]].start()
    system.wait_active()
    keeper.assert_keeps()


def test_commands(system: EtcdSystem, running: EtcdCluster):
    """`init` makes one journal and never another over it; `check` names the member that is missing."""
    refused = system.licserver("check", "lic-a")
    assert refused.returncode == 2
    assert f"there is no journal in {running.url('')}"[:-1] in refused.stderr
    system.create_journal()
    again = system.licserver("init", "lic-b")
    assert again.returncode == 1
    assert "is not empty, and a journal is never overwritten" in again.stderr
    assert system.licserver("check", "lic-a").returncode == 0
    leader = running.leader()
    assert leader is not None
    lost = (leader + 1) % 3
    running.members[lost].kill()
    found = system.licserver("check", "lic-a")
    assert found.returncode == 2
    assert f"etcd at {running.addresses[lost]} does not answer" in found.stderr


def test_one_ttl(system: EtcdSystem):
    """A server with another `ttl` than the one that runs does not start, and says why."""
    system.create_journal()
    system.start_server("lic-a")
    system.configure("lic-b", ttl=3.0)
    system.servers["lic-b"].start()
    assert system.servers["lic-b"].wait() == 2
    assert "lic-a serves acme-licenses with `ttl: 2`, and here it is 3" in system.servers["lic-b"].log
