"""
Which server does a pool serve its clients from, and what is done to keep it so?

Findings of the backends go in, `core.claims` and `core.choice` decide, and the
decision is carried out: sessions are directed, a backend is asked to take over,
what must survive a restart is remembered. See [One at a time].

[One at a time] Carrying out a decision can tell the pool something new at once:
a request that fails because there is no connection, a session that finds its
server gone. Such news waits until the decision is carried out, then it is
decided anew.
"""

from collections.abc import Callable, Mapping
from typing import assert_never

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from lsproxy.config import model
from lsproxy.core.choice import Admin, AskTakeover, Candidate, Failback, Nobody, Situation, Use, decide
from lsproxy.core.claims import Claimed, Followed, Unclaimed, Verdict, judge, next_followed
from lsproxy.errors import LsproxyError
from lsproxy.proxy.backend import Backend, Place
from lsproxy.proxy.licenses import Licenses
from lsproxy.proxy.memory import PoolMemory, Remembered, StateFileError
from lsproxy.proxy.snapshot import PoolSnapshot
from lsproxy.proxy.takeover import Takeovers
from lsproxy.proxy.traffic import Traffic

Announce = Callable[[str, str, str, dict[str, object]], None]
"""`announce(event, pool, message, details)`: one thing that happened, in one sentence."""


class Plan(msgspec.Struct, frozen=True):
    """
    All that a pool is made of: its part of the configuration, and what was opened and read for it. `places` has one
    entry for each backend of `config`.
    """

    name: str
    config: model.Pool
    licenses: Licenses
    token: str | None
    places: Mapping[str, Place]


class Pool:
    """License servers of one active name; one at a time is served. `traffic` has its sessions."""

    def __init__(
        self,
        reactor: IReactorTime,
        plan: Plan,
        memory: PoolMemory,
        random: Callable[[], float],
        announce: Announce,
    ) -> None:
        self._reactor = reactor
        self._memory = memory
        self._random = random
        self._announce = announce
        self.name = plan.name
        self.plan = plan
        remembered = memory.load(plan.name)
        self._remembered = self._saved = remembered
        self.followed = None if remembered.journal is None else Followed(remembered.journal, remembered.epoch)
        self.chosen = remembered.chosen
        self.wanted: str | None = None
        self.traffic = Traffic(reactor, plan.config.hold, random, self._suspect)
        self.takeovers = Takeovers(reactor, self)
        self._serving: str | None = None
        self._serving_since = reactor.seconds()
        self._reason: str | None = "no backend has been checked yet"
        self._note: str | None = None
        self._verdict: Verdict = Unclaimed()
        self._is_judging = False
        self._is_news = False
        self._is_running = False
        self._saving: IDelayedCall | None = None
        self._unserved: IDelayedCall | None = None
        self._watchers: list[Callable[[], None]] = []
        self.backends: dict[str, Backend] = {}
        self._take_on(plan)

    # --- lifetime -----------------------------------------------------------------

    def start(self) -> None:
        """Begin to watch the backends."""
        self._is_running = True
        self.traffic.start()
        self._warn_when_unserved()
        for backend in list(self.backends.values()):
            if backend.admin is not Admin.MAINT:
                backend.start()

    def stop(self) -> Deferred[None]:
        """
        Close all clients cleanly and watch no more. Fires when the clients are gone; what is to be remembered is saved
        when this returns.
        """
        self._is_running = False
        self.takeovers.stop()
        for backend in self.backends.values():
            backend.stop()
        emptied = self.traffic.stop()
        for timer in (self._saving, self._unserved):
            if timer is not None and timer.active():
                timer.cancel()
        self._save()
        return emptied

    def apply(self, plan: Plan) -> None:
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
        self.traffic.hold = plan.config.hold
        gone = [name for name in self.backends if not _is_same(before, plan, name)]
        if self._serving in gone:
            self._halt(f"{self._serving} was changed or taken out by a reload", None)
        for name in gone:
            self.backends.pop(name).stop()
            if not _is_there(before, plan, name):
                self.traffic.cut(name)
        if self.takeovers.asked is not None and self.takeovers.asked.name not in self.backends:
            self.takeovers.stop()
        self._take_on(plan)
        self.judge()

    # --- the picture ----------------------------------------------------------------

    @property
    def serving(self) -> str | None:
        """The backend that clients are sent to."""
        return self._serving

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
            serving_for=self._reactor.seconds() - self._serving_since,
            epoch=0 if self.followed is None else self.followed.epoch,
            journal=None if self.followed is None else self.followed.journal,
            reason=self._reason,
            note=self._note,
            conflicts=list(self._verdict.conflicts),
            switching_to=None if self.takeovers.asked is None else self.takeovers.asked.name,
            clients=self.traffic.clients,
            waiting=self.traffic.waiting,
            failback=config.failback,
            hold=config.hold,
            backends=[backend.snapshot(connections.get(name, 0)) for name, backend in self.backends.items()],
        )

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Have `changed` called after every decision; returns what ends that."""
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed)

    def announce(self, event: str, message: str, **details: object) -> None:
        """Say that something happened."""
        self._announce(event, self.name, message, details)

    # --- deciding -------------------------------------------------------------------

    def judge(self) -> None:
        """Decide anew, and carry it out. See [One at a time]."""
        self._is_news = True
        if self._is_judging or not self._is_running:
            return
        self._is_judging = True
        try:
            while self._is_news:
                self._is_news = False
                self._judge_once()
        finally:
            self._is_judging = False
        for changed in list(self._watchers):
            changed()

    def force(self, name: str) -> None:
        """Go on with the journal of `name`, whatever was followed so far, and have it become active unfenced."""
        backend = self.backends[name]
        report = backend.report
        if report is None:
            raise LsproxyError(f"{name} does not answer, so it cannot be switched to, not even by force")
        self.followed = Followed(report.journal, report.epoch)
        self.chosen = self.wanted = name
        self.takeovers.stop()
        if report.role == "standby":
            self.takeovers.ask(backend, report.epoch, None, reason="forced by an operator", force=True)
        self.judge()

    def situation(self) -> Situation:
        """Where the pool stands, for `core.choice`."""
        config = self.plan.config
        return Situation(
            now=self._reactor.seconds(),
            serving=self.chosen,
            wanted=self.wanted,
            followed=self.followed,
            failback=Failback(config.failback),
            failback_after=config.failback_after,
        )

    def candidates(self) -> list[Candidate]:
        """The facts on the backends, in order of preference."""
        return [backend.candidate() for backend in self.backends.values()]

    def _judge_once(self) -> None:
        reports = {b.name: b.report for b in self.backends.values() if b.is_answering and b.report is not None}
        is_strict = self.plan.config.conflict == "refuse"
        verdict = judge(reports, self.followed, self.chosen, refuse_conflict=is_strict)
        self._note_conflicts(verdict)
        if isinstance(verdict, Claimed):
            self.takeovers.seen(verdict.backend)
        decision = decide(self.candidates(), verdict, self.situation())
        if self.followed is not None or not isinstance(decision, Nobody):
            self.followed = next_followed(self.followed, verdict)
        match decision:
            case Use():
                self._serve(decision)
            case AskTakeover(heir, after_epoch, deposed, meanwhile, leave):
                if meanwhile is None:
                    self._halt(f"{heir} was asked to take over", leave)
                else:
                    self._serve(meanwhile)
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
        self._remember()

    def _serve(self, use: Use) -> None:
        self._reason = None
        self._note = use.note
        if self.wanted == use.backend:
            self.wanted = None
        if use.note is None and self.takeovers.asked is None:
            for backend in self.backends.values():
                backend.refusal = None
        if self._serving == use.backend:
            return
        former = self.chosen
        self._serving = self.chosen = use.backend
        self._serving_since = self._reactor.seconds()
        if self.plan.config.failback == "manual" and former is not None and former != use.backend:
            lost = self.backends.get(former)
            if lost is not None and not lost.is_answering and lost.admin is Admin.READY:
                lost.is_kept_out = True
        self.traffic.direct(self.backends[use.backend].target)
        if former in {None, use.backend}:
            self.announce("serving", f"{use.backend} is served, epoch {use.epoch}", backend=use.backend)
        else:
            message = f"{use.backend} took over from {former}, epoch {use.epoch}"
            self.announce("takeover", message, backend=use.backend, former=former, epoch=use.epoch)

    def _halt(self, reason: str, leave: str | None) -> None:
        self._reason = reason
        self._note = None
        if self._serving is not None:
            self._serving = None
            self._serving_since = self._reactor.seconds()
            self._warn_when_unserved()
        is_hopeless = all(backend.admin is Admin.MAINT for backend in self.backends.values())
        self.traffic.halt(reason, is_hopeless=is_hopeless)
        if leave is not None:
            self.traffic.cut(leave)

    def _why_takeover(self, deposed: str | None) -> str:
        if self.wanted is not None:
            return "switchover by an operator"
        if deposed is None:
            return f"{self.chosen} was lost" if self.chosen is not None else "nobody holds the name"
        return f"{deposed} is to be relieved"

    def _note_conflicts(self, verdict: Verdict) -> None:
        said = self._verdict.conflicts
        self._verdict = verdict
        for conflict in verdict.conflicts:
            if conflict not in said:
                self.announce("conflict", conflict)
        if said and not verdict.conflicts:
            self.announce("conflict_over", "only one server claims the name again")

    def _rest_those_in_maint(self) -> None:
        """One in maint is not probed, once it is not needed any more to hand the name over."""
        if self.takeovers.asked is None:
            for backend in self.backends.values():
                if backend.admin is Admin.MAINT and backend.is_watched:
                    backend.stop()

    def _warn_when_unserved(self) -> None:
        if self._unserved is not None and self._unserved.active():
            self._unserved.cancel()
        self._unserved = self._reactor.callLater(self.plan.config.hold, self._still_unserved)

    def _still_unserved(self) -> None:
        if self._serving is None:
            unserved_for = self._reactor.seconds() - self._serving_since
            self.announce("unserved", f"no license server for {unserved_for:.0f} s: {self._reason}")

    def _suspect(self, backend: str) -> None:
        if backend in self.backends:
            self.backends[backend].suspect()

    # --- backends and memory --------------------------------------------------------

    def _take_on(self, plan: Plan) -> None:
        kept = self.backends
        self.backends = {}
        for name, place in plan.places.items():
            backend = kept.get(name)
            if backend is None:
                backend = Backend(self._reactor, name, place, plan.config, plan.token, self._random, self)
                backend.admin = Admin(self._remembered.admin.get(name, Admin.READY))
                backend.is_kept_out = name in self._remembered.kept_out
            self.backends[name] = backend
            backend.hold = plan.config.hold
            backend.check_against(plan.licenses)
            if self._is_running and backend.admin is not Admin.MAINT:
                backend.start()

    def _remember(self) -> None:
        """Saved in the next turn: a failover does not wait for the disk of the proxy."""
        self._remembered = Remembered(
            chosen=self.chosen,
            admin={b.name: b.admin.value for b in self.backends.values() if b.admin is not Admin.READY},
            kept_out=tuple(b.name for b in self.backends.values() if b.is_kept_out),
            journal=None if self.followed is None else self.followed.journal,
            epoch=0 if self.followed is None else self.followed.epoch,
        )
        if self._remembered != self._saved and self._saving is None:
            self._saving = self._reactor.callLater(0, self._save)

    def _save(self) -> None:
        self._saving = None
        if self._remembered == self._saved:
            return
        self._saved = self._remembered
        try:
            self._memory.save(self.name, self._remembered)
        except StateFileError as error:
            self.announce("state_not_saved", str(error))


def _is_same(before: Plan, after: Plan, name: str) -> bool:
    """Whether the backend `name` can go on as it is."""
    old, new = before.config, after.config
    if name not in new.backends or before.token != after.token:
        return False
    return (old.backends[name], old.health, old.binding) == (new.backends[name], new.health, new.binding)


def _is_there(before: Plan, after: Plan, name: str) -> bool:
    """Whether connections to the backend `name` can go on."""
    if name not in after.config.backends:
        return False
    old, new = before.config.backends[name], after.config.backends[name]
    return (old.address, old.tls) == (new.address, new.tls)
