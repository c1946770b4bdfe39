"""The wall clock set back and forth by an hour under a running system."""

import json
import os
import time

import pytest

from tests.faults.witness import Load

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"

# libfaketime 0.9.10 fakes absolute sleeps on the monotonic clock too, and fails them with EINVAL
# while the wall clock is set back; Python's `time.sleep` is one.
SLEEP = """
import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds)
"""

pytestmark = pytest.mark.faketime


class WallClock:
    """The wall clock of processes that are started with `environment`."""

    def __init__(self, folder):
        self._offset = folder / "offset"
        self.step("+0")
        (folder / "sitecustomize.py").write_text(SLEEP)
        self.environment = {
            "LD_PRELOAD": FAKETIME,
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}",
        }

    def step(self, offset):
        """Set it `offset` seconds, "+3600", from the true time."""
        self._offset.write_text(offset)


@pytest.fixture
def clock(tmp_path):
    """A wall clock to be set back and forth."""
    folder = tmp_path / "clock"
    folder.mkdir()
    return WallClock(folder)


def test_an_hour_back_and_forth(make_system, clock):
    """Steps of the wall clock end no wait, no session and no tenure, and break no promise."""
    system = make_system(has_proxy=True, ttl=4.0, environment=clock.environment)
    _be_patient(system)
    system.start()
    keeper, waiting = system.keeper("keeper"), system.keeper("waiting")
    keeper.checkout("mesh", count=3)
    waiting.connect()
    before = system.wait_active()
    hours = {system.status(before[0])["now"][:13]}
    with Load(system, seed=50) as load:
        asked = time.monotonic()
        number = waiting.line.send("checkout", id=10, feature="mesh", wait=2)
        for step in ("+3600", "-3600", "+3600", "+0"):
            clock.step(step)
            load.wait_for_grants()
            hours.add(system.status(before[0])["now"][:13])
            time.sleep(0.2)
        refused = waiting.line.reply(number)
        assert refused["error"] == "no_seats"
        assert time.monotonic() - asked >= 2
        assert keeper.line.ask("heartbeat")["seats"] == 1
    assert len(hours) >= 3, "the servers never saw the clock move"
    assert system.wait_active() == before


def test_a_takeover_an_hour_ago(make_system, clock):
    """A takeover while the clocks stand an hour back, or forth, keeps everything."""
    system = make_system(environment=clock.environment).start()
    keeper = system.keeper()
    keeper.checkout("cad", count=2)
    with Load(system, seed=51) as load:
        for step in ("-3600", "+3600"):
            clock.step(step)
            active, epoch = system.wait_active()
            system.servers[active].kill()
            system.wait_active(after_epoch=epoch)
            load.wait_for_grants()
            system.start_server(active)
    keeper.assert_keeps()


def _be_patient(system):
    """A machine under load shall not cost a switch here: checks have seconds, and a clock is moved by hours."""
    path = system.folder / "lsproxy.yaml"
    tree = json.loads(path.read_text())
    tree["pools"]["acme"]["health"] = {"interval": 0.5, "timeout": 4, "rise": 2, "fall": 6}
    path.write_text(json.dumps(tree))
