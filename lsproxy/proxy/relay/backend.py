"""
What does a pool know of one of its third-party backends?

The findings of its prober, what operators said of it, what can be seen of the
binding from outside; given out as the facts of a decision and as a picture for
people.
"""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from lsproxy.config import model
from lsproxy.core.binding import Binding, Unbound
from lsproxy.core.choice import Admin
from lsproxy.core.health import Down, Health, Unchecked, Up, check_failed, check_passed
from lsproxy.core.rhythm import Timing
from lsproxy.core.succession import Candidate
from lsproxy.metrics.buckets import Buckets
from lsproxy.net.address import Address
from lsproxy.proxy.doors import Doors
from lsproxy.proxy.relay.checks import Checks
from lsproxy.proxy.relay.lookout import Bind, Lookout
from lsproxy.proxy.relay.prober import Prober
from lsproxy.proxy.snapshot import BackendSnapshot
from lsproxy.proxy.traffic import Target

FIRST_REST_SECONDS = 5.0
LONGEST_REST_SECONDS = 60.0


class Place(msgspec.Struct, frozen=True):
    """
    Where a backend is: its ports by name, the doors for its clients, its checks, and `bind`, which fires with how the
    license file binds to what is seen of it, within 2 s (None: there is no license file). `bind` is told whether checks
    pass, so that a certificate proves its name; it equals another one by which the same license would bind.
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


class Found(msgspec.Struct):
    """
    What checks found out of a backend: `changed_at` is when `health` became another state, `stable_since` since when it
    answers without a break, `fault` the sentence on what went wrong last, None while all is well.
    """

    changed_at: float
    health: Health = Unchecked()
    stable_since: float | None = None
    fault: str | None = None


class Rest(msgspec.Struct, frozen=True):
    """Activating it failed `failures` times in a row, last as `failure` says; it is not tried again before `until`."""

    failures: int = 0
    failure: str | None = None
    until: float = 0.0


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
        self.resting = Rest()
        self.found = Found(reactor.seconds())
        self.lookout = Lookout(reactor, place.bind, pool.binding, self._seen)

    def start(self) -> None:
        """Begin to check it."""
        self._prober.start(self.found.health)
        self.lookout.look(is_up=self.is_answering)

    def stop(self) -> None:
        """Check it no more, and know nothing of it but what its ports have shown and how it is bound."""
        self._prober.stop()
        self._become(Unchecked())
        self.found.stable_since = None
        self.lookout.look_away()

    def forget(self) -> None:
        """What was known of it is over, as it was fenced or started: the next check that passes decides alone."""
        if self._prober.is_running:
            self.stop()
            self.start()

    def inherit(self, former: "RelayBackend") -> None:
        """
        Go on, from `start` on, in the place of `former`, the same server by another configuration. To be called before
        `former` is stopped.
        """
        self.admin = former.admin
        self.is_kept_out = former.is_kept_out
        self.fencing = former.fencing
        self.activation = former.activation
        self.resting = former.resting
        self.found = msgspec.structs.replace(former.found)
        self.lookout.inherit(former.lookout)
        self.checks.inherit(former.checks)
        self._prober.latency = former.latency
        self._prober.latencies = former.latencies

    @property
    def lively(self) -> tuple[str, ...]:
        """The ports that have once shown life, so that a hung one is known by its silence; as `remember` takes them."""
        return self.checks.lively

    def remember(self, lively: Collection[str]) -> None:
        """`lively` of this backend before a restart; of it counts what is still at the same address."""
        self.checks.remember(lively)

    def suspect(self) -> None:
        """A connection met something odd there."""
        self._prober.suspect()

    def verify(self) -> Deferred[bool]:
        """Fires when a check that begins now has ended: whether it passed."""
        return self._prober.verify()

    def rest(self, failure: str) -> None:
        """It could not be activated: it is not tried again for a while. `failure` is the end of a sentence."""
        failures = self.resting.failures
        pause = min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2**failures)
        self.resting = Rest(failures + 1, failure, self._reactor.seconds() + pause)

    def rest_no_more(self) -> None:
        """It may be activated again."""
        self.resting = Rest()

    def forget_failures(self) -> None:
        """
        A server is in use: what failed on the way to it is not to be shown any more, and activations that failed long
        ago, with as long a rest since as there is, do not count.
        """
        self.fencing = "fenced" if self.fencing == "fenced" else None
        self.activation = "activated" if self.activation == "activated" else None
        if self._reactor.seconds() >= self.resting.until + LONGEST_REST_SECONDS:
            self.rest_no_more()

    @property
    def checks(self) -> Checks:
        """What it is asked."""
        return self._place.checks

    @property
    def latency(self) -> float | None:
        """Seconds that the last passed check took; None before the first one."""
        return self._prober.latency

    @property
    def latencies(self) -> Buckets:
        """How long passed checks took."""
        return self._prober.latencies

    @property
    def is_watched(self) -> bool:
        """Whether it is checked."""
        return self._prober.is_running

    @property
    def is_answering(self) -> bool:
        """Whether it answers."""
        return isinstance(self.found.health, Up)

    @property
    def last_error(self) -> str | None:
        """The sentence on what went wrong last, None while all is well."""
        failure = self.resting.failure
        return self.found.fault or (None if failure is None else f"{self.name} {failure}")

    def candidate(self) -> Candidate:
        """The facts for `core.succession`; as long as not enough was seen of its binding, it is unchecked and rests."""
        is_up = self.is_answering
        is_known = self.lookout.is_known(is_up=is_up)
        return Candidate(
            name=self.name,
            health=Unchecked() if is_up and not is_known else self.found.health,
            admin=self.admin,
            is_kept_out=self.is_kept_out,
            bar=self.lookout.bar(is_up=is_up),
            stable_since=self.found.stable_since,
            rests_until=self.resting.until if is_known else math.inf,
            failure=self.resting.failure,
        )

    def snapshot(self, connections: int) -> BackendSnapshot:
        """The picture for people."""
        binding = self.lookout.binding
        return BackendSnapshot(
            name=self.name,
            address=self.address,
            health=type(self.found.health).__name__.lower(),
            changed_for=self._reactor.seconds() - self.found.changed_at,
            admin=self.admin.value,
            is_kept_out=self.is_kept_out,
            binding="off" if self.lookout.policy == "off" else type(binding).__name__.lower(),
            binding_reason=binding.reason,
            license_note=None,
            said=None,
            connections=connections,
            last_error=self.last_error,
            ports={port: str(address) for port, address in self._place.ports.items()},
            latency=self.latency,
            fencing=self.fencing,
            activation=self.activation,
        )

    # --- said by the prober -----------------------------------------------------

    def check_passed(self) -> None:
        """It answered in time."""
        self._become(check_passed(self.found.health, self._thresholds))
        if self.is_answering:
            self.found.fault = None
            if self.found.stable_since is None:
                self.found.stable_since = self._reactor.seconds()
        self.lookout.look(is_up=self.is_answering)
        self._watching.judge()

    def check_failed(self, reason: str, *, is_lost: bool) -> None:  # noqa: ARG002 - how it failed sets the prober's pace
        """It did not."""
        self.found.fault = f"{self.name}: {reason}"
        self.found.stable_since = None
        self._become(check_failed(self.found.health, self._thresholds))
        self._watching.judge()

    def _become(self, health: Health) -> None:
        before, self.found.health = self.found.health, health
        if type(before) is type(health):
            return
        self.found.changed_at = self._reactor.seconds()
        if isinstance(health, Up):
            self._watching.announce("backend_up", f"{self.name} answers", backend=self.name)
            self.lookout.look_anew(is_up=True)  # it is in the neighbour table now, and has proven its certificate
        elif isinstance(health, Down):
            fault = (self.found.fault or "").removeprefix(f"{self.name}: ")
            self._watching.announce("backend_down", f"{self.name} is down: {fault}", backend=self.name)

    # --- said by the lookout ------------------------------------------------------

    def _seen(self, before: Binding) -> None:
        binding = self.lookout.binding
        if isinstance(binding, Unbound) and binding != before:
            does = "gets no clients" if self.lookout.policy == "enforce" else "is not bound"
            self._watching.announce("backend_barred", f"{self.name} {does}: {binding.reason}", backend=self.name)
        self._watching.judge()
