"""Who holds what, a page at a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licserver.core.usage import rfc3339
from lsproxy.seat.messages import Usage
from tests.licserver.core.office import NOON, Office


def busy(seats=7, license_text="cad 2027.0 25 expires=2027-12-31\nmesh 1.0 5"):
    office = Office(license_text)
    client = office.client("192.0.2.7")
    client.hello(display="/dev/tty1", pid=115)
    for number in range(seats):
        client.checkout(number + 2, "cad" if number % 3 else "mesh", version="1.0")
    client.news()
    return office, client


def usage(office, **keys):
    [reply] = office.client()(id=2, op="usage", **keys)
    return reply


def test_one_holder():
    """A holder's line has all a person wants to know, and nothing secret."""
    office, client = busy(0)
    client.checkout(2, version="2026.1")
    assert usage(office, feature="cad") == {
        "id": 2, "ok": True, "next": None,
        "features": [{
            "feature": "cad", "version": "2027.0", "vendor": "acme", "issued": 25, "in_use": 1, "reserved": 0,
            "queued": 0, "expires": "2027-12-31",
            "holders": [{
                "seat": 1, "user": "alice", "host": "ws1", "display": "/dev/tty1", "pid": 115, "address": "192.0.2.7",
                "count": 1, "version": "2026.1", "since": "2027-01-15T08:00:00Z", "state": "held",
            }],
        }],
    }  # fmt: skip
    assert rfc3339(NOON) == "2027-01-15T08:00:00Z"


def test_states():
    """Held, queued and detached are told apart; a queued one is counted as queued, not in use."""
    office, client = busy(0, "cad 1 2")
    client.checkout(2, count=2)
    client.checkout(3, wait=99)
    [cad] = usage(office)["features"]
    assert ([each["state"] for each in cad["holders"]], cad["in_use"], cad["queued"]) == (["held", "queued"], 2, 1)
    client.lose()
    assert usage(office)["features"][0]["holders"][0]["state"] == "detached"


@given(limit=st.integers(1, 9), feature=st.sampled_from([None, "cad", "mesh"]))
def test_pages(limit, feature):
    """Followed from page to page every holder is seen once, in order, at most `limit` on each."""
    office, _ = busy()
    keys = {"limit": limit, **({} if feature is None else {"feature": feature})}
    found, after = [], 0
    while after is not None:
        reply = usage(office, after=after, **keys)
        page = [each["seat"] for feature in reply["features"] for each in feature["holders"]]
        assert len(page) <= limit
        found += sorted(page)
        after = reply["next"]
    wanted = [entry.number for entry in office.ledger.entries.values() if feature in {None, entry.feature}]
    assert found == wanted


def test_without_holders():
    """`holders` false leaves the lists out and the numbers in."""
    reply = usage(busy()[0], holders=False)
    assert [(each["feature"], each["in_use"], "holders" in each) for each in reply["features"]] == [
        ("cad", 4, False),
        ("mesh", 3, False),
    ]


def test_feature_that_left_the_license():
    """A feature of which seats are held is listed also when the license has it no more."""
    office, _ = busy()
    office.license("cad 1 5")
    mesh = usage(office, feature="mesh")["features"][0]
    assert (mesh["issued"], mesh["in_use"], mesh["version"], mesh["expires"]) == (0, 3, "", None)


def test_unknown_feature():
    """A feature nobody knows is refused."""
    assert usage(busy()[0], feature="nothing")["error"] == "unknown_feature"


@pytest.mark.parametrize("limit", [0, 1001])
def test_limit(limit):
    """A page has 1 to 1,000 holders."""
    assert usage(busy()[0], limit=limit)["error"] == "bad_request"


def test_one_page_at_a_time():
    """Whoever asks for many pages gets them in turns with others, one at a time, and none while it does not read."""
    office, _ = busy()
    greedy, modest, full = office.client(), office.client(), office.client()
    full.conversation.is_full = True
    for client, number in ((greedy, 2), (greedy, 3), (full, 4), (modest, 5), (greedy, 6)):
        client.conversation.receive(Usage(number), office.moment)
    answered = []
    while office.desk.turn_page():
        answered += [reply.id for _, reply, _ in office.desk.take()[1]]
        assert not office.desk.turn_page()
        office.desk.is_page_unsaid = False
    assert answered == [2, 5, 3, 6]
    full.conversation.is_full = False
    assert office.desk.turn_page()
    full.lose()
    assert not office.desk.pages


def test_usage_before_the_end():
    """What is asked before a bye or a broken line in one piece is answered before the connection ends."""
    office, client = busy()
    ending, broken = (
        client.line(b'{"id":50,"op":"usage"}', b'{"id":51,"op":"usage"}', b'{"id":52,"op":"bye"}'),
        office.client(),
    )
    assert sorted((each["id"], each.get("error")) for each in ending) == [(50, None), (51, "overloaded"), (52, None)]
    assert sorted(each["id"] for each in broken.line(b'{"id":5,"op":"usage"}', b"nonsense")) == [0, 5]
    assert client.is_closed
    assert broken.is_closed


def test_what_has_expired_is_not_issued():
    """Of a line that ran out and one that goes on, the one that goes on is shown; with none left, the last."""
    office = Office("cad 2027.0 20 expires=2026-12-31\ncad 2026.0 5\nmesh 1.0 5 expires=2026-12-31")
    office.pass_seconds(1)
    cad, mesh = usage(office)["features"]
    assert (cad["issued"], cad["version"], cad["expires"]) == (5, "2026.0", None)
    assert (mesh["issued"], mesh["version"], mesh["expires"]) == (0, "1.0", "2026-12-31")
