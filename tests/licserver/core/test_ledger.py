"""
Random clients, losses, takeovers and licenses against one name; after every step the invariants hold.

A second ledger follows the journal event by event, as a standby does, and is
what the promises are judged by: never over, first come first served, and the
same state from the events, from a snapshot, and on the next server.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

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

features = st.sampled_from(["cad", "mesh"])
waits = st.sampled_from([0.0, 0.0, 20.0, 1000.0])


def supply(pools, wall):
    return sum(pool.issued + pool.overdraft for pool in pools if pool.has_started(wall) and not pool.has_expired(wall))


class Name(RuleBasedStateMachine):
    @initialize(text=st.sampled_from(LICENSES))
    def begin(self, text):
        self.office = Office(text)
        self.clients = []
        self.attempts = dict.fromkeys(SESSIONS, 0)
        self.ids = dict.fromkeys(SESSIONS, 0)
        self.sent = {session: [] for session in SESSIONS}
        self.follower = Ledger(read_pools)
        self.read = 0
        self.first = {}
        self._follow()

    # --- what happens ---

    @rule(session=st.sampled_from(SESSIONS), step=st.sampled_from([0, 1, 1, 1, -1]))
    def hello(self, session, step):
        attempt = max(1, self.attempts[session] + step)
        self.attempts[session] = max(attempt, self.attempts[session])
        client = self.office.client()
        client.name = session
        self.clients.append(client)
        client.hello(session, attempt, self._number(session))

    @precondition(lambda self: self.clients)
    @rule(
        data=st.data(),
        feature=features,
        version=st.sampled_from(["0", "1", "1.0", "2"]),
        count=st.integers(1, 3),
        wait=waits,
    )
    def checkout(self, data, feature, version, count, wait):
        client = self._client(data)
        number = self._number(client.name)
        request = {"id": number, "op": "checkout", "feature": feature, "version": version, "count": count, "wait": wait}
        self.sent[client.name].append(request)
        client(**request)

    @precondition(lambda self: any(self.sent.values()))
    @rule(data=st.data())
    def repeat(self, data):
        client = self._client(data)
        if client is not None and self.sent[client.name]:
            client(**data.draw(st.sampled_from(self.sent[client.name])))

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def checkin(self, data):
        client = self._client(data)
        handles = [request["id"] for request in self.sent[client.name]] or [1]
        client.checkin(self._number(client.name), data.draw(st.sampled_from(handles)))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), op=st.sampled_from(["heartbeat", "heartbeat", "bye", "usage"]))
    def say(self, data, op):
        client = self._client(data)
        client(id=self._number(client.name), op=op)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def lose(self, data):
        client = self._client(data)
        self.clients.remove(client)
        client.lose()

    @rule(seconds=st.sampled_from([0.1, 5.0, 16.0, 44.0, 46.0]), step=st.sampled_from([0.5, 16.0]))
    def pass_seconds(self, seconds, step):
        self.office.pass_seconds(seconds, step)

    @rule(days=st.integers(-2, 2))
    def set_wall_clock(self, days):
        self.office.wall += days * 86_400

    @rule(text=st.sampled_from(LICENSES))
    def license(self, text):
        self.office.license(text)

    @rule(data=st.data())
    def remove(self, data):
        numbers = list(self.office.ledger.entries)
        if numbers:
            seat = data.draw(st.sampled_from(numbers))
            assert self.office.desk.remove_seat(seat, "asked for", self.office.moment) is None
            self.office.settle()

    @rule()
    def isolate(self):
        self.office.shut()

    @rule()
    def open(self):
        self.office.desk.open(self.office.moment)
        self.office.settle()

    @rule(lost=st.booleans())
    def take_over(self, lost):
        """Another server takes the name; with `lost`, what this one decided last is in no journal."""
        if lost:
            for client in self.clients:
                client(id=self._number(client.name), op="heartbeat")
            self.office.desk.take()
        old, self.office, self.clients = self.office, self.office.taken_over(), []
        assert state_of(self.office.ledger) == state_of(old.ledger)
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
        for client in getattr(self, "clients", ()):
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

    def _number(self, session):
        self.ids[session] += 1
        return self.ids[session]

    def _client(self, data):
        return data.draw(st.sampled_from(self.clients)) if self.clients else None


TestName = Name.TestCase
TestName.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
