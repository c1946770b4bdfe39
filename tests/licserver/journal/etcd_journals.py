"""What the tests of the journal in etcd share: new journals on a cluster that runs, and moments to wait for."""

from collections.abc import Callable, Sequence
from itertools import count

import pytest
from twisted.internet import reactor
from twisted.internet.task import deferLater

from licserver.journal.etcd import EtcdJournal
from licserver.journal.etcd_opening import create, open_journal
from licserver.journal.etcd_place import Access, EtcdPlace
from tests.licserver.journal.etcd_cluster import EtcdCluster

_numbers = count()


async def new_journal(cluster: EtcdCluster, access: Access = Access()) -> str:  # noqa: B008 it is frozen
    """A journal of "acme"; its prefix."""
    prefix = f"journal-{next(_numbers)}"
    await create(reactor, cluster.place(prefix), access, "acme")
    return prefix


async def through(cluster: EtcdCluster, members: Sequence[int], prefix: str) -> EtcdJournal:
    """A handle that asks these members only, the first one first."""
    place = EtcdPlace(tuple(cluster.addresses[at] for at in members), prefix)
    return await open_journal(reactor, place, Access(), "acme")


async def eventually(condition: Callable[[], object], seconds: float = 8.0) -> None:
    """Wait until `condition` holds."""
    end = reactor.seconds() + seconds
    while not condition():
        if reactor.seconds() > end:
            pytest.fail(f"it did not come to be within {seconds:g} s")
        await deferLater(reactor, 0.02)
