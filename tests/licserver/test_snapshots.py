"""When a snapshot is taken, and what of it is seen when it is not finished."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from licserver.core.ledger import Ledger
from licserver.core.snapshot import from_parts
from licserver.journal.interface import JournalError
from licserver.snapshots import EVENTS_BETWEEN, Snapshots, is_due
from tests.licserver.core.office import Office, read_pools, state_of


class Shelf:
    """A journal of snapshots alone: what is written, and `fail` for the next call."""

    def __init__(self):
        self.parts, self.published, self.fail = {}, None, None
        self.held = None

    def write_part(self, epoch, slot, number, part):
        self.parts[epoch, slot, number] = part
        return self._answer()

    def publish(self, epoch, slot, parts):
        self.published = epoch, slot, parts
        return self._answer()

    def _answer(self):
        answer = Deferred()
        if self.fail:
            answer.errback(self.fail)
        else:
            answer.callback(None)
        return answer


@pytest.fixture
def shelf():
    return Shelf()


def turns(clock, count=10):
    for _ in range(count):
        clock.advance(0)


def test_due():
    """A snapshot is worth its while after 50,000 events, or twice as many as there are entries."""
    assert [is_due(49_999, 0), is_due(50_000, 0), is_due(199_999, 100_000), is_due(200_000, 100_000)] == [
        False,
        True,
        False,
        True,
    ]


def test_written_after_its_slot_is_kept(shelf):
    """Nothing is written before the slot is kept; then the parts, and last the record that points to them."""
    clock, office = Clock(), Office()
    writer = Snapshots(clock, shelf, 7, 0)
    writer.cut(1, EVENTS_BETWEEN - 1, office.ledger)
    writer.kept(1)
    turns(clock)
    assert not shelf.parts
    writer.cut(2, 1, office.ledger)
    turns(clock)
    assert not shelf.parts
    state = state_of(office.ledger)
    office.client().hello()
    writer.kept(2)
    turns(clock)
    assert shelf.published == (7, 2, len(shelf.parts))
    ledger = Ledger(read_pools)
    ledger.restore(from_parts([part for _, part in sorted(shelf.parts.items())]))
    assert state_of(ledger) == state


def test_counts_from_the_tenure_before(shelf):
    """Events from before the tenure count, so that restarts do not put the snapshot off for ever."""
    writer = Snapshots(Clock(), shelf, 7, EVENTS_BETWEEN - 2)
    writer.cut(1, 2, Office().ledger)
    writer.kept(1)
    assert shelf.parts
    assert writer.unsnapped_events == 0


def test_one_at_a_time(shelf):
    """While one is written no other begins; what happens meanwhile counts for the next."""
    clock, ledger = Clock(), Office().ledger
    writer = Snapshots(clock, shelf, 7, 0)
    writer.cut(1, EVENTS_BETWEEN, ledger)
    writer.kept(1)
    writer.cut(2, EVENTS_BETWEEN, ledger)
    writer.kept(2)
    turns(clock)
    assert shelf.published[1] == 1
    writer.cut(3, 1, ledger)
    writer.kept(3)
    turns(clock)
    assert shelf.published[1] == 3


def test_stopped(shelf):
    """A tenure that ends leaves an unfinished snapshot unpublished."""
    clock, office = Clock(), Office()
    office.client().hello()
    writer = Snapshots(clock, shelf, 7, EVENTS_BETWEEN)
    writer.cut(1, 1, office.ledger)
    writer.kept(1)
    writer.stop()
    turns(clock)
    assert len(shelf.parts) == 1
    assert shelf.published is None


def test_journal_that_refuses(shelf):
    """A snapshot that cannot be written harms nothing, and the next one is tried after as many events again."""
    clock, ledger = Clock(), Office().ledger
    writer = Snapshots(clock, shelf, 7, EVENTS_BETWEEN)
    shelf.fail = JournalError("the disk is full")
    writer.cut(1, 1, ledger)
    writer.kept(1)
    turns(clock)
    assert shelf.published is None
    shelf.fail = None
    writer.cut(2, EVENTS_BETWEEN, ledger)
    writer.kept(2)
    turns(clock)
    assert shelf.published[1] == 2
