"""Duplicates of one name with their journal in etcd: two journals, one server on two machines, TLS between them."""

import json
import signal

import pytest

from tests.faults.etcd_system import EtcdSystem
from tests.faults.operating import Operator
from tests.faults.process import wait_for
from tests.faults.system import free_port
from tests.faults.witness import Load
from tests.licserver.journal.etcd_cluster import EtcdCluster
from tests.lsproxy.net.conftest import Authority

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def running():
    with EtcdCluster(1) as cluster:
        yield cluster


@pytest.fixture
def make_system(running, tmp_path):
    """Duplicates on a journal of this test's, not started."""
    systems = []

    def make(**wishes):
        systems.append(EtcdSystem(tmp_path, running, tmp_path.name, **wishes))
        return systems[-1]

    yield make
    for system in systems:
        system.end()
    for system in systems:
        faults = system.faults_in_logs()
        assert not faults, "\n".join(faults)


def test_duplicates(make_system):
    """Whichever of the two runs takes the name, whatever dies; seats go on."""
    system = make_system().start()
    keeper = system.keeper()
    keeper.checkout("cad")
    with Load(system, seed=1) as load:
        for victim in ("lic-a", "lic-b"):
            _, epoch = system.wait_active()
            system.servers[victim].kill()
            assert system.active() != victim
            system.wait_active(after_epoch=epoch)
            load.wait_for_grants()
            system.start_server(victim)
    keeper.assert_keeps()


def test_two_journals(make_system, running):
    """Two servers active under one name on two journals: the one served stays served, and lsproxy says it loudly."""
    system = make_system(has_proxy=True)
    operator = Operator(system)
    system.create_journal("lic-a")
    system.configure("lic-b", journal=running.url(f"{system.folder.name}-copy"))
    system.create_journal("lic-b")
    system.start_server("lic-a")
    operator.start()
    operator.wait_serving("lic-a")
    keeper = system.keeper()
    keeper.checkout("cad")
    system.start_server("lic-b")
    journal = system.status("lic-b")["journal"]
    pool = operator.wait(lambda pool: pool["conflicts"], "the conflict is seen")
    assert pool["serving"] == "lic-a"
    shown = operator.ask("status")
    assert (shown.returncode, f"lic-b is active on journal {journal}" in shown.stdout) == (1, True)
    assert f"lic-b is active on journal {journal}" in system.proxy.log
    keeper.assert_keeps()


def test_started_twice(make_system):
    """
    A server whose sign of life has run out is started on a second machine. When the first one goes on it hears of a
    newer epoch, stands by, and says that it runs twice. A third is refused at its start.
    """
    system = make_system(names=["lic-a", "lic-b"])
    system.create_journal()
    system.start_server("lic-a")
    system.wait_active()
    first = system.servers["lic-a"]
    settings = json.loads((system.folder / "lic-a.yaml").read_text())
    for name in ("second", "third"):
        system.addresses[name] = ("127.0.0.1", free_port())
        changes = {"listen": f"127.0.0.1:{system.addresses[name][1]}", "state": str(system.folder / f"{name}.state")}
        (system.folder / f"{name}.yaml").write_text(json.dumps({**settings, **changes}))
    again = system._child("second", system._command("serve", "second"))
    first.signal(signal.SIGSTOP)
    wait_for(lambda: started(system, again), "it is started a second time")
    wait_for(lambda: system.status("second")["role"] == "active", "the second one is active")
    first.signal(signal.SIGCONT)
    sentence = f"lic-a was started twice, the other one runs as process {again.pid} at 127.0.0.1:"
    wait_for(lambda: sentence in first.log, "the first one says it")
    assert system.status("lic-a")["role"] == "standby"
    assert any(sentence in notice["message"] for notice in system.status("lic-a")["notices"])
    third = system._child("third", system._command("serve", "third"))
    third.start()
    assert third.wait() == 2
    assert f"lic-a is running already, as process {again.pid}" in third.log


def started(system, child):
    """Whether it serves; it is refused, and tried again, as long as the first one shows signs of life."""
    if not child.is_running:
        child.start()
    return system.status("second")


def test_one_authority(make_system):
    """Servers with a certificate each, signed by one CA, believe each other, and commands believe them."""
    system = make_system()
    authority = Authority(system.folder)
    for name in system.servers:
        certificate, key = authority.issue(name, names=("127.0.0.1",))
        files = {"certificate": certificate, "key": key, "client_ca": authority.file, "ca": authority.file}
        tls = {each: str(path) for each, path in files.items()}
        system.configure(name, listen={"address": f"127.0.0.1:{system.addresses[name][1]}", "tls": tls})
    system.create_journal()
    for name in system.servers:
        system.servers[name].start()

    def said(name):
        shown = system.licserver("status --json", name)
        return json.loads(shown.stdout) if shown.returncode == 0 else {"role": shown.stderr}

    wait_for(lambda: {said(name)["role"] for name in system.servers} == {"active", "standby"}, "both run")
    standby = next(name for name in system.servers if said(name)["role"] == "standby")
    taken = system.licserver("takeover --force", standby)
    assert taken.returncode == 0, taken.stderr
    assert said(standby)["role"] == "active"
    other = next(name for name in system.servers if name != standby)
    assert f"the name was given up for {standby}" in system.servers[other].log
