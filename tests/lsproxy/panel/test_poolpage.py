"""What is gathered for the page of a pool."""

import time

import pytest_twisted
from twisted.internet.defer import succeed

from lsproxy.history.samples import FeatureSample, PoolSample, Sample
from lsproxy.panel.poolpage import MOST_BARS
from lsproxy.seat.messages import FeatureUsage, UsageReply


class Operator:
    """One who knows the seats."""

    def usage(self, *_page, holders):
        del holders
        return succeed(UsageReply(1, None, [FeatureUsage("cad", "2027.0", "demo", 25, 3, 0, 0, None, [])]))


@pytest_twisted.ensureDeferred
async def test_history_becomes_strips_and_charts(browser):
    """Each backend's health and each feature's seats, with their sentences."""
    now = time.time()
    browser.services.operators["demo"] = Operator()
    for ago in (180, 120, 60):
        health = {"lic-a": "up", "lic-b": "down"}
        cad = FeatureSample("cad", 25, 7, 0)
        await browser.history.record(
            Sample(now - ago, [PoolSample("demo", "lic-a", 3, 0, health, [cad], 0, {"lic-b": 60})])
        )
    await browser.log_in("viewer")
    page = (await browser.look("/pools/demo")).body.decode()
    assert "Health of lic-a over the last 24 hours: up 100.0%" in page
    assert "Health of lic-b over the last 24 hours: up 0.0%, down 1 time" in page
    assert 'alt="cad, last day: at most 7 of 25 seats in use"' in page
    assert 'alt="cad, last week: at most 7 of 25 seats in use"' in page
    chart = (await browser.look("/pools/demo/chart.svg?span=day&feature=cad")).body
    assert chart.count(b"line reactive") == 2  # the seats and their limit
    assert "Nobody holds a seat" in page


@pytest_twisted.ensureDeferred
async def test_the_figures_of_a_strip_are_those_of_its_samples(browser):
    """One minute down in twelve is a minute, and not the five that a point of a chart stands for."""
    now = time.time() // 60 * 60
    for ago in range(12, 0, -1):
        health = {"lic-a": "down" if ago == 6 else "up"}
        down = {"lic-a": 60.0} if ago == 6 else {}
        await browser.history.record(
            Sample(now - 60 * ago + 1, [PoolSample("demo", "lic-a", 3, 0, health, [], 0, down)])
        )
    await browser.log_in("viewer")
    page = (await browser.look("/pools/demo")).body.decode()
    assert "Health of lic-a over the last 24 hours: up 91.7%, down 1 time, 1 min in all" in page


@pytest_twisted.ensureDeferred
async def test_without_a_server_the_page_says_what_is_missing(browser):
    """It is whole all the same."""
    await browser.log_in("viewer")
    page = (await browser.look("/pools/demo")).body.decode()
    assert "Who holds what is not known: pool demo is not served" in page
    assert "The seats are not known: pool demo is not served" in page
    assert "Nobody was denied a seat through this lsproxy" in page


@pytest_twisted.ensureDeferred
async def test_thousands_of_features_are_not_all_drawn(browser):
    """The fullest are, and the page says how many there are besides; one that is chosen is there."""
    many = [FeatureUsage(f"f{number}", "1", "demo", 10, number % 9, 0, 0, None, []) for number in range(5000)]
    browser.services.operators["demo"] = operator = Operator()
    operator.usage = lambda *_, **__: succeed(UsageReply(1, None, many))
    browser.pools["demo"]._serving = "lic-a"
    await browser.log_in("viewer")
    page = (await browser.look("/pools/demo")).body.decode()
    assert page.count('<span class="feature">') == MOST_BARS
    assert "4800 more, which are less full" in page
    one = (await browser.look("/pools/demo?feature=f4999")).body.decode()
    assert '<span class="feature">f4999</span>' in one
