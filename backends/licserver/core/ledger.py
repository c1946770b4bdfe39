"""
Who holds and who waits for what: the state that events make.

The ledger is only ever changed by `apply`, and `apply` is the same on the
server that decided the event, on a standby that follows, and after a restart.
Decisions stand in `checkout.py` and `sessions.py`; they read a ledger and return
events.

Invariants (checked by `tests/licserver/core/test_ledger.py` after every step):

- an entry is in `entries`, in the handles of its session, and, while it waits,
  in the queue of its feature; nowhere else, never twice;
- `entries` is ordered by seat number, `queue` by arrival (the same order);
- `demand[feature][asked]` is the sum of the counts of the held entries.

What is left of the takeover limit, for each pair apart, is part of it as well, see `takeover.py`, and so is which
redundant server is registered, and which servers each pair has seen, under which identity.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import assert_never

import msgspec

from licserver.core import events as ev
from licserver.core import takeover
from lsproxy.license.offer import Pool


class Session(msgspec.Struct, array_like=True):
    """
    One client's session. `deadline` is None while it is attached, otherwise the
    active seconds at which it is closed. `highest` is the highest checkout id the
    journal has seen of it, `removed` the handles taken back and not yet
    acknowledged, with the reason.
    """

    number: int
    digest: bytes
    attempt: int
    user: str
    host: str
    display: str
    pid: int
    app: str
    hostids: tuple[str, ...]
    address: str
    heartbeat: float
    resume: float
    trust: float
    since: float
    deadline: float | None = None
    highest: int = 0
    removed: tuple[tuple[int, str], ...] = ()


class Waiting(msgspec.Struct, frozen=True, array_like=True, tag="W", gc=False):
    """A checkout in the queue, until `deadline` (active seconds)."""

    number: int
    session: int
    handle: int
    feature: str
    asked: str
    count: int
    wait: float
    since: float
    deadline: float


class Held(msgspec.Struct, frozen=True, array_like=True, tag="H", gc=False):
    """A seat: `version`, `expires` and `grace` are what its client was told."""

    number: int
    session: int
    handle: int
    feature: str
    asked: str
    count: int
    wait: float
    since: float
    version: str
    expires: str | None
    grace: float


Entry = Waiting | Held
ReadPools = Callable[[str, str], Mapping[str, tuple[Pool, ...]]]


class Ledger:
    """
    See the module. `read_pools` turns a license text and its file name into the
    pools by feature; it is pure, and lets through only what is validly signed.
    """

    def __init__(self, read_pools: ReadPools) -> None:
        self._read_pools = read_pools
        self.epoch = 0
        self.next_session = 1
        self.next_seat = 1
        self.license_text = ""
        self.license_file = ""
        self.pools: Mapping[str, tuple[Pool, ...]] = {}
        self.sessions: dict[int, Session] = {}
        self.by_digest: dict[bytes, int] = {}
        self.entries: dict[int, Entry] = {}
        self.handles: dict[int, dict[int, int]] = {}
        self.queues: dict[str, dict[int, Waiting]] = {}
        self.demand: dict[str, dict[str, int]] = {}
        self.takeovers: dict[bytes, takeover.State] = {}
        self.registered: ev.RedundantRegistered | None = None
        self.seen_of_pair: dict[bytes, dict[str, str]] = {}

    def session_of(self, digest: bytes) -> Session | None:
        """The session a secret's digest belongs to."""
        number = self.by_digest.get(digest)
        return None if number is None else self.sessions[number]

    def entry(self, session: int, handle: int) -> Entry | None:
        """What a session has under a handle."""
        number = self.handles[session].get(handle)
        return None if number is None else self.entries[number]

    def entries_of(self, session: int) -> Iterator[Entry]:
        """All a session holds and waits for, in order of seat numbers given out to it."""
        entries = self.entries
        return (entries[number] for number in self.handles[session].values())

    def held_handles(self, session: int) -> list[int]:
        """The handles of a session's seats."""
        return [entry.handle for entry in self.entries_of(session) if isinstance(entry, Held)]

    def takeover_of(self, pair: bytes) -> takeover.State:
        """What is left of a pair's takeover limit."""
        return self.takeovers.get(pair, takeover.Whole())

    def read_pools_again(self) -> None:
        """What reads license texts may read the one in force differently now."""
        if self.license_text:
            self.pools = self._read_pools(self.license_text, self.license_file)

    def apply(self, event: ev.AnyEvent) -> None:  # noqa: C901, PLR0912 one arm for each event is the point
        """Change the state by one event, which was decided on this very state."""
        match event:
            case ev.SeatGranted():
                self._grant(event)
            case ev.SeatReturned(number, handle) | ev.WaitEnded(number, handle):
                self._drop(number, handle)
            case ev.CheckoutQueued():
                self._queue(event)
            case ev.SessionOpened():
                self._open(event)
            case ev.SessionResumed(number, attempt, address):
                resumed = self.sessions[number]
                resumed.attempt, resumed.address, resumed.deadline = attempt, address, None
            case ev.SessionDetached(number, deadline):
                self.sessions[number].deadline = deadline
            case ev.SessionClosed(number):
                for handle in list(self.handles[number]):
                    self._drop(number, handle)
                del self.handles[number], self.by_digest[self.sessions.pop(number).digest]
            case ev.SeatRemoved(number, handle, reason):
                self._drop(number, handle)
                self.sessions[number].removed += ((handle, reason),)
            case ev.RemovalSeen(number, handle):
                seen = self.sessions[number]
                seen.removed = tuple(removed for removed in seen.removed if removed[0] != handle)
            case ev.LicenseCameIntoForce(text, file):
                self.license_text, self.license_file = text, file
                self.pools = self._read_pools(text, file)
            case ev.Activated(epoch, _, active):
                self.epoch = epoch
                for attached in self.sessions.values():
                    if attached.deadline is None:
                        attached.deadline = active + attached.resume
            case ev.TakeoverChanged(pair, change):
                self.takeovers[pair] = takeover.applied(self.takeover_of(pair), change)
            case ev.RedundantRegistered():
                self.registered = event
            case ev.RedundantUnregistered():
                self.registered = None
            case ev.PrimarySeen(pair, name, identity):
                self.seen_of_pair = {**self.seen_of_pair, pair: {name: identity}}
            case ev.RedundantSeen(pair, name, identity):
                self.seen_of_pair = {**self.seen_of_pair, pair: {**self.seen_of_pair.get(pair, {}), name: identity}}
            case _:
                assert_never(event)

    def image(self) -> "Image":
        """The whole state at this moment, cheap to take and unaffected by later events."""
        return Image(
            epoch=self.epoch,
            next_session=self.next_session,
            next_seat=self.next_seat,
            license_text=self.license_text,
            license_file=self.license_file,
            sessions=[copy(session) for session in self.sessions.values()],
            entries=list(self.entries.values()),
            takeovers=dict(self.takeovers),
            registered=self.registered,
            seen_of_pair=self.seen_of_pair,
        )

    def restore(self, image: "Image") -> None:
        """Become the state of an image. Only for a ledger that is new."""
        self.epoch = image.epoch
        self.next_session = image.next_session
        self.next_seat = image.next_seat
        self.takeovers = image.takeovers
        self.registered = image.registered
        self.seen_of_pair = image.seen_of_pair
        if image.license_text:
            self.apply(ev.LicenseCameIntoForce(image.license_text, image.license_file))
        self.sessions = {session.number: session for session in image.sessions}
        self.by_digest = {session.digest: session.number for session in image.sessions}
        self.handles = {session.number: {} for session in image.sessions}
        for entry in image.entries:
            self._enter(entry)

    def _open(self, event: ev.SessionOpened) -> None:
        number = event.session
        self.next_session = number + 1
        self.sessions[number] = Session(
            number=number,
            digest=event.digest,
            attempt=event.attempt,
            user=event.user,
            host=event.host,
            display=event.display,
            pid=event.pid,
            app=event.app,
            hostids=event.hostids,
            address=event.address,
            heartbeat=event.heartbeat,
            resume=event.resume,
            trust=event.trust,
            since=event.since,
        )
        self.by_digest[event.digest] = number
        self.handles[number] = {}

    def _grant(self, event: ev.SeatGranted) -> None:
        number, session = event.seat, event.session
        if number >= self.next_seat:
            self._arrive(number, session, event.handle)
        else:
            del self.queues[event.feature][number]
        self._enter(
            Held(
                number,
                session,
                event.handle,
                event.feature,
                event.asked,
                event.count,
                event.wait,
                event.since,
                event.version,
                event.expires,
                event.grace,
            ),
        )

    def _queue(self, event: ev.CheckoutQueued) -> None:
        self._arrive(event.seat, event.session, event.handle)
        self._enter(
            Waiting(
                event.seat,
                event.session,
                event.handle,
                event.feature,
                event.asked,
                event.count,
                event.wait,
                event.since,
                event.deadline,
            ),
        )

    def _arrive(self, seat: int, session: int, handle: int) -> None:
        self.next_seat = seat + 1
        self.sessions[session].highest = handle

    def _enter(self, entry: Entry) -> None:
        self.entries[entry.number] = entry
        self.handles[entry.session][entry.handle] = entry.number
        if isinstance(entry, Held):
            demand = self.demand.setdefault(entry.feature, {})
            demand[entry.asked] = demand.get(entry.asked, 0) + entry.count
        else:
            self.queues.setdefault(entry.feature, {})[entry.number] = entry

    def _drop(self, session: int, handle: int) -> None:
        entry = self.entries.pop(self.handles[session].pop(handle))
        if isinstance(entry, Held):
            demand = self.demand[entry.feature]
            demand[entry.asked] -= entry.count
            if not demand[entry.asked]:
                del demand[entry.asked]
        else:
            del self.queues[entry.feature][entry.number]


class Image(msgspec.Struct):
    """A ledger's state as values: what a snapshot keeps. Entries in order of seat numbers."""

    epoch: int
    next_session: int
    next_seat: int
    license_text: str
    license_file: str
    sessions: list[Session]
    entries: list[Entry]
    takeovers: dict[bytes, takeover.State]
    registered: ev.RedundantRegistered | None
    seen_of_pair: dict[bytes, dict[str, str]]
