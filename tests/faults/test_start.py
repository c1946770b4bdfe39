"""Servers that must not serve: started twice, with a foreign license file, on a foreign host."""

import pytest

from tests.faults.process import wait_for
from tests.faults.witness import Load

REFUSED = 2


def test_the_same_server_twice(pair):
    """A second process under one name is refused in a sentence, and the first one does not notice."""
    active, epoch = pair.wait_active()
    with Load(pair, seed=10):
        second = pair.again(active)
        second.start()
        assert second.wait() == REFUSED
    assert f"{active} is running already, as process {pair.servers[active].pid}" in second.log
    assert pair.wait_active() == (active, epoch)


@pytest.mark.parametrize(
    ("hostid", "sentence"),
    [("HOSTNAME=elsewhere", "elsewhere"), ("ETHER=02aabbccddee", "02aabbccddee")],
    ids=["hostname", "ether"],
)
def test_a_license_of_another_host(make_system, hostid, sentence):
    """A server whose license file names another host creates no journal and does not start."""
    system = make_system(names=["lic-a"])
    system.create_journal()
    foreign = system.folder / "foreign.lic"
    foreign.write_text(system.license_text({"cad": 1000}, hostid))
    system.configure("lic-a", license_file=str(foreign))
    system.servers["lic-a"].start()
    assert system.servers["lic-a"].wait() == REFUSED
    assert sentence in system.servers["lic-a"].log.lower()
    system.journal.unlink()
    done = system.licserver("init", "lic-a")
    assert done.returncode != 0
    assert sentence in done.stderr.lower()
    assert not system.journal.exists()


def test_a_forged_license(make_system):
    """A server whose license file another vendor signed, or somebody changed, does not start, and says which line."""
    system = make_system(names=["lic-a"])
    system.create_journal()
    other = make_system(names=["lic-a"])
    for text in (
        other.license_text({"cad": 10}),
        system.license_text({"cad": 10}).replace("permanent 10", "permanent 99"),
    ):
        system.license_file.write_text(text)
        system.servers["lic-a"].start()
        assert system.servers["lic-a"].wait() == REFUSED
    assert f"{system.license_file}:3: " in system.servers["lic-a"].log


def test_a_foreign_license_beside_a_good_one(pair):
    """A standby that comes back with a foreign license file says so; taking over, it serves the text in force."""
    active, epoch = pair.wait_active()
    standby = next(name for name in pair.servers if name != active)
    foreign = pair.folder / "foreign.lic"
    foreign.write_text(pair.license_text({"cad": 1000, "mesh": 1000}, "HOSTNAME=elsewhere"))
    with Load(pair, seed=11) as load:
        pair.servers[standby].kill()
        pair.configure(standby, license_file=str(foreign))
        pair.start_server(standby)
        notices = wait_for(lambda: pair.status(standby).get("notices"), "the standby's notice")
        assert "elsewhere" in str(notices)
        assert pair.status(standby)["license"] == pair.status(active)["license"]
        pair.servers[active].kill()
        assert pair.wait_active(after_epoch=epoch)[0] == standby
        load.wait_for_grants()
        assert {name: one["issued"] for name, one in pair.usage().items()} == pair.features


@pytest.mark.root  # to give it a host name of its own
def test_the_right_license_on_a_wrong_host(pair):
    """A third server with the same files on a host of another name does not start, and disturbs nobody."""
    foreigner = pair.add_server("lic-c", host_name="elsewhere")
    with Load(pair, seed=12):
        before = pair.wait_active()
        foreigner.start()
        assert foreigner.wait() == REFUSED
        assert pair.wait_active() == before
    assert "hostname" in foreigner.log.lower()
