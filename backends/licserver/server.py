"""
One license server: its connections, and whether it is active or stands by.

    standby --takeover asked for, or the name is free--> taking --kept--> active
       ^                                                   |                |
       +----------------- refused, or moved ---------------+                |
       +------- stood down, fenced, or outcome unknown: rebuilt ------------+

What the states mean for clients stands in `tenure.py` and `core/`; what the steps
of a takeover are, in `core/role.py`. This file carries them out.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, assert_never

import msgspec
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from licserver.candidacy import Candidacy
from licserver.connection import Connection
from licserver.core import role
from licserver.core.desk import Desk, Moment, Shut
from licserver.core.ledger import Ledger
from licserver.core.scheme import Redundant
from licserver.core.sessions import Terms
from licserver.delivery import Delivery
from licserver.errors import LicserverError
from licserver.journal.interface import Claim, ClaimMoved, Journal, JournalError, Member, StaleEpoch
from licserver.licenses import LicenseRefused, Licenses
from licserver.membership import Membership
from licserver.operations import Operations
from licserver.partner import Partner
from licserver.peer import Peers
from licserver.redundancy import Outfit, Redundancy
from licserver.standby import Standby, held
from licserver.tenure import Tenure
from lsproxy.license.hostid import Hostid
from lsproxy.metrics.buckets import APPEND_BOUNDS, Buckets

log = Logger()

LOOK_SECONDS: Final = 0.1
MEMBERS_SECONDS: Final = 2.0
MOST_STEPS: Final = 8


class Identity(msgspec.Struct, frozen=True):
    """What this server is, for `status`."""

    member: Member
    server_name: str
    release: str
    hostids: tuple[Hostid, ...]


async def _nothing_to_read() -> str:
    return ""


class Server:
    """
    See the module. `remember` is told the journal id, the epochs and slots this server
    sees, and keeps them; `stopping` is called when an operator asks it to stop, `reconfigure` when
    one asks it to read its files again: it answers what stands against the configuration.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        wall: Callable[[], float],
        identity: Identity,
        terms: Terms,
        ttl: float,
        token: str | None,
        journal: Journal,
        licenses: Licenses,
        outfit: Outfit,
        peers: Peers,
        remember: Callable[[str, int, int], Deferred[None]],
        stopping: Callable[[], None],
        reconfigure: Callable[[], Awaitable[str]] = _nothing_to_read,
    ) -> None:
        self._reactor = reactor
        self._wall = wall
        self.identity = identity
        self.reconfigure = reconfigure
        self._ttl = ttl
        self.journal = journal
        self.licenses = licenses
        self._peers = peers
        ledger = Ledger(licenses.read_pools)
        self.desk = Desk(ledger, identity.server_name, identity.member.name, terms, token)
        self.redundancy = Redundancy(self.desk, licenses, identity.member, outfit)
        self._standby = Standby(
            reactor, journal, licenses.read_pools, remember, self.desk.replace_ledger, self._claim_seen
        )
        self.tenure: Tenure | None = None
        self.membership = Membership(journal, identity.member)
        self._candidacy = Candidacy(
            reactor, journal, identity.member, ttl, self._standby, self.redundancy, licenses, self.membership
        )
        self._delivery = Delivery(reactor, self.desk, self.settle)
        self._partner = Partner(
            reactor,
            peers,
            journal.journal_id,
            others=lambda: [one for one in self.membership.running if one.name != identity.member.name],
            tenure=lambda: self.tenure,
            remaining=lambda: self.redundancy.limit.remaining_seconds(self.moment()) or 0.0,
            is_switched_from_outside=self.desk.has_operator,
        )
        self._operations = Operations(reactor, self, stopping)
        self.started_at = reactor.seconds()
        self.activations = 0
        self.appends = Buckets(APPEND_BOUNDS)
        self._try_after = self.started_at
        self._taking = DeferredLock()
        self._is_stopping = False
        self._looking = LoopingCall(self._look)
        self._refreshing = LoopingCall(self._refresh)
        self._looking.clock = self._refreshing.clock = reactor

    async def read_journal(self) -> None:
        """Become warm; from now on `why_not_ready` knows. Raises JournalError."""
        await self._standby.read()

    async def start(self) -> None:
        """Follow the journal that was read, and take the name when it is free. Raises JournalError."""
        self._watch = self.journal.watch(self._standby.see)
        await self._refresh()
        self._looking.start(LOOK_SECONDS, now=False)
        self._refreshing.start(MEMBERS_SECONDS, now=False)

    async def stop(self) -> None:
        """Give the name up, keep and say what was decided, let the clients go, leave the list of members."""
        self._is_stopping = True
        self.membership.stop()
        self._partner.stop()
        for looping in (self._looking, self._refreshing):
            if looping.running:
                looping.stop()
        self._watch.stop()
        try:
            async with held(self._taking):  # a takeover under way comes to its end first
                if self.tenure is not None:
                    await self.tenure.stand_down(None, None)
            await self.journal.leave(self.identity.member)
        except JournalError as problem:
            log.warn("stopping: {problem}", event="journal_failed", problem=problem)
        await self.journal.close()

    def why_not_ready(self) -> str:
        """Why this server could not take the name even if it were free; "" if it could."""
        claim = self._standby.claim
        return "" if claim is None else self._candidacy.why_not_bring(claim, self.desk.ledger)

    def reread(self) -> None:
        """Put the own license file in force, if this server is active; what stands against it is logged."""
        self._operations.reread()

    # --- what connections need -------------------------------------------------

    def moment(self) -> Moment:
        """Now."""
        if self.tenure is not None:
            return self.tenure.moment()
        return Moment(self._reactor.seconds(), 0.0, self._wall())

    def settle(self) -> None:
        """Keep and say what was decided, and set operators' requests going."""
        desk = self.desk
        if desk.errands:
            errands, desk.errands = desk.errands, []
            for conversation, request in errands:
                self._operations.perform(conversation, request)
        if self.tenure is not None:
            self.tenure.settle()
        else:
            self._delivery.deliver(desk.take_at_once(), vouched=False)
            self._delivery.deliver(desk.take()[1], vouched=False)
        self._delivery.turn_soon()

    def call_later(self, seconds: float, connection: Connection) -> None:
        """Abort a closing connection whose client does not take what is left."""
        self._reactor.callLater(seconds, connection.abort)

    # --- the active name -------------------------------------------------------

    async def take_over(
        self, reason: str, after_epoch: int | None, force: bool, only_if_free: bool = False
    ) -> role.Refuse | int:
        """
        Take the name, step by step; with `only_if_free`, as long as nobody confirms it.

        The epoch if this server has the name now, otherwise why not. Raises JournalError.
        """
        async with held(self._taking):
            me = self.identity.member
            judged: tuple[int, Member | None] | None = None
            answers: tuple[role.Answer, ...] = ()
            ended = False
            for _ in range(MOST_STEPS):
                claim = await self._standby.present_claim()
                if self._is_stopping:
                    return role.Refuse("not_permitted", f"{me.name} is stopping")
                if only_if_free and not self._candidacy.is_free(claim):
                    return role.Refuse("stale", f"{_holder(claim)} has the name and confirms it")
                if (claim.epoch, claim.holder) != judged:  # what another holder answered says nothing of this one
                    judged, answers, ended = (claim.epoch, claim.holder), (), False
                is_serving = self.tenure is not None
                against = self._candidacy.why_not(claim, self.desk.ledger)
                wish = role.Wish(me.name, me.instance, after_epoch, force, against, is_serving)
                match role.next_step(claim, wish, self._candidacy.seen(claim, answers, ended), self._ttl):
                    case role.AlreadyActive():
                        leaving = role.Refuse("not_permitted", f"{me.name} gives the name up")
                        return leaving if self.role() == "standby" else claim.epoch
                    case role.Refuse() as refusal:
                        return refusal
                    case role.AskWhetherActive():
                        answers = (*answers, await self._peers.ask_whether_active(_holding(claim)))
                    case role.AskToStandDown():
                        answers = (*answers, await self._peers.ask_to_stand_down(_holding(claim), me.name, reason))
                    case role.EndHolder():
                        log.warn(
                            "{holder} does not answer; making sure that it is gone",
                            event="holder_silent",
                            holder=_holder(claim),
                        )
                        await self.journal.end_holder(claim)
                        ended = True
                    case role.Raise(hold_down):
                        try:
                            taken = await self.journal.activate(claim, me, hold_down)
                        except ClaimMoved:
                            continue
                        return await self._serve(taken, claim, reason)
                    case other:
                        assert_never(other)
            return role.Refuse("not_permitted", "the claim to the name kept changing; try again")

    async def _serve(self, claim: Claim, judged: Claim, reason: str) -> int | role.Refuse:
        self._standby.see(claim)
        try:
            opened = await self._standby.lead(claim, partial(self._begin_tenure, claim, judged))
        except LicenseRefused as refused:
            await self._give_back(claim.epoch, claim.active_seconds)
            return role.Refuse("not_permitted", str(refused))
        except Exception:
            await self._give_back(claim.epoch, claim.active_seconds)
            raise
        await opened
        self.activations += 1
        log.info(
            "active: {name} has {server_name} in epoch {epoch} ({reason})",
            event="active",
            name=self.identity.member.name,
            server_name=self.identity.server_name,
            epoch=claim.epoch,
            reason=reason,
        )
        self._operations.note_license()
        self._partner.lost()
        self._see_members()
        return claim.epoch

    def _begin_tenure(self, claim: Claim, judged: Claim, unsnapped_events: int) -> Deferred[None]:
        text = self._candidacy.license_to_bring(judged, self.desk.ledger)
        self._standby.is_resting = True
        self.tenure = Tenure(
            self._reactor,
            self._wall,
            self.journal,
            self.desk,
            claim,
            self._ttl,
            unsnapped_events,
            self._delivery.deliver,
            self._tenure_ended,
            self.appends,
        )
        return self.tenure.open(text, str(self.licenses.path), self.redundancy.begin)

    async def _give_back(self, epoch: int, active_seconds: float) -> None:
        """A name that was taken and cannot be served is for anyone; what cannot be told runs out with `ttl`."""
        try:
            await self.journal.release(epoch, None, active_seconds)
        except StaleEpoch:
            pass
        except JournalError as problem:
            log.error("the name could not be given back: {problem}", event="journal_failed", problem=problem)

    def _tenure_ended(self, reason: str, is_kept: bool) -> None:
        log.warn("no longer active: {reason}", event="stood_down" if is_kept else "deposed", reason=reason)
        tenure, self.tenure = self.tenure, None
        assert tenure is not None
        self._try_after = self._reactor.seconds() + self._ttl / 2
        if not is_kept:
            for conversation in list(self.desk.attached.values()):
                connection = conversation.transport
                assert isinstance(connection, Connection)
                connection.abort()
        self.redundancy.limit.leave()
        self._standby.led(tenure, is_kept=is_kept)
        self._shut_door()
        if not is_kept and not self._is_stopping:
            Deferred.fromCoroutine(self._begin_anew(tenure)).addErrback(self._standby.cannot_follow)

    async def _begin_anew(self, tenure: Tenure) -> None:
        """Give back what is left of a tenure that broke off, so that any server may try, and become warm again."""
        await self._give_back(tenure.epoch, tenure.moment().active)
        await self._standby.present_claim()

    # --- standing by -----------------------------------------------------------

    def _claim_seen(self, claim: Claim) -> None:
        if self.tenure is None:
            self._shut_door()
            if not self._taking.locked and not self._is_stopping:
                self._standby.follow_soon(claim)
        elif claim.epoch > self.tenure.epoch:
            self.tenure.deposed(_holder(claim))

    def _shut_door(self) -> None:
        claim = self._standby.claim
        holder = None if claim is None else claim.holder
        me = self.identity.member
        sentence = f"{me.name} stands by for {self.identity.server_name}"
        if holder is None or holder.instance == me.instance:
            self.desk.door = Shut("not_active", f"{sentence}; nobody is active")
        else:
            self.desk.door = Shut("not_active", f"{sentence}; {holder.name} is active", holder.address)

    def _look(self) -> None:
        """Is the name free for this server?"""
        try:
            self.desk.tick(self.moment())
            self.settle()
            self.redundancy.tell()
            self._take_if_free()
        except Exception:  # noqa: BLE001 - a server that looks no more would never take the name again
            log.failure("looking after the connections and the name failed")

    def _take_if_free(self) -> None:
        now, claim = self._reactor.seconds(), self._standby.claim
        if self.tenure is not None or claim is None or self._taking.locked or now < self._try_after:
            return
        if self._candidacy.is_free(claim):
            self._try_after = now + self._ttl / 2
            reason = "the name is free" if claim.holder is None else f"{_holder(claim)} is gone"
            taking = Deferred.fromCoroutine(self.take_over(reason, claim.epoch, force=False, only_if_free=True))
            taking.addCallbacks(self._tried, self._cannot_take)

    def _tried(self, outcome: role.Refuse | int) -> None:
        if isinstance(outcome, role.Refuse):
            log.warn("the name was not taken: {reason}", event="name_not_taken", reason=outcome.message)

    def _cannot_take(self, failure: Failure) -> None:
        if failure.check(LicserverError):
            log.error("the name cannot be taken: {problem}", event="name_not_taken", problem=failure.value)
        else:
            log.failure("the name cannot be taken", failure)

    async def _refresh(self) -> None:
        if await self.membership.look():
            self._see_members()
        self._operations.note_license()
        if isinstance(self.redundancy.role, Redundant):
            self._partner.watch()
        else:
            self._partner.stop()

    def _see_members(self) -> None:
        if self.tenure is not None and self.tenure.is_serving:
            self.redundancy.see(self.membership.running)
            self.settle()

    # --- what it is ------------------------------------------------------------

    def role(self) -> str:
        """This server's role, as `status` says it."""
        if self.tenure is None or not self.tenure.is_serving:
            return "standby"
        if not self.tenure.is_vouched:
            return "isolated"
        return "blocked" if self.redundancy.limit.blocked else "active"

    @property
    def epoch(self) -> int:
        """The epoch this server knows, its own if it has the name."""
        claim = self._standby.claim
        return self.tenure.epoch if self.tenure is not None else 0 if claim is None else claim.epoch

    @property
    def slot(self) -> int:
        """The newest slot that the ledger holds."""
        return self._standby.slot if self.tenure is None else self.tenure.slot

    @property
    def lag(self) -> int:
        """How many slots are known to be in the journal that the ledger does not hold."""
        claim = self._standby.claim
        return 0 if self.tenure is not None or claim is None else max(0, claim.newest_slot - self.slot)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self.desk.fresh) + len(self.desk.heard)

    @property
    def holder_instance(self) -> str | None:
        """The instance of the server that has the name, as far as this one knows."""
        claim = self._standby.claim
        if self.tenure is not None:
            return self.identity.member.instance
        return None if claim is None or claim.holder is None else claim.holder.instance


def _holder(claim: Claim) -> str:
    return "nobody" if claim.holder is None else claim.holder.name


def _holding(claim: Claim) -> Member:
    assert claim.holder is not None
    return claim.holder
