"""The journal in etcd while members of the cluster stand still, die and forget."""

import signal
import socket
from itertools import pairwise

import msgspec
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from licserver.journal.etcd_keys import Keys, Record
from licserver.journal.etcd_messages import Answer, Compaction, Lease, encode
from licserver.journal.etcd_statements import append
from licserver.journal.etcd_watch import ClaimWatch
from licserver.journal.interface import Claim, JournalError, Process, SlotRefused, StaleEpoch
from lsproxy.net.address import Address
from tests.contract.journal import fill, member, take
from tests.licserver.journal.etcd_cluster import EtcdCluster
from tests.licserver.journal.etcd_journals import eventually, new_journal, through

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def running():
    with EtcdCluster(3) as cluster:
        yield cluster


@pytest.fixture
def cluster(running: EtcdCluster):
    """The cluster whole, whatever was done to it before."""
    running.restore()
    return running


def parted(cluster: EtcdCluster) -> tuple[int, list[int]]:
    """A member that does not lead, and the two others."""
    leader = cluster.leader()
    assert leader is not None
    follower = (leader + 1) % 3
    return follower, [at for at in range(3) if at != follower]


class Unanswered:
    """A request on a connection that stays open, so that nobody takes back what was sent."""

    def __init__(self) -> None:
        self._connection = socket.socket()

    def send(self, address: Address, request: msgspec.Struct) -> None:
        self._connection.connect((address.host, address.port))
        body = encode(request)
        head = b"POST /v3/kv/txn HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._connection.sendall(head + body)
        self._connection.setblocking(False)

    def is_answered(self) -> bool:
        try:
            return bool(self._connection.recv(1))
        except BlockingIOError:
            return False

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def unanswered():
    request = Unanswered()
    yield request
    request.close()


async def given_up(cluster: EtcdCluster, prefix: str, follower: int, batch: bytes, unanswered: Unanswered) -> None:
    """An append to slot 1 under epoch 1, sent through a member that stands still, whose sender gives it up."""
    lost = await through(cluster, [follower], prefix)
    await lost.confirm(1, 0.5)
    cluster.members[follower].signal(signal.SIGSTOP)
    await eventually(lambda: cluster.members[follower].is_stopped)
    txn = append(Keys(prefix), await lost._known_now(), lost._fence(1), 1, Record.of(1, batch), 1.0)
    unanswered.send(cluster.addresses[follower], txn)
    with pytest.raises(JournalError) as unknown:
        await lost.append(1, 1, batch, 1.0)
    assert type(unknown.value) is JournalError
    await lost.close()


async def catches_up(cluster: EtcdCluster, follower: int, unanswered: Unanswered) -> None:
    """The member goes on, and answers what had reached it."""
    cluster.members[follower].signal(signal.SIGCONT)
    await eventually(unanswered.is_answered)
    await deferLater(reactor, 0.2)


@pytest_twisted.ensureDeferred
async def test_what_was_given_up_may_still_be_done(cluster: EtcdCluster, unanswered: Unanswered):
    """Why the next tests are needed: nobody having asked again, the batch is kept when the member goes on."""
    follower, others = parted(cluster)
    prefix = await new_journal(cluster)
    journal = await through(cluster, others, prefix)
    await take(journal, "lic-a")
    await given_up(cluster, prefix, follower, b"late", unanswered)
    assert await journal.read(0, 10) == []
    await catches_up(cluster, follower, unanswered)
    assert [entry.batch for entry in await journal.read(0, 10)] == [b"late"]
    await journal.close()


@pytest_twisted.ensureDeferred
async def test_given_up_then_taken_over(cluster: EtcdCluster, unanswered: Unanswered):
    """A batch that was given up is never applied once another server has taken the name."""
    follower, others = parted(cluster)
    prefix = await new_journal(cluster)
    journal = await through(cluster, others, prefix)
    await take(journal, "lic-a")
    await given_up(cluster, prefix, follower, b"late", unanswered)
    claim = await take(journal, "lic-b")
    assert claim.newest_slot == 0
    await catches_up(cluster, follower, unanswered)
    assert await journal.read(0, 10) == []
    await journal.append(2, 1, b"own", 2.0)
    assert [entry.batch for entry in await journal.read(0, 10)] == [b"own"]
    await journal.close()


@pytest_twisted.ensureDeferred
async def test_given_up_then_released(cluster: EtcdCluster, unanswered: Unanswered):
    """Nor is it once the name was given up under the same epoch."""
    follower, others = parted(cluster)
    prefix = await new_journal(cluster)
    journal = await through(cluster, others, prefix)
    await take(journal, "lic-a")
    await given_up(cluster, prefix, follower, b"late", unanswered)
    await journal.release(1, None, 1.0)
    await catches_up(cluster, follower, unanswered)
    assert await journal.read(0, 10) == []
    await journal.close()


@pytest.mark.parametrize("batch", [b"late", b"another"])
@pytest_twisted.ensureDeferred
async def test_resolved_by_the_same_slot(cluster: EtcdCluster, unanswered: Unanswered, batch: bytes):
    """Asked again through other members, the slot is filled once, by what was asked then; late copies do nothing."""
    follower, others = parted(cluster)
    prefix = await new_journal(cluster)
    journal = await through(cluster, others, prefix)
    await take(journal, "lic-a")
    await given_up(cluster, prefix, follower, b"late", unanswered)
    await journal.append(1, 1, batch, 2.0)
    await journal.append(1, 2, b"next", 3.0)
    await catches_up(cluster, follower, unanswered)
    assert [(entry.slot, entry.batch) for entry in await journal.read(0, 10)] == [(1, batch), (2, b"next")]
    claim = await journal.claim()
    assert (claim.newest_slot, claim.active_seconds, claim.confirmations) == (2, 3.0, 3)
    await journal.close()


@pytest_twisted.ensureDeferred
async def test_stopped_member_is_passed_over(cluster: EtcdCluster):
    """A call goes on to the next member when the first one stands still, within half a second."""
    follower, others = parted(cluster)
    prefix = await new_journal(cluster)
    journal = await through(cluster, [follower, *others], prefix)
    await take(journal, "lic-a")
    cluster.members[follower].signal(signal.SIGSTOP)
    await eventually(lambda: cluster.members[follower].is_stopped)
    began = reactor.seconds()
    await journal.append(1, 1, b"x", 1.0)
    assert 0.2 < reactor.seconds() - began < 0.6
    began = reactor.seconds()
    await journal.append(1, 2, b"x", 1.0)
    assert reactor.seconds() - began < 0.2
    cluster.members[follower].signal(signal.SIGCONT)
    await journal.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest_twisted.ensureDeferred
async def test_leader_lost(cluster: EtcdCluster, number: signal.Signals):
    """Appends repeated while the leader dies or hangs go on with the next one; every batch is kept once, in order."""
    leader = cluster.leader()
    assert leader is not None
    prefix = await new_journal(cluster)
    journal = await through(cluster, [leader, (leader + 1) % 3, (leader + 2) % 3], prefix)
    await take(journal, "lic-a")
    for slot in range(1, 60):
        if slot == 30:
            cluster.members[leader].signal(number)
        await until_kept(journal, slot, b"batch %d" % slot)
    assert [entry.batch for entry in await journal.read(0, 59)] == [b"batch %d" % slot for slot in range(1, 60)]
    await journal.close()


async def until_kept(journal, slot: int, batch: bytes) -> None:
    """Append as a tenure does: the same again as long as the outcome is unknown."""
    end = reactor.seconds() + 8
    while reactor.seconds() < end:
        try:
            await journal.append(1, slot, batch, float(slot))
        except (StaleEpoch, SlotRefused):
            raise
        except JournalError:
            await deferLater(reactor, 0.01)
        else:
            return
    pytest.fail(f"slot {slot} was not filled within 8 s")


@pytest_twisted.ensureDeferred
async def test_without_a_majority(cluster: EtcdCluster):
    """With one member of three nothing is kept and nothing is said; both go on when the second one is back."""
    prefix = await new_journal(cluster)
    journal = await through(cluster, [0, 1, 2], prefix)
    await take(journal, "lic-a")
    for at in (1, 2):
        cluster.members[at].kill()
    for refused in (journal.append(1, 1, b"x", 1.0), journal.claim()):
        with pytest.raises(JournalError):
            await refused
    cluster.members[1].start()
    await until_kept(journal, 1, b"x")
    assert (await journal.claim()).newest_slot == 1
    await journal.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest_twisted.ensureDeferred
async def test_watch_outlives_its_member(cluster: EtcdCluster, number: signal.Signals):
    """The member that a watch comes from dies or hangs: what happens meanwhile is told by the next one."""
    follower, others = parted(cluster)
    prefix = await new_journal(cluster)
    journal, standby = await through(cluster, others, prefix), await through(cluster, [follower, *others], prefix)
    seen: list[Claim] = []
    standby.watch(seen.append)
    await take(journal, "lic-a")
    await eventually(lambda: seen and seen[-1].epoch == 1)
    cluster.members[follower].signal(number)
    await fill(journal, 1, 5)
    await eventually(lambda: seen[-1].newest_slot == 5, 3.0)
    assert len(await standby.read(0, 5)) == 5
    await fill(journal, 1, 1)
    await eventually(lambda: seen[-1].newest_slot == 6, 3.0)
    assert all(before.newest_slot <= after.newest_slot for before, after in pairwise(seen))
    for each in (journal, standby):
        await each.close()


@pytest_twisted.ensureDeferred
async def test_watch_that_was_compacted_begins_anew(cluster: EtcdCluster):
    """Etcd cancels a watch from a revision it has forgotten and leaves the stream open; it is not waited for."""
    prefix = await new_journal(cluster)
    journal = await through(cluster, [0], prefix)
    await take(journal, "lic-a")
    await fill(journal, 1, 3)
    gateway = journal._gateway
    await gateway.ask("/v3/kv/compaction", Compaction(gateway.revision), Answer)
    seen: list[Claim] = []
    late = ClaimWatch(reactor, gateway, Keys(prefix), journal._recent, lambda _: None)
    listening = late.listen(seen.append)
    await eventually(lambda: seen and late._stream is not None)
    following = Deferred.fromCoroutine(late._follow(2))
    with pytest.raises(JournalError):
        await following.addTimeout(2.0, reactor)
    listening.stop()
    await journal.close()


@pytest_twisted.ensureDeferred
async def test_entries_that_were_sent_need_not_be_read(cluster: EtcdCluster):
    """A standby that follows has the newest entries already, and reads those it has not."""
    prefix = await new_journal(cluster)
    journal, standby = await through(cluster, [0], prefix), await through(cluster, [1], prefix)
    await take(journal, "lic-a")
    await fill(journal, 1, 3)
    seen: list[Claim] = []
    standby.watch(seen.append)
    await eventually(lambda: seen)
    await fill(journal, 1, 3)
    await eventually(lambda: seen[-1].newest_slot == 6)
    assert len(standby._recent.entries(3, 3)) == 3
    assert standby._recent.entries(2, 3) == []
    assert await standby.read(0, 6) == await journal.read(0, 6)
    assert await standby.read(4, 2) == await journal.read(4, 2)
    for each in (journal, standby):
        await each.close()


@pytest_twisted.ensureDeferred
async def test_history_is_forgotten(cluster: EtcdCluster):
    """The holder lets etcd forget what keys were long ago; otherwise its confirmations alone would fill the quota."""
    prefix = await new_journal(cluster)
    journal = await through(cluster, [0], prefix)
    await take(journal, "lic-a")
    await journal.confirm(1, 1.0)
    noted = journal._history
    assert noted is not None
    await fill(journal, 1, 5)
    journal._history = noted[0] - 61, noted[1] + 3
    await journal.confirm(1, 2.0)
    key = {"key": "L2E="}
    await eventually(lambda: cluster.call(1, "/v3/kv/range", {**key, "revision": noted[1] + 2}) is None)
    assert cluster.call(1, "/v3/kv/range", {**key, "revision": noted[1] + 3}) is not None
    assert len(await journal.read(0, 5)) == 5
    await journal.close()


@pytest_twisted.ensureDeferred
async def test_sign_of_life(cluster: EtcdCluster):
    """A member elsewhere runs as long as its sign of life is there; a lease that was lost is replaced."""
    prefix = await new_journal(cluster)
    journal, other = await through(cluster, [0], prefix), await through(cluster, [1], prefix)
    elsewhere = member("lic-b").__class__("lic-b", "b" * 32, "h:1", Process(1, 1, "another boot"))
    await other.join(elsewhere)
    assert list(await journal.members()) == [(elsewhere, True)]
    await other._gateway.ask("/v3/lease/revoke", Lease(other._membership._lease), Answer)
    assert list(await journal.members()) == [(elsewhere, False)]
    await other._membership._keep_alive()
    assert list(await journal.members()) == [(elsewhere, True)]
    await other.close()
    assert list(await journal.members()) == [(elsewhere, False)]
    await journal.close()


@pytest_twisted.ensureDeferred
async def test_lost_lease_at_joining(cluster: EtcdCluster):
    """A member that joins on a lease which is gone gets another one."""
    prefix = await new_journal(cluster)
    journal = await through(cluster, [0], prefix)
    await journal.join(member("lic-a"))
    await journal._gateway.ask("/v3/lease/revoke", Lease(journal._membership._lease), Answer)
    await journal.join(member("lic-b"))
    assert [running for _, running in await journal.members()] == [False, True]
    await journal.close()


@pytest_twisted.ensureDeferred
async def test_older_answer_is_none(cluster: EtcdCluster):
    """An answer from an older revision than one seen before is not believed, and said."""
    prefix = await new_journal(cluster)
    journal = await through(cluster, [0], prefix)
    journal._gateway.revision += 1000
    with pytest.raises(JournalError, match=r"answered from revision \d+, older than \d+"):
        await journal.claim()
    await journal.close()


@pytest_twisted.ensureDeferred
async def test_dead_holder_on_this_machine(cluster: EtcdCluster):
    """A holder that counts processes as this server does is known to be dead; of one elsewhere nothing is known."""
    prefix = await new_journal(cluster)
    journal = await through(cluster, [0], prefix)
    ended = Process(999_999_999, 1, member("x").process.boot_id)
    for name, process, is_dead in (("lic-a", ended, True), ("lic-b", Process(1, 1, "another boot"), False)):
        holder = member(name).__class__(name, name.encode().hex(), "h:1", process)
        claim = await journal.activate(await journal.claim(), holder, 5.0)
        assert journal.holder_is_dead(claim) is is_dead
        assert await journal.end_holder(claim) is None
    await journal.close()
