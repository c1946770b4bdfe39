"""When the end of license lines is said."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.core.expiry import OVER, STAGES, Due, Term, due, news, sentence, stage

TODAY = date(2026, 11, 22)


def on(days):
    return TODAY + timedelta(days=days)


def line(feature, days, seats=None, file="a.lic"):
    return Term(file, feature, None if days is None else on(days), seats)


def told(terms, today=TODAY):
    return [sentence(one, today) for one in due(terms, today)]


def test_what_is_far_off_or_for_ever_is_not_due():
    """30 days are the first that count."""
    assert due([line("cad", 31), line("mesh", None)], TODAY) == []
    assert [one.features for one in due([line("cad", 30)], TODAY)] == [("cad",)]


@pytest.mark.parametrize(
    ("days", "when"),
    [
        (30, "expires on 2026-12-22, in 30 days"),
        (1, "expires on 2026-11-23, in 1 day"),
        (0, "expires today, 2026-11-22"),
        (-1, "expired on 2026-11-21"),
    ],
)
def test_the_sentence_says_what_and_when(days, when):
    """The file, the features, the day, and what to do."""
    assert told([line("cad", days)]) == [f"a.lic: cad {when}: ask the vendor for a renewal"]


def test_features_of_one_day_are_one_sentence():
    """At most three of them by name."""
    (said,) = told([line(f"f{n}", 7) for n in range(5)])
    assert said.startswith("a.lic: f0, f1, f2 and 2 more expire on 2026-11-29")


def test_where_seats_are_not_known_the_longest_line_counts():
    """Files of other makes keep expired lines beside their renewals."""
    assert told([line("cad", 3), line("cad", 90)]) == []
    assert told([line("cad", -9), line("cad", None)]) == []
    assert len(told([line("cad", -9), line("cad", -3)])) == 1


def test_seats_add_up_so_each_line_takes_its_own_along():
    """10 of 15 stay."""
    assert told([line("cad", 7, 5), line("cad", None, 10)]) == [
        "a.lic: 5 of 15 seats of cad expire on 2026-11-29, in 7 days: ask the vendor for a renewal"
    ]


def test_an_expired_line_counts_when_it_was_the_last():
    """One beside others that still grant was renewed."""
    assert told([line("cad", -2, 5), line("cad", None, 10)]) == []
    assert told([line("cad", -2, 5), line("cad", -1, 10)]) == [
        "a.lic: cad expired on 2026-11-21: ask the vendor for a renewal"
    ]


def test_files_are_told_apart():
    """The same feature may be renewed in one and not in the other."""
    assert len(told([line("cad", 3), line("cad", 90, file="b.lic")])) == 1


@pytest.mark.parametrize(
    ("days", "reached"),
    [(30, 30), (15, 30), (14, 14), (8, 14), (7, 7), (2, 3), (1, 1), (0, 0), (-1, OVER), (-99, OVER)],
)
def test_stages(days, reached):
    """The last of 30, 14, 7, 3, 1, 0 that was reached."""
    assert stage(on(days), TODAY) == reached


def test_each_stage_is_said_once():
    """A year of looking every hour: seven times, on the days it should be."""
    end, said, days = on(200), {}, []
    for hour in range(24 * 365):
        today = TODAY + timedelta(hours=hour)
        fresh, said = news(due([Term("a.lic", "cad", end)], today), said, today)
        days += [(end - today).days for _ in fresh]
    assert days == [*STAGES, OVER]


def test_a_start_says_what_is_due():
    """Nothing is known of what was said before, so it is said again, once."""
    found = due([line("cad", 5)], TODAY)
    fresh, said = news(found, {}, TODAY)
    assert fresh == found
    assert news(found, said, TODAY) == ([], said)


def test_a_renewal_that_expires_too_is_news():
    """Another day is another thing to say."""
    _, said = news(due([line("cad", 3)], TODAY), {}, TODAY)
    fresh, _ = news(due([line("cad", 20)], TODAY), said, TODAY)
    assert [one.expires for one in fresh] == [on(20)]


terms = st.lists(
    st.builds(
        line,
        st.sampled_from(["cad", "mesh", "solve"]),
        st.none() | st.integers(-400, 400),
        st.none() | st.integers(1, 50),
        st.sampled_from(["a.lic", "b.lic"]),
    ),
    max_size=8,
)


@given(terms)
def test_whoever_loses_something_is_told(lines):
    """A feature all of whose lines end within 30 days, or have ended, is named; one with none such never."""
    named = {(one.file, feature) for one in due(lines, TODAY) for feature in one.features}
    for key in {(one.file, one.feature) for one in lines}:
        ends = [one.expires for one in lines if (one.file, one.feature) == key]
        if all(end is not None and (end - TODAY).days <= 30 for end in ends):
            assert key in named
        if all(end is None or (end - TODAY).days > 30 for end in ends):
            assert key not in named


@given(terms, st.lists(st.integers(0, 40), min_size=1, max_size=12))
def test_nothing_is_said_twice_at_a_stage(lines, steps):
    """However often and however seldom it is looked at."""
    said, heard, today = {}, [], TODAY
    for step in steps:
        today += timedelta(days=step)
        fresh, said = news(due(lines, today), said, today)
        heard += [(one, stage(one.expires, today)) for one in fresh]
    keys = [(one.file, one.expires, one.what, reached) for one, reached in heard]
    assert len(keys) == len(set(keys))


def test_a_due_has_its_words():
    """What a program reads is the names alone."""
    assert due([line("cad", 7, 5), line("cad", None, 10)], TODAY) == [
        Due("a.lic", on(7), ("cad",), ("5 of 15 seats of cad",))
    ]
