"""Tests of which third-party server is used, and of the steps to another one."""

from hypothesis import given
from hypothesis import strategies as st

from lsproxy.core.choice import Admin, Failback
from lsproxy.core.health import Down, Unchecked, Up
from lsproxy.core.succession import Activate, Candidate, Fence, Nobody, Situation, Use, decide


def candidate(name, health=None, **facts):
    return Candidate(name=name, health=Up() if health is None else health, **facts)


def situation(chosen=None, **facts):
    facts = {"now": 1000.0, "wanted": None, "failback": Failback.STICKY, "failback_after": 300.0, **facts}
    return Situation(chosen=chosen, **facts)


def told(decision):
    """The decision in a line."""
    match decision:
        case Use(backend, note):
            return f"use {backend}" + (f" ({note})" if note else "")
        case Fence(former, heir, meanwhile):
            return f"fence {former} for {heir}" + (" while it is used" if meanwhile else "")
        case Activate(heir):
            return f"activate {heir}"
        case Nobody(reason, leave):
            return f"nobody: {reason}" + (f", leave {leave}" if leave else "")


def test_the_first_that_answers_is_chosen():
    """With nobody chosen yet, the first in order of preference that answers is activated."""
    assert told(decide([candidate("a", Down()), candidate("b"), candidate("c")], situation())) == "activate b"


def test_nobody_is_chosen_while_a_preferred_one_is_unchecked():
    """At the start the preferred one is waited for."""
    assert told(decide([candidate("a", Unchecked()), candidate("b")], situation())) == "nobody: a is not checked yet"


def test_at_the_start_a_cold_server_is_started_only_when_none_answers():
    """Where servers can be started, one that answers goes before one that has to be started."""
    start = situation(can_activate=True)
    assert told(decide([candidate("a", Down()), candidate("b")], start)) == "activate b"
    assert told(decide([candidate("a", Down()), candidate("b", Down())], start)) == "activate a"


def test_the_chosen_one_is_used_while_it_answers():
    """Preference alone moves nothing: the chosen one stays."""
    assert told(decide([candidate("a"), candidate("b")], situation("b"))) == "use b"


def test_the_loss_of_the_chosen_one_told_as_a_story():
    """Fence first, then activate, then use."""
    a, b = candidate("a", Down()), candidate("b")
    assert told(decide([a, b], situation("a"))) == "fence a for b"
    assert told(decide([a, b], situation("a", fenced=True))) == "activate b"
    assert told(decide([a, b], situation("b", is_activated=False))) == "activate b"
    assert told(decide([a, b], situation("b"))) == "use b"


def test_a_fence_that_failed_moves_nothing():
    """A lost server that could not be fenced is an outage; one that answers again is used."""
    a, b = candidate("a", Down()), candidate("b")
    stuck = situation("a", unfenced="the power switch does not answer")
    assert told(decide([a, b], stuck)) == (
        "nobody: b does not take over, as a could not be fenced: the power switch does not answer;"
        " if a is off for certain: `lsproxy switch POOL --to b --force`"
    )
    assert told(decide([candidate("a"), b], stuck)) == "use a"
    drained = candidate("a", admin=Admin.DRAIN)
    assert told(decide([drained, b], stuck)).startswith("use a (b does not take over, as a could not be fenced")


def test_a_planned_switch_keeps_clients_until_the_fence_is_done():
    """Switching away from a good server: it is used while it is fenced, and is not chosen again after it."""
    a, b = candidate("a"), candidate("b")
    assert told(decide([a, b], situation("a", wanted="b"))) == "fence a for b while it is used"
    assert told(decide([a, b], situation("a", wanted="b", fenced=True))) == "activate b"


def test_a_fenced_one_alone_is_activated_again():
    """When the heir is lost while the former one was fenced, the former one comes back by its activation."""
    a, b = candidate("a"), candidate("b", Down())
    assert told(decide([a, b], situation("a", fenced=True))) == "activate a"


def test_an_activated_one_is_given_time_to_answer():
    """A server that was started just now is waited for, then it is lost as any other."""
    a, b = candidate("a", Down()), candidate("b", Down())
    fresh = situation("b", can_activate=True, starts_until=1030.0)
    assert told(decide([a, b], fresh)) == "nobody: b does not answer"
    assert told(decide([a, b], situation("b", can_activate=True, starts_until=1000.0))) == "fence b for a"


def test_a_failed_activation_goes_to_the_next_one():
    """The heir that could not be activated is fenced too: it may have begun to serve."""
    a = candidate("a", Down())
    b = candidate("b", Down(), rests_until=1005.0, failure="could not be activated: status 1")
    pending = situation("b", can_activate=True, is_activated=False)
    assert told(decide([a, b], pending)) == "fence b for a"
    assert told(decide([b], pending)) == "nobody: b could not be activated: status 1"
    assert told(decide([b], situation("b", now=1005.0, can_activate=True, is_activated=False))) == "activate b"


def test_drain_and_maint():
    """A drained one serves for want of another, one in maint does not, and its connections are cut."""
    drained, resting = candidate("a", admin=Admin.DRAIN), candidate("a", Unchecked(), admin=Admin.MAINT)
    assert told(decide([drained, candidate("b")], situation("a"))) == "fence a for b while it is used"
    assert told(decide([drained], situation("a"))) == "use a (a is drained, and is served for want of another)"
    assert told(decide([resting, candidate("b")], situation("a"))) == "fence a for b"
    assert told(decide([resting], situation("a"))) == "nobody: a is in maint until `lsproxy ready`, leave a"


def test_one_that_is_drained_or_kept_out_is_better_than_nothing():
    """When the chosen one is lost and nobody else is left, it takes over all the same, and that is said."""
    lost = candidate("a", Down())
    for other in (candidate("b", admin=Admin.DRAIN), candidate("b", is_kept_out=True)):
        assert told(decide([lost, other], situation("a"))) == "fence a for b"
        assert told(decide([lost, other], situation("a", fenced=True))) == "activate b"
        assert told(decide([lost, other], situation("b"))).endswith("and is served for want of another)")
        assert told(decide([lost, other], situation())) == "activate b"


def test_an_unbound_one_gets_no_clients():
    """A backend that the license does not bind is left, and never chosen."""
    unbound = candidate("a", bar="not bound: it wants lic-1")
    assert told(decide([unbound, candidate("b")], situation("a"))) == "fence a for b"
    assert told(decide([unbound], situation())) == "nobody: a is kept out (not bound: it wants lic-1)"


def test_failback():
    """Sticky stays; automatic goes back to a preferred one that was stable for long enough."""
    back = candidate("a", stable_since=700.0)
    assert told(decide([back, candidate("b")], situation("b"))) == "use b"
    auto = {"failback": Failback.AUTOMATIC}
    assert told(decide([back, candidate("b")], situation("b", **auto))) == "fence b for a while it is used"
    assert told(decide([candidate("a", stable_since=701.0), candidate("b")], situation("b", **auto))) == "use b"


def test_two_that_answer_under_one_name():
    """Refused: nobody gets new clients, nothing is cut. Warned of: it goes on, and is said. In maint: not seen."""
    both = [candidate("a"), candidate("b")]
    refused = told(decide(both, situation("a", shared_name="CTX")))
    assert refused.startswith("nobody: a and b answer at once under the name CTX: stop all but one")
    assert "leave" not in refused
    warned = told(decide(both, situation("a", shared_name="CTX", refuse_conflict=False)))
    assert warned.startswith("use a (a and b answer at once")
    assert told(decide([both[0], candidate("b", admin=Admin.MAINT)], situation("a", shared_name="CTX"))) == "use a"


_healths = st.sampled_from([Unchecked(), Up(), Up(1), Down(), Down(1)])
_candidates = st.lists(
    st.builds(
        Candidate,
        name=st.sampled_from("abc"),
        health=_healths,
        admin=st.sampled_from(Admin),
        is_kept_out=st.booleans(),
        bar=st.sampled_from([None, "not bound"]),
        stable_since=st.sampled_from([None, 0.0, 999.0]),
        rests_until=st.sampled_from([0.0, 2000.0]),
        failure=st.sampled_from([None, "could not be activated"]),
    ),
    max_size=3,
    unique_by=lambda c: c.name,
)
_situations = st.builds(
    Situation,
    now=st.just(1000.0),
    chosen=st.sampled_from([None, "a", "b", "gone"]),
    wanted=st.sampled_from([None, "a", "b"]),
    failback=st.sampled_from(Failback),
    failback_after=st.just(300.0),
    fenced=st.booleans(),
    unfenced=st.sampled_from([None, "no answer"]),
    is_activated=st.booleans(),
    starts_until=st.sampled_from([0.0, 2000.0]),
    can_activate=st.booleans(),
    shared_name=st.sampled_from([None, "CTX"]),
    refuse_conflict=st.booleans(),
)


@given(_candidates, _situations)
def test_only_the_chosen_one_is_used_and_only_while_it_answers(candidates, state):
    """Whatever happens, clients go to the chosen one alone: up, activated, not fenced, not barred, not in maint."""
    decision = decide(candidates, state)
    used = decision.meanwhile if isinstance(decision, Fence) else decision
    if isinstance(used, Use):
        (holder,) = [one for one in candidates if one.name == used.backend]
        assert used.backend == state.chosen
        assert isinstance(holder.health, Up)
        assert state.is_activated
        assert not state.fenced
        assert holder.bar is None
        assert holder.admin is not Admin.MAINT


@given(_candidates, _situations)
def test_nobody_else_is_activated_before_the_chosen_one_is_fenced(candidates, state):
    """Another than the chosen one is activated only when that one was fenced, or was taken out."""
    decision = decide(candidates, state)
    if isinstance(decision, Activate):
        assert state.fenced or decision.heir == state.chosen or state.chosen not in {one.name for one in candidates}
        (heir,) = [one for one in candidates if one.name == decision.heir]
        assert heir.bar is None
        assert heir.admin is not Admin.MAINT


@given(_candidates, _situations)
def test_a_failed_fence_is_not_repeated(candidates, state):
    """While the failure of the fence counts, neither the fence nor anybody else's activation is begun."""
    decision = decide(candidates, state)
    assert not (isinstance(decision, Fence) and state.unfenced is not None)
