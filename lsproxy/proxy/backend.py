"""
What does a pool know of one of its backends?

The findings of its prober, what operators said of it, whether the license file
binds it; given out as the facts of a decision and as a picture for people.
"""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from msgspec import UNSET
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from lsproxy.config import model
from lsproxy.core.binding import Binding, Bound, Unbound, Unknown, bind, license_note
from lsproxy.core.choice import Admin, Candidate, Part
from lsproxy.core.claims import Report, stranger
from lsproxy.core.health import Down, Health, Thresholds, Unchecked, Up, check_failed, check_passed
from lsproxy.license.signature import VerifiedLicense
from lsproxy.metrics.buckets import Buckets
from lsproxy.proxy.doors import Doors
from lsproxy.proxy.licenses import Licenses
from lsproxy.proxy.prober import Prober, Timing
from lsproxy.proxy.snapshot import BackendSnapshot, Said
from lsproxy.proxy.traffic import Target
from lsproxy.seat.messages import StatusReply

LASTING_SECONDS = 2.0
WARNING_HOURS = (1, 8, 24)
HOUR_SECONDS = 3600.0


class Place(msgspec.Struct, frozen=True):
    """Where a backend is: its address as configured, the endpoint for the prober, and the doors for sessions."""

    address: str
    control: IStreamClientEndpoint
    sessions: Doors


class Watching(Protocol):
    """The pool, which is told what a backend does."""

    name: str

    def judge(self) -> None:
        """Something changed, or a check ended: decide anew."""

    def announce(self, event: str, message: str, **details: object) -> None:
        """Something a person may want to know."""


class Backend:
    """One license server of a pool, watched while `start`ed."""

    def __init__(
        self,
        reactor: IReactorTime,
        name: str,
        place: Place,
        pool: model.SeatPool,
        token: str | None,
        random: Callable[[], float],
        watching: Watching,
    ) -> None:
        self._reactor = reactor
        self._watching = watching
        self._server_name = pool.server_name
        self._thresholds = Thresholds(pool.health.rise, pool.health.fall)
        self._policy = pool.binding
        self.hold = pool.hold
        self._is_hold_too_long = False
        self._declared = pool.backends[name].hostids
        self._licenses: Licenses | None = None
        self.name = name
        self.address = place.address
        self.target = Target(name, place.sessions)
        timing = Timing(pool.health.interval, pool.health.timeout)
        self._prober = Prober(reactor, place.control, name, token, timing, random, self)
        self.admin = Admin.READY
        self.is_kept_out = False
        self.ask_after = 0.0
        self.ask_politely_after = 0.0
        self.refusals = 0
        self.refusal: str | None = None
        self._health: Health = Unchecked()
        self._changed_at = reactor.seconds()
        self._is_lost = False
        self._stable_since: float | None = None
        self._status: StatusReply | None = None
        self._binding: Binding = Unknown("it has not been checked yet")
        self._license_note: str | None = None
        self._differs_since: float | None = None
        self._hours_left: int | None = None
        self._bar: str | None = None
        self._last_error: str | None = None

    def start(self) -> None:
        """Begin to check it."""
        self._prober.start()

    def stop(self) -> None:
        """Check it no more, and know nothing of it."""
        self._prober.stop()
        self._become(Unchecked())
        self._is_lost = False
        self._status = None
        self._stable_since = None
        self._bind()

    def inherit(self, former: "Backend") -> None:
        """Go on with what was counted of `former`, which this one takes the place of: a counter never falls."""
        self._prober.latencies = former.latencies

    def renew(self, token: str | None) -> None:
        """This is the operator token from now on, as `Prober.renew`."""
        self._prober.renew(token)

    def suspect(self) -> None:
        """A session met something odd there."""
        self._prober.suspect()

    def check(self) -> None:
        """Ask its status now."""
        self._prober.check()

    def ask(self, kind: Callable[..., msgspec.Struct], timeout: float, **fields: Any) -> Deferred[bytes]:
        """An operator request, as `Prober.ask`."""
        return self._prober.ask(kind, timeout, **fields)

    def check_against(self, licenses: Licenses) -> None:
        """From now on these are the license files."""
        self._licenses = licenses
        self._bind()

    @property
    def is_watched(self) -> bool:
        """Whether it is checked."""
        return self._prober.is_running

    @property
    def is_answering(self) -> bool:
        """Whether its last status is to be believed."""
        return isinstance(self._health, Up) and not self._is_lost and self._status is not None

    @property
    def report(self) -> Report | None:
        """What its last status said of its claim, unless it is another server than configured."""
        status = self._status
        if status is None or self._stranger(status) is not None:
            return None
        return Report(status.role, status.epoch, status.journal, status.instance)

    @property
    def is_of_a_pair(self) -> bool:
        """Whether it said that it is one of a primary and its redundant server."""
        return self._part is not None

    @property
    def is_redundant(self) -> bool:
        """Whether it said that it is a primary's redundant server."""
        return self._part is Part.REDUNDANT

    @property
    def precedence(self) -> int:
        """The lower, the sooner it is chosen: a primary before its redundant server, a triad by priority."""
        if self.is_redundant:
            return 1
        priority = UNSET if self._status is None else self._status.redundancy.priority
        return 0 if priority is UNSET else priority

    @property
    def _part(self) -> Part | None:
        role = None if self._status is None else self._status.redundancy.role
        return next((part for part in Part if part == role), None)

    @property
    def hostids(self) -> list[str] | None:
        """The hostids it reported."""
        return None if self._status is None else self._status.hostids

    @property
    def last_error(self) -> str | None:
        """The sentence on what went wrong last, None while all is well."""
        return self._prober.complaint or self._last_error or self.refusal

    @property
    def latencies(self) -> Buckets:
        """How long passed checks took."""
        return self._prober.latencies

    @property
    def slot(self) -> int | None:
        """The newest slot of the journal that it said it has."""
        return None if self._status is None else self._status.revision

    def candidate(self) -> Candidate:
        """The facts for `core.choice`."""
        return Candidate(
            name=self.name,
            health=self._health,
            is_lost=self._is_lost,
            admin=self.admin,
            is_kept_out=self.is_kept_out,
            bar=self._bar,
            report=self.report,
            stable_since=self._stable_since,
            part=self._part,
            ask_after=self.ask_after,
            ask_politely_after=self.ask_politely_after,
            refusal=self.refusal,
        )

    def snapshot(self, connections: int) -> BackendSnapshot:
        """The picture for people."""
        status = self._status
        said = None if status is None or isinstance(self._health, Down) else _said(status)
        remark = None if said is None else said.remark(self._watching.name)
        return BackendSnapshot(
            name=self.name,
            address=self.address,
            health=type(self._health).__name__.lower(),
            changed_for=self._reactor.seconds() - self._changed_at,
            admin=self.admin.value,
            is_kept_out=self.is_kept_out,
            binding="off" if self._policy == "off" else type(self._binding).__name__.lower(),
            binding_reason=self._binding.reason,
            license_note=self._license_note,
            said=said,
            connections=connections,
            last_error=self.last_error,
            takeover_note=None if remark is None else f"{self.name} {remark}",
        )

    # --- said by the prober -----------------------------------------------------

    def check_passed(self, status: StatusReply) -> None:
        """It answered in time."""
        is_news = self._status is None or _identity(status) != _identity(self._status)
        self._status = status
        self._is_lost = False
        self._become(check_passed(self._health, self._thresholds))
        if isinstance(self._health, Up):
            self._last_error = None
        if status.role != "standby" or not isinstance(self._health, Up):
            self._stable_since = None
        elif self._stable_since is None:
            self._stable_since = self._reactor.seconds()
        if is_news:
            self._bind()
        self._note_license(status)
        self._note_hold(status)
        self._note_takeover(status)
        self._watching.judge()

    def check_failed(self, reason: str, *, is_lost: bool) -> None:
        """It did not, or its connection ended."""
        self._last_error = reason
        self._is_lost = self._is_lost or is_lost
        self._stable_since = None
        self._become(check_failed(self._health, self._thresholds))
        self._watching.judge()

    def _become(self, health: Health) -> None:
        before, self._health = self._health, health
        if type(before) is type(health):
            return
        self._changed_at = self._reactor.seconds()
        if isinstance(health, Up):
            self._watching.announce("backend_up", f"{self.name} answers", backend=self.name)
        elif isinstance(health, Down):
            fault = (self._last_error or "").removeprefix(f"{self.name}: ")
            why = f"{self.name} is down: {fault}"
            self._watching.announce("backend_down", why, backend=self.name)

    def _stranger(self, status: StatusReply) -> str | None:
        return stranger(status.server, status.backend, server_name=self._server_name, name=self.name)

    def _note_license(self, status: StatusReply) -> None:
        """While a new license is put in force, files and servers differ for a moment: only what lasts is said."""
        note = None if self._licenses is None else license_note(self._licenses.of(self.name), status.license, self.name)
        if note is None:
            note = next((f"{self.name}: {said.message}" for said in status.notices if said.code == "license"), None)
        if note is None:
            self._license_note = self._differs_since = None
        elif self._differs_since is None:
            self._differs_since = self._reactor.seconds()
        elif self._reactor.seconds() - self._differs_since >= LASTING_SECONDS and note != self._license_note:
            self._license_note = note
            self._watching.announce("license_differs", note, backend=self.name)

    def _note_hold(self, status: StatusReply) -> None:
        """A client that waits for a server must still trust its seats when it is told that there is none."""
        waited = status.heartbeat + self.hold
        is_too_long = status.trust > 0 and waited >= status.trust
        if is_too_long and not self._is_hold_too_long:
            sentence = (
                f"{self.name}: heartbeat {status.heartbeat:g} s + hold {self.hold:g} s is not under trust"
                f" ({status.trust:g} s): lower hold in lsproxy.yaml, or raise resume in licserver.yaml"
            )
            self._watching.announce("hold_too_long", sentence, backend=self.name)
        self._is_hold_too_long = is_too_long

    def _note_takeover(self, status: StatusReply) -> None:
        """Warn when 24, 8 and 1 hours are left of a takeover limit, and when nothing is."""
        before, self._hours_left = self._hours_left, _hours_left(status)
        left = self._hours_left
        if left is None or (before is not None and left >= before):
            return
        remark = _said(status).remark(self._watching.name)
        event = "takeover_hours" if left else "blocked"
        self._watching.announce(event, f"{self.name} {remark}", backend=self.name, hours=left)

    def _bind(self) -> None:
        status = self._status
        if self._licenses is None:
            return
        verified = self._licenses.of(self.name)
        self._binding = bind(verified, None if status is None else status.hostids, self._declared, self.name)
        if isinstance(self._binding, Unbound) and status is not None:
            self._binding = _bind_registered(verified, status) or self._binding
        bar = None if status is None else self._stranger(status)
        if bar is None and self._policy == "enforce" and isinstance(self._binding, Unbound):
            bar = f"not bound: {self._binding.reason}"
        if bar is not None and bar != self._bar:
            self._watching.announce("backend_barred", f"{self.name} gets no clients: {bar}", backend=self.name)
        self._bar = bar


def _identity(status: StatusReply) -> tuple[object, ...]:
    """What decides whether it is bound."""
    return status.hostids, status.license, status.server, status.backend, status.redundancy.primary


def _bind_registered(verified: VerifiedLicense, status: StatusReply) -> Binding | None:
    """A server that is registered as redundant server of a primary is bound where its primary is."""
    primary = status.redundancy.primary
    if status.redundancy.role != "redundant" or primary is None or primary.hostids is UNSET:
        return None
    found = bind(verified, primary.hostids, (), primary.name)
    if isinstance(found, Bound):
        return Bound(f"registered as redundant server of {primary.name}, {found.reason}")
    return found


def _hours_left(status: StatusReply) -> int | None:
    """How many hours are left of a takeover limit, in the steps that are warned of; None while there is no need to."""
    if status.takeover is None:
        return None
    remaining = status.takeover.remaining
    if remaining <= 0:
        return 0
    return next((hours for hours in WARNING_HOURS if remaining <= hours * HOUR_SECONDS), None)


def _said(status: StatusReply) -> Said:
    return Said(
        status.role,
        status.epoch,
        status.journal,
        status.license,
        status.sessions,
        status.seats,
        status.uptime,
        status.release,
        status.takeover,
    )
