"""Every sentence that the panel makes itself is explained in the documentation."""

import re
from datetime import UTC
from pathlib import Path

import pytest

from lsproxy.panel.remarks import remarks
from lsproxy.panel.views import Seats, Sight, card, glance
from lsproxy.panel.words import clock
from lsproxy.proxy.snapshot import Said
from lsproxy.seat.messages import FeatureUsage
from tests.lsproxy.admin.pictures import backend, pool

DOCS = Path(__file__).parents[2] / "docs"
TEXT = " ".join((DOCS / "panel.md").read_text(encoding="utf-8").split())
BLOCKED = Said("blocked", 3, "b1f0", "sha256:00", 12, 17, 60.0, "0.1.0")
ISOLATED = Said("isolated", 3, "b1f0", "sha256:00", 12, 17, 60.0, "0.1.0")


@pytest.mark.parametrize(
    ("changes", "standby"),
    [
        ({}, {"lic-b": "does not answer"}),
        ({"admin": "drain"}, {}),
        ({"admin": "maint"}, {}),
        ({"is_kept_out": True}, {}),
        ({"said": ISOLATED}, {}),
    ],
)
def test_every_remark_of_the_panels_own_is_explained(changes, standby):
    """By the names of the examples, word for word."""
    (remark,) = remarks(pool(backends=[backend("lic-a", **changes)]), standby)
    assert f"`{remark.text}`" in TEXT


def test_states_and_the_sentence_above_them_are_explained():
    """Whatever the pools are like; names are left out."""
    barren = [{"backends": [backend("lic-a", said=said)]} for said in (ISOLATED, BLOCKED)]
    pools = [{}, {"note": "n"}, {"serving": None}, {"conflicts": ["c"]}, *barren, {"is_expired": True}]
    sights = [Sight(pool(**changes), None, {}) for changes in pools]
    for sight in sights:
        assert f"`{card(sight, 0.0, clock(UTC)).word}`" in TEXT
        sentence = glance([sight], [], 0.0, clock(UTC)).sentence
        assert re.sub(r"acme$", "…", sentence).removesuffix(" …") in TEXT


def test_seats_that_are_not_known_are_explained():
    """Of before, or not at all."""
    usage = FeatureUsage("cad", "1", "acme", 1, 1, 0, 0, None)
    for features in ([], [usage]):
        note = card(Sight(pool(), Seats(features, 0.0, "why"), {}), 0.0, clock(UTC)).seats_note
        assert re.sub(r"\d\d:\d\d:\d\d: why", "12:03:07: …", note).replace(": why", ": …") in TEXT
