"""Events as the journal keeps them."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from licserver.core.events import AnyEvent, Reading, TakeoverChange, decode_batch, encode_batch

numbers = st.integers(0, 2**53)
times = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
fields = {
    int: numbers,
    float: times,
    str: texts,
    bytes: st.binary(max_size=32),
    str | None: st.none() | texts,
    tuple[str, ...]: st.lists(texts, max_size=3).map(tuple),
    Reading: st.builds(Reading, texts, times, times, times),
}


def any_of(kinds):
    return st.one_of(
        *(
            st.builds(kind, **{field.name: fields[field.type] for field in msgspec.structs.fields(kind)})
            for kind in kinds.__args__
        )
    )


fields[TakeoverChange] = any_of(TakeoverChange)
events = any_of(AnyEvent)


@given(st.lists(events, max_size=8))
def test_round_trip(batch):
    """What is read is what was written."""
    assert decode_batch(encode_batch(batch)) == batch


def test_stable_bytes():
    """The bytes of a kept event do not change from release to release."""
    kinds = (*AnyEvent.__args__, *TakeoverChange.__args__, Reading)
    kept = {kind.__struct_config__.tag: [field.name for field in msgspec.structs.fields(kind)] for kind in kinds}
    assert kept == {
        "A": ["epoch", "backend", "active", "wall"],
        "L": ["text", "file"],
        "O": [
            "session", "digest", "attempt", "user", "host", "display", "pid", "app", "hostids", "address", "heartbeat",
            "resume", "trust", "since",
        ],
        "R": ["session", "attempt", "address"],
        "D": ["session", "deadline"],
        "C": ["session"],
        "Q": ["session", "handle", "seat", "feature", "asked", "count", "wait", "deadline", "since"],
        "G": [
            "session", "handle", "seat", "feature", "asked", "count", "wait", "since", "version", "expires", "grace",
        ],
        "W": ["session", "handle"],
        "I": ["session", "handle"],
        "X": ["session", "handle", "reason"],
        "S": ["session", "handle"],
        "P": ["name", "address", "hostids"],
        "U": [],
        "E": ["pair", "name", "identity"],
        "F": ["pair", "name", "identity"],
        "T": ["pair", "change"],
        "TB": ["number", "limit", "nonce", "reading", "spent"],
        "TC": ["spent", "reading"],
        "TP": ["spent", "active"],
        "TR": ["reading"],
        "TX": ["number", "extension", "hours", "nonce"],
        "TL": ["limit"],
        "TW": ["number"],
        None: ["boot_id", "uptime", "active", "wall"],
    }  # fmt: skip


@pytest.mark.parametrize("batch", [b"", b"\x90\x90", b"\x91\x92\xa1Z\x01", b"x"])
def test_not_events(batch):
    """What no licserver wrote is said to be that."""
    with pytest.raises(msgspec.DecodeError):
        decode_batch(batch)
