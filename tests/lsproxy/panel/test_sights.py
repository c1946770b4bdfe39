"""What is known of the pools, without waiting long."""

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from lsproxy.errors import LsproxyError
from lsproxy.panel.sights import FRESH_SECONDS, PATIENCE_SECONDS, Sights
from lsproxy.seat.messages import FeatureUsage, UsageReply

REPLY = UsageReply(1, None, [FeatureUsage("cad", "1", "acme", 10, 3, 0, 0, None)])


class Operator:
    """Answers with the next of `answers`, and counts."""

    def __init__(self):
        self.asked = 0
        self.answer = Deferred()

    def usage(self, *, holders):
        assert not holders
        self.asked += 1
        return self.answer


class Lsproxy:
    """The pool of a panel's tests, with an operator of this one's."""

    def __init__(self, browser):
        self.pools = {"demo": browser.pools["demo"]}
        self.operators = {"demo": Operator()}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lsproxy(browser):
    return Lsproxy(browser)


def look(sights):
    return Deferred.fromCoroutine(sights.everything())


@pytest_twisted.ensureDeferred
async def test_many_who_look_are_one_who_asks(lsproxy, clock):
    """Within a second nobody asks again; then one does."""
    sights, operator = Sights(clock, lsproxy), lsproxy.operators["demo"]
    first, second = look(sights), look(sights)
    operator.answer.callback(REPLY)
    for seen in (await first, await second, await look(sights)):
        assert seen[0].seats.features[0].in_use == 3
    assert operator.asked == 1
    clock.advance(FRESH_SECONDS)
    operator.answer = succeed(REPLY)
    await look(sights)
    assert operator.asked == 2


@pytest_twisted.ensureDeferred
async def test_patience_ends(lsproxy, clock):
    """The page is shown with what was known before, and says so; the answer counts when it comes."""
    sights, operator = Sights(clock, lsproxy), lsproxy.operators["demo"]
    seen = look(sights)
    clock.advance(PATIENCE_SECONDS)
    (sight,) = await seen
    assert sight.seats.problem == "the license server has not answered yet"
    operator.answer.callback(REPLY)
    assert (await look(sights))[0].seats.problem is None


@pytest_twisted.ensureDeferred
async def test_a_refusal_is_said(lsproxy, clock):
    """What was known before stays, with its age."""
    sights, operator = Sights(clock, lsproxy), lsproxy.operators["demo"]
    operator.answer = succeed(REPLY)
    await look(sights)
    clock.advance(30)
    operator.answer = Deferred()
    operator.answer.errback(LsproxyError("pool demo is not served"))
    seats = (await look(sights))[0].seats
    assert (seats.problem, seats.age, len(seats.features)) == ("pool demo is not served", 30, 1)


@pytest_twisted.ensureDeferred
async def test_what_fails_at_once_is_asked_again(lsproxy, clock):
    """A fault before there is an answer to wait for leaves nobody waiting for ever."""
    sights, operator = Sights(clock, lsproxy), lsproxy.operators["demo"]
    right = operator.usage
    operator.usage = lambda **_: 1 / 0
    assert (await look(sights))[0].seats.problem == "a fault of lsproxy, its log says which"
    operator.usage, operator.answer = right, succeed(REPLY)
    clock.advance(FRESH_SECONDS)
    assert (await look(sights))[0].seats.problem is None
