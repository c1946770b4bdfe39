"""`GET /api/v1/history`: what was, as JSON."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
import pytest_twisted

from lsproxy.history.samples import FeatureSample, PoolSample, Sample

BEGIN = int(time.time()) // 3600 * 3600 - 7200  # young enough for points each minute
HERE, THERE = (
    datetime.fromtimestamp(BEGIN, zone).isoformat() for zone in (UTC, timezone(timedelta(hours=5, minutes=30)))
)


@pytest_twisted.ensureDeferred
async def test_what_was_is_told(panel):
    """Of each pool: its own points, its features' seats, its backends' health."""
    seats = [FeatureSample("cad", 10, 4, 1)]
    sampled = PoolSample("demo", "lic-a", 3, 1, {"lic-a": "up"}, seats)
    await panel.history.record(Sample(BEGIN + 7, [sampled]))
    for since in (str(BEGIN), HERE.replace("+00:00", "Z"), HERE, THERE, THERE.replace("+", "%2B")):
        path = f"/api/v1/history?since={since}&until={BEGIN + 3600}&pool=demo"
        answer = await panel.ask("GET", path, role="viewer")
        assert answer.status == 200
        assert answer.content == {
            "since": BEGIN,
            "until": BEGIN + 3600,
            "pools": {
                "demo": {
                    "points": [{"time": BEGIN, "serving": "lic-a", "clients": 3, "waiting": 1, "unserved": 0}],
                    "seats": {
                        "cad": [{"time": BEGIN, "used_max": 4, "used_min": 4, "queued_max": 1, "issued": 10}],
                    },
                    "health": {"lic-a": [{"since": BEGIN, "until": BEGIN + 60, "health": "up", "down": 0}]},
                }
            },
        }


@pytest_twisted.ensureDeferred
async def test_without_an_end_and_a_pool_it_is_all_up_to_now(panel):
    """Every pool stands there, also one of which nothing was sampled."""
    answer = await panel.ask("GET", "/api/v1/history?since=0", role="viewer")
    assert answer.status == 200
    assert list(answer.content["pools"]) == ["demo"]
    assert answer.content["until"] > BEGIN


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", "the query cannot be taken: Object missing required field `since`"),
        (
            "since=yesterday",
            "since is to be a time such as 2026-11-21T20:48:00Z, or seconds since 1970, and is 'yesterday'",
        ),
        (
            "since=2026-11-01T12:00:00",
            "since is to be a time such as 2026-11-21T20:48:00Z, or seconds since 1970, and is '2026-11-01T12:00:00'",
        ),
        ("since=nan", "since is to be a time such as 2026-11-21T20:48:00Z, or seconds since 1970, and is 'nan'"),
        ("since=-1", "since is to be a time such as 2026-11-21T20:48:00Z, or seconds since 1970, and is '-1'"),
        (
            "since=0&until=1e99",
            "until is to be a time such as 2026-11-21T20:48:00Z, or seconds since 1970, and is '1e99'",
        ),
        ("since=60&until=0", "since (1970-01-01T00:01:00Z) is to be before until (1970-01-01T00:00:00Z)"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_query_that_says_nothing_is_refused(panel, query, told):
    """One sentence: what is wrong, what would be right."""
    answer = await panel.ask("GET", f"/api/v1/history?{query}", role="viewer")
    assert answer.status == 400
    assert answer.content == {"error": "bad_request", "message": told}


@pytest_twisted.ensureDeferred
async def test_a_pool_that_is_not_there_is_not_found(panel):
    """With the name that was meant."""
    answer = await panel.ask("GET", "/api/v1/history?since=0&pool=dmo", role="viewer")
    assert answer.status == 404
    assert "did you mean demo?" in answer.content["message"]
    assert (await panel.ask("GET", "/api/v1/history?since=0")).status == 401
