"""A ledger's image as parts, and back."""

import msgspec
import pytest

from licserver.core.events import (
    PrimaryReturned,
    Reading,
    RedundantSeen,
    SeatGranted,
    SessionOpened,
    TakeoverBegun,
    TakeoverChanged,
    TakeoverRestored,
)
from licserver.core.ledger import Ledger
from licserver.core.snapshot import PART_LENGTH, from_parts, to_parts
from tests.licserver.core.office import NOON, Office, read_pools, state_of


def full(sessions, seats):
    office = Office("cad 1 1000000")
    ledger = office.ledger
    for number in range(1, sessions + 1):
        digest = number.to_bytes(32, "big")
        ledger.apply(SessionOpened(number, digest, 1, "u", "h", "", 0, "", (), "", 15.0, 45.0, 42.0, NOON))
    for seat in range(1, seats + 1):
        session = seat % sessions + 1
        ledger.apply(SeatGranted(session, seat, seat, "cad", "1", 1, 0.0, NOON, "1", None, 0.0))
    return ledger


def test_many_parts():
    """A large state comes in parts of bounded length, and is whole again afterwards."""
    ledger = full(PART_LENGTH + 1, 2 * PART_LENGTH + 1)
    parts = list(to_parts(ledger.image()))
    assert len(parts) == 1 + 2 + 3
    restored = Ledger(read_pools)
    restored.restore(from_parts(parts))
    assert state_of(restored) == state_of(ledger)
    assert (restored.epoch, restored.next_seat, restored.license_text) == (1, 2 * PART_LENGTH + 2, "cad 1 1000000")


def test_an_image_is_of_its_moment():
    """What happens after the image was taken is not in it."""
    office = Office("cad 1 5")
    client = office.client()
    client.hello()
    image = office.ledger.image()
    before = state_of(office.ledger)[0]
    client.checkout(2)
    client.lose()
    restored = Ledger(read_pools)
    restored.restore(from_parts(list(to_parts(image))))
    assert state_of(restored)[0] == before
    assert restored.sessions[1].deadline is None
    assert (restored.sessions[1].highest, restored.entries) == (0, {})


def test_takeovers():
    """What is left of each pair's takeover limit is in the head, whatever state it is in."""
    ledger = full(1, 1)
    reading = Reading("boot", 1.0, 2.0, NOON)
    changes = [TakeoverBegun(1, 259_200.0, b"8 random", reading), PrimaryReturned(9.0, 11.0), TakeoverRestored(2)]
    for steps, pair in enumerate((b"one", b"two", b"three"), 1):
        for change in changes[:steps]:
            ledger.apply(TakeoverChanged(pair, change))
    ledger.apply(RedundantSeen(b"one", "lic-b", "11" * 16))
    image = ledger.image()
    ledger.apply(TakeoverChanged(b"two", TakeoverRestored(2)))
    ledger.apply(RedundantSeen(b"one", "lic-b", "22" * 16))
    restored = Ledger(read_pools)
    restored.restore(from_parts(list(to_parts(image))))
    assert restored.takeovers == image.takeovers
    assert [type(state).__name__ for state in restored.takeovers.values()] == ["Counted", "Returned", "Whole"]
    assert restored.takeover_of(b"none").number == 1
    assert restored.seen_of_pair == {b"one": {"lic-b": "11" * 16}}


def test_not_a_snapshot():
    """Parts in a wrong order, of another format, or of nothing are said to be no snapshot."""
    head, *rest = to_parts(full(1, 1).image())
    other = msgspec.msgpack.decode(head)
    other[1] = 99
    for parts in ([], rest, [*rest, head], [head, head], [msgspec.msgpack.encode(other), *rest], [b"\xc1"]):
        with pytest.raises(msgspec.DecodeError):
            from_parts(parts)
