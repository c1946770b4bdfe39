"""
How do license servers on several machines share a journal in etcd?

Quorum, durability and compare-and-swap are etcd's. The promise is kept by
single transactions (`etcd_statements`) on the keys of `etcd_keys`; this file sends
them, one write at a time, and reads what they say.

An error other than a refusal means that the outcome is unknown, and repeating
the call resolves it, see [Repeating] there.
"""
# ruff: noqa: D102 - `interface.Journal` says what its methods do

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, fail, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger

from licserver.journal import etcd_statements as statements
from licserver.journal.etcd_gateway import PATIENCE_SECONDS, Gateway
from licserver.journal.etcd_keys import ClaimState, Holding, Keys, Published, Record, write
from licserver.journal.etcd_membership import Membership, is_known_dead, own_pid_namespace
from licserver.journal.etcd_messages import (
    Answer,
    Compaction,
    Range,
    TxnReply,
)
from licserver.journal.etcd_reading import Reader
from licserver.journal.etcd_recent import Recent
from licserver.journal.etcd_statements import Fence, Known
from licserver.journal.etcd_watch import ClaimWatch, Listening
from licserver.journal.interface import (
    Claim,
    ClaimMoved,
    Entry,
    JournalError,
    Member,
    SlotRefused,
    Snapshot,
)
from lsproxy.net.reactor import BoottimeReactor

Result = TypeVar("Result")

COMPACT_SECONDS: Final = 60.0
MOST_ROUNDS: Final = 5

log = Logger()


class EtcdJournal:
    """One server's handle on the journal; made by `etcd_opening.open_journal`."""

    def __init__(self, reactor: BoottimeReactor, gateway: Gateway, journal_id: str, server_name: str) -> None:
        self.journal_id = journal_id
        self.server_name = server_name
        self._reactor = reactor
        self._gateway = gateway
        self._keys = Keys(gateway.place.prefix)
        self._reader = Reader(gateway, self._keys)
        self._writing = DeferredLock()
        self._known: Known | None = None
        self._held = Fence(0, None)
        self._seen: ClaimState | None = None
        self._recent = Recent()
        self._watch = ClaimWatch(reactor, gateway, self._keys, self._recent, self._note)
        self._membership = Membership(reactor, gateway, self._keys)
        self._history: tuple[float, int] | None = None
        self._is_closed = False
        gateway.patience_seconds = PATIENCE_SECONDS

    def claim(self) -> Deferred[Claim]:
        async def claim() -> Claim:
            return (await self._look()).claim

        return self._begin(claim)

    def watch(self, listener: Callable[[Claim], None]) -> Listening:
        return self._watch.listen(listener)

    def holder_is_dead(self, claim: Claim) -> bool:
        seen, holder = self._seen, claim.holder
        if holder is None or seen is None or seen.claim.holder != holder:
            return False
        return is_known_dead(holder, seen.pid_namespace)

    def end_holder(self, claim: Claim) -> Deferred[None]:  # noqa: ARG002 - nobody can hold etcd up
        return succeed(None)

    def activate(self, judged: Claim, member: Member, hold_down: float) -> Deferred[Claim]:
        async def activate() -> Claim:
            holding = write(Holding(member, hold_down, own_pid_namespace()))
            reply = await self._reader.txn(statements.activate(self._keys, judged, holding))
            state = statements.claim_in(self._keys, reply, 3 if reply.succeeded else 0)
            self._note(state)
            self._known = Known.of(state)
            claim = state.claim
            if not reply.succeeded and (claim.epoch != judged.epoch + 1 or claim.holder != member):
                holder = "nobody" if claim.holder is None else claim.holder.name
                raise ClaimMoved(
                    f"the name is held by {holder} under epoch {claim.epoch}; the claim judged had {judged.epoch}"
                )
            self._held = Fence(claim.epoch, state.holding)
            return claim

        return self._write(activate)

    def append(self, epoch: int, slot: int, batch: bytes, active_seconds: float) -> Deferred[None]:
        return self._write(lambda: self._append(epoch, slot, batch, active_seconds))

    async def _append(self, epoch: int, slot: int, batch: bytes, active_seconds: float) -> None:
        keys, record = self._keys, Record.of(epoch, batch)
        await self._keep_pieces(epoch, keys.log(slot), record, batch)
        for _ in range(MOST_ROUNDS):
            known = await self._known_now()
            reply = await self._reader.txn(
                statements.append(keys, known, self._fence(epoch), slot, record, active_seconds)
            )
            if reply.succeeded:
                self._confirmed(statements.after_append(known, reply.header.revision, slot, active_seconds))
                return
            state = self._refused(epoch, reply)
            found = statements.only(reply.read(1))
            if found is not None and found.value == record.encode():
                await self._confirm(epoch, active_seconds)
                return
            newest = state.claim.newest_slot
            if found is not None or slot != newest + 1:
                raise SlotRefused(
                    f"slot {slot} cannot be filled under epoch {epoch}: the newest filled slot is {newest}"
                )
        raise self._restless()

    def confirm(self, epoch: int, active_seconds: float) -> Deferred[None]:
        return self._write(lambda: self._confirm(epoch, active_seconds))

    async def _confirm(self, epoch: int, active_seconds: float) -> None:
        for _ in range(MOST_ROUNDS):
            known = await self._known_now()
            reply = await self._reader.txn(statements.confirm(self._keys, known, self._fence(epoch), active_seconds))
            if reply.succeeded:
                slot = known.confirmed.slot
                self._confirmed(statements.after_append(known, reply.header.revision, slot, active_seconds))
                return
            self._refused(epoch, reply)
        raise self._restless()

    def release(self, epoch: int, heir: str | None, active_seconds: float) -> Deferred[None]:
        async def release() -> None:
            for _ in range(MOST_ROUNDS):
                known = await self._known_now()
                reply = await self._reader.txn(
                    statements.release(self._keys, known, self._fence(epoch), heir, active_seconds)
                )
                if reply.succeeded:
                    return
                claim = statements.claim_in(self._keys, reply).claim
                if (claim.epoch, claim.holder, claim.heir) == (epoch, None, heir):
                    return
                self._refused(epoch, reply)
            raise self._restless()

        return self._write(release)

    def read(self, after: int, limit: int) -> Deferred[list[Entry]]:
        async def read() -> list[Entry]:
            sent = self._recent.entries(after, limit)
            if sent:
                await deferLater(self._reactor, 0)
                return sent
            return await self._reader.entries(after, limit)

        return self._begin(read)

    def snapshot(self) -> Deferred[Snapshot | None]:
        return self._begin(self._reader.snapshot)

    def write_part(self, epoch: int, slot: int, number: int, part: bytes) -> Deferred[None]:
        async def write_part() -> None:
            keys, record = self._keys, Record.of(epoch, part)
            await self._keep_pieces(epoch, keys.part(slot, epoch, number), record, part)
            reply = await self._reader.txn(statements.write_part(keys, self._fence(epoch), slot, number, record))
            if reply.succeeded:
                return
            newest = self._refused(epoch, reply).claim.newest_slot
            present = statements.only(reply.read(2))
            if present is None or present.value != record.encode():
                published = statements.published_in(reply, 1).slot
                raise SlotRefused(
                    f"no snapshot of slot {slot} can be written: the newest filled slot is {newest}, "
                    f"published is {published}"
                )

        return self._write(write_part)

    def publish(self, epoch: int, slot: int, parts: int) -> Deferred[None]:
        async def publish() -> None:
            snapshot = await self._write(lambda: self._publish(epoch, slot, parts))
            # One bite at a time, so that an append waits for one bite at most.
            while await self._write(lambda: self._delete_entries(epoch, slot)):
                pass
            await self._write(lambda: self._delete_parts(epoch, snapshot))

        return self._begin(publish)

    async def _publish(self, epoch: int, slot: int, parts: int) -> Published:
        """Let it count; the snapshot that counts now."""
        keys = self._keys
        whole = Range(keys.part(slot, epoch, 0), keys.part(slot, epoch, parts), keys_only=True)
        is_whole = len(await self._reader.range(whole)) == parts
        reply = await self._reader.txn(
            statements.publish(keys, self._fence(epoch), slot, parts) if is_whole else statements.published(keys)
        )
        if is_whole and reply.succeeded:
            return Published(slot, epoch, parts)
        newest = self._refused(epoch, reply).claim.newest_slot
        published = statements.published_in(reply, 1)
        if published.slot < 0 or (published.slot, published.parts) != (slot, parts):
            raise SlotRefused(
                f"the snapshot of slot {slot} cannot be published: some of its {parts} parts are not there, "
                f"or it is not between the published one ({published.slot}) and the newest slot ({newest})"
            )
        return published

    async def _delete_entries(self, epoch: int, slot: int) -> bool:
        """Delete some entries up to `slot`, lowest first and never the newest; False if there are none."""
        keys = self._keys
        kept = min(slot + 1, (await self._look()).claim.newest_slot)
        oldest = await self._reader.range(Range(keys.logs, keys.log(kept), 1, keys_only=True))
        if not oldest:
            return False
        reply = await self._reader.txn(
            statements.delete_entries(keys, self._fence(epoch), keys.slot(oldest[0].key), kept)
        )
        if not reply.succeeded:
            self._refused(epoch, reply)
        return reply.succeeded

    async def _delete_parts(self, epoch: int, snapshot: Published) -> None:
        reply = await self._reader.txn(statements.delete_parts(self._keys, self._fence(epoch), snapshot))
        if not reply.succeeded:
            self._refused(epoch, reply)

    def join(self, member: Member) -> Deferred[None]:
        return self._begin(lambda: self._membership.join(member))

    def leave(self, member: Member) -> Deferred[None]:
        return self._begin(lambda: self._membership.leave(member))

    def members(self) -> Deferred[Sequence[tuple[Member, bool]]]:
        return self._begin(self._membership.members)

    def close(self) -> Deferred[None]:
        async def close() -> None:
            await self._writing.run(lambda: None)  # what is under way comes to its end
            await self._membership.close()
            await self._gateway.close()

        if self._is_closed:
            return succeed(None)
        self._is_closed = True
        self._watch.stop()
        return Deferred.fromCoroutine(close())

    # --- private ---

    def _begin(self, work: Callable[[], Awaitable[Result]]) -> Deferred[Result]:
        async def begin() -> Result:
            return await work()

        if self._is_closed:
            return fail(JournalError(f"the journal {self._gateway.place} is closed"))
        return Deferred.fromCoroutine(begin())

    def _write(self, work: Callable[[], Awaitable[Result]]) -> Deferred[Result]:
        """One write after the other, in the order in which they were asked."""
        if self._is_closed:
            return fail(JournalError(f"the journal {self._gateway.place} is closed"))

        async def write() -> Result:
            return await work()

        done: Deferred[Result] = self._writing.run(lambda: Deferred.fromCoroutine(write()))
        return done

    async def _look(self) -> ClaimState:
        state = await self._reader.claim()
        self._note(state)
        return state

    def _note(self, state: ClaimState) -> None:
        if self._seen is None or state.claim.epoch >= self._seen.claim.epoch:
            self._seen = state

    async def _known_now(self) -> Known:
        if self._known is None:
            self._known = Known.of(await self._look())
        return self._known

    def _refused(self, epoch: int, reply: TxnReply) -> ClaimState:
        """The claim as the refused write has read it. Raises StaleEpoch if that is the reason."""
        state = statements.claim_in(self._keys, reply)
        self._note(state)
        self._known = Known.of(state)
        statements.insist(state.claim, self._fence(epoch), self.server_name)
        return state

    def _fence(self, epoch: int) -> Fence:
        return self._held if self._held.epoch == epoch else Fence(epoch, None)

    def _confirmed(self, known: Known) -> None:
        """The claim was confirmed. Now and then, the history that nobody needs is forgotten."""
        self._known = known
        now = self._reactor.seconds()
        if self._history is None:
            self._history = now, known.revision
        elif now - self._history[0] >= COMPACT_SECONDS:
            asking = self._gateway.ask("/v3/kv/compaction", Compaction(self._history[1]), Answer)
            Deferred.fromCoroutine(asking).addErrback(
                lambda failure: log.warn(
                    "etcd's history was not compacted: {problem}", event="journal_failed", problem=failure.value
                )
            )
            self._history = now, known.revision

    async def _keep_pieces(self, epoch: int, key: bytes, record: Record, content: bytes) -> None:
        """Write what is too long for one value, before the record at `key` is."""
        size = -(-len(content) // max(record.pieces, 1))
        for number in range(record.pieces):
            piece = content[number * size : (number + 1) * size]
            reply = await self._reader.txn(
                statements.write_piece(self._keys, self._fence(epoch), key, record.body, number, piece)
            )
            if not reply.succeeded:
                self._refused(epoch, reply)

    def _restless(self) -> JournalError:
        return JournalError(f"the journal {self._gateway.place} kept changing while it was written")
