"""What a witness is told of uses of seats, told as a day at the desk."""

import pytest

from licserver.core.events import SeatGranted
from tests.licserver.core.office import Office


class Watched:
    """An office with a witness, and two users."""

    def __init__(self, text="cad 2027.0 2"):
        self.office = Office(text)
        self.told = []
        self.office.desk.witness = self.told.append
        self.alice = self.office.client("192.0.2.1")
        self.alice.hello("a")
        self.bob = self.office.client("192.0.2.2")
        self.bob.hello("b", user="bob", host="ws2")

    def news(self):
        """What was told since it was asked last."""
        told, self.told[:] = list(self.told), []
        return [f"{use.kind} {use.count} {use.feature} {use.user}@{use.host} {use.code}".rstrip() for use in told]


@pytest.fixture
def watched():
    return Watched()


def test_out_and_in(watched):
    """A seat goes out and comes in, with the client's address and the vendor."""
    watched.alice.checkout(2, count=2)
    (use,) = watched.told
    assert (use.vendor, use.address) == ("acme", "192.0.2.1")
    assert watched.news() == ["OUT 2 cad alice@ws1"]
    watched.alice.checkin(3, 2)
    assert watched.news() == ["IN 2 cad alice@ws1"]
    watched.alice.checkin(4, 2)
    assert watched.news() == []


def test_repeated(watched):
    """A repeated checkout is no second use."""
    watched.alice.checkout(2)
    watched.news()
    watched.alice.checkout(2)
    assert watched.news() == []


def test_queue(watched):
    """Who waits is queued, and leaves the queue before the seat goes out."""
    watched.alice.checkout(2, count=2)
    watched.bob.checkout(2, wait=30)
    assert watched.news() == ["OUT 2 cad alice@ws1", "QUEUED 1 cad bob@ws2"]
    watched.alice.checkin(3, 2)
    assert watched.news() == ["IN 2 cad alice@ws1", "DEQUEUED 1 cad bob@ws2", "OUT 1 cad bob@ws2"]


def test_wait_over(watched):
    """A wait that is over is a denial after the queue was left; one that was withdrawn is none."""
    watched.alice.checkout(2, count=2)
    watched.bob.checkout(2, wait=10)
    watched.bob.checkout(3, wait=100)
    watched.news()
    watched.office.pass_seconds(11, 1)
    assert watched.news() == ["DEQUEUED 1 cad bob@ws2", "DENIED 1 cad bob@ws2 no_seats"]
    watched.bob.checkin(4, 3)
    assert watched.news() == ["DEQUEUED 1 cad bob@ws2"]


def test_head_that_cannot_be_served(watched):
    """A head of the queue for which there are too few seats after a new license is denied."""
    watched.alice.checkout(2, count=2)
    watched.bob.checkout(2, count=2, wait=30)
    watched.news()
    watched.office.license("cad 2027.0 1")
    assert watched.news() == ["DEQUEUED 2 cad bob@ws2", "DENIED 2 cad bob@ws2 over_limit"]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"feature": "nope"}, "unknown_feature"),
        ({"count": 3}, "over_limit"),
        ({"version": "2028.0"}, "version_not_covered"),
    ],
)
def test_denied(watched, request_, code):
    """What the license does not allow is denied, with its code."""
    watched.alice.checkout(2, **{"feature": "cad", **request_})
    (use,) = watched.told
    assert (use.kind, use.code, use.vendor) == ("DENIED", code, "acme")
    assert use.reason


def test_wrong_requests(watched):
    """A request that is wrong whatever seats there are is no denial."""
    watched.alice.checkout(2)
    watched.alice.checkin(3, 2)
    watched.news()
    watched.alice.checkout(2)
    watched.alice.checkout(4)
    watched.alice.checkout(4, count=2)
    assert watched.news() == ["OUT 1 cad alice@ws1"]


def test_session_over(watched):
    """All seats and waits of a session end with it, by bye or by its window."""
    watched.alice.checkout(2)
    watched.alice.checkout(3)
    watched.alice.checkout(4, wait=100)
    watched.news()
    watched.alice.lose()
    assert watched.news() == []
    watched.office.pass_seconds(46, 1)
    assert sorted(watched.news()) == ["DEQUEUED 1 cad alice@ws1", "IN 1 cad alice@ws1", "IN 1 cad alice@ws1"]


def test_bye(watched):
    """Bye gives all seats back."""
    watched.bob.checkout(2)
    watched.bob(id=3, op="bye")
    assert watched.news() == ["OUT 1 cad bob@ws2", "IN 1 cad bob@ws2"]


def test_taken_back(watched):
    """A seat that an operator takes back comes in, a wait leaves the queue; a removal that is seen is nothing more."""
    watched.alice.checkout(2, count=2)
    watched.bob.checkout(2, wait=30)
    watched.news()
    operator = watched.office.client()
    operator.operator()
    operator(id=2, op="remove", seat=2)
    operator(id=3, op="remove", seat=1)
    watched.alice.checkin(5, 2)
    assert watched.news() == ["DEQUEUED 1 cad bob@ws2", "IN 2 cad alice@ws1"]


def test_unkept(watched):
    """What the journal may not have kept is not told."""
    desk = watched.office.desk
    desk.record(SeatGranted(1, 2, desk.ledger.next_seat, "cad", "0", 1, 0.0, 0.0, "2027.0", None, 0.0))
    _, outbox = desk.take()
    assert [use.kind for conversation, use, _ in outbox if conversation is None] == ["OUT"]
    assert desk.unkept(outbox, "lost") == []
    assert watched.told == []


def test_nobody_watches():
    """Without a witness nothing is collected."""
    office = Office("cad 2027.0 1")
    alice = office.client()
    alice.hello()
    alice.checkout(2)
    alice.checkout(3)
    assert office.desk.outbox == []
