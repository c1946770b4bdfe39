"""
Which licserver does a pool serve its clients from, and what is done to keep it so?

What the servers say of themselves goes in, `core.claims` and `core.choice`
decide, and the decision is carried out: sessions are directed, a backend is
asked to take over.
"""

from collections.abc import Callable, Mapping
from typing import assert_never

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IReactorTime

from lsproxy.config import model
from lsproxy.core.choice import (
    Admin,
    AskTakeover,
    Candidate,
    Failback,
    Nobody,
    Situation,
    Use,
    decide,
    kept_away,
    may_stand_in,
    state,
)
from lsproxy.core.claims import Claimed, Followed, Unclaimed, Verdict, judge, next_followed
from lsproxy.errors import LsproxyError
from lsproxy.proxy.arrival import Arrival
from lsproxy.proxy.backend import Backend, Place
from lsproxy.proxy.licenses import Licenses
from lsproxy.proxy.memory import PoolMemory, Remembered
from lsproxy.proxy.pool import Announce, Pool
from lsproxy.proxy.session import Session
from lsproxy.proxy.snapshot import PoolSnapshot
from lsproxy.proxy.takeover import Takeovers

SWITCH_SECONDS = 10.0


class SeatPlan(msgspec.Struct, frozen=True):
    """
    All that a pool is made of: its part of the configuration, and what was opened and read for it. `places` has one
    entry for each backend of `config`.
    """

    name: str
    config: model.SeatPool
    licenses: Licenses
    token: str | None
    places: Mapping[str, Place]


class SeatPool(Pool):
    """Licservers of one active name."""

    def __init__(
        self,
        reactor: IReactorTime,
        plan: SeatPlan,
        memory: PoolMemory,
        random: Callable[[], float],
        announce: Announce,
    ) -> None:
        super().__init__(reactor, plan.name, plan.config, memory, random, announce)
        self.plan = plan
        remembered = self._remembered
        self.followed = None if remembered.journal is None else Followed(remembered.journal, remembered.epoch)
        self.takeovers = Takeovers(reactor, self)
        self._verdict: Verdict = Unclaimed()
        self._backends: dict[str, Backend] = {}
        self._take_on(plan, {})

    @property
    def backends(self) -> dict[str, Backend]:
        """The backends by name, in order of preference."""
        return self._backends

    def stop(self) -> Deferred[None]:
        """As `Pool.stop`."""
        self.takeovers.stop()
        return super().stop()

    def connection(self, arrival: Arrival) -> IProtocol:
        """The protocol of a client's connection."""
        return Session(self._reactor, self.traffic, arrival)

    def apply(self, plan: SeatPlan) -> None:
        """
        Go on with another configuration; clients of backends that stay are not touched.

        Raises LsproxyError when it cannot be done without a restart.
        """
        if plan.config.server_name != self.plan.config.server_name:
            raise LsproxyError(
                f"pools.{self.name}.server_name: a running pool keeps its name {self.plan.config.server_name};"
                " add a pool for the other name, or restart lsproxy"
            )
        before = self.plan
        self.plan = plan
        self.config = plan.config
        self.traffic.hold = plan.config.hold
        gone = [name for name in self.backends if not _is_same(before, plan, name)]
        if self._serving in gone:
            self._halt(f"{self._serving} was changed or taken out by a reload", None)
        former = {name: self.backends.pop(name) for name in gone}
        for name, backend in former.items():
            backend.stop()
            if not _is_there(before, plan, name):
                self.traffic.cut(name)
        if self.takeovers.asked is not None and self.takeovers.asked.name not in self.backends:
            self.takeovers.stop()
        self._take_on(plan, former)
        self.judge()

    def snapshot(self) -> PoolSnapshot:
        """The pool as it is now."""
        connections = self.traffic.connections()
        config = self.plan.config
        return PoolSnapshot(
            pool=self.name,
            kind=config.kind,
            server_name=config.server_name,
            serving=self._serving,
            address=None if self._serving is None else self.backends[self._serving].address,
            serving_for=self.serving_for,
            epoch=0 if self.followed is None else self.followed.epoch,
            journal=None if self.followed is None else self.followed.journal,
            reason=self._reason,
            note=self._note,
            conflicts=list(self._verdict.conflicts),
            switching_to=None if self.takeovers.asked is None else self.takeovers.asked.name,
            clients=self.traffic.clients,
            waiting=self.traffic.waiting,
            failback=self.failback,
            hold=config.hold,
            expiring=list(self.expiring),
            is_expired=self.is_expired,
            unsaved=self.unsaved,
            backends=[backend.snapshot(connections.get(name, 0)) for name, backend in self.backends.items()],
        )

    def want(self, backend: str) -> None:
        """An operator switches to it."""
        self.wanted = backend
        self.backends[backend].ask_after = 0.0
        self.judge()

    @property
    def switch_seconds(self) -> float:
        """How long a switch may take that an operator waits for."""
        return SWITCH_SECONDS

    def why_not(self, backend: str) -> str | None:
        """Why it could not be switched to: the end of a sentence that begins with its name. None if it could."""
        candidate = self.backends[backend].candidate()
        return None if may_stand_in(candidate, self.followed) else state(candidate)

    def state(self, backend: str) -> str:
        """Why it is not used: the end of a sentence that begins with its name."""
        return state(self.backends[backend].candidate())

    def force(self, backend: str) -> None:
        """Go on with the journal of `backend`, whatever was followed so far, and have it become active unfenced."""
        asked = self.backends[backend]
        report = asked.report
        if report is None:
            raise LsproxyError(f"{backend} does not answer, so it cannot be switched to, not even by force")
        self.followed = Followed(report.journal, report.epoch)
        self.chosen = self.wanted = backend
        self.takeovers.stop()
        if report.role == "standby":
            self.takeovers.ask(asked, report.epoch, None, reason="forced by an operator", force=True)
        self.judge()

    @property
    def failback(self) -> Failback:
        """What becomes of a preferred backend that returned: a pair's limit runs while its primary stands by."""
        if self.plan.config.failback is not None:
            return Failback(self.plan.config.failback)
        is_pair = any(backend.is_of_a_pair for backend in self.backends.values())
        return Failback.AUTOMATIC if is_pair else Failback.STICKY

    def situation(self) -> Situation:
        """Where the pool stands, for `core.choice`."""
        config = self.plan.config
        return Situation(
            now=self._reactor.seconds(),
            serving=self.chosen,
            wanted=self.wanted,
            followed=self.followed,
            failback=self.failback,
            failback_after=config.failback_after,
        )

    def candidates(self) -> list[Candidate]:
        """The facts on the backends, in order of preference; by what they say of it, then as they are configured."""
        return [backend.candidate() for backend in sorted(self.backends.values(), key=lambda each: each.precedence)]

    def _judge_once(self) -> None:
        reports = {b.name: b.report for b in self.backends.values() if b.is_answering and b.report is not None}
        is_strict = self.plan.config.conflict == "refuse"
        verdict = judge(reports, self.followed, self.chosen, refuse_conflict=is_strict)
        self._verdict = verdict
        self._note_conflicts(verdict.conflicts)
        if isinstance(verdict, Claimed):
            self.takeovers.seen(verdict.backend)
        decision = decide(self.candidates(), verdict, self.situation())
        if self.followed is not None or not isinstance(decision, Nobody):
            self.followed = next_followed(self.followed, verdict)
        match decision:
            case Use():
                self._use(decision, kept_away(self.candidates(), decision, self.situation()))
            case AskTakeover(heir, after_epoch, deposed, meanwhile, leave):
                if meanwhile is None:
                    self._halt(f"{heir} was asked to take over", leave)
                else:
                    self._use(meanwhile)
                reason = self._why_takeover(deposed)
                holder = None if deposed is None else self.backends[deposed]
                # Whoever holds the name, an operator took all others out: the heir need not respect a hold-down.
                others = [b.admin for b in self.backends.values() if b.name != heir]
                force = bool(others) and all(admin is Admin.MAINT for admin in others)
                self.takeovers.ask(self.backends[heir], after_epoch, holder, reason=reason, force=force)
            case Nobody(reason, leave):
                self._halt(reason, leave)
            case _:
                assert_never(decision)
        self._rest_those_in_maint()

    def _use(self, use: Use, remark: str | None = None) -> None:
        if use.note is None and self.takeovers.asked is None:
            for backend in self.backends.values():
                backend.refusal = None
        former = self.chosen
        self._serve(use.backend, use.note or remark, former, use.epoch)
        if former != use.backend:
            self._keep_out_if_lost(former)

    def _why_takeover(self, deposed: str | None) -> str:
        if self.wanted is not None:
            return "switchover by an operator"
        if deposed is None:
            return f"{self.chosen} was lost" if self.chosen is not None else "nobody holds the name"
        return f"{deposed} is to be relieved"

    def _rest_those_in_maint(self) -> None:
        """One in maint is not probed, once it is not needed any more to hand the name over."""
        if self.takeovers.asked is None:
            for backend in self.backends.values():
                if backend.admin is Admin.MAINT and backend.is_watched:
                    backend.stop()

    # --- backends ----------------------------------------------------------------

    def _take_on(self, plan: SeatPlan, former: Mapping[str, Backend]) -> None:
        """Backends of `plan`; those that take the place of `former` ones go on with what was counted."""
        kept = self._backends
        self._backends = {}
        for name, place in plan.places.items():
            backend = kept.get(name)
            if backend is None:
                backend = Backend(self._reactor, name, place, plan.config, plan.token, self._random, self)
                backend.admin = Admin(self._remembered.admin.get(name, Admin.READY))
                backend.is_kept_out = name in self._remembered.kept_out
                if name in former:
                    backend.inherit(former[name])
            self._backends[name] = backend
            backend.renew(plan.token)
            backend.hold = plan.config.hold
            backend.check_against(plan.licenses)
            if self._is_running and backend.admin is not Admin.MAINT:
                backend.start()

    def _remember(self) -> Remembered:
        return Remembered(
            chosen=self.chosen,
            admin={b.name: b.admin.value for b in self.backends.values() if b.admin is not Admin.READY},
            kept_out=tuple(b.name for b in self.backends.values() if b.is_kept_out),
            journal=None if self.followed is None else self.followed.journal,
            epoch=0 if self.followed is None else self.followed.epoch,
        )


def _is_same(before: SeatPlan, after: SeatPlan, name: str) -> bool:
    """Whether the backend `name` can go on as it is."""
    old, new = before.config, after.config
    if name not in new.backends:
        return False
    return (old.backends[name], old.health, old.binding) == (new.backends[name], new.health, new.binding)


def _is_there(before: SeatPlan, after: SeatPlan, name: str) -> bool:
    """Whether connections to the backend `name` can go on."""
    if name not in after.config.backends:
        return False
    old, new = before.config.backends[name], after.config.backends[name]
    return (old.address, old.tls, old.send_proxy_protocol) == (new.address, new.tls, new.send_proxy_protocol)
