"""
How are the claim, the entries and the snapshot read from etcd?

An answer is asked for in so many keys as made about `ANSWER_BYTES` the last
time: etcd would send everything at once, and a large answer takes longer than the
limit of a call.
"""

from typing import Final

from licserver.journal import etcd_statements as statements
from licserver.journal.etcd_gateway import Gateway, Refused
from licserver.journal.etcd_keys import ClaimState, Keys, Published, Record, claim_state, end_of
from licserver.journal.etcd_messages import KeyValue, Range, RangeReply, Txn, TxnReply
from licserver.journal.interface import Compacted, Entry, JournalError, Snapshot

ANSWER_BYTES: Final = 2 * 1024 * 1024
FIRST_KEYS: Final = 64
MOST_KEYS: Final = 1000
MOST_ROUNDS: Final = 5

_OUT_OF_RANGE: Final = 11  # gRPC: the revision was compacted


class Reader:
    """Reads the journal under some keys."""

    def __init__(self, gateway: Gateway, keys: Keys) -> None:
        self._gateway = gateway
        self._keys = keys
        self._page = FIRST_KEYS

    async def claim(self) -> ClaimState:
        """The claim as it is."""
        return claim_state(self._keys, statements.claim_seen(await self.txn(statements.look(self._keys))))

    async def range(self, request: Range) -> list[KeyValue]:
        """The keys of a range. Raises Compacted where etcd has forgotten that revision."""
        return (await self._range(request)).kvs

    async def entries(self, after: int, limit: int) -> list[Entry]:
        """See `interface.Journal.read`."""
        keys = self._keys
        reply = await self._range(Range(keys.log(after + 1), end_of(keys.logs), min(limit, self._page)))
        self._learn(reply.kvs)
        if reply.kvs and keys.slot(reply.kvs[0].key) != after + 1:
            oldest = keys.slot(reply.kvs[0].key)
            raise Compacted(f"slot {after + 1} was deleted, the oldest is {oldest}; begin with the snapshot")
        entries = []
        for kv in reply.kvs:
            record = Record.decode(kv.value)
            content = await self._content(kv.key, record, reply.header.revision)
            entries.append(Entry(keys.slot(kv.key), record.epoch, content))
        return entries

    async def snapshot(self) -> Snapshot | None:
        """See `interface.Journal.snapshot`."""
        for _ in range(MOST_ROUNDS):
            reply = await self._gateway.ask("/v3/kv/txn", statements.published(self._keys), TxnReply)
            published = statements.published_in(reply, 1)
            if published.slot < 0:
                return None
            try:
                return await self._snapshot(published, reply.header.revision)
            except Compacted:
                continue
        raise JournalError(f"the journal {self._gateway.place} kept changing while its snapshot was read")

    async def txn(self, txn: Txn) -> TxnReply:
        """What a transaction says."""
        return await self._gateway.ask("/v3/kv/txn", txn, TxnReply)

    async def _snapshot(self, published: Published, revision: int) -> Snapshot:
        """As it was at that revision. Raises Compacted."""
        first = self._keys.part(published.slot, published.epoch, 0)
        end = self._keys.part(published.slot, published.epoch, published.parts)
        parts: list[bytes] = []
        while len(parts) < published.parts:
            found = await self.range(Range(first, end, self._page, revision))
            self._learn(found)
            if not found:
                raise JournalError(f"the snapshot of slot {published.slot} lacks part {len(parts)}")
            parts += [await self._content(kv.key, Record.decode(kv.value), revision) for kv in found]
            first = found[-1].key + b"\0"
        return Snapshot(published.slot, parts)

    async def _content(self, key: bytes, record: Record, revision: int) -> bytes:
        """What the record at `key` stands for. Raises Compacted where its pieces were deleted."""
        if not record.pieces:
            return record.body
        pieces = []
        for number in range(record.pieces):
            found = statements.only(
                await self.range(Range(self._keys.piece(key, record.body, number), revision=revision))
            )
            if found is None:
                raise Compacted(f"the pieces of {key.decode()} are not there any more")
            pieces.append(found.value)
        return b"".join(pieces)

    async def _range(self, request: Range) -> RangeReply:
        try:
            return await self._gateway.ask("/v3/kv/range", request, RangeReply)
        except Refused as problem:
            if problem.code == _OUT_OF_RANGE:
                raise Compacted(str(problem)) from problem
            raise
        except JournalError:
            self._page = max(1, self._page // 4)  # it may have been too much for one answer
            raise

    def _learn(self, found: list[KeyValue]) -> None:
        """How many keys to ask for next time."""
        if found:
            size = 1 + sum(len(kv.value) for kv in found)
            self._page = max(1, min(MOST_KEYS, 4 * self._page, len(found) * ANSWER_BYTES // size))
