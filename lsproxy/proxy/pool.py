"""
What do all pools have in common, whatever decides which of their servers is used?

Findings of the backends go in, a decision is made and carried out: connections
are directed, what must survive a restart is remembered. See [One at a time].

[One at a time] Carrying out a decision can tell the pool something new at once:
a request that fails because there is no connection, a session that finds its
server gone. Such news waits until the decision is carried out, then it is
decided anew.
"""

import abc
from collections.abc import Callable, Mapping
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime

from lsproxy.config import model
from lsproxy.core.choice import Admin
from lsproxy.metrics.buckets import SWITCH_BOUNDS, Buckets
from lsproxy.proxy.arrival import Arrival
from lsproxy.proxy.memory import PoolMemory, Remembered, StateFileError
from lsproxy.proxy.snapshot import BackendSnapshot, PoolSnapshot
from lsproxy.proxy.traffic import Target, Traffic

Announce = Callable[[str, str, str, dict[str, object]], None]
"""`announce(event, pool, message, details)`: one thing that happened, in one sentence."""


SAVE_AGAIN_SECONDS = 5.0


class Watched(Protocol):
    """What every pool needs of a backend."""

    name: str
    address: str
    admin: Admin
    is_kept_out: bool
    target: Target

    @property
    def is_answering(self) -> bool:
        """Whether its last check is to be believed."""

    @property
    def is_watched(self) -> bool:
        """Whether it is checked."""

    @property
    def latencies(self) -> Buckets:
        """How long passed checks took."""

    @property
    def last_error(self) -> str | None:
        """The sentence on what went wrong last, None while all is well."""

    def start(self) -> None:
        """Begin to check it."""

    def stop(self) -> None:
        """Check it no more, and know nothing of it."""

    def suspect(self) -> None:
        """A connection met something odd there."""

    def snapshot(self, connections: int) -> BackendSnapshot:
        """The picture for people."""


class Pool(abc.ABC):
    """
    Servers of which one at a time is used, named `name`. `traffic` has its connections; `expiring` are sentences on
    license lines whose end is near, `is_expired` is set when every line has ended. `unsaved` says why what is to be
    remembered could not be written, None while it is.

    `failovers` and `switchovers` tell how long nobody served while another backend took over: from one that did not
    answer, or from one that did.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        name: str,
        config: model.Pool,
        memory: PoolMemory,
        random: Callable[[], float],
        announce: Announce,
    ) -> None:
        self._reactor = reactor
        self._memory = memory
        self._random = random
        self._announce = announce
        self.name = name
        self.config = config
        self._remembered = self._saved = memory.load(name)
        self.chosen = self._remembered.chosen
        self.wanted: str | None = None
        self.traffic = Traffic(reactor, config.hold, random, self._suspect)
        self._serving: str | None = None
        self._serving_since = reactor.seconds()
        self._unserved_before = 0.0
        self.failovers = Buckets(SWITCH_BOUNDS)
        self.switchovers = Buckets(SWITCH_BOUNDS)
        self._reason: str | None = "no backend has been checked yet"
        self._note: str | None = None
        self._said: tuple[str, ...] = ()
        self.expiring: list[str] = []
        self.is_expired = False
        self.unsaved: str | None = None
        self._is_judging = False
        self._is_news = False
        self._is_running = False
        self._saving: IDelayedCall | None = None
        self._unserved: IDelayedCall | None = None
        self._watchers: list[Callable[[], None]] = []

    # --- what a sort of pool decides --------------------------------------------------

    @property
    @abc.abstractmethod
    def backends(self) -> Mapping[str, Watched]:
        """The backends by name, in order of preference."""

    @abc.abstractmethod
    def _judge_once(self) -> None:
        """Decide, and carry it out."""

    @abc.abstractmethod
    def why_not(self, backend: str) -> str | None:
        """Why it could not be switched to: the end of a sentence that begins with its name. None if it could."""

    @abc.abstractmethod
    def state(self, backend: str) -> str:
        """Why it is not used: the end of a sentence that begins with its name."""

    @abc.abstractmethod
    def want(self, backend: str) -> None:
        """An operator switches to it."""

    @property
    @abc.abstractmethod
    def switch_seconds(self) -> float:
        """How long a switch may take that an operator waits for."""

    @property
    def busy(self) -> str | None:
        """What is being done that nothing else may be begun beside; None: nothing."""
        return None

    def given_up(self, backend: str) -> str | None:  # noqa: ARG002 - for those who know
        """Why a switch to `backend` that was wanted is over without success; None while it may still come."""
        return None

    @abc.abstractmethod
    def force(self, backend: str) -> None:
        """Go on with it, whatever speaks against it. Raises LsproxyError where that would serve nobody."""

    @abc.abstractmethod
    def connection(self, arrival: Arrival) -> IProtocol:
        """The protocol of a client's connection."""

    @abc.abstractmethod
    def snapshot(self) -> PoolSnapshot:
        """The pool as it is now."""

    @abc.abstractmethod
    def _remember(self) -> Remembered:
        """What is to survive a restart."""

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
        for backend in self.backends.values():
            backend.stop()
        emptied = self.traffic.stop()
        for timer in (self._saving, self._unserved):
            if timer is not None and timer.active():
                timer.cancel()
        self._save()
        return emptied

    # --- the picture ----------------------------------------------------------------

    @property
    def serving(self) -> str | None:
        """The backend that clients are sent to."""
        return self._serving

    @property
    def serving_for(self) -> float:
        """For how many seconds that has been so."""
        return self._reactor.seconds() - self._serving_since

    @property
    def unserved_seconds(self) -> float:
        """For how many seconds nobody served, all told."""
        return self._unserved_before + (self.serving_for if self._serving is None else 0.0)

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
                self._save_soon()
        finally:
            self._is_judging = False
        for changed in list(self._watchers):
            changed()

    def _serve(self, name: str, note: str | None, former: str | None, epoch: int = 0) -> None:
        """Send clients to the backend `name`; `former` is the one they were sent to before, however long ago."""
        self._reason = None
        self._note = note
        if self.wanted == name:
            self.wanted = None
        if self._serving == name:
            return
        self._count_switch(name, former)
        self._serving = self.chosen = name
        self._serving_since = self._reactor.seconds()
        self.traffic.direct(self.backends[name].target)
        self._announce_serving(name, former, f", epoch {epoch}" if epoch else "", {"epoch": epoch} if epoch else {})

    def _count_switch(self, name: str, former: str | None) -> None:
        unserved = self.serving_for if self._serving is None else 0.0
        self._unserved_before += unserved
        if former not in {None, name}:
            left = self.backends.get(former or "")
            is_planned = left is not None and left.is_answering
            (self.switchovers if is_planned else self.failovers).observe(unserved)

    def _halt(self, reason: str, leave: str | None = None) -> None:
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

    def _keep_out_if_lost(self, former: str | None) -> None:
        """Under `failback: manual`, one that was lost stays out until an operator says it is ready."""
        lost = self.backends.get(former or "")
        if self.config.failback == "manual" and lost is not None and not lost.is_answering:
            lost.is_kept_out = lost.is_kept_out or lost.admin is Admin.READY

    def _announce_serving(self, name: str, former: str | None, suffix: str, details: dict[str, object]) -> None:
        if former in {None, name}:
            self.announce("serving", f"{name} is served{suffix}", backend=name)
        else:
            self.announce("takeover", f"{name} took over from {former}{suffix}", backend=name, former=former, **details)

    def _note_conflicts(self, conflicts: tuple[str, ...]) -> None:
        said, self._said = self._said, conflicts
        for conflict in conflicts:
            if conflict not in said:
                self.announce("conflict", conflict)
        if said and not conflicts:
            self.announce("conflict_over", "only one server claims the name again")

    def _warn_when_unserved(self) -> None:
        if self._unserved is not None and self._unserved.active():
            self._unserved.cancel()
        self._unserved = self._reactor.callLater(self.config.hold, self._still_unserved)

    def _still_unserved(self) -> None:
        if self._serving is None:
            self.announce("unserved", f"no license server for {self.serving_for:.0f} s: {self._reason}")

    def _suspect(self, backend: str) -> None:
        if backend in self.backends:
            self.backends[backend].suspect()

    # --- memory -----------------------------------------------------------------------

    def _save_soon(self) -> None:
        """In the next turn: a failover does not wait for the disk of the proxy."""
        self._remembered = self._remember()
        if self._remembered != self._saved and self._saving is None:
            self._saving = self._reactor.callLater(0, self._save)

    def save_now(self) -> None:
        """Write what is to be remembered, if that is not done yet; `unsaved` says what came of it."""
        self._remembered = self._remember()
        self._save()

    def _save(self) -> None:
        if self._saving is not None and self._saving.active():
            self._saving.cancel()
        self._saving = None
        if self._remembered == self._saved:
            self.unsaved = None
            return
        try:
            self._memory.save(self.name, self._remembered)
        except StateFileError as error:
            self.unsaved = f"what was decided last would be forgotten at a restart: {error}"
            self.announce("state_not_saved", str(error))
            if self._is_running:
                self._saving = self._reactor.callLater(SAVE_AGAIN_SECONDS, self._save)
        else:
            self._saved = self._remembered
            self.unsaved = None
