"""What is not as it should be with a pool."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.panel.remarks import Remark, level_of, remarks
from lsproxy.proxy.snapshot import Said
from tests.lsproxy.admin.pictures import backend, pool

STANDBY = {"lic-b": None}


def said(role):
    return Said(role, 3, "b1f0", "sha256:00", 12, 17, 60.0, "0.1.0")


def texts(one, standby=STANDBY):
    return [remark.text for remark in remarks(one, standby)]


def test_a_pool_that_is_well_has_none():
    """And is good."""
    assert remarks(pool(), STANDBY) == []
    assert level_of(pool(), []) == "good"


def test_without_a_standby_it_is_said_why():
    """Only of a pool that is served, and that has another backend at all."""
    assert remarks(pool(), {"lic-b": "does not answer"}) == [Remark("odd", "no standby: lic-b does not answer")]
    assert remarks(pool(serving=None, reason="r"), {"lic-a": "does not answer"}) == [Remark("bad", "r")]
    assert remarks(pool(backends=[backend("lic-a")]), {}) == []


def test_the_gravest_stands_first():
    """A conflict before what only should be looked at."""
    odd = pool(conflicts=["two servers"], note="a note", switching_to="lic-b")
    assert [remark.level for remark in remarks(odd, STANDBY)] == ["bad", "odd", "info"]
    assert level_of(odd, []) == "bad"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"admin": "drain"}, "lic-a is set to drain"),
        ({"is_kept_out": True}, "lic-a was lost and is kept out until it is set ready"),
        ({"binding": "unbound", "binding_reason": "line 3"}, "lic-a: unbound, line 3"),
        ({"binding": "unknown", "binding_reason": "why"}, "lic-a: unknown, why"),
        ({"fencing": "status 1"}, "lic-a, fencing: status 1"),
        ({"activation": "status 1"}, "lic-a, activation: status 1"),
        ({"license_note": "lic-a serves another"}, "lic-a serves another"),
        ({"last_error": "lic-a: refused"}, "lic-a: refused"),
        ({"takeover_note": "71 h left"}, "71 h left"),
        ({"said": said("isolated")}, "lic-a is isolated, it cannot reach the journal: its log says why"),
    ],
)
def test_what_a_backend_says_of_itself_is_a_remark(changes, text):
    """A sentence for each, and none of the other backend."""
    assert texts(pool(backends=[backend("lic-a", **changes), backend("lic-b")])) == [text]


def test_a_spent_takeover_limit_is_grave():
    """While it runs it should be looked at."""
    for role, level in (("active", "odd"), ("blocked", "bad")):
        one = pool(backends=[backend("lic-a", said=said(role), takeover_note="the limit")])
        assert remarks(one, {}) == [Remark(level, "the limit")]


@pytest.mark.parametrize("role", ["blocked", "isolated"])
def test_what_grants_nothing_is_grave_where_it_serves(role):
    """Nobody is granted a seat then; of one that stands by it should only be looked at."""
    other = backend("lic-b", said=said(role), takeover_note="the limit" if role == "blocked" else None)
    serving = pool(serving="lic-b", backends=[backend("lic-a"), other])
    assert [remark.level for remark in remarks(serving, STANDBY)] == ["bad"]
    assert level_of(serving, []) == "bad"
    behind = pool(backends=[backend("lic-a"), other])
    assert [remark.level for remark in remarks(behind, STANDBY)] == ["odd"]
    assert level_of(behind, remarks(behind, STANDBY)) == "odd"


def test_an_end_of_the_license_is_a_remark():
    """In the words in which it is told everywhere; grave when nothing of it is left."""
    assert remarks(pool(expiring=["cad expires"]), STANDBY) == [Remark("odd", "cad expires")]
    ended = pool(expiring=["cad expired"], is_expired=True)
    assert remarks(ended, STANDBY) == [Remark("bad", "cad expired")]
    assert level_of(ended, []) == "bad"


def test_what_a_restart_would_forget_is_a_remark():
    """Clients are served all the same."""
    assert remarks(pool(unsaved="the disk is full"), STANDBY) == [Remark("odd", "the disk is full")]


@given(st.builds(
    pool,
    serving=st.sampled_from(["lic-a", None]),
    reason=st.none() | st.text(min_size=1),
    note=st.none() | st.text(min_size=1),
    conflicts=st.lists(st.text(min_size=1), max_size=2),
    expiring=st.lists(st.text(min_size=1), max_size=2),
), st.dictionaries(st.sampled_from(["lic-b", "lic-c"]), st.none() | st.text(min_size=1)))  # fmt: skip
def test_nothing_that_is_said_is_left_out_or_said_twice(one, standby):
    """Every sentence of the picture stands there once, and a pool with a grave or odd one is not good."""
    found = remarks(one, standby)
    assert len(found) == len({(remark.level, remark.text) for remark in found})
    there = {remark.text for remark in found}
    assert {*one.conflicts, *one.expiring} <= there
    assert one.serving is not None or one.reason is None or one.reason in there
    is_good = level_of(one, found) == "good"
    assert is_good == (one.serving is not None and not any(remark.level in {"bad", "odd"} for remark in found))
    assert msgspec.json.encode(found)
