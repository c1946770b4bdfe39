"""How a ledger becomes, and stays, what the journal holds."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from licserver.core.events import SeatReturned, SessionResumed, encode_batch
from licserver.core.ledger import Ledger
from licserver.core.snapshot import to_parts
from licserver.follower import Follower
from licserver.journal.interface import JournalUnusable, Member, Process
from licserver.journal.memory import MemoryStore
from licserver.snapshots import EVENTS_BETWEEN
from tests.licserver.core.office import Office, read_pools, state_of


class Room:
    """A journal with the batches of an office, and a follower."""

    def __init__(self):
        self.clock = Clock()
        self.store = MemoryStore("acme", "00" * 16)
        self.journal = self.store.open(self.clock).result
        self.office = Office("cad 1 1000")
        self.client = self.office.client()
        self.client.hello()
        self.written = 0
        self.do(self.journal.activate(self.store.claim, Member("a", "a1", "a:1", Process(1, 1, "b")), 5.0))
        self.write()

    def do(self, work):
        """The result of something that needs the clock."""
        outcome = []
        (Deferred.fromCoroutine(work) if not isinstance(work, Deferred) else work).addBoth(outcome.append)
        for _ in range(10_000):
            if outcome:
                break
            self.clock.advance(0)
        if hasattr(outcome[0], "raiseException"):
            outcome[0].raiseException()
        return outcome[0]

    def checkouts(self, count):
        for _ in range(count):
            self.client.checkout(self.office.ledger.next_seat + 100)
        self.write()

    def append(self, batch):
        self.do(self.journal.append(1, self.store.claim.newest_slot + 1, batch, 0.0))

    def write(self):
        for batch in self.office.batches[self.written :]:
            self.append(batch)
        self.written = len(self.office.batches)

    def snapshot(self, slot=None):
        slot = slot or self.store.claim.newest_slot
        parts = list(to_parts(self.office.ledger.image()))
        for number, part in enumerate(parts):
            self.do(self.journal.write_part(1, slot, number, part))
        self.do(self.journal.publish(1, slot, len(parts)))

    def follow(self, follower=None):
        follower = follower or Follower(self.journal, read_pools)
        self.do(follower.catch_up(self.store.claim.newest_slot))
        return follower


@pytest.fixture
def room():
    return Room()


def test_from_the_beginning(room):
    """A new follower applies every slot, also the empty ones; further ones it goes on from there."""
    follower = room.follow()
    assert state_of(follower.ledger) == state_of(room.office.ledger)
    room.append(b"")
    room.checkouts(600)
    room.follow(follower)
    assert state_of(follower.ledger) == state_of(room.office.ledger)
    assert follower.slot == room.store.claim.newest_slot


def test_from_a_snapshot(room):
    """A new follower begins with the snapshot and applies what came after it."""
    room.checkouts(20)
    room.snapshot()
    room.checkouts(3)
    follower = room.follow()
    assert state_of(follower.ledger) == state_of(room.office.ledger)
    assert follower.unsnapped_events == 3


def test_left_behind(room):
    """A follower whose next slot was deleted goes on from the snapshot."""
    follower = room.follow()
    room.checkouts(20)
    room.snapshot()
    room.checkouts(2)
    room.follow(follower)
    assert state_of(follower.ledger) == state_of(room.office.ledger)


def test_deleted_without_a_snapshot(room):
    """Slots that are gone without a newer snapshot are a fault, not a wait without end."""
    follower = room.follow()
    room.checkouts(5)
    del room.store.entries[follower.slot + 1]
    with pytest.raises(JournalUnusable, match="no snapshot is newer"):
        room.follow(follower)


@pytest.mark.parametrize("batch", [b"nonsense", encode_batch([SeatReturned(99, 1)])])
def test_slot_of_another_kind(room, batch):
    """A slot with no events of this release, or with events that do not fit, is a fault and nothing is half done."""
    follower = room.follow()
    room.append(batch)
    with pytest.raises(JournalUnusable, match="slot"):
        room.follow(follower)
    assert state_of(follower.ledger) in (state_of(room.office.ledger), state_of(Ledger(read_pools)))
    assert (follower.slot == 0) == (state_of(follower.ledger) == state_of(Ledger(read_pools)))


def test_broken_snapshot(room):
    """A snapshot that cannot be read is a fault."""
    room.do(room.journal.write_part(1, 1, 0, b"nonsense"))
    room.do(room.journal.publish(1, 1, 1))
    with pytest.raises(JournalUnusable, match="snapshot of slot 1"):
        room.follow()


def test_events_are_counted_as_the_active_server_does(room):
    """A warm standby begins to count anew where the server it follows took its snapshot; a cold one counts its tail."""
    resumed = encode_batch([SessionResumed(1, 1, "192.0.2.1")] * (EVENTS_BETWEEN - 10))
    warm = room.follow()
    before = warm.unsnapped_events
    room.append(resumed)
    room.follow(warm)
    assert warm.unsnapped_events == before + EVENTS_BETWEEN - 10
    room.checkouts(12)
    room.follow(warm)
    assert warm.unsnapped_events <= 12
    assert room.follow().unsnapped_events == before + EVENTS_BETWEEN + 2
