"""How a browser comes to read the panel."""

import itertools

import pytest
from twisted.internet.task import Clock

from lsproxy.admin.login import CODE_SECONDS, COOKIE_SECONDS, MOST_COOKIES, RENEWED_SECONDS, Logins


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def logins(clock):
    numbers = itertools.count()
    return Logins(clock.seconds, lambda: f"secret {next(numbers)}")


def test_a_code_counts_once(logins):
    """The first to use it gets a cookie, the second nothing."""
    code = logins.code("ops")
    cookie, name = logins.use(code)
    assert name == "ops"
    assert logins.visit(cookie).name == "ops"
    assert logins.use(code) is None


def test_a_code_is_the_same_until_it_is_used(logins):
    """Asked for again and again, as a window shows it, it stays; used, there is a new one."""
    code = logins.code("ops")
    assert logins.code("ops") == code
    logins.use(code)
    assert logins.code("ops") != code


def test_a_code_ends(logins, clock):
    """It is renewed before its end, and does not count at its end."""
    code = logins.code("ops")
    clock.advance(CODE_SECONDS - RENEWED_SECONDS + 1)
    assert logins.code("ops") != code
    newest = logins.code("ops")
    clock.advance(CODE_SECONDS)
    assert logins.use(newest) is None


def test_a_wrong_code_does_not_spend_the_right_one(logins):
    """Guessing takes nobody's link away."""
    code = logins.code("ops")
    assert logins.use("a guess") is None
    assert logins.use(code) is not None


def test_a_cookie_ends(logins, clock):
    """After half a day one logs in again."""
    cookie = logins.welcome("ops", "operator")
    clock.advance(COOKIE_SECONDS - 1)
    assert logins.visit(cookie).name == "ops"
    clock.advance(1)
    assert logins.visit(cookie) is None


def test_cookies_are_bounded(logins):
    """The oldest is forgotten when there are too many."""
    first = logins.welcome("ops", "operator")
    for _ in range(MOST_COOKIES):
        latest = logins.welcome("ops", "operator")
    assert logins.visit(first) is None
    assert logins.visit(latest).name == "ops"


def test_an_unknown_cookie_is_nobodys(logins):
    """Neither an empty one nor one with odd characters."""
    assert logins.visit("") is None
    assert logins.visit("\udcff") is None


def test_a_cookie_can_be_ended(logins):
    """Another one of the same person goes on."""
    ended, other = logins.welcome("ops", "operator"), logins.welcome("ops", "operator")
    logins.end(ended)
    logins.end("a guess")
    assert logins.visit(ended) is None
    assert logins.visit(other).role == "operator"


def test_forms_of_two_logins_differ(logins):
    """And none tells the cookie."""
    first, second = (logins.welcome("ops", "operator") for _ in range(2))
    tokens = {logins.form_token(first), logins.form_token(second)}
    assert len(tokens) == 2
    assert logins.form_token(first) in tokens
    assert not any(first in token for token in tokens)
