"""How a browser comes to read the panel."""

import itertools

import pytest
from twisted.internet.task import Clock

from lsproxy.admin.login import CODE_SECONDS, COOKIE_SECONDS, MOST_COOKIES, RENEWED_SECONDS, Logins

NOW = (1, 1, 1)


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
    cookie, name = logins.use(code, NOW)
    assert name == "ops"
    assert logins.visit(cookie).name == "ops"
    assert logins.use(code, NOW) is None


def test_a_code_is_the_same_until_it_is_used(logins):
    """Asked for again and again, as a window shows it, it stays; used, there is a new one."""
    code = logins.code("ops")
    assert logins.code("ops") == code
    logins.use(code, NOW)
    assert logins.code("ops") != code


def test_a_code_ends(logins, clock):
    """It is renewed before its end, and does not count at its end."""
    code = logins.code("ops")
    clock.advance(CODE_SECONDS - RENEWED_SECONDS + 1)
    assert logins.code("ops") != code
    newest = logins.code("ops")
    clock.advance(CODE_SECONDS)
    assert logins.use(newest, NOW) is None


def test_a_wrong_code_does_not_spend_the_right_one(logins):
    """Guessing takes nobody's link away."""
    code = logins.code("ops")
    assert logins.use("a guess", NOW) is None
    assert logins.use(code, NOW) is not None


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


def test_a_code_and_its_cookie_end_with_the_tokens_that_they_came_from(logins):
    """A link that was asked for by token counts while tokens.yaml is what it was; one of the unix socket longer."""
    by_token = logins.code("ops", NOW)
    assert logins.code("ops", (2, 2, 2)) != by_token
    by_token = logins.code("ops", NOW)
    assert logins.use(by_token, (2, 2, 2)) is None
    assert logins.use(by_token, NOW) is None  # it was shown, and is spent
    cookie, _ = logins.use(logins.code("ops", NOW), NOW)
    assert logins.visit(cookie).tokens == NOW
    cookie, _ = logins.use(logins.code("alice"), NOW)
    assert logins.visit(cookie).tokens is None


def test_nobody_logs_another_one_out(logins):
    """Only the oldest logins of the same name make room."""
    of_operator = logins.welcome("ops", "operator")
    of_viewer = [logins.welcome("eve", "viewer") for _ in range(10 * MOST_COOKIES)]
    assert logins.visit(of_operator) is not None
    assert [logins.visit(cookie) is not None for cookie in of_viewer].count(True) == MOST_COOKIES
    assert logins.visit(of_viewer[-1]) is not None
