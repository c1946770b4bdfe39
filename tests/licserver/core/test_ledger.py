"""
Random clients, losses, takeovers and licenses against one name; after every step the invariants hold.

A second ledger follows the journal event by event, as a standby does, and is
what the promises are judged by: never over, first come first served, and the
same state from the events, from a snapshot, and on the next server.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from licserver.core.events import CheckoutQueued, SeatGranted, decode_batch
from licserver.core.ledger import Held, Ledger, Waiting
from licserver.core.snapshot import from_parts, to_parts
from tests.licserver.core.office import Office, read_pools, replay, state_of

LICENSES = [
    "cad 2 3\nmesh 1 1",
    "cad 1 2\ncad 2 2\nmesh 1 2 overdraft=1",
    "cad 2 1",
    "cad 1 2 expires=2027-01-16\ncad 2 1\nmesh 1 1 starts=2027-01-16",
    "mesh 2 5",
]
SESSIONS = "abc"

sessions = st.sampled_from(SESSIONS)
features = st.sampled_from(["cad", "mesh"])
versions = st.sampled_from(["0", "1", "1.0", "2"])
counts = st.integers(1, 3)
waits = st.sampled_from([0.0, 20.0, 1000.0])


def supply(pools, wall):
    return sum(pool.issued + pool.overdraft for pool in pools if pool.has_started(wall) and not pool.has_expired(wall))


class Name(RuleBasedStateMachine):
    @initialize(text=st.sampled_from(LICENSES))
    def begin(self, text):
        self.office = Office(text)
        self.clients = {}
        self.attempts = dict.fromkeys(SESSIONS, 0)
        self.ids = dict.fromkeys(SESSIONS, 0)
        self.sent = {session: [] for session in SESSIONS}
        self.follower = Ledger(read_pools)
        self.read = 0
        self.first = {}
        self.old = []
        self._follow()

    # --- what happens ---

    @rule(session=sessions, step=st.sampled_from([0, 1, -1]))
    def hello(self, session, step):
        """On one more connection, whatever becomes of the one before."""
        self._connect(session, step)

    @rule(session=sessions, feature=features, version=versions, count=counts, wait=waits)
    def checkout(self, session, feature, version, count, wait):
        self._checkout(session, feature, version, count, wait)

    @rule(session=sessions, count=counts, wait=waits)
    def checkout_plainly(self, session, count, wait):
        self._checkout(session, "cad", "1", count, wait)

    @rule(session=sessions, back=st.integers(0, 2))
    def repeat(self, session, back):
        client = self._client(session)
        for request in self.sent[session][-1 - back : len(self.sent[session]) - back]:
            client(**request)

    @rule(session=sessions, back=st.integers(0, 2))
    def checkin(self, session, back):
        client = self._client(session)
        handles = list(self.office.ledger.handles[client.conversation.session]) if client.conversation.session else []
        client.checkin(self._number(session), handles[-1 - back] if back < len(handles) else 1)

    @rule(session=sessions, op=st.sampled_from(["heartbeat", "usage", "bye"]))
    def say(self, session, op):
        self._client(session)(id=self._number(session), op=op)

    @rule(session=sessions)
    def lose(self, session):
        if session in self.clients:
            self.clients.pop(session).lose()

    @rule(which=st.integers(0, 3))
    def lose_an_old_one(self, which):
        """A connection that was replaced long ago is noticed to be gone."""
        if which < len(self.old) and self.old[which].office is self.office:
            self.old.pop(which).lose()

    @rule(seconds=st.sampled_from([0.1, 5.0, 16.0, 46.0]), step=st.sampled_from([0.5, 16.0]))
    def pass_seconds(self, seconds, step):
        self.office.pass_seconds(seconds, step)

    @rule(days=st.integers(-2, 2))
    def set_wall_clock(self, days):
        self.office.wall += days * 86_400

    @rule(text=st.sampled_from(LICENSES))
    def license(self, text):
        self.office.license(text)

    @rule(which=st.integers(0, 3))
    def remove(self, which):
        for seat in list(self.office.ledger.entries)[which : which + 1]:
            assert self.office.desk.remove_seat(seat, "asked for", self.office.moment) is None
            self.office.settle()

    @rule(session=sessions)
    def isolate(self, session):
        """The door is shut for a moment in which a connection is lost."""
        self.office.shut()
        if session in self.clients:
            self.clients.pop(session).lose()
        self.office.pass_seconds(1)
        self.office.desk.open(self.office.moment)
        self.office.settle()

    @rule(chance=st.integers(0, 2))
    def take_over(self, chance):
        """Another server takes the name."""
        if chance:
            return
        before, self.office, self.clients = self.office, self.office.taken_over(), {}
        assert state_of(self.office.ledger) == state_of(before.ledger)
        self.office.activate()
        assert all(session.deadline is not None for session in self.office.ledger.sessions.values())

    # --- what holds ---

    @invariant()
    def follows(self):
        if hasattr(self, "office"):
            self._follow()
            assert state_of(self.follower) == state_of(self.office.ledger)
            assert state_of(replay(self.office.batches)) == state_of(self.office.ledger)

    @invariant()
    def round_trip(self):
        if hasattr(self, "office"):
            ledger = Ledger(read_pools)
            ledger.restore(from_parts(list(to_parts(self.office.ledger.image()))))
            assert state_of(ledger) == state_of(self.office.ledger)

    @invariant()
    def structure(self):
        if not hasattr(self, "office"):
            return
        ledger = self.office.ledger
        assert list(ledger.entries) == sorted(ledger.entries)
        by_handle = sorted(number for handles in ledger.handles.values() for number in handles.values())
        assert by_handle == list(ledger.entries)
        waiting = sorted(number for queue in ledger.queues.values() for number in queue)
        assert waiting == [number for number, entry in ledger.entries.items() if isinstance(entry, Waiting)]
        for feature, queue in ledger.queues.items():
            assert list(queue) == sorted(queue)
            assert all(entry.feature == feature for entry in queue.values())
        demand = {}
        for entry in ledger.entries.values():
            if isinstance(entry, Held):
                key = entry.feature, entry.asked
                demand[key] = demand.get(key, 0) + entry.count
        assert demand == {(feature, asked): n for feature, each in ledger.demand.items() for asked, n in each.items()}
        assert set(ledger.handles) == set(ledger.sessions) == set(ledger.by_digest.values())
        for number, client in self.office.desk.attached.items():
            assert client.session == number
            assert ledger.sessions[number].deadline is None

    @invariant()
    def one_answer_each(self):
        for client in getattr(self, "clients", {}).values():
            if not client.is_closed:
                assert client.asked == client.answered + sum(client.conversation.asked.values())
            assert client.answered <= client.asked + client.is_closed

    def _follow(self):
        for batch in self.office.batches[self.read :]:
            for event in decode_batch(batch):
                self._judge(event)
                self.follower.apply(event)
        self.read = len(self.office.batches)

    def _judge(self, event):
        ledger = self.follower
        if isinstance(event, SeatGranted):
            queue = ledger.queues.get(event.feature, {})
            assert not queue or next(iter(queue)) == event.seat  # first come, first served
            held = sum(ledger.demand.get(event.feature, {}).values())
            assert held + event.count <= supply(ledger.pools.get(event.feature, ()), event.since)  # never over
        if isinstance(event, SeatGranted | CheckoutQueued):
            key = ledger.sessions[event.session].digest, event.handle, event.session
            assert self.first.setdefault(key, event.seat) == event.seat  # once

    def _checkout(self, session, feature, version, count, wait):
        client, number = self._client(session), self._number(session)
        request = {"id": number, "op": "checkout", "feature": feature, "version": version, "count": count, "wait": wait}
        self.sent[session].append(request)
        client(**request)

    def _number(self, session):
        self.ids[session] += 1
        return self.ids[session]

    def _client(self, session):
        """The session's connection, a new one if there is none."""
        client = self.clients.get(session)
        return self._connect(session, 1) if client is None or client.is_closed else client

    def _connect(self, session, step):
        attempt = max(1, self.attempts[session] + step)
        self.attempts[session] = max(attempt, self.attempts[session])
        client = self.office.client()
        client.hello(session, attempt, self._number(session))
        if client.is_closed:
            return client
        if session in self.clients:
            self.old.append(self.clients[session])
        self.clients[session] = client
        return client


TestName = Name.TestCase
TestName.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
