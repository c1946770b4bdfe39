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

[Active seconds] stand still while the claim is not confirmed: nobody is served
then, so no window and no wait may run out. They go on with the confirmation.

[Leaving] From `stand_down` on the door stays shut, whatever is kept or confirmed
meanwhile: an event decided after the release would be in this ledger and in no journal.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from licserver.core.desk import Desk, Moment, Open, Saying, Shut
from licserver.core.events import Activated, AnyEvent, LicenseCameIntoForce, encode_batch
from licserver.journal.interface import Claim, Journal, JournalError, SlotRefused, StaleEpoch
from licserver.snapshots import Snapshots
from lsproxy.metrics.buckets import Buckets
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
    See the module. `claim` is the one this server has just written;
    `unsnapped_events` are those of the ledger that no snapshot holds; `deliver`
    says things; `ended` is called once, with the reason and whether the ledger
    still is what the journal holds. `appends` takes how long each append took.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        wall: Callable[[], float],
        journal: Journal,
        desk: Desk,
        claim: Claim,
        ttl: float,
        unsnapped_events: int,
        deliver: Deliver,
        ended: Callable[[str, bool], None],
        appends: Buckets,
    ) -> None:
        self._reactor = reactor
        self._wall = wall
        self._journal = journal
        self._desk = desk
        self._ttl = ttl
        self._deliver = deliver
        self._ended = ended
        self._appends = appends
        self.epoch = claim.epoch
        self.slot = claim.newest_slot
        self.is_over = False
        self._served_before = claim.active_seconds
        self._began = self._vouched_until = reactor.seconds()
        self._sent_at = self._began
        self._first_sent_at = self._began
        self._batch = b""
        self._in_flight: list[Saying] | None = None
        self._is_confirming = False
        self._is_leaving = False
        self._isolated_since: float | None = None
        self._opened: Deferred[None] = Deferred()
        self._idle: list[Deferred[None]] = []
        self._gone: list[Deferred[None]] = []
        self._retry: IDelayedCall | None = None
        self._snapshots = Snapshots(reactor, journal, self.epoch, unsnapped_events)
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = reactor

    def open(
        self, license_text: str | None, license_file: str, begin: Callable[[Moment], None] = lambda _: None
    ) -> Deferred[None]:
        """
        Keep the activation, with the license text that comes into force with
        it (None: the one in force stays) and what `begin` records, then serve. Fires when that is kept;
        fails with JournalError if the tenure ends before.
        """
        moment = self.moment()
        desk = self._desk
        desk.record(Activated(self.epoch, desk.backend, moment.active, moment.wall))
        if license_text is not None:
            desk.record(LicenseCameIntoForce(license_text, license_file))
        begin(moment)
        if license_text is not None:
            desk.serve_queues(moment)
        self.settle()
        if not self.is_over:
            self._ticking.start(TICK_SECONDS, now=False).addErrback(self._broken)
        return self._opened

    def moment(self) -> Moment:
        """Now, by the clocks of this tenure."""
        boot = self._reactor.seconds()
        active = self._served_before + min(boot, self._vouched_until) - self._began  # See [Active seconds]
        return Moment(boot, active, self._wall())

    @property
    def is_vouched(self) -> bool:
        """Whether the claim is confirmed: an append sent less than `ttl` ago succeeded."""
        return not self.is_over and self._reactor.seconds() < self._vouched_until

    @property
    def is_serving(self) -> bool:
        """Whether the activation is kept, and the name neither lost nor being given up."""
        return self._opened.called and not self.is_over and not self._is_leaving

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

    @property
    def unsnapped_events(self) -> int:
        """How many events of the ledger no snapshot holds."""
        return self._snapshots.unsnapped_events

    async def stand_down(self, heir: str | None, heir_address: str | None) -> None:
        """
        Give the name up for `heir`, None for anyone. What was decided is kept
        and said first. Asked again, it only waits for the end.

        Raises JournalError when the journal could not be told; the tenure is over all the same.
        """
        if self._is_leaving:
            await self._next(self._gone)
            return
        desk = self._desk
        self._is_leaving = True
        desk.door = Shut("not_active", f"{desk.backend} gives the name {desk.server_name} up", heir_address)
        self.settle()
        while self._in_flight is not None and not self.is_over:
            await self._next(self._idle)
        if self.is_over:
            return
        self._stop()
        try:
            await self._release(heir)
        except JournalError:
            self._finish("the name was given up, but the journal could not be told", is_kept=False)
            raise
        desk.dismiss(heir_address)
        self._deliver(desk.take()[1], vouched=False)
        self._finish("the name was given up" if heir is None else f"the name was given up for {heir}", is_kept=True)

    def deposed(self, holder: str) -> None:
        """Another server's claim to the name was seen."""
        self._end(f"{holder} has the name")

    def _append(self, events: list[AnyEvent], outbox: list[Saying]) -> None:
        self._in_flight = outbox
        try:
            self._batch = encode_batch(events)
        except Exception:  # noqa: BLE001 - what cannot be written down must not stay decided either
            self._broken(Failure())
            return
        self._snapshots.cut(self.slot + 1, len(events), self._desk.ledger)
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
        self._appends.observe(self._reactor.seconds() - sent_at)
        said, self._in_flight = self._in_flight, None
        assert said is not None
        self.slot += 1
        self._confirm_until(sent_at + self._ttl)
        self._snapshots.kept(self.slot)
        if not self._opened.called:
            if not self._is_leaving:  # See [Leaving]
                self._desk.open(self.moment())
            self._opened.callback(None)
        self.settle()
        self._deliver(said, vouched=self.is_vouched)
        if self._in_flight is None:
            _fire(self._idle)

    def _not_kept(self, failure: Failure) -> None:
        if self.is_over:
            return
        failure.trap(JournalError)
        if failure.check(StaleEpoch, SlotRefused):
            self._end(f"the journal refused what was decided: {failure.value}")
        elif self._reactor.seconds() - self._first_sent_at >= self._ttl:
            self._end(f"the outcome of an append is unknown after {self._ttl:g} s: {failure.value}")
        else:
            self._retry = self._reactor.callLater(RETRY_SECONDS, self._send)

    def _broken(self, failure: Failure) -> None:
        log.failure("serving failed", failure)
        self._end(f"a fault in this server: {failure.value}")

    def _confirmed(self, _: None, sent_at: float) -> None:
        self._is_confirming = False
        if not self.is_over:
            self._confirm_until(sent_at + self._ttl)
            self.settle()

    def _confirm_until(self, vouched_until: float) -> None:
        now = self._reactor.seconds()
        if now > self._vouched_until:
            self._began += now - self._vouched_until
            self._vouched_until = now
        self._vouched_until = max(self._vouched_until, vouched_until)
        if self._isolated_since is not None and self.is_vouched:
            seconds = now - self._isolated_since
            log.info("the claim is confirmed again after {seconds:.1f} s", event="confirmed", seconds=seconds)
            self._isolated_since = None
            if not self._is_leaving:  # See [Leaving]
                self._desk.open(self.moment())

    def _tick(self) -> None:
        moment = self.moment()
        is_due = moment.boot - self._sent_at >= self._ttl / CONFIRMATIONS_PER_TTL
        if is_due and self._in_flight is None and not self._is_confirming:
            self._sent_at = moment.boot
            self._is_confirming = True
            confirming = self._journal.confirm(self.epoch, moment.active)
            confirming.addCallbacks(self._confirmed, self._not_confirmed, callbackArgs=(moment.boot,))
            confirming.addErrback(self._broken)
        if not self.is_vouched and self._opened.called:
            self._isolate(moment)
        self._desk.tick(moment)
        self.settle()

    def _not_confirmed(self, failure: Failure) -> None:
        failure.trap(JournalError)
        self._is_confirming = False
        if self.is_over:
            return
        if failure.check(StaleEpoch):
            self._end(f"the journal refused a confirmation: {failure.value}")
        else:
            log.warn("the claim could not be confirmed: {problem}", event="unconfirmed", problem=failure.value)

    def _isolate(self, moment: Moment) -> None:
        desk = self._desk
        if self._isolated_since is None:
            if not isinstance(desk.door, Open):
                return
            sentence = f"{desk.backend} could not confirm its claim to {desk.server_name} for {self._ttl:g} s"
            log.error("isolated: {log_sentence}", event="isolated", log_sentence=sentence)
            self._isolated_since = moment.boot
            desk.door = Shut("isolated", sentence, closes=False)
        elif moment.boot - self._isolated_since >= desk.terms.resume / 3:
            desk.drop_clients(moment)

    async def _release(self, heir: str | None) -> None:
        """Tell the journal. An unknown outcome is resolved by asking the same again, for `ttl` at most."""
        active, began = self.moment().active, self._reactor.seconds()
        while True:
            try:
                await self._journal.release(self.epoch, heir, active)
            except StaleEpoch:
                raise
            except JournalError:
                if self._reactor.seconds() - began >= self._ttl:
                    raise
            else:
                return
            await deferLater(self._reactor, RETRY_SECONDS)

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
        desk = self._desk
        unsaid, self._in_flight = (self._in_flight or []) + desk.take()[1], None
        self._deliver(desk.unkept(unsaid, f"{desk.backend} lost the name {desk.server_name}"), vouched=False)
        self._finish(reason, is_kept=False)
        if not self._opened.called:
            self._opened.errback(JournalError(reason))

    def _finish(self, reason: str, *, is_kept: bool) -> None:
        self._ended(reason, is_kept)
        _fire(self._idle)
        _fire(self._gone)

    def _next(self, waiting: list[Deferred[None]]) -> Deferred[None]:
        told: Deferred[None] = Deferred()
        waiting.append(told)
        return told


def _fire(waiting: list[Deferred[None]]) -> None:
    told, waiting[:] = list(waiting), []
    for each in told:
        each.callback(None)


def isolated(reply_id: int, desk: Desk) -> Refusal:
    """What is said in place of an answer that would vouch for an unconfirmed claim."""
    return Refusal(reply_id, "isolated", f"{desk.backend} cannot confirm its claim to {desk.server_name} now")
