"""A license file that becomes broken, or better, under running servers."""

import signal

import pytest

from tests.faults.process import wait_for
from tests.faults.witness import Load

BROKEN = {
    "garbage": lambda _: "\x00\x01 garbage\n" * 50,
    "empty": lambda _: "",
    "cut in half": lambda text: text[: len(text) // 2],
    "more seats": lambda text: text.replace("permanent 10", "permanent 1000"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_file(make_system, how):
    """Reread, a broken file is refused aloud and the old one stays in force, also over a takeover and a restart."""
    system = make_system().start()
    active, epoch = system.wait_active()
    digest = system.status(active)["license"]
    with Load(system, seed=20) as load:
        system.license_file.write_text(BROKEN[how](system.license_file.read_text()))
        done = system.licserver("reread", active)
        assert done.returncode == 1
        assert "the license in force stays" in done.stderr
        system.servers[active].signal(signal.SIGHUP)
        wait_for(lambda: "error: " in system.servers[active].log, "the log says so")
        wait_for(lambda: system.status(active).get("notices"), "the status says so")
        system.servers[active].kill()
        other, epoch = system.wait_active(after_epoch=epoch)
        load.wait_for_grants()
        assert system.status(other)["license"] == digest
        system.start_server(active)
        system.servers[other].kill()
        system.wait_active(after_epoch=epoch)
        load.wait_for_grants()
        assert system.status(active)["license"] == digest
        system.servers[active].kill()
        for server in system.servers.values():
            server.start()
        name, _ = system.wait_active(after_epoch=epoch)
        assert system.status(name)["license"] == digest


def test_a_file_with_fewer_seats(pair):
    """A good file with fewer seats takes none away, and grants no more until there is room."""
    keepers = [pair.keeper(f"keeper{number}") for number in range(6)]
    for keeper in keepers:
        keeper.checkout("cad")
    active, epoch = pair.wait_active()
    pair.license_file.write_text(pair.license_text({"cad": 4}))
    assert pair.licserver("reread", active).returncode == 0
    pair.servers[active].kill()
    pair.wait_active(after_epoch=epoch)
    for keeper in keepers:
        keeper.assert_keeps()
    latecomer = pair.keeper("latecomer")
    assert latecomer.ask("checkout", feature="cad")["error"] == "no_seats"
    for keeper in keepers[:2]:
        assert keeper.ask("checkin", handle=next(iter(keeper.seats)))["ok"]
        assert latecomer.ask("checkout", feature="cad")["error"] == "no_seats"
    assert keepers[2].ask("checkin", handle=next(iter(keepers[2].seats)))["ok"]
    latecomer.checkout("cad")
    usage = pair.usage()["cad"]
    assert (usage["issued"], usage["in_use"]) == (4, 4)
