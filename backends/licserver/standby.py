"""
What does this server know of the claim to the name, and is its ledger what the journal holds?

While another server is active, both are followed, so that a takeover finds
them as they are a moment ago. While this server is active its own decisions
make the ledger, and following rests.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from licserver.core.ledger import Ledger, ReadPools
from licserver.follower import Follower
from licserver.journal.interface import Claim, Journal, JournalUnusable
from licserver.state import SLOT_SECONDS
from licserver.tenure import Tenure

log = Logger()

REST_SECONDS = 2.0


@asynccontextmanager
async def held(lock: DeferredLock) -> AsyncIterator[None]:
    """`lock` is held within."""
    await lock.acquire()
    try:
        yield
    finally:
        lock.release()


class Standby:
    """
    See the module. `remember` is told the journal id, each epoch that is seen and now and then the newest slot;
    `adopt` is given each ledger that takes another's place; `told` is called with each claim.

    `claim` is the newest claim seen, None before `read`. Since when, in the
    reactor's seconds: `changed_at` it is as it is, `holder_since` it has this
    holder, `epoch_since` this epoch. `is_resting`: this server is active.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        journal: Journal,
        read_pools: ReadPools,
        remember: Callable[[str, int, int], Deferred[None]],
        adopt: Callable[[Ledger], None],
        told: Callable[[Claim], None],
    ) -> None:
        self._reactor = reactor
        self._journal = journal
        self._read_pools = read_pools
        self._remember = remember
        self._adopt = adopt
        self._told = told
        self._follower = Follower(journal, read_pools)
        self._following = DeferredLock()
        self._follow_after = 0.0
        self._remembered = 0.0
        self._started_with: tuple[int, int] | None = None
        self.claim: Claim | None = None
        self.changed_at = self.holder_since = self.epoch_since = reactor.seconds()
        self.is_resting = False
        adopt(self._follower.ledger)

    @property
    def slot(self) -> int:
        """The last slot that the ledger holds."""
        return self._follower.slot

    async def read(self) -> None:
        """Become warm. Raises JournalError."""
        claim = await self._journal.claim()
        self._started_with = claim.epoch, claim.confirmations
        await self._follow(claim)
        self.see(claim)

    def is_unconfirmed(self, claim: Claim) -> bool:
        """Whether nobody has confirmed the name between this server's start and `claim`."""
        return (claim.epoch, claim.confirmations) == self._started_with

    async def present_claim(self) -> Claim:
        """The claim as it is, with the ledger caught up: whether this server may serve is judged by both."""
        claim = await self._journal.claim()
        if self._is_behind(claim):  # the answer was late, or the journal has gone back
            claim = await self._journal.claim()
            if self._is_behind(claim):
                sentence = f"the journal is at epoch {claim.epoch}, but was further: it was replaced by an older copy"
                raise JournalUnusable(sentence)
        self.see(claim)
        await self._follow(claim)
        return claim

    def see(self, claim: Claim) -> None:
        """Note a claim, unless a newer one was seen."""
        if self._is_behind(claim):
            return
        before, self.claim = self.claim, claim
        now = self._reactor.seconds()
        if before is None or before.epoch != claim.epoch:
            self.epoch_since = now
        is_risen = before is None or before.epoch != claim.epoch or now - self._remembered >= SLOT_SECONDS
        if is_risen:
            self._remembered = now
            self._remember(self._journal.journal_id, claim.epoch, claim.newest_slot).addErrback(_not_remembered)
        if before is None or (before.epoch, before.holder) != (claim.epoch, claim.holder):
            self.holder_since = self.changed_at = now
        elif before.confirmations != claim.confirmations:
            self.changed_at = now
        self._told(claim)

    def follow_soon(self, claim: Claim) -> None:
        """Catch up; what goes wrong is logged, and then tried no sooner than after a while."""
        if self._reactor.seconds() >= self._follow_after:
            Deferred.fromCoroutine(self._follow(claim)).addErrback(self.cannot_follow)

    def cannot_follow(self, failure: Failure) -> None:
        """Say so, and rest."""
        self._follow_after = self._reactor.seconds() + REST_SECONDS
        log.error("the journal cannot be followed: {problem}", event="journal_failed", problem=failure.value)

    async def lead(self, claim: Claim, begin: Callable[[int], Deferred[None]]) -> Deferred[None]:
        """
        What `begin` returns, called with the number of events no snapshot holds when
        the ledger is what the journal held at `claim`, this server's own. Following rests from then on.
        """
        async with held(self._following):
            await self._follower.catch_up(claim.newest_slot)
            self._adopt(self._follower.ledger)
            return begin(self._follower.unsnapped_events)

    def led(self, tenure: Tenure, *, is_kept: bool) -> None:
        """Follow again after `tenure`: from its last slot, or from the start if its ledger may not be what was kept."""
        self.is_resting = False
        self.changed_at = self._reactor.seconds()
        if is_kept:
            self._follower.slot, self._follower.unsnapped_events = tenure.slot, tenure.unsnapped_events
        else:
            self._follower = Follower(self._journal, self._read_pools)
            self._adopt(self._follower.ledger)

    def _is_behind(self, claim: Claim) -> bool:
        return self.claim is not None and claim.epoch < self.claim.epoch

    async def _follow(self, claim: Claim) -> None:
        async with held(self._following):
            if not self.is_resting:
                ledger = self._follower.ledger
                await self._follower.catch_up(claim.newest_slot)
                if self._follower.ledger is not ledger:
                    self._adopt(self._follower.ledger)


def _not_remembered(failure: Failure) -> None:
    log.error(
        "{problem}; an older copy of the journal might not be noticed at the next start",
        event="state_not_saved",
        problem=failure.value,
    )
