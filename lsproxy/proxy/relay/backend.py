"""
What does a pool know of one of its third-party backends?

The findings of its prober, what operators said of it, what can be seen of the
binding from outside; given out as the facts of a decision and as a picture for
people.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from lsproxy.config import model
from lsproxy.core.binding import Binding, Unbound, Unknown
from lsproxy.core.choice import Admin
from lsproxy.core.health import Down, Health, Unchecked, Up, check_failed, check_passed
from lsproxy.core.rhythm import Timing
from lsproxy.core.succession import Candidate
from lsproxy.net.address import Address
from lsproxy.proxy.doors import Doors
from lsproxy.proxy.relay.checks import Checks
from lsproxy.proxy.relay.prober import Prober
from lsproxy.proxy.snapshot import BackendSnapshot
from lsproxy.proxy.traffic import Target

Bind = Callable[..., Deferred[Binding]]

LOOK_SECONDS = 60.0  # names and network cards move seldom
FIRST_REST_SECONDS = 5.0
LONGEST_REST_SECONDS = 60.0


class Place(msgspec.Struct, frozen=True):
    """
    Where a backend is: its ports by name, the doors for its clients, its checks, and `bind`, which fires with how the
    license file binds to what is seen of it (None: there is no license file). `bind` is told whether checks pass, so
    that a certificate proves its name.
    """

    ports: Mapping[str, Address]
    doors: Doors
    checks: Checks
    bind: Bind | None


class Watching(Protocol):
    """Who is told what a backend does."""

    def judge(self) -> None:
        """Something changed, or a check ended: decide anew."""

    def announce(self, event: str, message: str, **details: object) -> None:
        """Something a person may want to know."""


class RelayBackend:
    """One third-party license server of a pool, watched while `start`ed."""

    def __init__(
        self,
        reactor: IReactorTime,
        name: str,
        place: Place,
        pool: model.RelayPool,
        random: Callable[[], float],
        watching: Watching,
    ) -> None:
        self._reactor = reactor
        self._watching = watching
        self._place = place
        self._policy = "off" if place.bind is None else pool.binding
        self.name = name
        self.address = ", ".join(str(address) for address in place.ports.values())
        self.target = Target(name, place.doors)
        timing = Timing(pool.health.interval, pool.health.timeout, pool.health.rise, pool.health.fall)
        self._thresholds = timing.thresholds
        self._prober = Prober(reactor, place.checks, timing, random, self)
        self.admin = Admin.READY
        self.is_kept_out = False
        self.fencing: str | None = None
        self.activation: str | None = None
        self._failures = 0
        self._rests_until = 0.0
        self._failure: str | None = None
        self._health: Health = Unchecked()
        self._changed_at = reactor.seconds()
        self._stable_since: float | None = None
        self._last_error: str | None = None
        self._binding: Binding = Unknown("it has not been looked at yet")
        self._looked_at: float | None = None
        self._is_looking = False

    def start(self) -> None:
        """Begin to check it."""
        self._prober.start()
        self._look()

    def stop(self) -> None:
        """Check it no more, and know nothing of it."""
        self._prober.stop()
        self._become(Unchecked())
        self._stable_since = None

    def forget(self) -> None:
        """What was known of it is over, as it was fenced or started: the next check decides alone."""
        if self._prober.is_running:
            self.stop()
            self._prober.start()

    def suspect(self) -> None:
        """A connection met something odd there."""
        self._prober.suspect()

    def verify(self) -> Deferred[bool]:
        """Fires when a check that begins now has ended: whether it passed."""
        return self._prober.verify()

    def rest(self, failure: str) -> None:
        """It could not be activated: it is not tried again for a while. `failure` is the end of a sentence."""
        pause = min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2**self._failures)
        self._failures += 1
        self._failure = failure
        self._rests_until = self._reactor.seconds() + pause

    def rest_no_more(self) -> None:
        """It may be activated again."""
        self._failures = 0
        self._failure = None
        self._rests_until = 0.0

    @property
    def is_watched(self) -> bool:
        """Whether it is checked."""
        return self._prober.is_running

    @property
    def is_answering(self) -> bool:
        """Whether it answers."""
        return isinstance(self._health, Up)

    @property
    def last_error(self) -> str | None:
        """The sentence on what went wrong last, None while all is well."""
        return self._last_error or (None if self._failure is None else f"{self.name} {self._failure}")

    def candidate(self) -> Candidate:
        """The facts for `core.succession`."""
        bar = None
        if self._policy == "enforce" and isinstance(self._binding, Unbound):
            bar = "the license file is not bound to it"
        return Candidate(
            name=self.name,
            health=self._health,
            admin=self.admin,
            is_kept_out=self.is_kept_out,
            bar=bar,
            stable_since=self._stable_since,
            rests_until=self._rests_until,
            failure=self._failure,
        )

    def snapshot(self, connections: int) -> BackendSnapshot:
        """The picture for people."""
        return BackendSnapshot(
            name=self.name,
            address=self.address,
            health=type(self._health).__name__.lower(),
            changed_for=self._reactor.seconds() - self._changed_at,
            admin=self.admin.value,
            is_kept_out=self.is_kept_out,
            binding="off" if self._policy == "off" else type(self._binding).__name__.lower(),
            binding_reason=self._binding.reason,
            license_note=None,
            said=None,
            connections=connections,
            last_error=self.last_error,
            ports={port: str(address) for port, address in self._place.ports.items()},
            latency=self._prober.latency,
            fencing=self.fencing,
            activation=self.activation,
        )

    # --- said by the prober -----------------------------------------------------

    def check_passed(self) -> None:
        """It answered in time."""
        self._become(check_passed(self._health, self._thresholds))
        if isinstance(self._health, Up):
            self._last_error = None
            if self._stable_since is None:
                self._stable_since = self._reactor.seconds()
        self._look()
        self._watching.judge()

    def check_failed(self, reason: str, *, is_lost: bool) -> None:  # noqa: ARG002 - how it failed sets the prober's pace
        """It did not."""
        self._last_error = f"{self.name}: {reason}"
        self._stable_since = None
        self._become(check_failed(self._health, self._thresholds))
        self._watching.judge()

    def _become(self, health: Health) -> None:
        before, self._health = self._health, health
        if type(before) is type(health):
            return
        self._changed_at = self._reactor.seconds()
        self._looked_at = None  # one that answers has a place in the neighbour table, and has proven its certificate
        if isinstance(health, Up):
            self._watching.announce("backend_up", f"{self.name} answers", backend=self.name)
        elif isinstance(health, Down):
            self._watching.announce("backend_down", f"{self.name} is down: {self._last_error}", backend=self.name)

    # --- binding ------------------------------------------------------------------

    def _look(self) -> None:
        now = self._reactor.seconds()
        is_due = self._looked_at is None or now - self._looked_at >= LOOK_SECONDS
        if self._policy == "off" or self._place.bind is None or self._is_looking or not is_due:
            return
        self._is_looking = True
        self._looked_at = now
        self._place.bind(is_proven=self.is_answering).addCallbacks(self._seen, self._not_seen)

    def _seen(self, binding: Binding) -> None:
        self._is_looking = False
        before, self._binding = self._binding, binding
        if isinstance(binding, Unbound) and binding != before:
            does = "gets no clients" if self._policy == "enforce" else "is not bound"
            self._watching.announce("backend_barred", f"{self.name} {does}: {binding.reason}", backend=self.name)
        self._watching.judge()

    def _not_seen(self, failure: Failure) -> None:
        self._is_looking = False
        self._binding = Unknown(f"it could not be looked at: {failure.getErrorMessage()}")
