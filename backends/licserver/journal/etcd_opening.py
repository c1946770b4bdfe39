"""
How does a journal come to be in etcd, and is what is there a journal of this server?

The id of the cluster is noted in the journal: keys that were copied into
another cluster are refused until a person accepts them, because the original
may be in use.
"""

import secrets

from licserver.journal.etcd import EtcdJournal
from licserver.journal.etcd_gateway import Gateway
from licserver.journal.etcd_keys import (
    SCHEMA,
    Confirmed,
    GivenUp,
    Holding,
    Keys,
    Meta,
    Record,
    claim_state,
    end_of,
    read,
    write,
)
from licserver.journal.etcd_messages import Range, RangeReply, Txn, TxnReply, get, is_absent, put, value_is
from licserver.journal.etcd_place import Access, EtcdPlace
from licserver.journal.interface import JournalError, JournalUnusable
from lsproxy.net.reactor import BoottimeReactor

_PRODUCT = "licserver"


async def create(reactor: BoottimeReactor, place: EtcdPlace, access: Access, server_name: str) -> str:
    """
    Make a journal of `server_name` under a prefix where nothing is yet; its id.

    Raises JournalUnusable where something is, JournalError where the cluster does not answer.
    """
    gateway = Gateway(reactor, place, access)
    try:
        return await _create(gateway, Keys(place.prefix), server_name)
    finally:
        await gateway.close()


async def open_journal(reactor: BoottimeReactor, place: EtcdPlace, access: Access, server_name: str) -> EtcdJournal:
    """
    The journal of `server_name` under a prefix.

    Raises JournalUnusable if there is none, if it is a copy, of a newer schema or
    another name, or if the cluster does not answer or lets this server not in.
    """
    gateway = Gateway(reactor, place, access)
    try:
        meta = await _examine(gateway, Keys(place.prefix), server_name)
    except JournalUnusable:
        await gateway.close()
        raise
    except JournalError as error:
        await gateway.close()
        raise JournalUnusable(str(error)) from error
    return EtcdJournal(reactor, gateway, meta.journal_id, server_name)


async def accept_copy(reactor: BoottimeReactor, place: EtcdPlace, access: Access) -> None:
    """
    Go on from the journal although its keys were copied from another cluster; nothing to do if they were not.

    Raises JournalError. What else is wrong with it, `open_journal` says.
    """
    gateway, keys = Gateway(reactor, place, access), Keys(place.prefix)
    try:
        found = await gateway.ask("/v3/kv/range", Range(keys.place), RangeReply)
        if found.kvs and found.kvs[0].value.decode() != gateway.cluster_id:
            await _refuse_in_use(gateway, keys)
            await gateway.ask("/v3/kv/txn", Txn([], [put(keys.place, gateway.cluster_id.encode())]), TxnReply)
    finally:
        await gateway.close()


async def raise_epoch(reactor: BoottimeReactor, place: EtcdPlace, access: Access, epoch: int) -> None:
    """
    Let the epochs of a journal that was restored go on above `epoch`, so that none is ever used twice.

    Raises JournalUnusable while anybody uses it, JournalError.
    """
    gateway, keys = Gateway(reactor, place, access), Keys(place.prefix)
    try:
        await _refuse_in_use(gateway, keys)
        found = await gateway.ask("/v3/kv/range", Range(keys.claim, end_of(keys.claim)), RangeReply)
        now = claim_state(keys, found.kvs).claim.epoch
        if now < epoch:
            raised = [put(keys.epoch, b"%d" % epoch), put(keys.given_up, write(GivenUp()))]
            reply = await gateway.ask("/v3/kv/txn", Txn([value_is(keys.epoch, b"%d" % now)], raised), TxnReply)
            if not reply.succeeded:
                raise JournalUnusable(f"{place} came into use meanwhile; stop the license servers that use it first")
    finally:
        await gateway.close()


async def _create(gateway: Gateway, keys: Keys, server_name: str) -> str:
    found = await gateway.ask("/v3/kv/range", Range(keys.root, end_of(keys.root), 1, keys_only=True), RangeReply)
    if found.kvs:
        raise JournalUnusable(
            f"{gateway.place} is not empty, and a journal is never overwritten; choose another prefix, "
            "or remove what is under this one with etcdctl"
        )
    meta = Meta(_PRODUCT, SCHEMA, secrets.token_hex(16), server_name)
    written = [
        put(keys.meta, write(meta)),
        put(keys.place, gateway.cluster_id.encode()),
        put(keys.epoch, b"0"),
        put(keys.holding, write(Holding(None))),
        put(keys.given_up, write(GivenUp())),
        put(keys.confirmed, write(Confirmed(0.0, 0))),
        put(keys.log(0), Record(0, 0, b"").encode()),
        put(keys.published, b""),
    ]
    reply = await gateway.ask("/v3/kv/txn", Txn([is_absent(keys.meta)], written, [get(keys.meta)]), TxnReply)
    if not reply.succeeded and read(reply.read(0)[0].value, Meta) != meta:
        raise JournalUnusable(f"{gateway.place} has just been made by another `licserver init`")
    return meta.journal_id


async def _examine(gateway: Gateway, keys: Keys, server_name: str) -> Meta:
    reply = await gateway.ask("/v3/kv/txn", Txn([], [get(keys.meta), get(keys.place)]), TxnReply)
    if not reply.read(0) or not reply.read(1):
        raise JournalUnusable(
            f"there is no journal in {gateway.place}; `licserver init -c FILE` makes one, once, "
            "on a host that the license file names"
        )
    try:
        meta = read(reply.read(0)[0].value, Meta)
    except JournalUnusable as error:
        raise JournalUnusable(f"what is in {gateway.place} is no journal of a license server") from error
    if meta.product != _PRODUCT:
        raise JournalUnusable(f"what is in {gateway.place} is {meta.product}'s, no journal of a license server")
    if meta.schema != SCHEMA:
        raise JournalUnusable(
            f"the journal {gateway.place} has schema {meta.schema}, "
            f"this release reads {SCHEMA}; use the release it is of"
        )
    if meta.server_name != server_name:
        raise JournalUnusable(f"the journal {gateway.place} belongs to {meta.server_name}, not to {server_name}")
    if reply.read(1)[0].value.decode() != gateway.cluster_id:
        raise JournalUnusable(
            f"{gateway.place} is a copy of a journal from another etcd cluster, and the original may be in use; "
            "if it is not, `licserver journal accept -c FILE` goes on from this one knowingly"
        )
    return meta


async def _refuse_in_use(gateway: Gateway, keys: Keys) -> None:
    found = await gateway.ask("/v3/kv/range", Range(keys.lives, end_of(keys.lives)), RangeReply)
    if found.kvs:
        names = ", ".join(kv.key.removeprefix(keys.lives).decode() for kv in found.kvs)
        raise JournalUnusable(f"{gateway.place} is in use by {names}; stop the license servers that use it first")
