"""
What every journal does, whatever keeps it: the promise of `licserver.journal.interface`, as tests.

A test module subclasses `JournalContract` and says how one more handle on the
same store is opened.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from licserver.journal.interface import (
    Claim,
    ClaimMoved,
    Compacted,
    Entry,
    Journal,
    Member,
    SlotRefused,
    StaleEpoch,
)
from licserver.journal.process import this_process

Opener = Callable[[], Awaitable[Journal]]


def member(name: str, start: int = 1) -> Member:
    """A member of that name; `start` tells two starts of it apart."""
    return Member(
        name=name, instance=f"{name}{start:x}".encode().hex().zfill(32), address="h:1", process=this_process()
    )


async def take(journal: Journal, name: str, start: int = 1) -> Claim:
    """The claim after `name` has taken the name, whoever had it."""
    return await journal.activate(await journal.claim(), member(name, start), 5.0)


async def fill(journal: Journal, epoch: int, batches: int) -> int:
    """Append so many batches; the newest slot then."""
    slot = (await journal.claim()).newest_slot
    for _ in range(batches):
        slot += 1
        await journal.append(epoch, slot, b"batch %d" % slot, float(slot))
    return slot


async def settles(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds, for two seconds at most."""
    for _ in range(200):
        if condition():
            return
        await deferLater(reactor, 0.01)
    pytest.fail("it never came to be")


class JournalContract:
    """Every test takes `a` and `b`, two servers' handles on one new journal of "acme"."""

    @pytest.fixture
    def opener(self) -> Opener:
        raise NotImplementedError

    @pytest_twisted.async_yield_fixture
    async def a(self, opener: Opener) -> AsyncIterator[Journal]:
        journal = await opener()
        yield journal
        await journal.close()

    @pytest_twisted.async_yield_fixture
    async def b(self, opener: Opener) -> AsyncIterator[Journal]:
        journal = await opener()
        yield journal
        await journal.close()

    @pytest_twisted.ensureDeferred
    async def test_begins_unclaimed(self, a: Journal, b: Journal) -> None:
        """A new journal is held by nobody, at epoch 0, with slot 0 filled by init, and says the same id to all."""
        assert await b.claim() == Claim(0, None, None, 0, 0.0, 0, 0.0)
        assert await b.read(-1, 10) == [Entry(0, 0, b"")]
        assert await b.snapshot() is None
        assert list(await b.members()) == []
        assert (a.journal_id, a.server_name) == (b.journal_id, "acme")

    @pytest_twisted.ensureDeferred
    async def test_activation(self, a: Journal, b: Journal) -> None:
        """An activation raises the epoch by one and returns the claim that others read."""
        claim = await take(a, "lic-a")
        assert claim == Claim(1, member("lic-a"), None, 0, 0.0, 0, 5.0)
        assert await b.claim() == claim

    @pytest_twisted.ensureDeferred
    async def test_same_server_again(self, a: Journal) -> None:
        """The same server's next activation raises the epoch too, and fences its former self."""
        await take(a, "lic-a", 1)
        assert (await take(a, "lic-a", 2)).epoch == 2
        with pytest.raises(StaleEpoch):
            await a.append(1, 1, b"x", 1.0)

    @pytest_twisted.ensureDeferred
    async def test_claim_moved(self, a: Journal, b: Journal) -> None:
        """Of two that judged the same claim, one takes the name and the other is told that it moved."""
        judged = await a.claim()
        await a.activate(judged, member("lic-a"), 5.0)
        with pytest.raises(ClaimMoved):
            await b.activate(judged, member("lic-b"), 5.0)
        assert (await b.claim()).holder == member("lic-a")

    @pytest_twisted.ensureDeferred
    async def test_claim_moved_by_release(self, a: Journal, b: Journal) -> None:
        """A release moves the claim too: its epoch is the same, its holder is not."""
        judged = await take(a, "lic-a")
        await a.release(1, None, 1.0)
        with pytest.raises(ClaimMoved):
            await b.activate(judged, member("lic-b"), 5.0)
        assert (await b.activate(await b.claim(), member("lic-b"), 5.0)).epoch == 2

    @pytest_twisted.ensureDeferred
    async def test_activation_repeated(self, a: Journal) -> None:
        """The same activation repeated is success and raises nothing a second time."""
        judged = await a.claim()
        first = await a.activate(judged, member("lic-a"), 5.0)
        assert await a.activate(judged, member("lic-a"), 5.0) == first

    @pytest_twisted.ensureDeferred
    async def test_confirmations_do_not_move_the_claim(self, a: Journal, b: Journal) -> None:
        """A claim that was only confirmed since it was judged can be taken; the answer counts what was kept."""
        judged = await take(a, "lic-a")
        await fill(a, 1, 2)
        claim = await b.activate(judged, member("lic-b"), 5.0)
        assert (claim.epoch, claim.newest_slot, claim.active_seconds) == (2, 2, 2.0)

    @pytest_twisted.ensureDeferred
    async def test_append_is_read_by_all(self, a: Journal, b: Journal) -> None:
        """What one appended, the other reads, in order, and the claim says how far it is."""
        await take(a, "lic-a")
        await fill(a, 1, 3)
        assert await b.read(0, 10) == [Entry(slot, 1, b"batch %d" % slot) for slot in (1, 2, 3)]
        assert [entry.slot for entry in await b.read(1, 1)] == [2]
        assert await b.read(3, 10) == []
        claim = await b.claim()
        assert (claim.newest_slot, claim.active_seconds) == (3, 3.0)

    @pytest_twisted.ensureDeferred
    async def test_any_bytes(self, a: Journal, b: Journal) -> None:
        """A batch is bytes: empty, with zeros, or a mebibyte of them."""
        await take(a, "lic-a")
        batches = [b"", b"\0\xff\n'\"", bytes(range(256)) * 4096]
        for slot, batch in enumerate(batches, 1):
            await a.append(1, slot, batch, 0.0)
        assert [entry.batch for entry in await b.read(0, 10)] == batches

    @pytest_twisted.ensureDeferred
    async def test_older_epoch_is_refused(self, a: Journal, b: Journal) -> None:
        """After another took the name, every write under the old epoch is refused and changes nothing."""
        await take(a, "lic-a")
        await fill(a, 1, 1)
        await take(b, "lic-b")
        before = await b.claim()
        for refused in (
            a.append(1, 2, b"x", 9.0),
            a.confirm(1, 9.0),
            a.release(1, None, 9.0),
            a.write_part(1, 1, 0, b"x"),
            a.publish(1, 1, 0),
        ):
            with pytest.raises(StaleEpoch):
                await refused
        assert await b.claim() == before
        assert await b.snapshot() is None

    @pytest_twisted.ensureDeferred
    async def test_kept_but_stale(self, a: Journal, b: Journal) -> None:
        """Also the repetition of a batch that was kept is refused once its epoch is over."""
        await take(a, "lic-a")
        await a.append(1, 1, b"x", 1.0)
        await take(b, "lic-b")
        with pytest.raises(StaleEpoch):
            await a.append(1, 1, b"x", 1.0)

    @pytest_twisted.ensureDeferred
    async def test_epoch_of_the_future(self, a: Journal) -> None:
        """An epoch that nobody has been given writes nothing."""
        await take(a, "lic-a")
        with pytest.raises(StaleEpoch):
            await a.append(2, 1, b"x", 1.0)

    @pytest_twisted.ensureDeferred
    async def test_filled_slot_and_gap(self, a: Journal) -> None:
        """A slot filled with something else, and one after a gap, are refused."""
        await take(a, "lic-a")
        await a.append(1, 1, b"x", 1.0)
        for slot, batch in ((1, b"y"), (3, b"x"), (0, b"x"), (-1, b"x")):
            with pytest.raises(SlotRefused):
                await a.append(1, slot, batch, 2.0)
        assert [entry.batch for entry in await a.read(0, 10)] == [b"x"]

    @pytest_twisted.ensureDeferred
    async def test_filled_by_another_epoch(self, a: Journal, b: Journal) -> None:
        """The same bytes in that slot from another epoch are something else."""
        await take(a, "lic-a")
        await a.append(1, 1, b"x", 1.0)
        await take(b, "lic-b")
        with pytest.raises(SlotRefused):
            await b.append(2, 1, b"x", 1.0)

    @pytest_twisted.ensureDeferred
    async def test_identical_repetition(self, a: Journal) -> None:
        """The same batch to the same slot again is success, is kept once, and confirms the claim."""
        await take(a, "lic-a")
        await a.append(1, 1, b"x", 1.0)
        before = await a.claim()
        await a.append(1, 1, b"x", 1.5)
        after = await a.claim()
        assert [entry.batch for entry in await a.read(0, 10)] == [b"x"]
        assert after.confirmations > before.confirmations
        assert after.active_seconds == 1.5

    @pytest_twisted.ensureDeferred
    async def test_confirmation(self, a: Journal, b: Journal) -> None:
        """Every append and confirmation is seen by others in a number that rises; active seconds never fall."""
        await take(a, "lic-a")
        seen = [(await b.claim()).confirmations]
        for write in (lambda: a.confirm(1, 1.0), lambda: a.append(1, 1, b"x", 2.0), lambda: a.confirm(1, 1.5)):
            await write()
            seen.append((await b.claim()).confirmations)
        assert seen == sorted(set(seen))
        assert (await b.claim()).active_seconds == 2.0

    @pytest_twisted.ensureDeferred
    async def test_release(self, a: Journal, b: Journal) -> None:
        """A released name is held by nobody, its epoch writes nothing more; the next activation forgets the heir."""
        await take(a, "lic-a")
        await a.release(1, "lic-b", 4.0)
        await a.release(1, "lic-b", 4.0)
        claim = await b.claim()
        assert (claim.epoch, claim.holder, claim.heir, claim.active_seconds) == (1, None, "lic-b", 4.0)
        for refused in (a.append(1, 1, b"x", 5.0), a.confirm(1, 5.0), a.release(1, "lic-c", 5.0)):
            with pytest.raises(StaleEpoch):
                await refused
        assert (await take(b, "lic-b")).heir is None

    @pytest_twisted.ensureDeferred
    async def test_watch(self, a: Journal, b: Journal) -> None:
        """A watcher is told the claim as it is, then its changes by others, and nothing after it stopped."""
        seen: list[Claim] = []
        watch = b.watch(seen.append)
        await settles(lambda: seen)
        assert seen[0].epoch == 0
        await take(a, "lic-a")
        await settles(lambda: seen[-1].epoch == 1)
        await a.append(1, 1, b"x", 1.0)
        await settles(lambda: seen[-1].newest_slot == 1)
        watch.stop()
        told = len(seen)
        await a.confirm(1, 2.0)
        await deferLater(reactor, 0.06)
        assert len(seen) == told

    @pytest_twisted.ensureDeferred
    async def test_two_watches(self, a: Journal) -> None:
        """Two watchers of one handle are both told, and one of them may stop itself from within."""
        first: list[Claim] = []
        second: list[Claim] = []
        watches: list[Any] = []

        def once(claim: Claim) -> None:
            first.append(claim)
            watches[0].stop()

        watches.append(a.watch(once))
        a.watch(second.append)
        await take(a, "lic-a")
        await settles(lambda: second and second[-1].epoch == 1)
        assert len(first) == 1

    @pytest_twisted.ensureDeferred
    async def test_parts_alone_are_no_snapshot(self, a: Journal, b: Journal) -> None:
        """Parts are no snapshot before they are published; then they are, whole and in their order."""
        await take(a, "lic-a")
        slot = await fill(a, 1, 3)
        for number in (1, 0, 2):
            await a.write_part(1, slot, number, b"part %d" % number)
        assert await b.snapshot() is None
        assert len(await b.read(0, 10)) == 3
        await a.publish(1, slot, 3)
        found = await b.snapshot()
        assert found is not None
        assert (found.slot, found.parts) == (slot, [b"part 0", b"part 1", b"part 2"])

    @pytest_twisted.ensureDeferred
    async def test_publish_deletes(self, a: Journal, b: Journal) -> None:
        """Publishing deletes the entries the snapshot replaced, and those after it stay."""
        await take(a, "lic-a")
        await fill(a, 1, 5)
        await a.write_part(1, 3, 0, b"p")
        await a.publish(1, 3, 1)
        with pytest.raises(Compacted):
            await b.read(0, 10)
        with pytest.raises(Compacted):
            await b.read(2, 10)
        assert [entry.slot for entry in await b.read(3, 10)] == [4, 5]
        await a.append(1, 6, b"x", 9.0)

    @pytest_twisted.ensureDeferred
    async def test_publish_keeps_the_newest(self, a: Journal, b: Journal) -> None:
        """The newest slot is never deleted, so that the next one knows its number."""
        await take(a, "lic-a")
        slot = await fill(a, 1, 5)
        await a.write_part(1, slot, 0, b"p")
        await a.publish(1, slot, 1)
        assert [entry.slot for entry in await b.read(slot - 1, 10)] == [slot]
        assert await b.read(slot, 10) == []
        assert (await b.claim()).newest_slot == slot
        await a.append(1, slot, b"batch 5", 9.0)
        await a.append(1, slot + 1, b"x", 9.0)

    @pytest_twisted.ensureDeferred
    async def test_many_entries_are_deleted(self, a: Journal) -> None:
        """More entries than one bite are all deleted before publish is done, and appends go on meanwhile."""
        await take(a, "lic-a")
        slot = await fill(a, 1, 2100)
        for number in range(20):
            await a.write_part(1, slot, number, b"p" * 5000)
        publishing = a.publish(1, slot, 20)
        await a.append(1, slot + 1, b"meanwhile", 0.0)
        await publishing
        assert [entry.slot for entry in await a.read(slot, 10)] == [slot + 1]
        with pytest.raises(Compacted):
            await a.read(slot - 2, 10)

    @pytest_twisted.ensureDeferred
    async def test_next_snapshot_replaces(self, a: Journal, b: Journal) -> None:
        """A newer snapshot replaces the older, also by another server; an older one is refused."""
        await take(a, "lic-a")
        await fill(a, 1, 4)
        for slot in (2, 4):
            await a.write_part(1, slot, 0, b"of %d" % slot)
            await a.write_part(1, slot, 1, b"more")
            await a.publish(1, slot, 2)
        with pytest.raises(SlotRefused):
            await a.write_part(1, 3, 0, b"late")
        with pytest.raises(SlotRefused):
            await a.publish(1, 3, 0)
        found = await b.snapshot()
        assert found is not None
        assert (found.slot, found.parts) == (4, [b"of 4", b"more"])

    @pytest_twisted.ensureDeferred
    async def test_snapshot_of_what_is_not_kept(self, a: Journal) -> None:
        """A snapshot of a slot that is not filled yet is refused."""
        await take(a, "lic-a")
        with pytest.raises(SlotRefused):
            await a.write_part(1, 1, 0, b"p")
        with pytest.raises(SlotRefused):
            await a.publish(1, 1, 0)

    @pytest_twisted.ensureDeferred
    async def test_snapshot_with_a_part_missing(self, a: Journal) -> None:
        """A snapshot whose parts are not all there cannot be published, and nothing is deleted."""
        await take(a, "lic-a")
        await fill(a, 1, 3)
        await a.write_part(1, 3, 1, b"p")
        with pytest.raises(SlotRefused):
            await a.publish(1, 3, 2)
        assert len(await a.read(0, 10)) == 3

    @pytest_twisted.ensureDeferred
    async def test_snapshot_with_a_part_of_another_epoch(self, a: Journal, b: Journal) -> None:
        """Parts that a former holder left behind do not count as parts of this one's snapshot."""
        await take(a, "lic-a")
        await fill(a, 1, 3)
        for number in range(3):
            await a.write_part(1, 3, number, b"abandoned")
        await take(b, "lic-b")
        await b.write_part(2, 3, 0, b"own")
        with pytest.raises(SlotRefused):
            await b.publish(2, 3, 2)
        await b.publish(2, 3, 1)
        found = await a.snapshot()
        assert found is not None
        assert found.parts == [b"own"]

    @pytest_twisted.ensureDeferred
    async def test_snapshot_writes_repeated(self, a: Journal) -> None:
        """Parts and publishing repeated are success, also when all was done already."""
        await take(a, "lic-a")
        await fill(a, 1, 2)
        await a.write_part(1, 2, 0, b"p")
        await a.write_part(1, 2, 0, b"q")
        for _ in range(2):
            await a.publish(1, 2, 1)
        await a.write_part(1, 2, 0, b"q")
        with pytest.raises(SlotRefused):
            await a.write_part(1, 2, 0, b"other")
        found = await a.snapshot()
        assert found is not None
        assert found.parts == [b"q"]

    @pytest_twisted.ensureDeferred
    async def test_snapshot_without_parts(self, a: Journal) -> None:
        """A snapshot of nothing is one."""
        await take(a, "lic-a")
        await fill(a, 1, 2)
        await a.publish(1, 2, 0)
        found = await a.snapshot()
        assert found is not None
        assert (found.slot, found.parts) == (2, [])

    @pytest_twisted.ensureDeferred
    async def test_members(self, a: Journal, b: Journal) -> None:
        """Members are listed by name; the next start takes its name's place, and only that start can leave it."""
        for joined in (member("lic-b"), member("lic-a"), member("lic-a", 2)):
            await a.join(joined)
        assert list(await b.members()) == [(member("lic-a", 2), True), (member("lic-b"), True)]
        await b.leave(member("lic-a", 1))
        await b.leave(member("lic-b"))
        assert [found for found, _ in await a.members()] == [member("lic-a", 2)]

    @pytest_twisted.ensureDeferred
    async def test_living_holder(self, a: Journal) -> None:
        """A holder that runs is not dead, and where nobody holds the name nobody is."""
        assert not a.holder_is_dead(await a.claim())
        assert not a.holder_is_dead(await take(a, "lic-a"))

    @pytest_twisted.ensureDeferred
    async def test_end_of_nobody(self, a: Journal) -> None:
        """Where nobody holds the name there is nobody to end."""
        assert await a.end_holder(await a.claim()) is None

    @pytest_twisted.ensureDeferred
    async def test_answers_come_later(self, a: Journal) -> None:
        """No method has its answer before the reactor has turned, so nobody comes to rely on it."""
        answers = [a.claim(), a.read(0, 1), a.members(), a.join(member("lic-a"))]
        assert not any(answer.called for answer in answers)
        for answer in answers:
            await answer

    @pytest_twisted.ensureDeferred
    async def test_order_of_calls(self, a: Journal) -> None:
        """Calls made without waiting are done in the order they were made."""
        await take(a, "lic-a")
        answers = [a.append(1, slot, b"x", 0.0) for slot in range(1, 30)]
        for answer in answers:
            await answer
        assert (await a.claim()).newest_slot == 29

    @pytest_twisted.ensureDeferred
    async def test_reopened(self, a: Journal, opener: Opener) -> None:
        """What was kept is there for a handle that is opened later."""
        claim = await take(a, "lic-a")
        await fill(a, 1, 2)
        later = await opener()
        expected = msgspec.structs.replace(claim, newest_slot=2, confirmations=2, active_seconds=2.0)
        assert await later.claim() == expected
        await later.close()
