"""
One tenure of the active name: from the activation to the loss of it, what is
decided is kept before it is said, and the claim is confirmed.

    opening --first append kept--> serving <--confirmed / unconfirmed for ttl--> isolated
                                      |                                             |
                                stand_down: released                 fenced, or unknown for ttl
                                      v                                             v
                                    over                                          over

One append is in flight; everything decided meanwhile goes into the next. An
append with an unknown outcome is repeated, the same batch to the same slot,
until it is found, filled or fenced, or until `ttl` has passed.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from licserver.core.desk import Desk, Moment, Open, Saying, Says, Shut
from licserver.core.events import Activated, AnyEvent, encode_batch
from licserver.journal.interface import Claim, Journal, JournalError, SlotRefused, StaleEpoch
from licserver.snapshots import Snapshots
from lsproxy.seat.messages import Refusal

log = Logger()

RETRY_SECONDS: Final = 0.01
TICK_SECONDS: Final = 0.1
CONFIRMATIONS_PER_TTL: Final = 5


class Deliver(Protocol):
    """Says things: `vouched` tells whether the claim is confirmed now."""

    def __call__(self, sayings: Sequence[Saying], *, vouched: bool) -> None:
        """Write them out."""


class Tenure:
    """
    See the module. `claim` is the one this server has just written; `deliver`
    says things; `ended` is called once, with the reason and whether the ledger
    still is what the journal holds.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        wall: Callable[[], float],
        journal: Journal,
        desk: Desk,
        claim: Claim,
        ttl: float,
        deliver: Deliver,
        ended: Callable[[str, bool], None],
    ) -> None:
        self._reactor = reactor
        self._wall = wall
        self._journal = journal
        self._desk = desk
        self._ttl = ttl
        self._deliver = deliver
        self._ended = ended
        self.epoch = claim.epoch
        self.slot = claim.newest_slot
        self.is_over = False
        self.confirmed_at = float("-inf")
        self._served_before = claim.active_seconds
        self._began = reactor.seconds()
        self._sent_at = self._began
        self._first_sent_at = self._began
        self._batch = b""
        self._events = 0
        self._in_flight: list[Saying] | None = None
        self._isolated_since: float | None = None
        self._opened: Deferred[None] = Deferred()
        self._idle: list[Deferred[None]] = []
        self._retry: IDelayedCall | None = None
        self._snapshots = Snapshots(reactor, journal, self.epoch)
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = reactor

    def open(self, license_text: str | None, license_file: str) -> Deferred[None]:
        """
        Keep the activation, with the license text that comes into force with
        it (None: the one in force stays), then serve. Fires when that is kept;
        fails with JournalError if the tenure ends before.
        """
        moment = self.moment()
        self._desk.record(Activated(self.epoch, self._desk.backend, moment.active, moment.wall))
        if license_text is not None:
            self._desk.license_came_into_force(license_text, license_file, moment)
        self.settle()
        self._ticking.start(TICK_SECONDS, now=False)
        return self._opened

    def moment(self) -> Moment:
        """Now, by the clocks of this tenure."""
        boot = self._reactor.seconds()
        return Moment(boot, self._served_before + boot - self._began, self._wall())

    @property
    def is_vouched(self) -> bool:
        """Whether the claim is confirmed: an append sent less than `ttl` ago succeeded."""
        return not self.is_over and self._reactor.seconds() - self.confirmed_at < self._ttl

    def settle(self) -> None:
        """Keep what was decided, say what may be said."""
        desk = self._desk
        if desk.at_once:
            self._deliver(desk.take_at_once(), vouched=False)
        if self._in_flight is None:
            if desk.events:
                self._append(*desk.take())
            elif desk.outbox:
                self._deliver(desk.take()[1], vouched=self.is_vouched)
        elif desk.outbox and not desk.events:
            self._in_flight += desk.take()[1]

    async def stand_down(self, heir: str | None, heir_address: str | None) -> None:
        """
        Give the name up for `heir`, None for anyone. What was decided is kept and said first.

        Raises JournalError when the journal could not be told; the tenure is over all the same.
        """
        desk = self._desk
        desk.door = Shut("not_active", f"{desk.backend} gives the name {desk.server_name} up", heir_address)
        while self._in_flight is not None and not self.is_over:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle
        if self.is_over:
            return
        self._stop()
        try:
            await self._journal.release(self.epoch, heir, self.moment().active)
        except JournalError:
            self._ended("the name was given up, but the journal could not be told", False)
            raise
        desk.dismiss(heir_address)
        self._deliver(desk.take()[1], vouched=False)
        self._ended("the name was given up" if heir is None else f"the name was given up for {heir}", True)

    def deposed(self, holder: str) -> None:
        """Another server's claim to the name was seen."""
        self._end(f"{holder} has the name")

    def _append(self, events: list[AnyEvent], outbox: list[Saying]) -> None:
        self._batch = encode_batch(events)
        self._events = len(events)
        self._in_flight = outbox
        self._snapshots.cut(self.slot + 1, self._events, self._desk.ledger)
        self._first_sent_at = self._reactor.seconds()
        self._send()

    def _send(self) -> None:
        self._retry = None
        moment = self.moment()
        self._sent_at = moment.boot
        sending = self._journal.append(self.epoch, self.slot + 1, self._batch, moment.active)
        sending.addCallbacks(self._kept, self._not_kept, callbackArgs=(moment.boot,))
        sending.addErrback(self._broken)

    def _kept(self, _: None, sent_at: float) -> None:
        if self.is_over:
            return
        said, self._in_flight = self._in_flight, None
        assert said is not None
        self.slot += 1
        self._confirmed(None, sent_at)
        self._snapshots.kept(self.slot)
        if not self._opened.called:
            self._desk.open(self.moment())
            self._opened.callback(None)
        self.settle()
        self._deliver(said, vouched=self.is_vouched)
        if self._in_flight is None:
            idle, self._idle = self._idle, []
            for waiting in idle:
                waiting.callback(None)

    def _not_kept(self, failure: Failure) -> None:
        if self.is_over:
            return
        failure.trap(JournalError)
        if failure.check(StaleEpoch, SlotRefused):
            self._end(f"the journal refused an append: {failure.value}")
        elif self._reactor.seconds() - self._first_sent_at >= self._ttl:
            self._end(f"the outcome of an append is unknown after {self._ttl:g} s: {failure.value}")
        else:
            self._retry = self._reactor.callLater(RETRY_SECONDS, self._send)

    def _broken(self, failure: Failure) -> None:
        log.failure("serving failed", failure)
        self._end(f"a fault in this server: {failure.value}")

    def _confirmed(self, _: None, sent_at: float) -> None:
        if self.is_over:
            return
        self.confirmed_at = max(self.confirmed_at, sent_at)
        if self._isolated_since is not None and self.is_vouched:
            log.info("the claim is confirmed again after {seconds:.1f} s", seconds=sent_at - self._isolated_since)
            self._isolated_since = None
            self._desk.open(self.moment())

    def _tick(self) -> None:
        moment = self.moment()
        if moment.boot - self._sent_at >= self._ttl / CONFIRMATIONS_PER_TTL and self._in_flight is None:
            self._sent_at = moment.boot
            confirming = self._journal.confirm(self.epoch, moment.active)
            confirming.addCallbacks(self._confirmed, self._not_confirmed, callbackArgs=(moment.boot,))
            confirming.addErrback(self._broken)
        if not self.is_vouched and self._opened.called:
            self._isolate(moment)
        self._desk.tick(moment)
        self.settle()

    def _not_confirmed(self, failure: Failure) -> None:
        failure.trap(JournalError)
        if self.is_over:
            return
        if failure.check(StaleEpoch):
            self._end(f"the journal refused a confirmation: {failure.value}")
        else:
            log.warn("the claim could not be confirmed: {problem}", problem=failure.value)

    def _isolate(self, moment: Moment) -> None:
        desk = self._desk
        if self._isolated_since is None:
            if not isinstance(desk.door, Open):
                return
            sentence = f"{desk.backend} could not confirm its claim to {desk.server_name} for {self._ttl:g} s"
            log.error("isolated: {sentence}", sentence=sentence)
            self._isolated_since = moment.boot
            desk.door = Shut("isolated", sentence, closes=False)
        elif moment.boot - self._isolated_since >= desk.terms.resume / 3:
            for conversation in list(desk.attached.values()):
                desk.drop(conversation, moment)

    def _stop(self) -> None:
        self.is_over = True
        if self._ticking.running:
            self._ticking.stop()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._snapshots.stop()

    def _end(self, reason: str) -> None:
        """The name is lost, or may be: nothing undecided is said, and the ledger is to be rebuilt."""
        if self.is_over:
            return
        self._stop()
        unsaid = (self._in_flight or []) + self._desk.take()[1]
        self._deliver([saying for saying in unsaid if saying[2] is Says.PLAIN], vouched=False)
        idle, self._idle = self._idle, []
        for waiting in idle:
            waiting.callback(None)
        self._ended(reason, False)
        if not self._opened.called:
            self._opened.errback(JournalError(reason))


def isolated(reply_id: int, desk: Desk) -> Refusal:
    """What is said in place of an answer that would vouch for an unconfirmed claim."""
    return Refusal(reply_id, "isolated", f"{desk.backend} cannot confirm its claim to {desk.server_name} now")
