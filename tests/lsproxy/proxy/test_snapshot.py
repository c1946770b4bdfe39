"""What a picture says of itself."""

import pytest

from lsproxy.proxy.snapshot import Said, hours
from lsproxy.seat.messages import TakeoverStatus
from tests.lsproxy.admin.pictures import backend, pool

TAKEOVER = TakeoverStatus(2, "2026-11-22T12:00:00Z", 259_200.0, 0.0)


def said(role, takeover=None):
    return Said(role, 3, "b1f0", "sha256:00", 12, 17, 60.0, "0.1.0", takeover)


def test_spans_are_for_people():
    """The last minute is told in seconds."""
    assert [hours(seconds) for seconds in (258_720.0, 3540.0, 60.0, 41.9, 0.0)] == [
        "71 h 52 min",
        "59 min",
        "1 min",
        "41 s",
        "0 s",
    ]


def test_a_blocked_server_names_the_command_with_its_pool():
    """It can be copied."""
    assert said("blocked", TAKEOVER).remark("acme").endswith("or ask the vendor by `lsproxy request-key acme`")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"backends": [backend("lic-a", said=said("blocked"))]}, "blocked"),
        ({"backends": [backend("lic-a", said=said("isolated"))]}, "isolated"),
        ({"backends": [backend("lic-a"), backend("lic-b", said=said("isolated"))]}, None),
        ({"is_expired": True}, "expired"),
        ({"is_expired": True, "serving": None}, None),
        ({"backends": [backend("lic-a", said=None)]}, None),
    ],
)
def test_who_serves_may_grant_nothing(changes, why):
    """By the role of the one that serves, or since nothing of the license is left."""
    assert pool(**changes).barrenness == why
