"""
To which server do the sessions of a pool go, and who waits for one?

The pool says the target; sessions seek a connection to it. Only MOST_DIALS of
them connect and say hello at once, those with something unanswered first, so
that ten thousand come back as fast as the server takes them and no faster.
Nobody waits longer than `hold` seconds for a server.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from lsproxy.proxy.denials import Denials
from lsproxy.proxy.doors import Doors

ANSWER_SECONDS = 2.0
LOOK_SECONDS = 0.05
MOST_DIALS = 256
SHORTEST_PAUSE = 0.01
LONGEST_PAUSE = 0.5
MOST_DOUBLINGS = 10
SHORTEST_HOLD = 2.0  # with a server there, also a pool that holds nobody takes the time to connect and say hello

log = Logger()


class Target(msgspec.Struct, frozen=True):
    """The server that connections go to."""

    backend: str
    doors: Doors


class Seeking(Protocol):
    """What the traffic needs of a session."""

    @property
    def backend(self) -> str | None:
        """The server it is connected or connecting to."""

    @property
    def is_urgent(self) -> bool:
        """Whether something of it is unanswered."""

    @property
    def is_dialling(self) -> bool:
        """Whether a dial of it is under way: connecting, or its hello unanswered."""

    def dial(self, target: Target) -> None:
        """Leave the old server, if any, and connect to this one. Ends with `Traffic.settled` or `Traffic.failed`."""

    def leave(self) -> None:
        """Leave the server it is connected to, at once."""

    def give_up(self, reason: str) -> None:
        """Answer what is unanswered with `no_backend`, and close."""

    def close(self) -> None:
        """Close the client's connection cleanly."""


class Traffic:
    """
    The sessions of one pool. `suspect` is called with a backend's name when a session met something odd there.
    `tick` counts seconds, roughly: what a session needs to know of time on the way of every byte.
    """

    def __init__(
        self, reactor: IReactorTime, hold: float, random: Callable[[], float], suspect: Callable[[str], None]
    ) -> None:
        self._reactor = reactor
        self.hold = hold
        self._random = random
        self._suspect = suspect
        self.tick = 0
        self._ticking: IDelayedCall | None = None
        self._sessions: set[Seeking] = set()
        # Each since when; the oldest first, so the first one's deadline is the next.
        self._waiting: dict[Seeking, float] = {}
        self._urgent: dict[Seeking, None] = {}
        self._idle: dict[Seeking, None] = {}
        self.denials = Denials()
        self.given_up = 0
        """How many sessions waited in vain, and were answered `no_backend`."""
        self._dials = 0
        self._is_pumping = False
        self._failures = 0
        self._pause: IDelayedCall | None = None
        self._expiry: IDelayedCall | None = None
        self._target: Target | None = None
        self._reason = "no license server has been checked yet"
        self._unserved_since = reactor.seconds()
        self._is_hopeless = False
        self._emptied: Deferred[None] | None = None
        self._closing: IDelayedCall | None = None

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._sessions)

    @property
    def waiting(self) -> int:
        """How many of them wait for a server."""
        return len(self._waiting)

    def connections(self) -> dict[str, int]:
        """How many sessions each backend has."""
        counts: dict[str, int] = {}
        for session in self._sessions:
            if session.backend is not None:
                counts[session.backend] = counts.get(session.backend, 0) + 1
        return counts

    def start(self) -> None:
        """Begin to count seconds."""
        self._ticking = self._reactor.callLater(1, self._ticked)

    def stop(self) -> Deferred[None]:
        """
        Close all clients cleanly, so that they go to their next address; fires when they are gone.

        Those with something unanswered get ANSWER_SECONDS for it.
        """
        for timer in (self._ticking, self._pause, self._expiry):
            if timer is not None and timer.active():
                timer.cancel()
        self._ticking = self._pause = self._expiry = None
        self._target = None
        self._close_answered(self._reactor.seconds() + ANSWER_SECONDS)
        if not self._sessions:
            return succeed(None)
        self._emptied = Deferred()
        return self._emptied

    def _close_answered(self, end: float) -> None:
        self._closing = None
        is_over = self._reactor.seconds() >= end
        for session in list(self._sessions):
            if is_over or session.backend is None or not session.is_urgent:
                session.close()
        if not is_over and self._sessions:
            self._closing = self._reactor.callLater(LOOK_SECONDS, self._close_answered, end)

    # --- said by the pool -------------------------------------------------------

    def direct(self, target: Target) -> None:
        """From now on sessions go to `target`; those connected elsewhere are moved."""
        if target == self._target:
            return
        self._target = target
        self._failures = 0
        self._is_hopeless = False
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        # Dials to a server that hangs would hold their places until they time out: they leave first.
        self._is_pumping = True
        for session in list(self._sessions):
            if session.backend not in {None, target.backend}:
                if session.is_dialling:
                    session.leave()
                else:
                    self._enqueue(session)
        self._is_pumping = False
        self._pump()

    def halt(self, reason: str, *, is_hopeless: bool) -> None:
        """There is no server now; `is_hopeless`: and nobody shall wait for one."""
        if self._target is not None:
            self._target = None
            self._unserved_since = self._reactor.seconds()
        self._reason = reason
        self._is_hopeless = is_hopeless
        self._rearm()

    def cut(self, backend: str) -> None:
        """All sessions leave `backend` at once."""
        for session in list(self._sessions):
            if session.backend == backend:
                session.leave()

    # --- said by sessions -------------------------------------------------------

    def joined(self, session: Seeking) -> None:
        """A client connected."""
        self._sessions.add(session)

    def left(self, session: Seeking) -> None:
        """It is gone; a dial of it that was under way has been given back by `settled`."""
        self._sessions.discard(session)
        for queue in (self._waiting, self._urgent, self._idle):
            queue.pop(session, None)
        if self._emptied is not None and not self._sessions:
            if self._closing is not None:
                self._closing.cancel()
                self._closing = None
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def seek(self, session: Seeking) -> None:
        """It needs a server."""
        self._wait(session)
        self._enqueue(session)
        self._pump()

    def settled(self, session: Seeking, *, is_open: bool) -> None:
        """Its dial is over: `is_open`, or because the session itself is."""
        self._dials -= 1
        if is_open:
            self._failures = 0
            self._waiting.pop(session, None)
        self._pump()

    def failed(self, backend: str) -> None:
        """Its dial is over: `backend` refused it, or was not active. So it would the next one: all dials pause."""
        self._dials -= 1
        self.met_trouble(backend)

    def noticed(self, backend: str) -> None:
        """`backend` leaves something unanswered: it is checked."""
        self._suspect(backend)

    def met_trouble(self, backend: str) -> None:
        """Something odd was met at `backend`: it is checked, and not dialled for a moment while it is the target."""
        self._suspect(backend)
        if self._target is None or self._target.backend != backend:
            self._pump()
        elif self._pause is None:
            pause = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2**self._failures)
            self._failures = min(self._failures + 1, MOST_DOUBLINGS)
            self._pause = self._reactor.callLater(pause * (0.5 + self._random()), self._paused)

    # --- dials ------------------------------------------------------------------

    def _enqueue(self, session: Seeking) -> None:
        (self._urgent if session.is_urgent else self._idle)[session] = None

    def _pump(self) -> None:
        # A session that dials gives back its dial to another server first, which would pump again, and so on.
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            while self._target is not None and self._pause is None and self._dials < MOST_DIALS:
                session = self._next()
                if session is None:
                    return
                self._dials += 1
                self._wait(session)
                self._dial(session, self._target)
        finally:
            self._is_pumping = False

    def _dial(self, session: Seeking, target: Target) -> None:
        try:
            session.dial(target)
        except Exception:  # noqa: BLE001 - one session's fault is not that of whoever happens to pump
            log.failure("while a connection to {backend} was begun", backend=target.backend)
            if not session.is_dialling:
                self._dials -= 1

    def _next(self) -> Seeking | None:
        """The next that still wants a server: one may stand in both queues, or have one."""
        for queue in (self._urgent, self._idle):
            while queue:
                session = next(iter(queue))
                del queue[session]
                if self._target is not None and session.backend != self._target.backend:
                    return session
        return None

    def _paused(self) -> None:
        self._pause = None
        self._pump()

    # --- waiting ----------------------------------------------------------------

    def _wait(self, session: Seeking) -> None:
        if session not in self._waiting:
            self._waiting[session] = self._reactor.seconds()
            if self._expiry is None:
                self._rearm()

    def _due(self) -> Iterator[Seeking]:
        now = self._reactor.seconds()
        while self._waiting:
            session, since = next(iter(self._waiting.items()))
            if self._deadline(since) > now:
                return
            del self._waiting[session]
            yield session

    def _deadline(self, since: float) -> float:
        if self._target is not None:
            return since + max(self.hold, SHORTEST_HOLD)
        if self._is_hopeless:
            return since
        return min(since, self._unserved_since) + self.hold

    def _rearm(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self._waiting:
            since = next(iter(self._waiting.values()))
            delay = max(0.0, self._deadline(since) - self._reactor.seconds())
            self._expiry = self._reactor.callLater(delay, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        reason = self._reason if self._target is None else f"{self._target.backend} did not answer in time"
        for session in self._due():
            self.given_up += 1
            session.give_up(reason)
        self._rearm()

    def _ticked(self) -> None:
        self.tick += 1
        self._ticking = self._reactor.callLater(1, self._ticked)
