"""
License servers that share a journal are killed and stopped at any moment: what was answered is kept, the next goes on.

Each round a process appends as fast as it can and is struck at a random
moment; this process takes the name over and reads everything back.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher

from licserver.journal.interface import JournalError, Member
from licserver.journal.patience import relieve_log
from licserver.journal.process import this_process
from licserver.journal.sqlite import SqliteJournal, create, open_journal
from licserver.journal.sqlite_file import JournalFile
from tests.faults.journal_server import batch

PROGRAM = str(Path(__file__).with_name("journal_server.py"))
ROUNDS = 10


class Server:
    """A process of `journal_server`."""

    def __init__(self, path: Path, *arguments: str) -> None:
        self.process = subprocess.Popen([sys.executable, PROGRAM, str(path), *arguments], stdout=subprocess.PIPE)

    def until(self, word: str) -> int:
        """Read its lines up to one that begins with `word`; the number after it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said, _, number = line.decode().partition(" ")
            if said.strip() == word:
                return int(number or 0)
        pytest.fail(f"the process ended without saying {word}")

    def rest(self) -> list[str]:
        """Everything else it says until it ends."""
        assert self.process.stdout is not None
        return [line.decode().strip() for line in self.process.stdout]

    def strike(self, number: int) -> None:
        os.kill(self.process.pid, number)


@contextmanager
def server(path: Path, *arguments: str) -> Iterator[Server]:
    started = Server(path, *arguments)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.wait()
        assert started.process.stdout is not None
        started.process.stdout.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create(tmp_path / "acme.db", "acme")
    return tmp_path / "acme.db"


@pytest_twisted.async_yield_fixture
async def journal(path):
    opened = await open_journal(reactor, path, "acme")
    yield opened
    await opened.close()


@pytest.fixture
def told() -> Iterator[list[str]]:
    """The sentences of the log."""
    sentences: list[str] = []

    def observe(event):
        sentences.append(event.get("log_sentence", ""))

    globalLogPublisher.addObserver(observe)
    yield sentences
    globalLogPublisher.removeObserver(observe)


ME = Member("lic-b", "bb" * 16, "h:2", this_process())


async def take(journal: SqliteJournal) -> int:
    """Take the name; the epoch."""
    return (await journal.activate(await journal.claim(), ME, 5.0)).epoch


async def check_whole(journal: SqliteJournal, acknowledged: dict[int, int]) -> None:
    """No gap, epochs in order, and whatever was acknowledged is there as it was sent."""
    entries = await journal.read(0, 1_000_000)
    assert [entry.slot for entry in entries] == list(range(1, len(entries) + 1))
    epochs = [entry.epoch for entry in entries]
    assert epochs == sorted(epochs)
    kept = {entry.slot: entry.batch for entry in entries}
    for slot, epoch in acknowledged.items():
        assert kept[slot] == batch(epoch, slot)


def acknowledgements(epoch: int, lines: list[str]) -> dict[int, int]:
    return {int(line.split()[1]): epoch for line in lines if line.startswith("kept ")}


@pytest_twisted.ensureDeferred
async def test_killed_at_random_moments(path, journal):
    """A server killed while it appends loses nothing it had answered, and its successor follows within a second."""
    chance = random.Random(4711)
    acknowledged: dict[int, int] = {}
    for _ in range(ROUNDS):
        with server(path, "lic-a", "append") as struck:
            epoch = struck.until("epoch")
            struck.until("kept")
            await deferLater(reactor, chance.uniform(0.0, 0.02))
            struck.strike(signal.SIGKILL)
            began = time.monotonic()
            judged = await journal.claim()
            await journal.end_holder(judged)
            assert journal.holder_is_dead(judged)
            claim = await journal.activate(judged, ME, 5.0)
            assert time.monotonic() - began < 1.0
            acknowledged |= acknowledgements(epoch, struck.rest())
        await journal.append(claim.epoch, claim.newest_slot + 1, batch(claim.epoch, claim.newest_slot + 1), 0.0)
        acknowledged[claim.newest_slot + 1] = claim.epoch
        await check_whole(journal, acknowledged)
    assert len(acknowledged) > ROUNDS


@pytest_twisted.ensureDeferred
async def test_stopped_at_random_moments_and_ended(path, journal):
    """A server that stops amid its appends is ended by its successor, which has the name within a second."""
    chance = random.Random(4712)
    acknowledged: dict[int, int] = {}
    for _ in range(ROUNDS):
        with server(path, "lic-a", "append") as struck:
            epoch = struck.until("epoch")
            struck.until("kept")
            await deferLater(reactor, chance.uniform(0.0, 0.02))
            struck.strike(signal.SIGSTOP)
            began = time.monotonic()
            judged = await journal.claim()
            assert not journal.holder_is_dead(judged)
            await journal.end_holder(judged)
            await journal.activate(judged, ME, 5.0)
            assert time.monotonic() - began < 1.0
            acknowledged |= acknowledgements(epoch, struck.rest())
        await check_whole(journal, acknowledged)
    assert len(acknowledged) > ROUNDS


@pytest_twisted.ensureDeferred
async def test_stopped_at_random_moments_and_fenced(path, journal):
    """A stopped server that is not ended is fenced: awake again it appends nothing, or it is dead."""
    chance = random.Random(4713)
    acknowledged: dict[int, int] = {}
    for _ in range(ROUNDS):
        with server(path, "lic-a", "append") as struck:
            epoch = struck.until("epoch")
            struck.until("kept")
            await deferLater(reactor, chance.uniform(0.0, 0.02))
            struck.strike(signal.SIGSTOP)
            began = time.monotonic()
            claim = await journal.activate(await journal.claim(), ME, 5.0)
            assert time.monotonic() - began < 1.0
            struck.strike(signal.SIGCONT)
            lines = struck.rest()
            acknowledged |= acknowledgements(epoch, lines)
            assert max(acknowledged, default=0) <= claim.newest_slot
            assert struck.process.wait() == -signal.SIGKILL or lines[-1] == "stale"
        await check_whole(journal, acknowledged)
    assert len(acknowledged) > ROUNDS


@pytest_twisted.ensureDeferred
async def test_stopped_inside_a_write(path, journal, told):
    """A license server stopped inside its write transaction is found by its lock and ended at once; reads go on."""
    with server(path, "lic-a", "hold") as stopped:
        stopped.until("ready")
        began = time.monotonic()
        activating = take(journal)
        assert (await journal.claim()).epoch == 0
        assert time.monotonic() - began < 0.1
        assert await activating == 1
        assert time.monotonic() - began < 1.0
        assert stopped.process.wait() == -signal.SIGKILL
    assert any(f"process {stopped.process.pid} (license server lic-a), which is stopped" in line for line in told)


@pytest_twisted.ensureDeferred
async def test_running_inside_a_write(path, journal):
    """A license server that runs and holds the write lock without end is ended after three seconds."""
    with server(path, "lic-a", "hold-running") as holding:
        holding.until("ready")
        began = time.monotonic()
        assert await take(journal) == 1
        assert 3.0 <= time.monotonic() - began < 4.5
        assert holding.process.wait() == -signal.SIGKILL


@pytest_twisted.ensureDeferred
async def test_foreign_process_is_waited_for(path, journal, told):
    """A process that is no license server is named and waited for, never ended."""
    with server(path, "-", "foreign", "0.6") as foreign:
        foreign.until("ready")
        assert await take(journal) == 1
        assert foreign.process.wait() == 0
    assert any(f"locked by process {foreign.process.pid} (python" in line for line in told)


@pytest_twisted.ensureDeferred
async def test_foreign_process_that_stays(path, journal):
    """After five seconds the call fails with the sentence that names the process, and works once it is gone."""
    with server(path, "-", "foreign", "60") as foreign:
        foreign.until("ready")
        with pytest.raises(JournalError, match=f"locked by process {foreign.process.pid} "):
            await take(journal)
        assert foreign.process.poll() is None
    assert await take(journal) == 1


@pytest_twisted.ensureDeferred
async def test_stopped_inside_a_checkpoint(path, journal):
    """A process stopped with the checkpoint's lock holds up neither reads nor writes."""
    with server(path, "lic-a", "lock", "121") as stopped:
        stopped.until("ready")
        began = time.monotonic()
        epoch = await take(journal)
        for slot in range(1, 1200):
            await journal.append(epoch, slot, b"x", 0.0)
        assert len(await journal.read(0, 2000)) == 1199
        assert time.monotonic() - began < 3.0
        assert stopped.process.poll() is None


@pytest_twisted.ensureDeferred
async def test_stopped_inside_a_recovery(path, journal):
    """A license server stopped with the locks of a recovery is ended by the next write."""
    with server(path, "lic-a", "lock", "120", "121", "122") as stopped:
        stopped.until("ready")
        began = time.monotonic()
        assert await take(journal) == 1
        assert time.monotonic() - began < 1.0
        assert stopped.process.wait() == -signal.SIGKILL


@pytest_twisted.ensureDeferred
async def test_log_kept_from_reuse(path, journal, told):
    """A license server stopped amid a read keeps the log growing; once that is too long, it is ended."""
    with server(path, "lic-a", "read") as stopped:
        stopped.until("ready")
        epoch = await take(journal)
        for slot in range(1, 300):
            await journal.append(epoch, slot, b"x" * 4000, 0.0)
        members = [member for member, _ in await journal.members()]
        await deferToThread(relieve_log, JournalFile(path), lambda: members, told.append, 100_000_000)
        assert stopped.process.poll() is None
        await deferToThread(relieve_log, JournalFile(path), lambda: members, told.append, 1_000_000)
        assert stopped.process.wait() == -signal.SIGKILL
    assert any("is ended" in line for line in told)


@pytest_twisted.ensureDeferred
async def test_all_killed_and_opened_again(path):
    """After every process was killed amid appends, the journal opens again with all that was answered."""
    with server(path, "lic-a", "append") as struck:
        epoch = struck.until("epoch")
        struck.until("kept")
        await deferLater(reactor, 0.05)
        struck.strike(signal.SIGKILL)
        acknowledged = acknowledgements(epoch, struck.rest())
    journal = await open_journal(reactor, path, "acme")
    await check_whole(journal, acknowledged)
    assert [alive for _, alive in await journal.members()] == [False]
    await journal.close()
