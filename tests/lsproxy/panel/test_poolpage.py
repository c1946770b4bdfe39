"""What is gathered for the page of a pool."""

import time

import pytest_twisted
from twisted.internet.defer import succeed

from lsproxy.history.samples import FeatureSample, PoolSample, Sample
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
        await browser.history.record(Sample(now - ago, [PoolSample("demo", "lic-a", 3, 0, health, [cad])]))
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
async def test_without_a_server_the_page_says_what_is_missing(browser):
    """It is whole all the same."""
    await browser.log_in("viewer")
    page = (await browser.look("/pools/demo")).body.decode()
    assert "Who holds what is not known: pool demo is not served" in page
    assert "The seats are not known: pool demo is not served" in page
    assert "Nobody was denied a seat through this lsproxy" in page
