"""What the license files say, and what there is to copy."""

from datetime import date

import pytest_twisted

from lsproxy.panel.facts import LicenseFacts, Term, to_copy


@pytest_twisted.ensureDeferred
async def test_the_lines_of_a_license_are_shown(browser):
    """Those that grant seats, with file and digest."""
    facts = LicenseFacts().of(browser.pools["demo"])
    assert [(term.feature, term.issued, term.expires) for term in facts.terms] == [("cad", 25, None), ("mesh", 5, None)]
    assert facts.file.endswith("demo.lic")
    assert facts.digest.startswith("sha256:")
    assert facts.problems == []


@pytest_twisted.ensureDeferred
async def test_clients_are_told_where_lsproxy_is(browser):
    """By the variable they read."""
    pool = browser.pools["demo"]
    lines = to_copy(pool, browser.client_config("demo", None))
    assert lines[0].text == f"LSPROXY_LICENSE={browser.demo.port}@127.0.0.1"
    assert not any("register" in line.text for line in lines)  # nobody serves, so there is no primary


def test_a_line_is_good_to_the_end_of_its_last_day():
    """And for ever without one."""
    ends = Term("cad", date(2026, 11, 22))
    assert [ends.has_ended(date(2026, 11, day)) for day in (21, 22, 23)] == [False, False, True]
    assert not Term("cad", None).has_ended(date(2999, 1, 1))
