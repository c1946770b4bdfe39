"""Samples in a real SQLite file."""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsproxy.history.file import HistoryDamagedError, HistoryFile, HistoryTroubleError
from lsproxy.history.grid import DAY, KEPT_SECONDS, MINUTE, TEN_MINUTES, Slots
from lsproxy.history.samples import HealthSpan, PoolPoint, SeatPoint
from tests.faults.process import SETPRIV
from tests.faults.system import UNSHARE
from tests.lsproxy.history.samples import NOW, fill, sample

HOUR = 3600


@pytest.fixture
def file(tmp_path):
    made = HistoryFile(tmp_path / "history.db")
    yield made
    made.close()


def slots(since=NOW - HOUR, until=NOW + HOUR, points=10_000, now=NOW):
    return Slots(since, until, points, now)


def test_what_was_sampled_is_told(file):
    """A point each minute: seats, the pool, the backend's health."""
    for number in range(3):
        file.add(sample(NOW + 60 * number, used=number, queued=2, clients=5 + number, waiting=1))
    first = NOW // 60 * 60
    assert file.seats("acme", slots()) == {
        "cad": [SeatPoint(first + 60 * number, number, number, 2, 10) for number in range(3)]
    }
    assert file.pools("acme", slots()) == [PoolPoint(first + 60 * n, "lic-a", 5 + n, 1, 0) for n in range(3)]
    assert file.health("acme", slots()) == {"lic-a": [HealthSpan(first, first + 180, "up", 0)]}
    assert file.seats("mcad", slots()) == {}


def test_the_worst_of_a_slot_is_told(file):
    """Drawn coarsely, a minute's outage is seen all the same, and so is the one moment without seats."""
    begin = NOW // TEN_MINUTES * TEN_MINUTES
    for number in range(10):
        is_bad = number == 4
        file.add(
            sample(
                begin + 60 * number,
                used=9 if is_bad else 2,
                serving=None if is_bad else "lic-a",
                health="down" if is_bad else "up",
                waiting=6 if is_bad else 0,
            )
        )
    wide = slots(begin, begin + 60 * TEN_MINUTES, points=1)
    assert [(p.used_max, p.used_min) for p in file.seats("acme", wide)["cad"]] == [(9, 2)]
    assert [(p.serving, p.waiting) for p in file.pools("acme", wide)] == [(None, 6)]
    assert [span.health for span in file.health("acme", wide)["lic-a"]] == ["down"]


def test_the_seconds_of_an_outage_are_told(file):
    """In all grids, and however coarse: two blips of 5 s are 10 s, and a minute has no more than 60."""
    begin = NOW // TEN_MINUTES * TEN_MINUTES
    for number, seconds in enumerate((0, 5.0, 5.25, 0)):
        file.add(sample(begin + 60 * number, health="down" if seconds else "up", down=seconds, unserved=seconds))
    (_, blip, _) = file.health("acme", slots())["lic-a"]
    assert blip == HealthSpan(begin + 60, begin + 180, "down", 10.25)
    assert [point.unserved for point in file.pools("acme", slots())] == [0, 5, 5.25, 0]
    wide = slots(begin, begin + 60 * TEN_MINUTES, points=1)
    assert [span.down for span in file.health("acme", wide)["lic-a"]] == [10.25]
    assert [point.unserved for point in file.pools("acme", wide)] == [10.25]
    for _ in range(2):
        file.add(sample(begin + 60, health="down", down=59.0, unserved=59.0))
    assert file.health("acme", slots())["lic-a"][1].down == 65.25


def test_a_pause_is_a_gap(file):
    """While lsproxy did not run nothing is said of a backend."""
    file.add(sample(NOW))
    file.add(sample(NOW + 600))
    (before, after) = file.health("acme", slots())["lic-a"]
    assert before.until < after.since


def test_a_clock_set_back_an_hour_loses_no_peak(file):
    """The hour is sampled twice: the higher of both is kept, and samples go on."""
    for number in range(60):
        file.add(sample(NOW + 60 * number, used=9 if number == 30 else 2))
    for number in range(70):
        file.add(sample(NOW + 60 * number, used=8 if number == 40 else 1))
    points = file.seats("acme", slots(NOW, NOW + 2 * HOUR))["cad"]
    assert len(points) == 70
    assert {n: p.used_max for n, p in enumerate(points) if p.used_max > 2} == {30: 9, 40: 8}


def test_a_clock_that_is_wrong_for_a_while_costs_little(file):
    """A year ahead for three samples, a week of history is still there but for its first hours."""
    fill(file, 2)
    for number in range(3):
        file.add(sample(NOW + 365 * DAY + 60 * number))
    file.add(sample(NOW))
    points = file.pools("pool-1", slots(NOW - 2 * DAY, NOW))
    assert points[0].time <= NOW - 2 * DAY + 4 * HOUR


def test_minutes_go_after_a_week_and_tens_after_90_days(file):
    """An hour's of them with each sample, and their peaks stay as long as the tens."""
    week, quarter = KEPT_SECONDS[MINUTE], KEPT_SECONDS[TEN_MINUTES]
    for number in range(30):
        file.add(sample(NOW + 60 * number, used=9 if number == 17 else 2))
    file.add(sample(NOW + week + HOUR))
    file.add(sample(NOW + week + HOUR + 60))
    connection = file._opened()
    left = connection.execute("SELECT count(*) FROM seats WHERE grid = 60 AND time < ?", (NOW + week,)).fetchone()
    assert left == (0,)
    (points,) = file.seats("acme", slots(NOW, NOW + DAY, now=NOW + week + HOUR)).values()
    assert max(point.used_max for point in points) == 9
    for number in range(2):
        file.add(sample(NOW + quarter + HOUR + 60 * number))
    tables = ("seats", "health", "pools")
    rows = [
        connection.execute(f"SELECT count(*) FROM {table} WHERE time < ?", (NOW + week,)).fetchone()  # noqa: S608 - ours
        for table in tables
    ]
    assert rows == [(0,)] * 3


steps = st.tuples(st.integers(-90, 400), st.integers(0, 50), st.integers(0, 5))


@settings(max_examples=25)
@given(st.lists(steps, min_size=1, max_size=40), st.sampled_from([1, 7, 300]))
def test_no_peak_is_lost_by_thinning(taken, points):
    """However samples fall, of minutes or of tens, the highest use and the longest queue of any span are told."""
    with tempfile.TemporaryDirectory() as folder:
        file = HistoryFile(Path(folder) / "history.db")
        now = NOW
        told = []
        for passed, used, queued in taken:
            now += passed * 60
            told.append((used, queued, now))
            file.add(sample(now, used=used, queued=queued))
        since, until = min(at for *_, at in told), max(at for *_, at in told) + 1
        found = file.seats("acme", Slots(since, until, points, now))["cad"]
        file.close()
    assert max(p.used_max for p in found) == max(used for used, *_ in told)
    assert min(p.used_min for p in found) == min(used for used, *_ in told)
    assert max(p.queued_max for p in found) == max(queued for _, queued, _ in told)


def test_the_file_stays_within_its_bound(tmp_path):
    """The oldest cells make room, so that the newest are always there."""
    file = HistoryFile(tmp_path / "history.db", most_bytes=4 << 20)
    fill(file, 1)
    before = file._bytes(file._opened())
    sizes = [file.add(sample(NOW + 60 * number)) for number in range(60)]
    assert before > 4 << 20
    assert sizes[-1] <= 4 << 20
    assert len(file.pools("acme", slots())) == 60
    kept = file.pools("pool-1", slots(NOW - DAY, NOW))
    assert kept[0].time > NOW - DAY + TEN_MINUTES
    assert kept[-1].time > NOW - 2 * TEN_MINUTES
    file.close()


def test_two_readers_beside_the_writer(file, tmp_path):
    """Programs that read the file meet a whole sample or none, and hold nobody up."""
    file.add(sample(NOW))
    readers = [sqlite3.connect(f"file:{tmp_path}/history.db?mode=ro", uri=True) for _ in range(2)]
    for reader in readers:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM pools").fetchone() == (2,)
    file.add(sample(NOW + 600))
    for reader in readers:
        assert reader.execute("SELECT count(*) FROM pools").fetchone() == (2,)
        reader.execute("COMMIT")
        assert reader.execute("SELECT count(*) FROM pools").fetchone() == (4,)
        reader.close()


def test_a_damaged_file_is_set_aside(file, tmp_path):
    """Under another name; the next sample begins a new file."""
    file.add(sample(NOW))
    file.close()
    path = tmp_path / "history.db"
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(HistoryDamagedError, match=r"is kept as .*history\.db\.damaged"):
        file.add(sample(NOW + 60))
    file.add(sample(NOW + 120))
    assert (tmp_path / "history.db.damaged").read_bytes().startswith(b"no database")
    assert len(file.pools("acme", slots())) == 1


def test_damage_within_the_file_is_found_by_who_meets_it(tmp_path):
    """Overwritten pages behind a whole header are damage too."""
    file = HistoryFile(tmp_path / "history.db")
    fill(file, 1)
    file.close()
    with (tmp_path / "history.db").open("r+b") as opened:
        opened.seek(8192)
        opened.write(b"\xa5" * (1 << 20))
    with pytest.raises(HistoryDamagedError):
        file.seats("pool-1", slots(NOW - DAY, NOW))
    file.add(sample(NOW))
    file.close()


def test_a_file_of_another_program_is_not_touched(file, tmp_path):
    """It is said, and left alone."""
    other = sqlite3.connect(tmp_path / "history.db")
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    for _ in range(2):
        with pytest.raises(HistoryTroubleError, match="a file of another program"):
            file.add(sample(NOW))
    assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    other.close()


def test_a_file_of_another_release_is_not_touched(file, tmp_path):
    """After a way back to an older release the newer file waits for the way forward."""
    file.add(sample(NOW))
    file.close()
    other = sqlite3.connect(tmp_path / "history.db")
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(HistoryTroubleError, match="another release"):
        file.add(sample(NOW))


def test_a_file_that_is_taken_away_is_begun_anew(file, tmp_path):
    """Whoever deletes it to make room needs no restart."""
    file.add(sample(NOW))
    for path in tmp_path.iterdir():
        path.unlink()
    file.add(sample(NOW + 60))
    assert len(file.pools("acme", slots())) == 1
    assert (tmp_path / "history.db").exists()


@pytest.mark.root
def test_a_full_disk_costs_samples_and_no_more(tmp_path):
    """What was kept can be read, and with room again the history goes on in the same file."""
    program = Path(__file__).with_name("on_full_disk.py")
    script = f"mount -t tmpfs -o size=1m tmpfs {tmp_path} && exec {sys.executable} {program} {tmp_path}"
    root = str(Path(__file__).parents[3])
    command = [SETPRIV, "--pdeathsig", "KILL", UNSHARE, "--mount", "sh", "-c", script]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, check=False, env={**os.environ, "PYTHONPATH": root}
    )
    assert done.returncode == 0, done.stderr
    error, taken, while_full, afterwards = json.loads(done.stdout)
    assert "full" in error
    assert while_full == taken
    assert afterwards == taken + 1


def test_a_week_of_a_large_site_is_answered_quickly(file):
    """5 pools with 20 features each: a week of one pool in well under 100 ms, though there is more."""
    fill(file, 8)
    week = slots(NOW - 7 * DAY, NOW, points=300)
    spent = []
    for _ in range(3):
        begun = time.thread_time()  # what others do on this machine does not count
        seats = file.seats("pool-1", week)
        file.health("pool-1", week)
        file.pools("pool-1", week)
        spent.append(time.thread_time() - begun)
    assert min(spent) < 0.1
    assert len(seats) == 20
    assert sum(map(len, seats.values())) > 4000
