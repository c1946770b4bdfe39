"""One tenure, with a journal in memory and a clock: what is said when, and what the loss of the name does."""

import json

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from licserver.core.conversation import Conversation
from licserver.core.desk import Desk, Says, Shut
from licserver.core.ledger import Ledger
from licserver.journal.interface import JournalError, Member, Process
from licserver.journal.memory import Fault, MemoryStore
from licserver.tenure import TICK_SECONDS, Tenure, isolated
from lsproxy.metrics.buckets import APPEND_BOUNDS, Buckets
from lsproxy.seat.messages import decode_request, encode
from tests.licserver.core.office import NOON, TERMS, TOKEN, read_pools, replay, state_of

TTL = 2.0
DELAY = 0.05


class Talk:
    """One connection to the bench: what it was told, and whether it was hung up on."""

    def __init__(self, bench):
        self.bench, self.heard, self.is_closed = bench, [], False
        self.conversation = Conversation(bench.desk, "192.0.2.1", self, bench.tenure.moment())

    def say(self, **request):
        self.conversation.receive(decode_request(json.dumps(request).encode()), self.bench.tenure.moment())
        self.bench.desk.turn_page()
        self.bench.tenure.settle()

    def hello(self, session="a", attempt=1):
        self.say(id=1, op="hello", protocol="seat/1", session=session * 32, attempt=attempt, user="u", host="h")

    def lose(self):
        self.bench.desk.lost(self.conversation, self.bench.tenure.moment())
        self.bench.tenure.settle()

    @property
    def codes(self):
        return [each.get("error", each.get("event", "ok")) for each in self.heard]


class Bench:
    """A tenure in a bare surrounding."""

    def __init__(self, license_text="cad 1 10", unsnapped_events=0):
        self.clock = Clock()
        self.store = MemoryStore("acme-licenses", "00" * 16, DELAY)
        self.journal = self.store.open(self.clock).result
        self.member = Member("lic-a", "a1", "a:1", Process(1, 1, "boot"))
        self.rival = Member("lic-b", "b1", "b:1", Process(2, 1, "boot"))
        self.desk = Desk(Ledger(read_pools), "acme-licenses", "lic-a", TERMS, TOKEN)
        self.endings = []
        self.opened = []
        claim = self.journal.activate(self.store.claim, self.member, 5.0)
        self.clock.advance(DELAY)
        self.tenure = Tenure(
            self.clock,
            lambda: NOON + self.clock.seconds(),
            self.journal,
            self.desk,
            claim.result,
            TTL,
            unsnapped_events,
            self.deliver,
            lambda *ending: self.endings.append(ending),
            Buckets(APPEND_BOUNDS),
        )
        self.tenure.open(license_text, "acme.lic").addBoth(self.opened.append)

    def deliver(self, sayings, *, vouched):
        for conversation, message, says in sayings:
            talk = conversation.transport
            if message is None:
                talk.is_closed = True
                continue
            if says is Says.VOUCHED and not vouched:
                message = isolated(message.id, self.desk)  # noqa: PLW2901 as the server does
            talk.heard.append(json.loads(encode(message)))
            if says is Says.PAGE:
                self.desk.is_page_unsaid = False
            if says is not Says.EVENT:
                conversation.unanswered -= 1

    def pass_seconds(self, seconds, step=0.01):
        for _ in range(round(seconds / step)):
            self.clock.advance(step)

    def talk(self, session="a"):
        talk = Talk(self)
        talk.hello(session)
        self.pass_seconds(3 * DELAY)
        return talk

    def depose(self):
        """Another server takes the name, and this one has not heard of it yet."""
        delay, self.store.delay_seconds = self.store.delay_seconds, 0.0
        self.store.open(self.clock).result.activate(self.store.claim, self.rival, 5.0)
        self.clock.advance(0)
        self.store.delay_seconds = delay

    def stall(self, seconds):
        """From now on the journal takes so long to answer."""
        self.store.delay_seconds = seconds

    def kept(self):
        """The state that the journal holds."""
        return replay(entry.batch for entry in self.store.entries.values() if entry.batch)


@pytest.fixture
def bench():
    bench = Bench()
    bench.pass_seconds(2 * DELAY)
    return bench


# --- rule 2 ---------------------------------------------------------------------


def test_door_opens_when_the_activation_is_kept():
    """Nobody is served before the activation is in the journal, and its license with it."""
    bench = Bench()
    early = Talk(bench)
    early.hello()
    assert early.codes == ["not_active"]
    assert not bench.tenure.is_serving
    bench.pass_seconds(DELAY + 0.01)
    assert bench.opened == [None]
    assert bench.tenure.is_serving
    assert bench.kept().license_text == "cad 1 10"


def test_nothing_before_it_is_kept(bench):
    """No answer leaves before the append that carries its events has succeeded."""
    talk = Talk(bench)
    talk.hello()
    bench.pass_seconds(DELAY - 0.01)
    assert talk.heard == []
    bench.pass_seconds(0.02)
    assert talk.codes == ["ok"]
    assert state_of(bench.kept()) == state_of(bench.desk.ledger)


def test_one_append_in_flight(bench):
    """Everything decided while an append is in flight goes into the next; what rests on it waits for it."""
    talk = bench.talk()
    slot = bench.tenure.slot
    talk.say(id=2, op="checkout", feature="cad")
    talk.say(id=3, op="checkout", feature="cad")
    talk.say(id=4, op="checkout", feature="cad")
    talk.say(id=5, op="heartbeat")
    bench.pass_seconds(DELAY + 0.01)
    assert [each["id"] for each in talk.heard[1:]] == [2]
    bench.pass_seconds(DELAY)
    assert [each["id"] for each in talk.heard[1:]] == [2, 3, 4, 5]
    assert talk.heard[-1]["seats"] == 3
    assert bench.tenure.slot == slot + 2


def test_answers_without_events_need_no_append(bench):
    """A heartbeat is answered at once while nothing is in flight."""
    talk = bench.talk()
    slot = bench.tenure.slot
    talk.say(id=2, op="heartbeat")
    assert talk.codes == ["ok", "ok"]
    assert bench.tenure.slot == slot


def test_one_page_while_an_append_hangs(bench):
    """While the journal does not answer one page of usage is made, however many are asked for."""
    talk, guests = bench.talk(), [Talk(bench) for _ in range(3)]
    talk.say(id=2, op="checkout", feature="cad")
    for number in range(2, 50):
        for guest in guests:
            guest.say(id=number, op="usage")
    assert sum(guest.conversation.unanswered for guest in guests) == 3 * 48
    bench.pass_seconds(DELAY + 0.01)
    assert sum(len(guest.heard) for guest in guests) == 1
    while bench.desk.turn_page():
        bench.tenure.settle()
    assert sum(len(guest.heard) for guest in guests) == 3 * 48


# --- refused, unknown -------------------------------------------------------------


def test_refused_in_a_pipeline(bench):
    """An append refused in the middle of a pipeline ends the tenure: nothing decided since is said."""
    talk, leaving, guest = bench.talk(), bench.talk("b"), Talk(bench)
    bench.depose()
    talk.say(id=2, op="checkout", feature="cad")
    talk.say(id=3, op="checkout", feature="cad")
    leaving.say(id=2, op="bye")
    guest.say(id=7, op="usage")
    bench.pass_seconds(DELAY + 0.01)
    assert (talk.codes, leaving.codes) == (["ok"], ["ok"])
    assert leaving.is_closed
    assert guest.codes == ["not_active"]
    assert [(reason[:21], is_kept) for reason, is_kept in bench.endings] == [("the journal refused w", False)]
    bench.pass_seconds(10)
    assert len(bench.endings) == 1
    assert bench.kept().entries == {}


def test_superseded_and_never_kept(bench):
    """A connection that was to be superseded is closed also when the hello that did it was never kept."""
    older = bench.talk()
    bench.depose()
    newer = Talk(bench)
    newer.hello(attempt=2)
    bench.pass_seconds(DELAY + 0.01)
    assert older.is_closed
    assert newer.heard == []


@pytest.mark.parametrize("fault", [Fault.KEPT, Fault.LOST])
def test_unknown_then_found(bench, fault):
    """An append with an unknown outcome is repeated; kept or not, it counts once and is then answered."""
    talk = bench.talk()
    bench.store.fail_next(fault)
    talk.say(id=2, op="checkout", feature="cad")
    bench.pass_seconds(DELAY + 0.005)
    assert talk.codes == ["ok"]
    bench.pass_seconds(DELAY + 0.05)
    assert talk.codes == ["ok", "ok"]
    assert list(bench.kept().entries) == [1]
    assert bench.endings == []


def test_unknown_then_fenced(bench):
    """An append with an unknown outcome whose name went to another meanwhile is not answered."""
    talk = bench.talk()
    bench.store.fail_next(Fault.LOST)
    talk.say(id=2, op="checkout", feature="cad")
    bench.pass_seconds(DELAY)
    bench.depose()
    bench.pass_seconds(3 * DELAY)
    assert talk.codes == ["ok"]
    assert len(bench.endings) == 1


def test_unknown_for_ttl(bench):
    """An outcome still unknown after `ttl` of resolving ends the tenure."""
    talk = bench.talk()
    for _ in range(1000):
        bench.store.fail_next(Fault.LOST)
    talk.say(id=2, op="checkout", feature="cad")
    bench.pass_seconds(TTL - 0.1)
    assert bench.endings == []
    bench.pass_seconds(0.3)
    assert "unknown after 2 s" in bench.endings[0][0]
    assert talk.codes == ["ok"]


def test_activation_refused():
    """A tenure whose first append is refused never opens, and says so to who asked for it."""
    bench = Bench()
    bench.depose()
    bench.pass_seconds(2 * DELAY)
    [failure] = bench.opened
    assert isinstance(failure, Failure)
    assert failure.check(JournalError)
    assert not bench.tenure.is_serving
    assert len(bench.endings) == 1


def test_events_that_cannot_be_written(bench):
    """What cannot be written down ends the tenure: it must not stay decided on one server alone."""
    talk = bench.talk()
    bench.desk.terms = type(TERMS)(heartbeat=10**30, resume=1.0, trust=1.0)
    other = Talk(bench)
    other.hello("b")
    bench.pass_seconds(DELAY)
    assert "a fault in this server" in bench.endings[0][0]
    assert other.heard == []
    assert not talk.is_closed


def test_deposed(bench):
    """Another server's claim, once seen, ends the tenure at once."""
    bench.tenure.deposed("lic-b")
    bench.tenure.deposed("lic-b")
    assert bench.endings == [("lic-b has the name", False)]


def test_fault_in_a_tick(bench):
    """A fault while looking at the clocks ends the tenure instead of leaving it without confirmations."""

    def fault(_moment):
        raise ZeroDivisionError("a fault")

    bench.desk.tick = fault
    bench.pass_seconds(0.2)
    assert "a fault in this server" in bench.endings[0][0]


# --- the claim --------------------------------------------------------------------


def test_confirmation_interval(bench):
    """An idle claim is confirmed five times per `ttl`, a busy one by its appends alone."""
    confirmations = bench.store.claim.confirmations
    bench.pass_seconds(10)
    assert 20 <= bench.store.claim.confirmations - confirmations <= 25
    talk = bench.talk()
    confirmations, slot = bench.store.claim.confirmations, bench.tenure.slot
    for number in range(2, 42):
        talk.say(id=number, op="checkout", feature="cad")
        talk.say(id=number + 100, op="checkin", handle=number)
        bench.pass_seconds(0.1)
    assert bench.store.claim.confirmations - confirmations == bench.tenure.slot - slot


def test_one_confirmation_at_a_time(bench):
    """A journal that does not answer is not asked again and again."""
    asked = []
    bench.journal.confirm = lambda *arguments: asked.append(arguments) or Deferred()
    bench.pass_seconds(10)
    assert len(asked) == 1


def test_isolated_after_ttl(bench):
    """Unconfirmed for `ttl`, counted from when the last success was sent, a server says ok to nothing."""
    talk = bench.talk()
    bench.stall(3.0)
    talk.heard.clear()
    bench.pass_seconds(TTL + 0.5)
    assert not bench.tenure.is_vouched
    talk.say(id=2, op="heartbeat")
    talk.say(id=3, op="checkout", feature="cad")
    assert talk.codes == ["isolated", "isolated"]
    bench.stall(DELAY)
    bench.pass_seconds(4)
    talk.say(id=4, op="heartbeat")
    assert talk.codes == ["isolated", "isolated", "ok"]
    assert bench.endings == []


def test_isolated_answers_while_an_append_hangs(bench):
    """Also while an append hangs, what comes after `ttl` is answered `isolated` at once."""
    talk = bench.talk()
    bench.stall(30.0)
    talk.say(id=2, op="checkout", feature="cad")
    bench.pass_seconds(TTL + 0.2)
    talk.say(id=3, op="heartbeat")
    stranger = Talk(bench)
    stranger.hello("b")
    assert (talk.codes, stranger.codes) == (["ok", "isolated"], ["isolated"])
    assert not stranger.is_closed


def test_late_replies_become_isolated(bench):
    """An answer whose append succeeds, but was sent `ttl` ago, does not vouch for the claim; the seat is kept."""
    talk = bench.talk()
    bench.stall(TTL + 0.1)
    talk.say(id=2, op="checkout", feature="cad")
    bench.pass_seconds(TTL + 0.2)
    assert talk.codes == ["ok", "isolated"]
    assert list(bench.kept().entries) == [1]


def test_closes_after_a_third_of_resume(bench):
    """After a third of `resume` in isolation every client's connection is closed, also new ones; operators stay."""
    talk, operator = bench.talk(), Talk(bench)
    operator.say(id=1, op="hello", token=TOKEN)
    bench.stall(1000.0)
    bench.pass_seconds(TTL + TERMS.resume / 3 - 0.2)
    assert not talk.is_closed
    bench.pass_seconds(0.5)
    assert talk.is_closed
    late = Talk(bench)
    late.hello("b")
    bench.pass_seconds(TICK_SECONDS + 0.01)
    assert (late.codes, late.is_closed) == (["isolated"], True)
    assert not operator.is_closed


def test_no_time_passes_in_isolation(bench):
    """Windows and waits stand still while nobody is served: a detached session outlasts any isolation."""
    talk, other = bench.talk(), bench.talk("b")
    talk.say(id=2, op="checkout", feature="cad")
    other.say(id=2, op="checkout", feature="cad", count=10, wait=20)
    bench.pass_seconds(1)
    talk.lose()
    bench.pass_seconds(5)
    before = bench.tenure.moment().active
    bench.stall(200.0)
    bench.pass_seconds(150)
    assert bench.tenure.moment().active - before <= TTL
    bench.stall(DELAY)
    while not bench.tenure.is_vouched:
        bench.pass_seconds(0.01)
    assert bench.clock.seconds() > 200
    again = Talk(bench)
    again.hello(attempt=2)
    bench.pass_seconds(0.2)
    assert (again.heard[0]["resumed"], again.heard[0]["held"]) == (True, [2])
    assert len(bench.desk.ledger.queues["cad"]) == 1
    assert bench.store.claim.active_seconds < 20


def test_stopped_for_a_minute(bench):
    """A process that stood still for a minute does not count it: nobody's window ends because of it."""
    talk = bench.talk()
    talk.say(id=2, op="checkout", feature="cad")
    bench.pass_seconds(0.2)
    talk.lose()
    bench.pass_seconds(0.2)
    bench.clock.advance(60)
    bench.pass_seconds(0.5)
    assert bench.desk.ledger.held_handles(1) == [2]
    assert bench.tenure.is_vouched
    bench.pass_seconds(46)
    assert bench.desk.ledger.entries == {}


def test_active_seconds_go_on_with_the_next(bench):
    """The sum of active seconds is carried on with every append and confirmation, and never falls."""
    sums = []
    for _ in range(20):
        bench.pass_seconds(0.5)
        sums.append(bench.store.claim.active_seconds)
    assert sums == sorted(sums)
    assert sums[-1] == pytest.approx(bench.clock.seconds(), abs=1.0)


def test_windows_end_by_themselves(bench):
    """Woken by its own ticks alone the tenure ends what is due, and keeps it."""
    talk, waiting = bench.talk(), bench.talk("b")
    talk.say(id=2, op="checkout", feature="cad", count=10)
    waiting.say(id=2, op="checkout", feature="cad", wait=300)
    bench.pass_seconds(0.2)
    talk.lose()
    for number in range(3, 7):
        bench.pass_seconds(11)
        waiting.say(id=number, op="heartbeat")
    assert bench.desk.ledger.held_handles(2) == []
    bench.pass_seconds(1.3)
    assert bench.desk.ledger.held_handles(2) == [2]
    assert waiting.heard[-1]["id"] == 2
    assert state_of(bench.kept()) == state_of(bench.desk.ledger)


# --- standing down ----------------------------------------------------------------


def stand_down(bench, heir="lic-b"):
    gone = []
    Deferred.fromCoroutine(bench.tenure.stand_down(heir, "b:1")).addBoth(gone.append)
    return gone


def test_stand_down_drains(bench):
    """What was decided before is kept and said before the name is given up; then the clients are told, and closed."""
    talk = bench.talk()
    talk.say(id=2, op="checkout", feature="cad")
    talk.say(id=3, op="checkout", feature="cad")
    gone = stand_down(bench)
    talk.say(id=4, op="checkout", feature="cad")
    bench.pass_seconds(2 * DELAY + 0.01)
    assert sorted(each["id"] for each in talk.heard if each.get("ok")) == [1, 2, 3]
    bench.pass_seconds(DELAY)
    assert gone == [None]
    assert talk.codes.count("not_active") == 1
    assert talk.is_closed
    assert (bench.store.claim.holder, bench.store.claim.heir) == (None, "lic-b")
    assert bench.endings == [("the name was given up for lic-b", True)]
    assert state_of(bench.kept()) == state_of(bench.desk.ledger)


def test_clients_hear_who_takes_over(bench):
    """A client that asked nothing hears `standing_down` with the heir's address."""
    talk = bench.talk()
    stand_down(bench)
    bench.pass_seconds(2 * DELAY)
    assert talk.heard[-1] == {"event": "standing_down", "active": "b:1"}
    assert talk.is_closed


def test_stand_down_before_the_door_opened():
    """A stand-down that comes before the activation is kept leaves the door shut: nothing is decided behind it."""
    bench = Bench()
    gone = stand_down(bench)
    bench.pass_seconds(DELAY + 0.01)
    talk = Talk(bench)
    talk.hello()
    assert talk.codes == ["not_active"]
    bench.pass_seconds(2 * DELAY)
    assert gone == [None]
    assert bench.endings == [("the name was given up for lic-b", True)]
    assert state_of(bench.kept()) == state_of(bench.desk.ledger)


def test_stand_down_while_isolated(bench):
    """A confirmation that comes during a stand-down does not open the door again."""
    talk = bench.talk()
    bench.pass_seconds(0.2)
    for _ in range(1000):
        bench.store.fail_next(Fault.LOST)
    talk.say(id=2, op="checkout", feature="cad")
    while not isinstance(bench.desk.door, Shut):
        bench.pass_seconds(0.01)
    gone = stand_down(bench)
    bench.store._faults.clear()
    while not bench.tenure.is_over:
        bench.pass_seconds(0.01)
    talk.say(id=3, op="checkout", feature="cad")
    bench.pass_seconds(1)
    assert gone == [None]
    assert [each["id"] for each in talk.heard if each.get("ok")] == [1, 2]
    assert state_of(bench.kept()) == state_of(bench.desk.ledger)


def test_stand_down_twice(bench):
    """Asked again while it stands down, a server only waits for the end."""
    talk = bench.talk()
    talk.say(id=2, op="checkout", feature="cad")
    first, second = stand_down(bench), stand_down(bench, None)
    bench.pass_seconds(DELAY + 0.02)
    assert (first, second) == ([], [])
    bench.pass_seconds(2 * DELAY)
    assert (first, second) == ([None], [None])
    assert bench.store.claim.heir == "lic-b"


def test_release_with_an_unknown_outcome(bench):
    """A release with an unknown outcome is asked again."""
    bench.store.fail_next(Fault.LOST)
    bench.store.fail_next(Fault.KEPT)
    gone = stand_down(bench)
    bench.pass_seconds(1)
    assert gone == [None]
    assert bench.store.claim.holder is None
    assert bench.endings[0][1] is True


def test_release_that_cannot_be_told(bench):
    """A release that cannot be told for `ttl` ends the tenure all the same; the state is to be read anew."""
    for _ in range(1000):
        bench.store.fail_next(Fault.LOST)
    gone = stand_down(bench)
    bench.pass_seconds(TTL + 0.5)
    assert gone[0].check(JournalError)
    assert [is_kept for _, is_kept in bench.endings] == [False]


def test_fenced_while_draining(bench):
    """A name that is lost while its holder drains is lost; who asked for the stand-down is not left waiting."""
    talk = bench.talk()
    bench.depose()
    talk.say(id=2, op="checkout", feature="cad")
    gone, waiting = stand_down(bench), stand_down(bench)
    bench.pass_seconds(1)
    assert (gone, waiting) == ([None], [None])
    assert [is_kept for _, is_kept in bench.endings] == [False]
    assert talk.codes == ["ok"]


def test_released_meanwhile(bench):
    """A release that finds another holder says so."""
    bench.depose()
    gone = stand_down(bench)
    bench.pass_seconds(1)
    assert gone[0].check(JournalError)
    assert [is_kept for _, is_kept in bench.endings] == [False]
