"""What all conversations of one server share: windows, the door, farewells, and what is said when nothing was kept."""

from licserver.core.desk import Says, Shut
from lsproxy.seat.messages import Done, Refusal
from tests.licserver.core.office import Office


def seated(office, session="a", **more):
    client = office.client()
    client.hello(session, **more)
    client.checkout(2)
    client.news()
    return client


def test_silent_connections_are_looked_at_in_order():
    """Whoever spoke last is closed last, however many there are."""
    office = Office("cad 1 9")
    clients = [seated(office, session) for session in "abc"]
    office.pass_seconds(30)
    clients[0](id=5, op="heartbeat")
    office.pass_seconds(15)
    assert [client.is_closed for client in clients] == [False, True, True]
    office.pass_seconds(30)
    assert clients[0].is_closed


def test_operators_are_closed_when_silent_too():
    """An operator's connection that says nothing for three heartbeats is closed."""
    operator = Office().client()
    operator.operator()
    operator.office.pass_seconds(45)
    assert operator.is_closed


def test_window_runs_out_once():
    """A detached session is closed when its window ends, and a resumed one is not, although it was detached before."""
    office = Office("cad 1 9")
    a, b = seated(office, "a"), seated(office, "b")
    a.lose(), b.lose()
    office.pass_seconds(40)
    again = office.client()
    again.hello("b", attempt=2)
    office.pass_seconds(6)
    assert [session.digest for session in office.ledger.sessions.values()] == [
        office.ledger.sessions[again.conversation.session].digest
    ]
    office.pass_seconds(1)
    assert len(office.ledger.sessions) == 1


def test_windows_after_a_takeover():
    """Who was attached gets a fresh window, who was detached only what remained of his."""
    office = Office("cad 1 9")
    seated(office, "a")
    seated(office, "b").lose()
    office.pass_seconds(40)
    other = office.taken_over()
    other.activate()
    other.pass_seconds(5.5)
    assert len(other.ledger.sessions) == 1
    other.pass_seconds(39)
    assert len(other.ledger.sessions) == 1
    other.pass_seconds(1)
    assert other.ledger.sessions == {}


def test_dead_clients_through_repeated_takeovers():
    """A dead client does not hold its seat for ever through repeated takeovers: its window is fresh once."""
    office = Office("cad 1 9")
    seated(office, "a")
    for _ in range(4):
        office = office.taken_over()
        office.activate()
        office.pass_seconds(12)
    assert office.ledger.sessions == {}


def test_lost_while_isolated():
    """A connection lost while nothing can be kept detaches its session when the door opens, with a whole window."""
    office = Office("cad 1 9")
    seated(office, "a")
    detached = seated(office, "b")
    detached.lose()
    deadline = office.ledger.sessions[2].deadline
    office.shut()
    office.desk.lost(office.desk.attached[1], office.moment)
    assert office.desk.events == []
    office.desk.open(office.moment)
    assert office.ledger.sessions[1].deadline == office.active + 45
    assert office.ledger.sessions[2].deadline == deadline


def test_shut_door_ends_nothing():
    """While the door is shut no window and no wait ends."""
    office = Office("cad 1 1")
    client = seated(office)
    client.checkout(3, wait=1)
    client.lose()
    office.shut()
    office.pass_seconds(100)
    assert len(office.ledger.entries) == 2


def test_drop_clients():
    """Every connection that is no operator's is closed, also one that only asked or said nothing."""
    office = Office("cad 1 9")
    alice, silent, operator = seated(office), office.client(), office.client()
    operator.operator()
    office.desk.drop_clients(office.moment)
    office.settle()
    assert [alice.is_closed, silent.is_closed, operator.is_closed] == [True, True, False]


def test_dismiss():
    """A server that gives the name up tells every session who takes it, closes those, and keeps operators."""
    office = Office("cad 1 9")
    alice, operator = seated(office), office.client()
    operator.operator()
    office.shut("not_active")
    office.desk.dismiss("lic-b:27101")
    office.settle()
    assert alice.news() == [{"event": "standing_down", "active": "lic-b:27101"}]
    assert (alice.is_closed, operator.is_closed) == (True, False)
    assert office.ledger.sessions[1].deadline is None


def test_another_ledger():
    """After the state was read anew nothing that a former session's connection sends is decided."""
    office = Office("cad 1 9")
    alice = seated(office)
    office.desk.replace_ledger(office.ledger)
    assert alice.checkout(5) == []
    assert office.desk.attached == {}


def test_unkept():
    """In place of what was not kept sessions hear nothing, others that the outcome is unknown; hang-ups are done."""
    office = Office("cad 1 9")
    alice, operator = seated(office), office.client()
    operator.operator()
    sayings = [
        (alice.conversation, Done(1), Says.VOUCHED),
        (alice.conversation, Done(2), Says.PLAIN),
        (alice.conversation, None, Says.EVENT),
        (operator.conversation, Done(3), Says.PLAIN),
    ]
    assert office.desk.unkept(sayings, "it is gone") == [
        (alice.conversation, None, Says.EVENT),
        (operator.conversation, Refusal(3, "not_active", "it is gone"), Says.PLAIN),
    ]


def test_dismissed_waits_go_on():
    """A waiting checkout whose server gives the name up is not answered there, and waits on the next."""
    office = Office("cad 1 1")
    seated(office)
    bob = office.client()
    bob.hello("b")
    bob.checkout(2, wait=300)
    office.desk.door = Shut("not_active", "over")
    office.desk.dismiss(None)
    office.settle()
    assert bob.news()[-1] == {"event": "standing_down", "active": None}
    other = office.taken_over()
    other.activate()
    assert len(other.ledger.queues["cad"]) == 1


def test_time_makes_room():
    """Seats of a line that starts today go to those who wait, without a request."""
    office = Office("cad 1 1\ncad 1 1 starts=2027-01-16")
    seated(office)
    bob = office.client()
    bob.hello("b")
    bob.checkout(2, wait=1_000_000)
    office.wall += 2 * 86_400
    office.pass_seconds(0.1)
    assert bob.heard[-1]["ok"]


def test_long_waits_that_are_over_take_no_room():
    """Checkouts that wait for a year and are withdrawn at once, and sessions lost and resumed, leave nothing behind."""
    office = Office("cad 1 1")
    seated(office)
    client = office.client()
    client.hello("b")
    for number in range(10, 6010, 2):
        client.checkout(number, wait=31_536_000)
        client.checkin(number + 1, number)
    for attempt in range(2, 3002):
        client.lose()
        client = office.client()
        client.hello("b", attempt)
    client.checkout(10_000, wait=60)
    client.lose()
    office.pass_seconds(0.1)
    assert len(office.desk._waits) + len(office.desk._windows) == 2
    office.pass_seconds(60)
    assert office.ledger.queues["cad"] == {}
