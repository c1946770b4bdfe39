"""A log file: when its lines come, and what becomes of them when the file cannot be written."""

import fcntl
import os
import stat
import subprocess
import sys
import time

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import formatEvent, globalLogPublisher

from lsproxy import linefile
from lsproxy.linefile import LineFile, LineFileError

LINE = f"8:00:00 {'a line of a log ' * 8}.\n"
BYTES = LINE.encode()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.log"


@pytest.fixture
def make(path):
    """Log files at `path`, closed at the end."""
    made = []

    def make(at=path):
        made.append(LineFile(reactor, at, "access log"))
        return made[-1]

    yield make
    for it in made:
        pytest_twisted.blockon(it.close())


@pytest.fixture
def said():
    """What the daemon's log says, warnings and more."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [formatEvent(event) for event in events]
    globalLogPublisher.removeObserver(events.append)


async def until(happened, seconds=5.0):
    end = reactor.seconds() + seconds
    while not happened():
        assert reactor.seconds() < end, "it did not happen in time"
        await deferLater(reactor, 0.005)


@pytest_twisted.ensureDeferred
async def test_soon(make, path):
    """Lines come in one piece a moment later, not each on its own; a full buffer comes at once."""
    log = make()
    started = reactor.seconds()
    log.write(BYTES)
    log.write(BYTES)
    assert path.read_text() == ""
    await until(path.read_text)
    assert path.read_text() == LINE * 2
    assert reactor.seconds() - started >= linefile.FLUSH_SECONDS * 0.9
    count = linefile.FLUSH_BYTES // len(LINE) + 1
    for _ in range(count):
        log.write(BYTES)
    started = reactor.seconds()
    await until(lambda: len(path.read_text()) == len(LINE) * (2 + count))
    assert reactor.seconds() - started < linefile.FLUSH_SECONDS * 0.9


@pytest_twisted.ensureDeferred
async def test_added_to(make, path):
    """What a file holds stays; a new one is closed to others."""
    log = make()
    assert stat.S_IMODE(path.stat().st_mode) & ~0o640 == 0
    log.write(BYTES)
    await log.close()
    again = make()
    again.write(BYTES)
    await again.close()
    assert path.read_text() == LINE * 2


@pytest_twisted.ensureDeferred
async def test_closed(make, path):
    """Closing writes all there is, may be asked twice, and what comes after it is nothing."""
    log = make()
    log.write(BYTES)
    closing = log.close()
    assert log.close() is closing
    log.write(BYTES)
    log.reopen()
    await closing
    assert path.read_text() == LINE
    await log.close()
    assert not [call for call in reactor.getDelayedCalls() if "linefile" in str(call.func)]


@pytest_twisted.ensureDeferred
async def test_moved_away(make, path):
    """After a move lines go to the moved file until `reopen`, then to a new one at the path, which is there at once."""
    log = make()
    path.rename(path.with_suffix(".1"))
    log.write(BYTES)
    await until(path.with_suffix(".1").read_text)
    log.reopen()
    await until(path.exists)
    log.write(BYTES)
    await log.close()
    assert path.read_text() == path.with_suffix(".1").read_text() == LINE


@pytest_twisted.ensureDeferred
async def test_deleted(make, path):
    """A deleted file is made anew, without being told."""
    log = make()
    path.unlink()
    log.write(BYTES)
    await until(path.exists)
    await log.close()
    assert path.read_text() == LINE


@pytest_twisted.ensureDeferred
async def test_folder_gone(make, tmp_path, said, monkeypatch):
    """A folder that goes away is said once; the lines wait, and when it is back they are there, and that is said."""
    monkeypatch.setattr(linefile, "RETRY_SECONDS", 0.02)
    folder = tmp_path / "logs"
    folder.mkdir()
    file = folder / "access.log"
    log = make(at=file)
    file.unlink()
    folder.rmdir()
    for _ in range(3):
        log.write(BYTES)
        await deferLater(reactor, linefile.FLUSH_SECONDS)
    (complaint,) = said()
    assert complaint == (
        f"the access log is not written, connections go on: the access log {file} cannot be opened: the folder "
        f"{folder} does not exist, make it or name another file; up to 4 MiB of lines wait for better"
    )
    folder.mkdir()
    await until(lambda: len(said()) > 1)
    assert file.read_text() == LINE * 3
    assert said()[1:] == [f"the access log {file} is written again, 0 lines are lost"]


@pytest_twisted.ensureDeferred
async def test_lines_are_lost_beyond_a_limit(make, tmp_path, said, monkeypatch):
    """While nothing can be written memory is bounded: later lines are lost, and counted."""
    monkeypatch.setattr(linefile, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(linefile, "KEPT_BYTES", len(LINE) * 5)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log = make(at=pipe)
    try:
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 4096)
        filled = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        os.write(filled, b"x" * 4096)
        os.close(filled)
        for _ in range(12):
            log.write(BYTES)
        await until(said)
        log.write(BYTES)
        assert log._kept_bytes == len(LINE) * 5
        os.read(reading, 4096)
        await until(lambda: len(said()) == 2)
        assert os.read(reading, 65_536).decode() == LINE * 5
    finally:
        os.close(reading)
    assert said()[1] == f"the access log {pipe} is written again, 8 lines are lost"


FULL_DISK = """
import sys, time
from pathlib import Path
from lsproxy.net import reactor as net_reactor
reactor = net_reactor.install()
from twisted.internet import defer, task
from twisted.logger import formatEvent, globalLogPublisher
from lsproxy import linefile
linefile.RETRY_SECONDS = 0.02
globalLogPublisher.addObserver(lambda event: print(formatEvent(event)))
folder = Path(sys.argv[1])
from tests.lsproxy.test_linefile import BYTES, LINE

async def main(_reactor):
    log = linefile.LineFile(reactor, folder / "access.log", "access log")
    filling = folder / "filling"
    filling.write_bytes(bytes(60 * 1024))
    for _ in range(200):
        log.write(BYTES)
    await task.deferLater(reactor, 0.3)
    torn = (folder / "access.log").read_bytes()
    print(torn.endswith(b"\\n"), 0 < torn.count(b"\\n") < 200)
    if sys.argv[2] == "rotated":
        (folder / "access.log").rename(folder / "access.log.1")
        log.reopen()
    filling.unlink()
    await task.deferLater(reactor, 0.1)
    await log.close()
    lines = (folder / "access.log").read_text().splitlines()
    before = torn.count(b"\\n") if sys.argv[2] == "rotated" else 0
    print(before + len(lines), {line.split(" ", 1)[1] for line in lines})

task.react(lambda _: defer.Deferred.fromCoroutine(main(_)))
"""


@pytest.mark.root
@pytest.mark.parametrize(("how", "whole"), [("freed", 200), ("rotated", 199)])
def test_disk_full(tmp_path, how, whole):
    """On a full disk lines wait; when there is room again they go on where they stopped, and no line is torn by it."""
    mounted = f"mount -t tmpfs -o size=80k tmpfs {tmp_path} && exec {sys.executable} -c '{FULL_DISK}' {tmp_path} {how}"
    ran = subprocess.run(
        ["/usr/bin/unshare", "-m", "sh", "-c", mounted], capture_output=True, text=True, timeout=30, check=False
    )
    assert ran.stderr == ""
    complaint, torn, again, counted = ran.stdout.splitlines()
    assert "access.log cannot be written: No space left on device" in complaint
    assert torn == "False True"
    assert again.endswith("access.log is written again, 0 lines are lost")
    assert counted == f"{whole} {{{LINE.split(' ', 1)[1].strip()!r}}}"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing/access.log", "the folder DIR/missing does not exist, make it or name another file"),
        ("folder", "it is a folder, name a file"),
        ("pipe", "it is a pipe or a socket that nobody reads, name a file"),
        ("x" * 300, "File name too long"),
    ],
)
def test_cannot_be_opened(make, tmp_path, name, told):
    """At the start a file that cannot be had is an error, in a sentence that says what would be right."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LineFileError) as caught:
        make(at=tmp_path / name)
    assert str(caught.value) == f"the access log {tmp_path / name} cannot be opened: {told}".replace(
        "DIR", str(tmp_path)
    )


@pytest_twisted.ensureDeferred
async def test_stalled_disk_stalls_nobody(make, path):
    """While one write hangs the reactor goes on, and what is recorded meanwhile comes after it, in order."""
    log = make()
    is_done = []

    def slow(lines, append=log._file.append):
        time.sleep(0.3)
        is_done.append(True)
        return append(lines)

    log._file.append = slow
    log.write(BYTES)
    await until(lambda: log._is_writing)
    for number in range(5):
        log.write(b"%d\n" % number)
        await deferLater(reactor, 0.001)
    assert is_done == []
    await log.close()
    assert path.read_text() == LINE + "0\n1\n2\n3\n4\n"


@pytest_twisted.ensureDeferred
async def test_other_file(make, path, tmp_path):
    """It goes on at another path, which is looked at before; nothing is lost between the two."""
    log = make()
    log.write(BYTES)
    with pytest.raises(LineFileError, match="it is a folder"):
        log.check(tmp_path)
    other = tmp_path / "other.log"
    log.check(other)
    log.go_on(other)
    log.write(BYTES)
    await log.close()
    assert path.read_text() + other.read_text() == LINE * 2
    assert other.exists()


@pytest_twisted.ensureDeferred
async def test_a_link_is_not_followed(path, make):
    """Neither at the start nor when the file is opened anew: nothing is written to what it leads to."""
    other = path.with_name("other")
    other.write_text("mine")
    line_file = make()
    path.unlink()
    path.symlink_to(other)
    line_file.reopen()
    line_file.write(BYTES)
    await line_file.close()
    assert other.read_text() == "mine"
    with pytest.raises(LineFileError, match="symbolic link, name the file itself"):
        make()
