"""Tests of the one-active-name rule."""

from hypothesis import given
from hypothesis import strategies as st

from lsproxy.core.claims import (
    Claimed,
    Disputed,
    Followed,
    Report,
    Unclaimed,
    judge,
    next_followed,
    stranger,
)


def said(role, epoch=1, journal="j1", instance=None):
    return Report(role, epoch, journal, instance or f"{role}{epoch}{journal}")


def verdict(followed=None, serving=None, refuse=True, **reports):
    return judge(reports, followed, serving, refuse_conflict=refuse)


def test_single_active_is_claimant():
    """The one active server is followed, blocked counts as active, a standby does not."""
    assert verdict(a=said("standby"), b=said("active", 4)) == Claimed("b", 4, "j1")
    assert verdict(a=said("blocked", 4), b=said("standby")) == Claimed("a", 4, "j1")
    assert verdict(a=said("isolated", 4), b=said("standby")) == Unclaimed()


def test_highest_epoch_of_one_journal_wins():
    """Of two actives of one journal the higher epoch is served, and the older one is no conflict."""
    assert verdict(a=said("active", 4), b=said("active", 5), serving="a") == Claimed("b", 5, "j1")


def test_of_two_journals_the_one_followed_stays():
    """A server on another journal is said, not followed, even at a higher epoch."""
    found = verdict(Followed("j1", 4), a=said("active", 4), b=said("active", 9, "j2"))
    assert isinstance(found, Claimed)
    assert found.backend == "a"
    assert "b is active on journal j2" in found.conflicts[0]


def test_two_journals_with_none_followed_are_disputed():
    """With none served so far neither of two is served."""
    found = verdict(a=said("active", 4), b=said("active", 9, "j2"))
    assert isinstance(found, Disputed)
    assert "a on journal j1, b on journal j2" in found.conflicts[0]


def test_dispute_goes_to_the_one_served_or_with_warn_to_the_first():
    """The server already served stays; `conflict: warn` takes the first in order and says so."""
    reports = {"a": said("active", 4), "b": said("active", 9, "j2")}
    stays, warned = verdict(serving="b", **reports), verdict(refuse=False, **reports)
    assert (stays.backend, warned.backend) == ("b", "a")
    assert stays.conflicts
    assert warned.conflicts


def test_copy_of_a_journal_is_a_conflict():
    """Two servers on one journal and one epoch run on copies; two addresses of one server do not."""
    assert isinstance(verdict(a=said("active", 4, instance="x"), b=said("active", 4, instance="y")), Disputed)
    assert verdict(a=said("active", 4, instance="x"), b=said("active", 4, instance="x")) == Claimed("a", 4, "j1")


def test_nobody_is_followed_behind_what_was_seen():
    """A claim below the remembered epoch, or on another journal alone, is not followed and said."""
    behind = verdict(Followed("j1", 7), a=said("active", 6))
    assert isinstance(behind, Unclaimed)
    assert "epoch 7 of its journal was seen" in behind.conflicts[0]
    assert isinstance(verdict(Followed("j1", 7), a=said("active", 60, "j2")), Unclaimed)


reports = st.dictionaries(
    st.sampled_from("abc"),
    st.builds(
        Report,
        st.sampled_from(["active", "standby", "blocked", "isolated"]),
        st.integers(1, 5),
        st.sampled_from(["j1", "j2"]),
        st.sampled_from("xyz"),
    ),
)
remembered = st.none() | st.builds(Followed, st.sampled_from(["j1", "j2"]), st.integers(1, 5))


@given(st.lists(reports, max_size=6), remembered, st.sampled_from([None, "a", "b"]), st.booleans())
def test_never_behind_and_never_another_journal(rounds, followed, serving, refuse):
    """Whatever is said, a claim followed claims, is of the journal followed, and at no lower an epoch."""
    for said_now in rounds:
        found = judge(said_now, followed, serving, refuse_conflict=refuse)
        if isinstance(found, Claimed):
            assert said_now[found.backend].role in {"active", "blocked"}
            if followed is not None:
                assert found.journal == followed.journal
                assert found.epoch >= followed.epoch
        after = next_followed(followed, found)
        if followed is not None:
            assert after.journal == followed.journal
            assert after.epoch >= followed.epoch
        followed = after


def test_wrong_server_at_an_address_is_named():
    """A server of another name, or another server of this name, is a stranger."""
    assert stranger("acme", "lic-a", server_name="acme", name="lic-a") is None
    assert "serves the name other" in stranger("other", "lic-a", server_name="acme", name="lic-a")
    assert "says that it is lic-b" in stranger("acme", "lic-b", server_name="acme", name="lic-a")
