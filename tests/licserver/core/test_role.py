"""The steps of a takeover, as a table and at random."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from licserver.core import role
from licserver.core.role import (
    AlreadyActive,
    Answered,
    AskToStandDown,
    AskWhetherActive,
    EndHolder,
    Raise,
    Refuse,
    Seen,
    Silent,
    StoodDown,
    Unasked,
    Wish,
    is_free,
    next_step,
)
from licserver.journal.interface import Claim, Member, Process

TTL = 2.0


def member(name):
    return Member(name, name * 4, f"{name}:1", Process(1, 1, "boot"))


def claim(holder="b", epoch=7, heir=None, hold_down=5.0):
    return Claim(epoch, holder and member(holder), heir, 1, 100.0, 9, hold_down)


def seen(age=100.0, epoch_age=None, **more):
    return Seen(age, age if epoch_age is None else epoch_age, **more)


def wish(**more):
    return Wish("a", "aaaa", **more)


@pytest.mark.parametrize(("judged", "wanted", "known", "step"), [
    (claim("a"), wish(is_serving=True), seen(), AlreadyActive()),
    (claim("a"), wish(is_serving=True, after_epoch=3), seen(), AlreadyActive()),
    (claim("a"), wish(), seen(), Raise(5.0)),
    (claim(None), wish(), seen(), Raise(5.0)),
    (claim(None, 0, hold_down=0.0), wish(), seen(0.0), Raise(5.0)),
    (claim(None, heir="a"), wish(), seen(0.0, 100.0), Raise(5.0)),
    (claim(None, heir="c"), wish(), seen(TTL, 100.0), Raise(5.0)),
    (claim(None, heir="c"), wish(force=True), seen(0.1, 100.0), Raise(5.0)),
    (claim(), wish(), seen(is_dead=True), Raise(5.0)),
    (claim(), wish(), seen(ended=True, answers=(Silent(),)), Raise(5.0)),
    (claim(), wish(), seen(4.9), AskWhetherActive()),
    (claim(), wish(force=True), seen(4.9), AskToStandDown()),
    (claim(), wish(), seen(5.0), AskToStandDown()),
    (claim(), wish(), seen(4.9, answers=(Silent(),)), EndHolder()),
    (claim(), wish(), seen(4.9, answers=(Answered("isolated"),)), AskToStandDown()),
    (claim(), wish(), seen(4.9, answers=(Answered("isolated"), Silent())), EndHolder()),
    (claim(), wish(), seen(answers=(StoodDown(),)), Raise(5.0)),
    (claim(), wish(), seen(answers=(Unasked("no route"),), is_lapsed=True), Raise(5.0)),
    (claim(), wish(), seen(is_lapsed=True), AskToStandDown()),
    (claim(), wish(), seen(answers=(Answered("refuses", "busy"),), is_lapsed=True), Raise(5.0)),
    (claim(), wish(), seen(4.0, answers=(Answered("active"),), is_lapsed=True), Raise(10.0)),
    (claim(), wish(), seen(9.9, is_dead=True), Raise(10.0)),
    (claim(None, hold_down=20.0), wish(), seen(0.1, 30.0), Raise(40.0)),
    (claim(None, hold_down=60.0), wish(), seen(0.1, 30.0), Raise(60.0)),
    (claim(None, hold_down=60.0), wish(), seen(0.1, 120.0), Raise(5.0)),
])  # fmt: skip
def test_table(judged, wanted, known, step):
    """Each situation has its step."""
    assert next_step(judged, wanted, known, TTL) == step


@pytest.mark.parametrize(("judged", "wanted", "known", "code", "words"), [
    (claim(), wish(after_epoch=6), seen(), "stale", "epoch 6 was seen, but the journal is at 7 (holder: b)"),
    (claim(None), wish(after_epoch=6), seen(), "stale", "nobody"),
    (claim("a"), wish(after_epoch=6), seen(), "stale", "holder: a"),
    (claim(), wish(may_not_serve="wrong host", force=True), seen(is_dead=True), "not_permitted", "wrong host"),
    (claim(None, heir="c"), wish(), seen(1.9, 100.0), "not_permitted", "given up for c"),
    (claim(), wish(), seen(3.0, answers=(Answered("active"),)), "not_permitted", "b took the name 3.0 s ago"),
    (claim(), wish(), seen(answers=(Answered("refuses", "no token"),)), "not_permitted", "no token"),
    (claim(), wish(), seen(1.0, answers=(Answered("isolated"), Answered("refuses", "busy"))), "not_permitted", "busy"),
    (claim(), wish(), seen(answers=(Unasked("no route"),)), "not_permitted", "it cannot be asked from here: no route"),
])  # fmt: skip
def test_refusals(judged, wanted, known, code, words):
    """Each refusal has its code and says why."""
    step = next_step(judged, wanted, known, TTL)
    assert isinstance(step, Refuse)
    assert step.code == code
    assert words in step.message


answers = st.sampled_from(
    [Silent(), StoodDown(), Answered("active"), Answered("isolated"), Answered("refuses", "busy"), Unasked("no route")]
)


@given(
    holder=st.sampled_from([None, "a", "b"]),
    heir=st.sampled_from([None, "a", "c"]),
    after_epoch=st.sampled_from([None, 6, 7]),
    force=st.booleans(),
    is_serving=st.booleans(),
    may_not_serve=st.sampled_from(["", "no"]),
    is_dead=st.booleans(),
    ages=st.tuples(st.floats(0, 200), st.floats(0, 200)),
    replies=st.lists(answers, min_size=4, max_size=4),
)
def test_walk(holder, heir, after_epoch, force, is_serving, may_not_serve, is_dead, ages, replies):
    """Every takeover comes to its end in a few steps; a holder whose last word was an answer is never ended."""
    judged = claim(holder, heir=None if holder else heir)
    wanted = wish(after_epoch=after_epoch, force=force, is_serving=is_serving, may_not_serve=may_not_serve)
    heard, ended = (), False
    for reply in replies:
        step = next_step(judged, wanted, Seen(min(ages), max(ages), is_dead, heard, ended), TTL)
        match step:
            case AskWhetherActive() | AskToStandDown():
                if isinstance(step, AskWhetherActive) and isinstance(reply, StoodDown):
                    reply = Answered("standby")  # noqa: PLW2901 a status cannot stand down
                heard = (*heard, reply)
            case EndHolder():
                assert heard
                assert heard[-1] == Silent()
                ended = True
            case Raise(hold_down):
                assert 5.0 <= hold_down <= 60.0
                assert not may_not_serve
                return
            case Refuse() | AlreadyActive():
                return
    pytest.fail("it goes on for ever")


@pytest.mark.parametrize(("judged", "unchanged", "is_dead", "free"), [
    (claim(None), 0.0, False, True),
    (claim(None, heir="a"), 0.0, False, True),
    (claim(None, heir="c"), 1.9, False, False),
    (claim(None, heir="c"), 2.0, False, True),
    (claim("b"), 1.9, False, False),
    (claim("b"), 2.0, False, True),
    (claim("b"), 0.0, True, True),
    (claim("a"), 0.0, False, True),
])  # fmt: skip
def test_free(judged, unchanged, is_dead, free):
    """A name is free when nobody has it, nobody confirms it, or it is left from this server's own broken tenure."""
    assert is_free(judged, "a", "aaaa", unchanged, is_dead, TTL) == free


@pytest.mark.parametrize(("judged", "is_dead", "seconds"), [
    (claim(None), False, 0.5),
    (claim("b"), True, 0.5),
    (claim("b"), False, TTL + 0.5),
    (claim(None, heir="c"), False, TTL + 0.5),
    (claim(None, heir="a"), False, 0.0),
    (claim("a"), False, 0.0),
])  # fmt: skip
def test_head_start(judged, is_dead, seconds):
    """What others may take as well is left to them for a while; what is meant for this server, or its own, is not."""
    free = [is_free(judged, "a", "aaaa", since, is_dead, TTL, 0.5) for since in (seconds - 0.01, seconds)]
    assert free[1]
    assert free[0] == (seconds == 0.0)


def test_hints_at_healthy_servers():
    """Two servers, each told ten times a second to take over, change ever more rarely: 5, 10, 20, 40, 60 s."""
    now, since, hold_down, holder, switches = 0.0, 0.0, 5.0, "b", []
    while now < 300:
        now = round(now + 0.1, 1)
        other = "a" if holder == "b" else "b"
        wanted = Wish(other, other * 4)
        step = next_step(claim(holder, hold_down=hold_down), wanted, Seen(now - since, now - since), TTL)
        if isinstance(step, AskWhetherActive):
            continue
        released = next_step(claim(None, heir=other, hold_down=hold_down), wanted, Seen(0.0, now - since), TTL)
        assert isinstance(released, role.Raise)
        switches.append(round(now - since))
        since, holder, hold_down = now, other, released.hold_down
    assert switches == [5, 10, 20, 40, 60, 60, 60]
