"""
Two machines with their clocks, a journal, and whichever server has the name: what `takeover` decides in it.

`now` is true time in seconds; nobody in the world knows it. The redundant server's
machine is booted, its clocks are set, its server is killed; what the journal keeps
is what the next server begins with.
"""

from licserver.core.events import Reading, TakeoverChanged, decode_batch, encode_batch
from licserver.core.ledger import Ledger
from licserver.core.takeover import (
    Counted,
    Returned,
    elapsed_seconds,
    key_accepted,
    next_mark,
    remaining_seconds,
    taken_by_primary,
    taken_by_redundant,
    time_passed,
)
from licserver.core.takeover_news import news

HOUR = 3600.0
PAIR = b"sixteen bytes of"
RESTORE_SECONDS = 900.0
NOON = 1_800_000_000.0


def seconds_to_wait(state, now, restore_seconds):
    """In how many seconds `time_passed` has something to say, None while it has not for ever."""
    match state:
        case Counted() if not state.is_spent:
            return max(0.0, next_mark(state) - state.spent - elapsed_seconds(state.reading, now))
        case Returned(_, active):
            return max(0.0, active + restore_seconds - now.active)
        case _:
            return None


class World:
    """`told` is the news with its true time; `served` and `allowed` are true seconds of this takeover number."""

    def __init__(self, limit=72 * HOUR):
        self.now = 0.0
        self.limit = limit
        self.booted_at, self.boots = -1000.0, 1
        self.wall_error = self.primary_error = 0.0
        self.active = 0.0
        self.holder = None
        self.batches = []
        self.ledger = Ledger(lambda _text, _file: {})
        self.told = []
        self.nonces = 0
        self.served = self.allowed = self.lost = 0.0

    @property
    def state(self):
        return self.ledger.takeover_of(PAIR)

    @property
    def reading(self):
        """What the holder's machine shows."""
        if self.holder == "primary":
            return Reading("primary's boot", self.now + 5000.0, self.active, NOON + self.now + self.primary_error)
        uptime, wall = self.now - self.booted_at, NOON + self.now + self.wall_error
        return Reading(f"boot {self.boots}", uptime, self.active, wall)

    @property
    def spent(self):
        """What the redundant server, or without one the journal, knows to be spent."""
        match self.state:
            case Counted() as takeover if self.holder == "redundant":
                return takeover.granted - remaining_seconds(takeover, self.reading)
            case Counted(granted=granted, spent=spent, reading=reading):
                return min(granted, spent + self.active - reading.active)
            case Returned(takeover):
                return takeover.spent
        return 0.0

    def take(self, limit=None):
        """The redundant server takes the name, or takes it again."""
        self.holder = "redundant"
        self.limit = self.limit if limit is None else limit
        self._keep(taken_by_redundant(self.state, self.reading, self.limit, self._nonce()))

    def give_to_primary(self):
        self.holder = "primary"
        self._keep(taken_by_primary(self.state, self.reading))

    def change_limit(self, limit):
        """Another license or configuration is in force."""
        self.limit = limit
        if self.holder == "redundant":
            self._keep(taken_by_redundant(self.state, self.reading, limit, self._nonce()))

    def activate(self, hours):
        """The vendor's key is accepted."""
        self._keep(key_accepted(self.state, hours, self.reading, self._nonce()))
        self.allowed += hours * HOUR

    def kill(self, unconfirmed=0.0):
        """The holder dies; up to `unconfirmed` of its active seconds had not reached the journal."""
        if self.holder is None:
            return
        kept = self.state.reading.active if isinstance(self.state, Counted) else self.active
        lost = min(unconfirmed, max(0.0, self.active - kept))
        self.active -= lost
        self.lost += lost if self.holder == "redundant" else 0.0
        self.holder = None

    def boot(self):
        """The redundant server's machine is booted anew."""
        if self.holder == "redundant":
            self.kill()
        self.booted_at, self.boots = self.now, self.boots + 1

    def pass_seconds(self, seconds):
        """True time goes by; the holder looks when it said it would."""
        until = self.now + seconds
        while self.now < until:
            wait = None if self.holder is None else seconds_to_wait(self.state, self.reading, RESTORE_SECONDS)
            is_due = wait is not None and wait <= until - self.now
            self._advance(wait if is_due else until - self.now, until)
            if self.holder is not None:
                changes = time_passed(self.state, self.reading, RESTORE_SECONDS)
                assert changes or not is_due, f"woken at its own time, {self.state} has not moved on"
                self._keep(changes)
                assert not time_passed(self.state, self.reading, RESTORE_SECONDS)

    def _advance(self, seconds, until):
        if self.holder is not None:
            self.active += seconds
            if isinstance(self.state, Counted) and not self.state.is_spent:
                self.served += seconds
        self.now = min(self.now + seconds, until)

    def _keep(self, changes):
        for change in changes:
            before = self.state
            batch = encode_batch([TakeoverChanged(PAIR, change)])
            self.batches.append(batch)
            [event] = decode_batch(batch)
            self.ledger.apply(event)
            after = self.state
            number = after.takeover.number if isinstance(after, Returned) else after.number
            if isinstance(before, Counted) and isinstance(after, Counted):
                assert before.spent <= after.spent <= after.granted
                assert after.limit <= before.limit
            if number not in {getattr(before, "number", None), getattr(getattr(before, "takeover", None), "number", 0)}:
                self.served = self.allowed = self.lost = 0.0
            if (told := news(before, after)) is not None:
                self.told.append((self.now, told))

    def _nonce(self):
        self.nonces += 1
        return self.nonces.to_bytes(8)
