"""The journal in etcd keeps the promise, on one member and on three."""

from itertools import count

import pytest
import pytest_twisted
from twisted.internet import reactor

from licserver.journal.etcd_opening import create, open_journal
from licserver.journal.etcd_place import Access
from licserver.journal.interface import Journal
from tests.contract.journal import JournalContract, Opener
from tests.contract.journal_model import check_against_model
from tests.licserver.journal.etcd_cluster import EtcdCluster

pytestmark = pytest.mark.etcd
prefixes = (f"journal-{number}" for number in count())


@pytest.fixture(scope="module")
def one():
    with EtcdCluster(1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def three():
    with EtcdCluster(3) as cluster:
        yield cluster


def new_journal(cluster: EtcdCluster) -> Opener:
    """Opens one more handle on a journal that the first opening makes."""
    place = cluster.place(next(prefixes))
    made: list[str] = []

    async def open_one() -> Journal:
        if not made:
            made.append(await create(reactor, place, Access(), "acme"))
        return await open_journal(reactor, place, Access(), "acme")

    return open_one


class TestOneMember(JournalContract):
    """The contract, on an etcd of one member."""

    @pytest.fixture
    def opener(self, one: EtcdCluster) -> Opener:
        return new_journal(one)


class TestThreeMembers(JournalContract):
    """The contract, where a majority has to agree."""

    @pytest.fixture
    def opener(self, three: EtcdCluster) -> Opener:
        return new_journal(three)


@pytest_twisted.ensureDeferred
async def test_against_model(one: EtcdCluster):
    """Whatever three servers do in whatever order, the journal does what the model says."""
    await check_against_model(lambda: new_journal(one), examples=15, steps=20)
