"""The wall clock set back and forth by an hour under a running system."""

import time

import pytest

from tests.faults.witness import Load

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"

pytestmark = pytest.mark.faketime


def test_an_hour_back_and_forth(make_system, tmp_path):
    """Steps of the wall clock end no wait, no session and no tenure, and break no promise."""
    offset = tmp_path / "offset"
    offset.write_text("+0")
    environment = {
        "LD_PRELOAD": FAKETIME,
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    system = make_system(has_proxy=True, environment=environment).start()
    keeper, waiting = system.keeper("keeper"), system.keeper("waiting")
    keeper.checkout("mesh", count=3)
    waiting.connect()
    before = system.wait_active()
    years = {system.status(before[0])["now"][:13]}
    with Load(system, seed=50) as load:
        asked = time.monotonic()
        number = waiting.line.send("checkout", id=10, feature="mesh", wait=4)
        for step in ("+3600", "-3600", "+3600", "+0"):
            offset.write_text(step)
            load.wait_for_grants()
            years.add(system.status(before[0])["now"][:13])
            time.sleep(0.3)
        refused = waiting.line.reply(number)
        assert refused["error"] == "no_seats"
        assert time.monotonic() - asked >= 4
        assert keeper.line.ask("heartbeat")["seats"] == 1
    assert len(years) >= 3, "the servers never saw the clock move"
    assert system.wait_active() == before


def test_a_takeover_an_hour_ago(make_system, tmp_path):
    """A takeover while the clocks stand an hour back, or forth, keeps everything."""
    offset = tmp_path / "offset"
    offset.write_text("+0")
    environment = {
        "LD_PRELOAD": FAKETIME,
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    system = make_system(environment=environment).start()
    keeper = system.keeper()
    keeper.checkout("cad", count=2)
    with Load(system, seed=51) as load:
        for step in ("-3600", "+3600"):
            offset.write_text(step)
            active, epoch = system.wait_active()
            system.servers[active].kill()
            system.wait_active(after_epoch=epoch)
            load.wait_for_grants()
            system.start_server(active)
    keeper.assert_keeps()
