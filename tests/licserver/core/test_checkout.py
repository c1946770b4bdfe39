"""How many seats are free when pools differ in version and dates: the arithmetic against brute force, and the dates."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from licserver.core.checkout import find_offer, free_seats, issued_seats
from licserver.core.events import LicenseCameIntoForce, SeatGranted, SessionOpened
from licserver.core.ledger import Ledger
from lsproxy.license.version import parse_version
from tests.licserver.core.office import NOON, Office, read_pools

DAY = 86_400


def holding(license_text, held):
    """A ledger of `license_text` in which the versions `held` were granted."""
    ledger = Ledger(read_pools)
    ledger.apply(LicenseCameIntoForce(license_text, "acme.lic"))
    ledger.apply(SessionOpened(1, b"", 1, "u", "h", "", 0, "", (), "", 15.0, 45.0, 42.0, NOON))
    for number, asked in enumerate(held, 1):
        ledger.apply(SeatGranted(1, number, number, "cad", asked, 1, 0.0, NOON, asked, None, 0.0))
    return ledger


def can_be_handed_out(pools, asked):
    """Brute force: is there a pool with a seat for each version asked for?"""
    choices = product(range(len(pools)), repeat=len(asked))
    return any(
        all(pools[pool][0] >= version for pool, version in zip(choice, asked, strict=True))
        and all(choice.count(pool) <= pools[pool][1] for pool in range(len(pools)))
        for choice in choices
    )


versions = st.integers(0, 4)


@given(
    pools=st.lists(st.tuples(versions, st.integers(1, 3)), min_size=1, max_size=3),
    wishes=st.lists(versions, min_size=1, max_size=6),
)
def test_seats_of_several_versions(pools, wishes):
    """A seat is free exactly when all held seats and it could be handed out to pools."""
    license_text = "\n".join(f"cad {version}.0 {seats}" for version, seats in pools)
    held = []
    for wish in wishes:
        ledger = holding(license_text, [str(version) for version in held])
        is_free = free_seats(ledger, "cad", str(wish), NOON) >= 1 and max(pools)[0] >= wish
        assert is_free == can_be_handed_out(pools, [*held, wish])
        if is_free:
            held.append(wish)


@given(
    pools=st.lists(st.tuples(versions, st.integers(1, 3)), min_size=1, max_size=2),
    held=st.lists(versions, max_size=3),
    wish=versions,
    count=st.integers(1, 4),
)
def test_count_is_all_or_nothing(pools, held, wish, count):
    """So many seats are free at once as could be handed out one after the other."""
    if not can_be_handed_out(pools, held) or max(pools)[0] < wish:
        return
    ledger = holding("\n".join(f"cad {version} {seats}" for version, seats in pools), map(str, held))
    assert (free_seats(ledger, "cad", str(wish), NOON) >= count) == can_be_handed_out(pools, [*held, *[wish] * count])


def test_dotted_versions():
    """2026.10 is above 2026.9, and 2027 is 2027.0."""
    ledger = holding("cad 2026.9 1\ncad 2027 1", ["2026.10"])
    assert free_seats(ledger, "cad", "2026.10", NOON) == 0
    assert free_seats(ledger, "cad", "2026.9", NOON) == 1
    assert parse_version("2027") == parse_version("2027.0")


def test_terms_of_the_lowest_covering_pool():
    """A checkout is told the terms of the lowest version that covers it."""
    ledger = holding("cad 3.0 1\ncad 1.0 1\ncad 2.0 1", [])
    assert find_offer(ledger, "cad", "1.5", 1, NOON).version_text == "2.0"


def test_dates():
    """A line counts from the beginning of its first day to the end of its last, UTC; the sentences name the day."""
    ledger = holding("cad 1 5 starts=2027-01-20 expires=2027-01-25", [])
    first = 1_800_403_200.0  # 2027-01-20T00:00:00Z
    assert find_offer(ledger, "cad", "1", 1, first - 1) == ("not_started", "cad: the license starts on 2027-01-20")
    assert find_offer(ledger, "cad", "1", 1, first).issued == 5
    assert issued_seats(ledger, "cad", first - 1) == 0
    last = first + 6 * DAY
    assert find_offer(ledger, "cad", "1", 1, last - 1).issued == 5
    assert find_offer(ledger, "cad", "1", 1, last) == ("expired", "cad: the license expired on 2027-01-25")


def test_overdraft_counts():
    """Overdraft seats are granted like the others."""
    client = Office("cad 1 1 overdraft=1").client()
    client.hello()
    assert [client.checkout(number)[0]["ok"] for number in (2, 3, 4)] == [True, True, False]


def test_expired_seats_go_on_counting():
    """Seats of a line that expired stay, and nothing new is granted until there is room."""
    office = Office("cad 2 1 expires=2027-01-16\ncad 1 1")
    client = office.client()
    client.hello()
    client.checkout(2, version="2")
    office.wall += 10 * DAY
    assert client.checkout(3, version="1")[0]["error"] == "no_seats"
    client.checkin(4, 2)
    assert client.checkout(5, version="1")[0]["ok"]


def test_shrunk_license():
    """A file with fewer seats takes none away and grants none until there is room."""
    office = Office("cad 1 3")
    client = office.client()
    client.hello()
    client.checkout(2, count=3)
    office.license("cad 1 2")
    assert client(id=3, op="heartbeat")[0]["seats"] == 1
    [refusal] = client.checkout(4)
    assert (refusal["error"], refusal["message"]) == ("no_seats", "cad: 1 asked, 0 of 2 free")
    client.checkin(5, 2)
    assert client.checkout(6, count=2)[0]["ok"]


def test_feature_that_is_gone():
    """Seats of a feature that the new file has not any more stay; who waits for it is told."""
    office = Office("cad 1 1")
    client = office.client()
    client.hello()
    client.checkout(2)
    client.checkout(3, wait=30)
    client.news()
    office.license("mesh 1 1")
    assert [each["error"] for each in client.news()] == ["unknown_feature"]
    assert office.ledger.held_handles(1) == [2]
    assert client.checkin(4, 2)[0]["ok"]
