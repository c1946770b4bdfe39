"""What a person is told of a cluster that is, or will be, in trouble."""

import base64
import time

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from licserver.journal.etcd_check import of_clock, of_release, of_space, problems
from licserver.journal.etcd_opening import create, open_journal
from licserver.journal.etcd_place import Access, EtcdPlace
from licserver.journal.interface import JournalError
from lsproxy.net.address import Address
from tests.contract.journal import take
from tests.licserver.journal.etcd_cluster import EtcdCluster

AT = Address("a", 2379)
MEBIBYTE = 1024 * 1024


async def told(place: EtcdPlace, wall=time.time) -> list[str]:
    return await problems(reactor, place, Access(), wall)


@pytest.mark.etcd
@pytest_twisted.ensureDeferred
async def test_three_members():
    """Of a whole cluster nothing is said; then the loss of one member, and of the majority."""
    with EtcdCluster(3) as cluster:
        place = cluster.place("acme")
        assert await told(place) == []
        (ahead, *_) = await told(place, lambda: time.time() - 100)
        assert f"the clock of etcd at {cluster.addresses[0]} is " in ahead
        leader = cluster.leader()
        assert leader is not None
        one, other = (at for at in range(3) if at != leader)
        cluster.members[one].kill()
        (lost,) = await told(place)
        assert lost.startswith(f"etcd at {cluster.addresses[one]} does not answer")
        cluster.members[other].kill()
        await deferLater(reactor, 2.5)
        found = await told(place)
        assert any(f"etcd at {cluster.addresses[leader]} has no leader" in sentence for sentence in found)
        assert len([sentence for sentence in found if "does not answer" in sentence]) >= 2


@pytest.mark.etcd
@pytest_twisted.ensureDeferred
async def test_two_members_and_two_clusters():
    """A cluster of two is pointed out, and so is a list that names members of several."""
    with EtcdCluster(2) as cluster, EtcdCluster(1) as other:
        place = cluster.place("acme")
        assert await told(place) == [
            f"{place} is a cluster of two, which stands still when either is lost; add a third member"
        ]
        mixed = EtcdPlace((cluster.addresses[0], other.addresses[0]), "acme")
        assert await told(mixed) == [f"{mixed} names members of 2 different clusters; name those of one"]


@pytest.mark.etcd
@pytest_twisted.ensureDeferred
async def test_full():
    """A quota nearly used up is said, then the alarm; what is refused then says the same."""
    quota = 32 * MEBIBYTE
    with EtcdCluster(1, ["--quota-backend-bytes", str(quota)]) as cluster:
        place = cluster.place("acme")
        await create(reactor, place, Access(), "acme")
        journal = await open_journal(reactor, place, Access(), "acme")
        await take(journal, "lic-a")
        key, value = base64.b64encode(b"other").decode(), base64.b64encode(bytes(MEBIBYTE)).decode()

        async def fill_until(words: str) -> bool:
            for _ in range(100):
                cluster.call(0, "/v3/kv/put", {"key": key, "value": value})
                if any(words in sentence for sentence in await told(place)):
                    return True
            return False

        assert await fill_until("MiB of its quota and refuses writes when it is full")
        assert await fill_until("NOSPACE")
        with pytest.raises(JournalError, match="NOSPACE"):
            await journal.append(1, 1, b"x", 1.0)
        await journal.close()


def test_release():
    """The releases that can corrupt their data are named, others are not."""
    assert "can corrupt its data" in of_release(AT, "3.5.1")[0]
    assert of_release(AT, "3.4.23") == of_release(AT, "3.5.3") == []


def test_space():
    """Four fifths of the quota are nearly full; where the quota is not shown, nothing is said."""
    (nearly_full,) = of_space(AT, 81 * MEBIBYTE, 100 * MEBIBYTE)
    assert nearly_full.startswith(
        "etcd at a:2379 has used 81 of the 100 MiB of its quota and refuses writes when it is "
    )
    assert of_space(AT, 80, 100) == of_space(AT, 81, 0) == []


def test_clock():
    """More than ten seconds apart is said, with the direction."""
    assert "is 11 s ahead of this host's" in of_clock(AT, 111.0, 100.0)[0]
    assert "is 11 s behind this host's" in of_clock(AT, 100.0, 111.0)[0]
    assert of_clock(AT, 110.0, 100.0) == []
