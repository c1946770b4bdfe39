"""What is sent to etcd means to it what it says: a field it did not know would be ignored."""

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor

from licserver.journal.etcd_gateway import Gateway
from licserver.journal.etcd_messages import (
    Compare,
    Range,
    RangeReply,
    Txn,
    TxnReply,
    decode,
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
from licserver.journal.etcd_place import Access
from tests.licserver.journal.etcd_cluster import EtcdCluster

KEY, NONE = b"key", b"none"


@pytest.fixture(scope="module")
def cluster():
    with EtcdCluster(1) as cluster:
        yield cluster


@pytest.mark.etcd
@pytest_twisted.ensureDeferred
async def test_each_compare_holds_and_refuses(cluster: EtcdCluster):
    """Every kind of compare succeeds where it is so and fails where it is not, with each of its operands."""
    gateway = Gateway(reactor, cluster.place("x"), Access())

    async def txn(*compare: Compare, steps=()) -> TxnReply:
        return await gateway.ask("/v3/kv/txn", Txn(list(compare), list(steps), [get(KEY)]), TxnReply)

    at = (await txn(steps=[put(KEY, b"b"), put(b"empty", b"")])).header.revision
    await txn(steps=[put(b"other", b"")])
    holding = [
        (value_is(KEY, b"b"), True),
        (value_is(KEY, b"a"), False),
        (value_is(KEY, b""), False),
        (value_is(b"empty", b""), True),
        (value_is(b"empty", b"a"), False),
        (value_is(NONE, b""), False),
        (value_is_not(KEY, b""), True),
        (value_is_not(b"empty", b""), False),
        (value_is_not(KEY, b"b"), False),
        (value_is_not(NONE, b"b"), False),
        (value_is_below(KEY, b"c"), True),
        (value_is_below(KEY, b"b"), False),
        (value_is_below(KEY, b"a"), False),
        (value_is_below(b"empty", b"a"), True),
        (value_is_below(NONE, b"c"), False),
        (exists(KEY), True),
        (exists(NONE), False),
        (is_absent(NONE), True),
        (is_absent(KEY), False),
        (is_unchanged(KEY, at), True),
        (is_unchanged(KEY, at + 1), False),
        (is_unchanged(KEY, at - 1), False),
        (is_unchanged(NONE, at), False),
    ]
    for compare, holds in holding:
        reply = await txn(compare)
        assert (compare, reply.succeeded) == (compare, holds)
        assert [kv.value for kv in reply.read(0)] == [b"b"] if not holds else reply.responses == []
    assert not (await txn(exists(KEY), exists(NONE), exists(KEY))).succeeded
    await gateway.close()


@pytest.mark.etcd
@pytest_twisted.ensureDeferred
async def test_reads_and_deletes(cluster: EtcdCluster):
    """Limit, revision, keys only and the end of a range are heeded."""
    gateway = Gateway(reactor, cluster.place("x"), Access())

    async def found(request: Range) -> list[tuple[bytes, bytes]]:
        return [(kv.key, kv.value) for kv in (await gateway.ask("/v3/kv/range", request, RangeReply)).kvs]

    written = await gateway.ask("/v3/kv/txn", Txn([], [put(b"r%d" % at, b"v") for at in range(4)]), TxnReply)
    assert await found(Range(b"r0", b"r3")) == [(b"r0", b"v"), (b"r1", b"v"), (b"r2", b"v")]
    assert await found(Range(b"r1", b"s", limit=1)) == [(b"r1", b"v")]
    assert await found(Range(b"r1", b"r2", keys_only=True)) == [(b"r1", b"")]
    await gateway.ask("/v3/kv/txn", Txn([], [delete(b"r0", b"r2"), delete(b"r3")]), TxnReply)
    assert await found(Range(b"r", b"s")) == [(b"r2", b"v")]
    assert len(await found(Range(b"r", b"s", revision=written.header.revision))) == 4
    await gateway.close()


def test_numbers_are_strings_and_zeros_are_left_out():
    """A reply of etcd's is read as it is meant; a step that wrote has read nothing."""
    body = (
        b'{"header":{"cluster_id":"13455796455940752355","revision":"9007199254740993"},"succeeded":true,"responses":['
        b'{"response_put":{"header":{"revision":"2"}}},'
        b'{"response_range":{"kvs":[{"key":"YQ==","mod_revision":"5"}],"count":"1"}}]}'
    )
    reply = decode(body, TxnReply)
    assert (reply.header.cluster_id, reply.header.revision) == ("13455796455940752355", 9007199254740993)
    assert reply.read(0) == []
    (kv,) = reply.read(1)
    assert (kv.key, kv.value, kv.mod_revision, kv.version) == (b"a", b"", 5, 0)
    assert not decode(b'{"header":{}}', TxnReply).succeeded
    with pytest.raises(msgspec.DecodeError):
        decode(b"<html>", TxnReply)
