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


def test_broken_files(pair):
    """Reread, a broken file is refused aloud, whatever is wrong with it, and the old one stays in force."""
    active, _ = pair.wait_active()
    server, digest = pair.servers[active], pair.status(active)["license"]
    good = pair.license_file.read_text()
    with Load(pair, seed=20):
        for spoil in BROKEN.values():
            pair.license_file.write_text(spoil(good))
            done = pair.licserver("reread", active)
            assert done.returncode == 1
            assert "the license in force stays" in done.stderr
            said = server.log.count("error: ")
            server.signal(signal.SIGHUP)
            wait_for(lambda: server.log.count("error: ") > said, "the log says so")  # noqa: B023 - called at once
            wait_for(lambda: pair.status(active).get("notices"), "the status says so")
            assert pair.status(active)["license"] == digest


@pytest.mark.parametrize("how", ["garbage", "more seats"])
def test_a_broken_file_and_a_takeover(pair, how):
    """With a broken file on disk the old one stays in force over a takeover, a restart, and a restart of all."""
    active, epoch = pair.wait_active()
    digest = pair.status(active)["license"]
    with Load(pair, seed=21) as load:
        pair.license_file.write_text(BROKEN[how](pair.license_file.read_text()))
        pair.servers[active].kill()
        other, epoch = pair.wait_active(after_epoch=epoch)
        load.wait_for_grants()
        assert pair.status(other)["license"] == digest
        pair.start_server(active)
        pair.servers[other].kill()
        _, epoch = pair.wait_active(after_epoch=epoch)
        pair.servers[active].kill()
        for server in pair.servers.values():
            server.start()
        name, _ = pair.wait_active(after_epoch=epoch)
        load.wait_for_grants()
        assert pair.status(name)["license"] == digest


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
