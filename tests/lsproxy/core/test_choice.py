"""Tests of which backend is used, by table and by random pools."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.core.choice import (
    Admin,
    AskTakeover,
    Candidate,
    Failback,
    Nobody,
    Part,
    Situation,
    Use,
    decide,
    kept_away,
    may_stand_in,
)
from lsproxy.core.claims import Claimed, Disputed, Followed, Report, Unclaimed, judge
from lsproxy.core.health import Down, Unchecked, Up

NOW = 1000.0


def backend(name, role="standby", epoch=4, journal="j1", health=None, **facts):
    report = None if role is None else Report(role, epoch, journal, name)
    return Candidate(name=name, health=health or Up(), report=report, **facts)


def situation(**facts):
    usual = {
        "now": NOW,
        "serving": None,
        "wanted": None,
        "followed": Followed("j1", 4),
        "failback": Failback.STICKY,
        "failback_after": 300.0,
    }
    return Situation(**{**usual, **facts})


def decision(*candidates, **facts):
    now = situation(**facts)
    answering = {c.name: c.report for c in candidates if isinstance(c.health, Up) and not c.is_lost and c.report}
    return decide(candidates, judge(answering, now.followed, now.serving, refuse_conflict=True), now)


def test_claimant_is_used():
    """The highest claim is followed before the pool's own preference."""
    assert decision(backend("a"), backend("b", "active")) == Use("b", 4)


@pytest.mark.parametrize("lost", [backend("a", "active", is_lost=True), backend("a", "active", health=Down())])
def test_lost_active_has_the_standby_asked(lost):
    """When the active one is lost, the standby is asked to take over past the epoch that was seen."""
    asked = decision(lost, backend("b"), serving="a")
    assert isinstance(asked, AskTakeover)
    assert (asked.backend, asked.after_epoch, asked.deposed) == ("b", 4, None)


def test_lost_control_connection_alone_drops_nobody():
    """Without a standby, the clients of a server whose control connection ended stay until it is down."""
    kept = decision(backend("a", "active", is_lost=True), serving="a")
    assert isinstance(kept, Use)
    assert isinstance(decision(backend("a", "active", health=Down(), is_lost=True), serving="a"), Nobody)


@pytest.mark.parametrize(
    ("facts", "is_served_meanwhile"),
    [
        ({"admin": Admin.DRAIN}, True),
        ({"is_kept_out": True}, True),
        ({"admin": Admin.MAINT}, False),
        ({"bar": "not bound"}, False),
    ],
)
def test_claimant_that_is_kept_out_is_relieved(facts, is_served_meanwhile):
    """A claimant kept out is asked to stand down for the next; with none, drained and manual ones are served."""
    out, next_one = backend("a", "active", **facts), backend("b")
    asked = decision(out, next_one, serving="a")
    assert isinstance(asked, AskTakeover)
    assert (asked.backend, asked.deposed, asked.after_epoch) == ("b", "a", 4)
    assert (asked.meanwhile is not None, asked.leave is None) == (is_served_meanwhile, is_served_meanwhile)
    alone = decision(out, serving="a")
    if is_served_meanwhile:
        assert isinstance(alone, Use)
        assert "for want of another" in alone.note
    else:
        assert isinstance(alone, Nobody)
        assert alone.leave == "a"


def test_free_name_is_offered_to_the_last_resort_last():
    """Of a free name: the ready standby first, then a drained one, never one in maint or barred."""
    ready, drained = backend("b"), backend("a", admin=Admin.DRAIN)
    assert decision(drained, ready).backend == "b"
    assert decision(drained).backend == "a"
    assert isinstance(decision(backend("a", admin=Admin.MAINT), backend("b", bar="not bound")), Nobody)


def test_nobody_is_asked_before_all_were_checked():
    """A backend that was not checked yet may hold the name; one in maint is not waited for."""
    assert isinstance(decision(backend("a"), backend("b", None, health=Unchecked())), Nobody)
    waiting = backend("b", None, health=Unchecked(), admin=Admin.MAINT)
    assert isinstance(decision(backend("a"), waiting), AskTakeover)


def test_first_claim_is_followed_only_when_all_were_checked():
    """With no journal followed yet, the first to claim the name waits for the others' first check."""
    unchecked = backend("b", None, health=Unchecked())
    assert isinstance(decision(backend("a", "active"), unchecked, followed=None), Nobody)
    assert decision(backend("a", "active"), unchecked) == Use("a", 4)


def test_free_name_goes_to_the_last_served_when_sticky():
    """After all were killed the one served last comes first, unless failback is automatic."""
    both = backend("a"), backend("b")
    assert decision(*both, serving="b").backend == "b"
    assert decision(*both, serving="b", failback=Failback.AUTOMATIC).backend == "a"


def test_automatic_failback_waits_until_stable():
    """The preferred one is asked back when it has stood by for `failback_after`, and with sticky never."""
    holder = backend("b", "active")
    young, old = backend("a", stable_since=NOW - 299), backend("a", stable_since=NOW - 300)
    automatic = {"serving": "b", "failback": Failback.AUTOMATIC}
    assert decision(young, holder, **automatic) == Use("b", 4)
    back = decision(old, holder, **automatic)
    assert (back.backend, back.deposed, back.meanwhile) == ("a", "b", Use("b", 4))
    assert decision(old, holder, serving="b") == Use("b", 4)


def test_wanted_backend_is_switched_to():
    """A planned switchover asks the holder to stand down, and serves from it meanwhile."""
    asked = decision(backend("a", "active"), backend("b"), serving="a", wanted="b")
    assert (asked.backend, asked.deposed, asked.meanwhile) == ("b", "a", Use("a", 4))


def test_refused_backend_has_its_pause():
    """One that refused just now is not asked again at once; the next is."""
    refused, other = backend("b", ask_after=NOW + 1), backend("c")
    lost = backend("a", "active", health=Down())
    assert decision(lost, refused, other, serving="a").backend == "c"
    assert isinstance(decision(lost, refused, serving="a"), Nobody)


def test_standby_of_another_journal_is_no_heir():
    """A server that follows another journal cannot take over."""
    assert isinstance(decision(backend("a", "active", health=Down()), backend("b", journal="j2"), serving="a"), Nobody)


def test_asking_names_the_newest_epoch_of_the_journal():
    """after_epoch is the highest epoch seen of the heir's journal, by anyone."""
    asked = decision(backend("a", "active", 9, health=Down()), backend("b", epoch=8), followed=Followed("j1", 4))
    assert asked.after_epoch == 9


def test_nobody_is_asked_while_the_journal_has_gone_back():
    """Raising the epoch of a restored journal would make it look as if nothing had happened."""
    behind = Unclaimed(("lic-a is behind",), is_behind=True)
    assert decide([backend("a", "active"), backend("b")], behind, situation()) == Nobody(
        "the journal followed so far has gone back"
    )


def test_a_polite_refusal_puts_off_no_failover():
    """A standby that the holder refused lately is asked at once when there is no holder, or by an operator."""
    standby = backend("b", ask_politely_after=NOW + 50)
    asked = decide([backend("a", None, health=Down()), standby], Unclaimed(), situation(serving="a"))
    assert isinstance(asked, AskTakeover)
    claim = Claimed("a", 4, "j1")
    assert isinstance(decide([backend("a", "active"), standby], claim, situation(wanted="b")), AskTakeover)


def test_dispute_serves_nobody():
    """With a dispute nobody is served; its sentences stand in the verdict."""
    decision = decide([backend("a", "active")], Disputed(("two",)), situation())
    assert decision == Nobody("no server can be believed while several claim the name")


def test_reason_names_each_backend():
    """When nobody can be served, the reason says of each backend why."""
    reason = decision(backend("a", "isolated"), backend("b", None, health=Down())).reason
    assert reason == "a is isolated; b does not answer"


def test_reason_names_the_refusal():
    """A standby that refused to take over is the reason with what it said."""
    refused = backend("a", ask_after=NOW + 1, refusal="a did not take over: not yet")
    assert decision(refused).reason == "a stands by on journal j1: a did not take over: not yet"


candidates = st.lists(
    st.builds(
        Candidate,
        name=st.just(""),
        health=st.sampled_from([Up(), Up(1), Down(), Unchecked()]),
        is_lost=st.booleans(),
        admin=st.sampled_from(Admin),
        is_kept_out=st.booleans(),
        bar=st.sampled_from([None, "not bound"]),
        report=st.none()
        | st.builds(
            Report,
            st.sampled_from(["active", "standby", "isolated"]),
            st.integers(1, 4),
            st.sampled_from(["j1", "j2"]),
            st.uuids().map(str),
        ),
        stable_since=st.none() | st.floats(0, NOW),
        ask_after=st.sampled_from([0.0, NOW + 1]),
    ),
    max_size=4,
).map(lambda found: [msgspec.structs.replace(c, name=f"b{i}") for i, c in enumerate(found)])


@given(
    candidates,
    st.sampled_from([None, "b0", "b1"]),
    st.sampled_from([None, "b0", "b1"]),
    st.none() | st.builds(Followed, st.sampled_from(["j1", "j2"]), st.integers(1, 4)),
    st.sampled_from(Failback),
)
def test_nobody_barred_or_in_maint_is_ever_used(pool, serving, wanted, followed, failback):
    """Whatever the facts, one barred or in maint is neither used nor asked, and who is asked stands by."""
    by_name = {c.name: c for c in pool}
    made = decision(*pool, serving=serving, wanted=wanted, followed=followed, failback=failback)
    used = made if isinstance(made, Use) else getattr(made, "meanwhile", None)
    if used is not None:
        assert by_name[used.backend].bar is None
        assert by_name[used.backend].admin is not Admin.MAINT
    if isinstance(made, AskTakeover):
        heir = by_name[made.backend]
        assert heir.bar is None
        assert heir.admin is not Admin.MAINT
        assert heir.report.role == "standby"
        assert heir.ask_after <= NOW
        assert made.deposed != made.backend
        others = [c for c in pool if may_stand_in(c, followed) and c.ask_after <= NOW]
        assert not others or may_stand_in(heir, followed)


def test_verdict_types_are_all_handled():
    """A claim of a backend is used, no claim asks."""
    pool = [backend("a", "active"), backend("b")]
    assert decide(pool, Claimed("a", 4, "j1"), situation()) == Use("a", 4)
    assert isinstance(decide(pool, Unclaimed(), situation()), AskTakeover)


@pytest.mark.parametrize(
    ("primary", "redundant", "facts", "words"),
    [
        ({}, {}, {"failback": Failback.STICKY}, "lic-a, the primary, stands by, and failback: sticky leaves"),
        ({}, {}, {"failback": Failback.MANUAL}, "failback: manual leaves the name with lic-b while its hours run"),
        ({"is_kept_out": True}, {}, {"failback": Failback.MANUAL}, "kept out until `lsproxy ready`; the hours of"),
        ({}, {}, {"failback": Failback.AUTOMATIC}, None),
        ({"admin": Admin.DRAIN}, {}, {}, None),
        ({"bar": "not bound"}, {}, {}, None),
        ({"health": Down()}, {}, {}, None),
        ({}, {"role": "blocked"}, {}, None),
        ({}, {"part": None}, {}, None),
    ],
)
def test_a_primary_that_is_kept_away(primary, redundant, facts, words):
    """While the redundant server's hours run for want of a word by an operator, that is said, and else nothing."""
    pair = [
        backend("lic-a", **{"part": Part.PRIMARY, **primary}),
        backend("lic-b", **{"role": "active", "part": Part.REDUNDANT, **redundant}),
    ]
    said = kept_away(pair, Use("lic-b", 4), situation(**facts))
    assert (said is None) == (words is None)
    assert words is None or words in said
