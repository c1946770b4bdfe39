"""
What do clients hear from one server's decisions? A desk without a shell: time is told, the journal is a list.

    alice = Office("cad 2027.0 25").client()
    alice.hello()                    -> the messages that came, as they stand on the wire
    alice(op="checkout", id=2, feature="cad")
"""

import json
from datetime import date

from licserver.core.conversation import Conversation
from licserver.core.desk import Desk, Moment, Says, Shut
from licserver.core.events import Activated, LicenseCameIntoForce, decode_batch, encode_batch
from licserver.core.ledger import Ledger
from licserver.core.sessions import Terms
from lsproxy.license.terms import Pool
from lsproxy.license.version import parse_version
from lsproxy.seat.messages import decode_request, encode

TERMS = Terms(heartbeat=15.0, resume=45.0, trust=42.0)
NOON = 1_800_000_000.0
TOKEN = "an operator's token"  # noqa: S105 it opens nothing


def read_pools(text, _file=""):
    """Pools of lines such as "cad 2027.0 25 overdraft=2 starts=2026-01-01 expires=2027-12-31"."""
    pools = {}
    for line in text.splitlines():
        feature, version, issued, *words = line.split()
        options = dict(word.split("=") for word in words)
        starts, expires = (options.get(key) and date.fromisoformat(options[key]) for key in ("starts", "expires"))
        overdraft = int(options.get("overdraft", 0))
        pool = Pool(feature, "acme", parse_version(version), version, int(issued), overdraft, starts, expires, 14400.0)
        pools.setdefault(feature, []).append(pool)
    return {feature: tuple(found) for feature, found in pools.items()}


def state_of(ledger):
    """All there is to a ledger, comparable; empty queues and demands say nothing."""
    queues = {feature: list(queue.values()) for feature, queue in ledger.queues.items() if queue}
    demand = {feature: dict(asked) for feature, asked in ledger.demand.items() if asked}
    numbers = (ledger.epoch, ledger.next_session, ledger.next_seat)
    handles = {number: dict(handles) for number, handles in ledger.handles.items()}
    license_in_force = (ledger.license_text, ledger.license_file)
    people = (dict(ledger.sessions), dict(ledger.by_digest))
    return numbers, license_in_force, people, list(ledger.entries.values()), handles, queues, demand, ledger.takeovers


def replay(batches):
    """The ledger that a standby makes of a journal."""
    ledger = Ledger(read_pools)
    for batch in batches:
        for event in decode_batch(batch):
            ledger.apply(event)
    return ledger


class Client:
    """One connection. `heard` is all it was told, `is_closed` whether it was hung up on."""

    def __init__(self, office, address="192.0.2.1"):
        self.office = office
        self.heard = []
        self.is_closed = False
        self.asked = self.answered = 0
        self.conversation = Conversation(office.desk, address, self, office.moment)

    def __call__(self, **request):
        """Send one request; the messages that came back."""
        return self.line(json.dumps(request).encode())

    def line(self, *lines):
        """Send lines in one piece; the messages that came back."""
        before = len(self.heard)
        for line in lines:
            self.asked += 1
            self.conversation.receive(decode_request(line), self.office.moment)
        self.office.settle()
        return self.heard[before:]

    def hello(self, session="a", attempt=1, number=1, **more):
        """Say hello as session "a", "b", …"""
        request = {"id": number, "op": "hello", "protocol": "seat/1", "session": session * 32, "attempt": attempt}
        return self(**request, **{"user": "alice", "host": "ws1", **more})

    def operator(self):
        """Say hello as an operator."""
        return self(id=1, op="hello", token=TOKEN)

    def checkout(self, number, feature="cad", **more):
        """Check a seat out."""
        return self(id=number, op="checkout", feature=feature, **more)

    def checkin(self, number, handle):
        """Return it."""
        return self(id=number, op="checkin", handle=handle)

    def lose(self):
        """The connection is gone."""
        self.is_closed = True
        self.office.desk.lost(self.conversation, self.office.moment)
        self.office.settle()

    def news(self):
        """What was heard since it was asked last."""
        heard, self.heard = self.heard, []
        return heard


class Office:
    """One server's decisions; `batches` is the journal."""

    def __init__(self, license_text="cad 2027.0 25", batches=(), active=0.0, boot=1000.0, wall=NOON):
        self.batches = list(batches)
        self.boot, self.active, self.wall = boot, active, wall
        self.desk = Desk(replay(self.batches), "acme-licenses", "lic-a", TERMS, TOKEN)
        self.desk.replace_ledger(self.desk.ledger)
        if license_text is not None:
            self.activate(license_text)

    @property
    def moment(self):
        return Moment(self.boot, self.active, self.wall)

    @property
    def ledger(self):
        return self.desk.ledger

    def activate(self, license_text=""):
        """Take the name, as `Tenure.open` does."""
        self.desk.record(Activated(self.ledger.epoch + 1, "lic-a", self.active, self.wall))
        if license_text:
            self.desk.record(LicenseCameIntoForce(license_text, "acme.lic"))
            self.desk.serve_queues(self.moment)
        self.desk.open(self.moment)
        self.settle()

    def shut(self, code="isolated", closes=False, active=None):
        """Serve no sessions."""
        self.desk.door = Shut(code, f"lic-a is {code}", active, closes)

    def client(self, address="192.0.2.1"):
        """A new connection."""
        return Client(self, address)

    def settle(self):
        """Keep what was decided, then say what may be said, in the shell's order."""
        desk = self.desk
        while desk.turn_page() or desk.events or desk.outbox or desk.at_once:
            at_once = desk.take_at_once()
            events, outbox = desk.take()
            if events:
                self.batches.append(encode_batch(events))
            for conversation, message, says in (*at_once, *outbox):
                if conversation is None:
                    desk.witness(message)
                    continue
                client = conversation.transport
                if says is Says.PAGE:
                    desk.is_page_unsaid = False
                if says is not Says.EVENT:
                    conversation.unanswered -= 1
                    client.answered += 1
                if message is None:
                    client.is_closed = True
                elif not client.is_closed:
                    client.heard.append(json.loads(encode(message)))

    def license(self, text):
        """Another text comes into force."""
        self.desk.record(LicenseCameIntoForce(text, "acme.lic"))
        self.desk.serve_queues(self.moment)
        self.settle()

    def pass_seconds(self, seconds, step=None):
        """Time goes by, looked at every `step` seconds."""
        while seconds > 0:
            now = min(seconds, step or seconds)
            self.boot, self.active, self.wall = self.boot + now, self.active + now, self.wall + now
            seconds -= now
            self.desk.tick(self.moment)
            self.settle()

    def events(self):
        """All that was kept."""
        return [event for batch in self.batches for event in decode_batch(batch)]

    def taken_over(self):
        """The same name on another server, from the journal alone."""
        return Office(None, self.batches, self.active, self.boot, self.wall)
