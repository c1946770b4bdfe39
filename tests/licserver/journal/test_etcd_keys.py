"""Keys and values: they sort as they count, and are read as they were written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licserver.journal.etcd_keys import (
    MOST_BYTES,
    Confirmed,
    GivenUp,
    Holding,
    Keys,
    Published,
    Record,
    claim_state,
    end_of,
    read,
    write,
)
from licserver.journal.etcd_messages import KeyValue
from licserver.journal.interface import Claim, JournalUnusable
from tests.contract.journal import member

KEYS = Keys("acme/one")
numbers = st.integers(0, 2**62)


@given(one=numbers, other=numbers)
def test_keys_sort_as_they_count(one: int, other: int):
    """So a range of keys is a range of slots, and what is published compares by its slot."""
    assert (KEYS.log(one) < KEYS.log(other)) == (one < other)
    assert (KEYS.part(one, 5, 0) < KEYS.part(other, 1, 0)) == (one < other)
    assert (Published(one, 7, 3).encode() < b"%020d" % other) == (one < other)
    assert KEYS.slot(KEYS.log(one)) == one
    assert KEYS.log(one) < end_of(KEYS.logs)


@given(slot=numbers, epoch=numbers, parts=numbers)
def test_published_is_read_as_written(slot: int, epoch: int, parts: int):
    """Also where nothing is published yet, which sorts before everything."""
    assert Published.decode(Published(slot, epoch, parts).encode()) == Published(slot, epoch, parts)
    assert Published.decode(Published().encode()) == Published()
    assert Published().encode() < b"%020d" % 0


@given(epoch=numbers, content=st.binary(max_size=50))
def test_record_is_read_as_written(epoch: int, content: bytes):
    """A short one holds its content."""
    record = Record.of(epoch, content)
    assert Record.decode(record.encode()) == record
    assert (record.epoch, record.pieces, record.body) == (epoch, 0, content)


def test_long_record():
    """A longer one than fits holds the digest, and says how many pieces there are."""
    assert Record.of(1, bytes(MOST_BYTES)).pieces == 0
    record = Record.of(1, bytes(MOST_BYTES + 1))
    assert (record.pieces, len(record.body)) == (2, 32)
    assert Record.decode(record.encode()) == record


def test_watched_range():
    """Claim and log are one range, and nothing else lies in it."""
    inside = [KEYS.epoch, KEYS.holding, KEYS.given_up, KEYS.confirmed, KEYS.log(0), KEYS.log(2**62)]
    outside = [KEYS.alive("a"), KEYS.big(KEYS.log(1)), KEYS.member("a"), KEYS.meta, KEYS.part(1, 1, 1)]
    outside += [KEYS.place, KEYS.published]
    assert all(KEYS.claim <= key < end_of(KEYS.logs) for key in inside)
    assert not any(KEYS.claim <= key < end_of(KEYS.logs) for key in outside)


def test_claim():
    """Four keys make the claim; while the name is given up its holder is nobody."""

    def state(given_up: bytes) -> Claim:
        kept = [
            KeyValue(KEYS.epoch, value=b"4"),
            KeyValue(KEYS.holding, value=write(Holding(member("lic-a"), 5.0, 7))),
            KeyValue(KEYS.given_up, value=given_up),
            KeyValue(KEYS.confirmed, mod_revision=9, version=12, value=write(Confirmed(2.5, 8))),
        ]
        found = claim_state(KEYS, kept)
        assert (found.revision, found.pid_namespace) == (9, 7)
        return found.claim

    assert state(b"") == Claim(4, member("lic-a"), None, 11, 2.5, 8, 5.0)
    assert state(write(GivenUp("lic-b"))) == Claim(4, None, "lic-b", 11, 2.5, 8, 5.0)
    with pytest.raises(JournalUnusable):
        state(b"x")
    with pytest.raises(JournalUnusable):
        claim_state(KEYS, [])
    with pytest.raises(JournalUnusable):
        read(b"{}", Confirmed)
    with pytest.raises(JournalUnusable):
        Published.decode(b"x")
