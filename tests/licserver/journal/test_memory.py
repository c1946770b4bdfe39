"""The journal in memory keeps the promise, and fails when it is told to."""

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import Clock

from licserver.journal.interface import JournalError, StaleEpoch
from licserver.journal.memory import Fault, MemoryStore
from tests.contract.journal import JournalContract, Opener, member, take
from tests.contract.journal_model import check_against_model


class TestMemoryJournal(JournalContract):
    """The contract, in one process."""

    @pytest.fixture
    def opener(self) -> Opener:
        store = MemoryStore("acme", "00" * 16)
        return lambda: store.open(reactor)


@pytest_twisted.ensureDeferred
async def test_unknown_and_kept():
    """A write told to fail as kept is reported as unknown and found by its repetition."""
    store = MemoryStore("acme", "00" * 16)
    journal = await store.open(reactor)
    await take(journal, "lic-a")
    store.fail_next(Fault.KEPT)
    with pytest.raises(JournalError) as unknown:
        await journal.append(1, 1, b"x", 1.0)
    assert type(unknown.value) is JournalError
    assert [entry.batch for entry in await journal.read(0, 10)] == [b"x"]
    await journal.append(1, 1, b"x", 1.0)
    assert len(await journal.read(0, 10)) == 1


@pytest_twisted.ensureDeferred
async def test_unknown_and_lost():
    """A write told to fail as lost is reported as unknown and done by its repetition."""
    store = MemoryStore("acme", "00" * 16)
    journal = await store.open(reactor)
    await take(journal, "lic-a")
    store.fail_next(Fault.LOST)
    with pytest.raises(JournalError):
        await journal.append(1, 1, b"x", 1.0)
    assert await journal.read(0, 10) == []
    await journal.append(1, 1, b"x", 1.0)
    assert len(await journal.read(0, 10)) == 1


@pytest_twisted.ensureDeferred
async def test_refusal_before_fault():
    """A write that is refused is refused; the fault waits for one that is not."""
    store = MemoryStore("acme", "00" * 16)
    journal = await store.open(reactor)
    store.fail_next(Fault.KEPT)
    with pytest.raises(StaleEpoch):
        await journal.confirm(1, 1.0)
    with pytest.raises(JournalError):
        await journal.join(member("lic-a"))


def test_slow_answers():
    """An answer takes the delay the store was given."""
    clock = Clock()
    store = MemoryStore("acme", "00" * 16, delay_seconds=0.5)
    answers = []
    opening = store.open(clock)
    opening.addCallback(lambda journal: journal.claim().addCallback(answers.append))
    clock.advance(0.4)
    assert answers == []
    clock.advance(0.2)
    assert [claim.epoch for claim in answers] == [0]


@pytest_twisted.ensureDeferred
async def test_ended_holder():
    """A holder that was ended is dead to all, and so it is listed."""
    store = MemoryStore("acme", "00" * 16)
    journal = await store.open(reactor)
    claim = await take(journal, "lic-a")
    await journal.join(member("lic-a"))
    await journal.end_holder(claim)
    assert journal.holder_is_dead(claim)
    assert [running for _, running in await journal.members()] == [False]


@pytest_twisted.ensureDeferred
async def test_against_model():
    """Whatever three servers do in whatever order, the journal does what the model says."""

    def new_store() -> Opener:
        store = MemoryStore("acme", "00" * 16)
        return lambda: store.open(reactor)

    await check_against_model(new_store, examples=60, steps=30)
