"""The takeover limit at the desk: what is recorded, when seats are refused, what people are told."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from licserver.core.events import TakeoverChanged, decode_batch
from licserver.core.limit import TakeoverLimit
from licserver.core.scheme import Duplicate, Primary, Redundant
from licserver.core.takeover import Counted, Returned, Whole
from tests.licserver.core.office import Office
from tests.licserver.core.takeover_world import HOUR

PAIR = b"sixteen bytes of"
REDUNDANT = Redundant(PAIR, 2 * HOUR, "lic-a", "lic-a:27101", b"key")


@pytest.fixture
def office():
    """A redundant server that has just taken the name, for two hours."""
    made = Office()
    made.desk.limit = TakeoverLimit(made.desk, "boot", 900.0)
    made.desk.limit.serve_as(REDUNDANT, made.moment, b"8 random", is_seen=True)
    made.settle()
    return made


def code(messages):
    return [message.get("error", message.get("event", "ok")) for message in messages]


def state(office):
    return office.ledger.takeover_of(PAIR)


def test_blocked(office):
    """Past the limit a checkout is blocked, however late the tick is; what is held stays, and is repeated."""
    client = office.client()
    client.hello()
    assert code(client.checkout(2)) == ["ok"]
    office.boot += 2 * HOUR
    office.active += 2 * HOUR
    assert code(client.checkout(3)) == ["blocked"]
    assert code(client.checkout(2)) == ["ok"]
    assert code(client.checkin(4, 2)) == ["ok"]
    assert code(client.checkout(5)) == ["blocked"]


def test_waiting(office):
    """Those who wait are told when the limit is spent, in their order."""
    first, second = office.client(), office.client()
    first.hello()
    second.hello("b")
    first.checkout(2, count=25)
    first.checkout(3, wait=90_000)
    second.checkout(2, wait=90_000)
    office.boot += 2 * HOUR
    office.desk.serve_queues(office.moment)
    office.settle()
    assert [code(first.news())[-1], code(second.news())[-1]] == ["blocked", "blocked"]
    assert office.ledger.queues["cad"] == {}


def test_no_limit(office):
    """Other servers have no notice, no news and no limit."""
    limit = office.desk.limit
    for role in (Duplicate(), Primary(b"another pair....")):
        limit.news.clear()
        limit.serve_as(role, office.moment, b"8 random", is_seen=True)
        limit.keep(office.moment)
        assert (limit.blocked, limit.notice(office.moment), limit.shown(office.moment), limit.news) == (
            "",
            None,
            None,
            [],
        )
        assert limit.remaining_seconds(office.moment) is None
    limit.leave()
    limit.keep(office.moment)
    assert limit.blocked == ""


def test_another_pair(office):
    """Under another license the count is another; back under the first it has gone on."""
    limit = office.desk.limit
    limit.serve_as(
        Redundant(b"another pair....", 5 * HOUR, "lic-a", None, b"key"), office.moment, b"9 random", is_seen=True
    )
    office.boot += HOUR
    limit.serve_as(REDUNDANT, office.moment, b"9 random", is_seen=True)
    assert state(office).spent >= HOUR
    assert limit.remaining_seconds(office.moment) <= HOUR


@settings(deadline=None)
@given(st.lists(st.sampled_from(["pass", "primary", "redundant", "lower", "tick"]), max_size=30))
def test_all_is_recorded(steps):
    """Whatever happens, the journal tells the same state as the desk has, and blocked is what the state says."""
    office = Office()
    limit = office.desk.limit = TakeoverLimit(office.desk, "boot", 900.0)
    for number, step in enumerate(steps):
        match step:
            case "pass":
                office.boot, office.active = office.boot + 700.0, office.active + 700.0
            case "primary":
                limit.serve_as(Primary(PAIR), office.moment, bytes(8), is_seen=True)
            case "redundant":
                limit.serve_as(REDUNDANT, office.moment, number.to_bytes(8), is_seen=True)
            case "lower":
                limit.serve_as(
                    Redundant(PAIR, HOUR, "lic-a", None, b"key"), office.moment, number.to_bytes(8), is_seen=True
                )
            case "tick":
                office.desk.tick(office.moment)
        office.settle()
        assert bool(limit.blocked) == (isinstance(limit.role, Redundant) and state(office).is_spent)
    assert Office(batches=office.batches, license_text="").ledger.takeover_of(PAIR) == state(office)
    changes = [event for batch in office.batches for event in decode_batch(batch) if isinstance(event, TakeoverChanged)]
    assert bool(changes) == (not isinstance(state(office), Whole) or state(office).number > 1)
    assert isinstance(state(office), Whole | Counted | Returned)
