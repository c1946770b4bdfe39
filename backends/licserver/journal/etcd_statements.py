"""
What are the journal's writes as transactions of etcd?

Every one compares the epoch and that the name is not given up, and writes, in
one step. Where a compare did not hold, its other branch has read why at the
same revision.

[Repeating] A transaction whose outcome is unknown may still be under way, in a
member that stands still, and be carried out much later. None does harm then:
a slot can be filled once, the epoch and the release only go on, and
whatever confirms the claim compares when it was confirmed last.
So the way out of an unknown outcome is to ask the same again: what is found
done is success.
"""

from typing import Final

import msgspec

from licserver.journal.etcd_keys import (
    ClaimState,
    Confirmed,
    GivenUp,
    Holding,
    Keys,
    Published,
    Record,
    claim_state,
    end_of,
    read,
    write,
)
from licserver.journal.etcd_messages import (
    Compare,
    KeyValue,
    RequestOp,
    Txn,
    TxnReply,
    delete,
    exists,
    get,
    is_absent,
    is_unchanged,
    put,
    value_is,
    value_is_below,
    value_is_not,
)
from licserver.journal.interface import Claim, StaleEpoch

BITE: Final = 1000


class Fence(msgspec.Struct, frozen=True):
    """
    Under what a server writes: its `epoch`, and what its activation wrote to `claim/holding`, None where it was not
    this handle's. By the epoch alone a server of before a restored copy could be taken for the holder of after it.
    """

    epoch: int
    holding: bytes | None


class Known(msgspec.Struct, frozen=True):
    """What a writer knows of `claim/confirmed`: when it was written last, and what it says."""

    revision: int
    confirmed: Confirmed

    @classmethod
    def of(cls, state: ClaimState) -> "Known":
        """From what was read."""
        return cls(state.revision, Confirmed(state.claim.active_seconds, state.claim.newest_slot))


def fenced(keys: Keys, fence: Fence) -> list[Compare]:
    """What every write compares."""
    held = [] if fence.holding is None else [value_is(keys.holding, fence.holding)]
    return [value_is(keys.epoch, b"%d" % fence.epoch), value_is(keys.given_up, b""), *held]


def insist(claim: Claim, fence: Fence, server_name: str) -> None:
    """Raise StaleEpoch unless the name is held as `fence` says: the reason where a write was refused."""
    epoch = fence.epoch
    if claim.epoch != epoch:
        raise StaleEpoch(f"epoch {epoch} is over: {server_name} is at epoch {claim.epoch}")
    if claim.holder is None:
        raise StaleEpoch(f"epoch {epoch} is over: the name {server_name} was given up")
    if fence.holding is not None and read(fence.holding, Holding).holder != claim.holder:
        raise StaleEpoch(f"epoch {epoch} is {claim.holder.name}'s in this journal, which is a copy of an older one")


def activate(keys: Keys, judged: Claim, holding: bytes) -> Txn:
    """
    See `interface.Journal.activate`; `holding` is the new Holding. Either branch reads the claim, the first one as it
    is written.
    """
    is_held = value_is if judged.holder is not None else value_is_not
    return Txn(
        [value_is(keys.epoch, b"%d" % judged.epoch), is_held(keys.given_up, b"")],
        [
            put(keys.epoch, b"%d" % (judged.epoch + 1)),
            put(keys.holding, holding),
            put(keys.given_up, b""),
            _get_claim(keys),
        ],
        [_get_claim(keys)],
    )


def append(keys: Keys, known: Known, fence: Fence, slot: int, record: Record, active_seconds: float) -> Txn:
    """See `interface.Journal.append`. Refused, it reads the claim, then the slot."""
    return Txn(
        [
            *fenced(keys, fence),
            is_unchanged(keys.confirmed, known.revision),
            is_absent(keys.log(slot)),
            exists(keys.log(slot - 1)),
        ],
        [put(keys.log(slot), record.encode()), put(keys.confirmed, write(_later(known, active_seconds, slot)))],
        [_get_claim(keys), get(keys.log(slot))],
    )


def confirm(keys: Keys, known: Known, fence: Fence, active_seconds: float) -> Txn:
    """See `interface.Journal.confirm`. Refused, it reads the claim."""
    return Txn(
        [*fenced(keys, fence), is_unchanged(keys.confirmed, known.revision)],
        [put(keys.confirmed, write(_later(known, active_seconds, known.confirmed.slot)))],
        [_get_claim(keys)],
    )


def release(keys: Keys, known: Known, fence: Fence, heir: str | None, active_seconds: float) -> Txn:
    """See `interface.Journal.release`. Refused, it reads the claim."""
    return Txn(
        [*fenced(keys, fence), is_unchanged(keys.confirmed, known.revision)],
        [
            put(keys.given_up, write(GivenUp(heir))),
            put(keys.confirmed, write(_later(known, active_seconds, known.confirmed.slot))),
        ],
        [_get_claim(keys)],
    )


def write_piece(keys: Keys, fence: Fence, key: bytes, digest: bytes, number: int, piece: bytes) -> Txn:
    """Keep one piece of a long record, before the record at `key` is written. Refused, it reads the claim."""
    return Txn(fenced(keys, fence), [put(keys.piece(key, digest, number), piece)], [_get_claim(keys)])


def write_part(keys: Keys, fence: Fence, slot: int, number: int, record: Record) -> Txn:
    """See `interface.Journal.write_part`. Refused, it reads the claim, then what was published, then that part."""
    part = keys.part(slot, fence.epoch, number)
    return Txn(
        [*fenced(keys, fence), *_may_be_published(keys, slot)],
        [put(part, record.encode())],
        [_get_claim(keys), get(keys.published), get(part)],
    )


def publish(keys: Keys, fence: Fence, slot: int, parts: int) -> Txn:
    """
    Let the snapshot of `slot` be the one that counts, once its parts are there; deletes nothing yet.

    Parts cannot vanish before it: only a later snapshot's publishing lets them be
    deleted, and then this one is refused. Refused, it reads the claim, then what was published.
    """
    return Txn(
        [*fenced(keys, fence), *_may_be_published(keys, slot)],
        [put(keys.published, Published(slot, fence.epoch, parts).encode())],
        [_get_claim(keys), get(keys.published)],
    )


def look(keys: Keys) -> Txn:
    """
    Reads the claim, as a transaction that might write: those are decided by the majority at once, while a member
    in which a read was under way when the leader died lets no other read through for seven seconds.
    """
    nothing = keys.root + b"nothing"
    return Txn([exists(nothing)], [delete(nothing), _get_claim(keys)], [_get_claim(keys)])


def published(keys: Keys) -> Txn:
    """Reads the claim, then what was published."""
    return Txn([], [_get_claim(keys), get(keys.published)])


def delete_entries(keys: Keys, fence: Fence, first: int, kept: int) -> Txn:
    """Delete some slots from `first` on, all below `kept`, which is there. Refused, it reads the claim."""
    up_to = min(first + BITE, kept)
    long = keys.big(keys.logs)
    return Txn(
        [*fenced(keys, fence), exists(keys.log(kept))],
        [delete(keys.log(first), keys.log(up_to)), delete(long, keys.big(keys.log(up_to)))],
        [_get_claim(keys)],
    )


def delete_parts(keys: Keys, fence: Fence, snapshot: Published) -> Txn:
    """Delete all parts that are older than the published `snapshot`'s, or beyond it. Refused, it reads the claim."""
    of_slot = keys.parts(snapshot.slot)
    own = keys.parts(snapshot.slot, snapshot.epoch)
    beyond = keys.part(snapshot.slot, snapshot.epoch, snapshot.parts)
    ranges = [(keys.all_parts, own), (beyond, end_of(own)), (end_of(own), end_of(of_slot))]
    steps = [delete(start, end) for start, end in ranges]
    steps += [delete(keys.big(start), keys.big(end)) for start, end in ranges]
    return Txn([*fenced(keys, fence), value_is(keys.published, snapshot.encode())], steps, [_get_claim(keys)])


def claim_seen(reply: TxnReply) -> list[KeyValue]:
    """What `look` has read."""
    return reply.read(-1)


def claim_in(keys: Keys, reply: TxnReply, step: int = 0) -> ClaimState:
    """The claim that a step of a transaction has read."""
    return claim_state(keys, reply.read(step))


def only(found: list[KeyValue]) -> KeyValue | None:
    """The key that was read, if it is there."""
    return found[0] if found else None


def published_in(reply: TxnReply, step: int) -> Published:
    """What was published, as a step of a transaction has read it."""
    found = only(reply.read(step))
    return Published() if found is None else Published.decode(found.value)


def after_append(known: Known, revision: int, slot: int, active_seconds: float) -> Known:
    """What is known when `append` or `confirm` succeeded at that revision."""
    return Known(revision, _later(known, active_seconds, slot))


def _later(known: Known, active_seconds: float, slot: int) -> Confirmed:
    return Confirmed(max(active_seconds, known.confirmed.active_seconds), slot)


def _may_be_published(keys: Keys, slot: int) -> list[Compare]:
    """The slot is filled, and newer than what is published (whose record begins with its slot)."""
    return [exists(keys.log(slot)), value_is_below(keys.published, b"%020d" % max(slot, 0))]


def _get_claim(keys: Keys) -> RequestOp:
    return get(keys.claim, end_of(keys.claim))
