"""The access log: its lines, in both forms."""

import json
import time

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor

from lsproxy.proxy.accesslog import AccessLog, Ended

ENDED = Ended(
    client="192.0.2.7:51234",
    listener="lmgrd",
    pool="mcad",
    backend="fn-a",
    received=120,
    sent=4096,
    duration=3.21751,
    ended="client",
)
WALL = 1_795_294_080.1239
LINE = (
    "2026-11-21T20:48:00.123Z client=192.0.2.7:51234 listener=lmgrd pool=mcad backend=fn-a received=120 sent=4096 "
    "duration=3.218 ended=client\n"
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "access.log"


@pytest.fixture
def make(path):
    """Access logs at `path` at a standing time, closed at the end."""
    made = []

    def make(form="text", at=path):
        made.append(AccessLog(reactor, at, form, lambda: WALL))
        return made[-1]

    yield make
    for it in made:
        pytest_twisted.blockon(it.close())


@pytest_twisted.ensureDeferred
async def test_text(make, path):
    """A line in text has the time in UTC and then key=value in a fixed order."""
    log = make()
    log.record(ENDED)
    log.record(msgspec.structs.replace(ENDED, backend=None, client="[2001:db8::7]:1", duration=0.0, ended="lsproxy"))
    await log.close()
    first, second = path.read_text().splitlines(keepends=True)
    assert first == LINE
    assert second == (
        "2026-11-21T20:48:00.123Z client=[2001:db8::7]:1 listener=lmgrd pool=mcad backend=- received=120 sent=4096 "
        "duration=0.000 ended=lsproxy\n"
    )


@pytest_twisted.ensureDeferred
async def test_json(make, path):
    """A line in JSON has the same keys, numbers as numbers and no backend as null."""
    log = make("json")
    log.record(ENDED)
    log.record(msgspec.structs.replace(ENDED, backend=None))
    await log.close()
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        "time": "2026-11-21T20:48:00.123Z",
        "client": "192.0.2.7:51234",
        "listener": "lmgrd",
        "pool": "mcad",
        "backend": "fn-a",
        "received": 120,
        "sent": 4096,
        "duration": 3.218,
        "ended": "client",
    }
    assert second == first | {"backend": None}


@pytest_twisted.ensureDeferred
async def test_time_goes_on(path):
    """Each line has the time at which it was recorded, also across a second's end."""
    times = iter([0.9996, 1.0, 86_399.5])
    log = AccessLog(reactor, path, "text", lambda: next(times))
    for _ in range(3):
        log.record(ENDED)
    await log.close()
    assert [line.split()[0] for line in path.read_text().splitlines()] == [
        "1970-01-01T00:00:00.999Z",
        "1970-01-01T00:00:01.000Z",
        "1970-01-01T23:59:59.500Z",
    ]


@pytest_twisted.ensureDeferred
async def test_other_file_and_form(make, path, tmp_path):
    """It goes on in another file and form; what was recorded before is in one of the two."""
    log = make()
    log.record(ENDED)
    other = tmp_path / "other.log"
    log.check(other)
    log.go_on(other, "json")
    log.record(ENDED)
    await log.close()
    written = (path.read_text() + other.read_text()).splitlines(keepends=True)
    assert written[0] == LINE
    assert json.loads(written[1])["client"] == ENDED.client


@pytest_twisted.ensureDeferred
async def test_cost(make):
    """A record costs microseconds."""
    log = make()
    started = time.process_time()
    for _ in range(2000):
        log.record(ENDED)
    assert (time.process_time() - started) / 2000 < 50e-6
