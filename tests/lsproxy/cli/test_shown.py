"""How pools are shown in a terminal."""

import json

import msgspec

from lsproxy.cli.shown import describe, duration, is_well, remarks
from lsproxy.proxy.snapshot import Said
from tests.lsproxy.admin import pictures

BLOCKED = Said("blocked", 3, "b1f0", "sha256:00", 12, 17, 60.0, "0.1.0")


def picture(**changes):
    """As the admin API sends it."""
    return json.loads(msgspec.json.encode(pictures.pool(**changes)))


def test_columns_stand_under_each_other():
    """Every row begins its second column where the headings do."""
    _, headings, *rows = describe([picture()])
    column = headings.index("HEALTH")
    assert [row[column : column + 2] for row in rows] == ["up", "up"]
    assert rows[0].split()[0] == "lic-a*"


def test_what_is_wrong_is_said_below():
    """Conflicts, reasons, what backends complain of."""
    odd = pictures.backend("lic-b", health="down", said=None, last_error="lic-b: refused", license_note="lic-b: other")
    pool = picture(serving=None, reason="nobody answers", conflicts=["two servers"], note="a note", backends=[odd])
    assert list(remarks(pool)) == ["two servers", "nobody answers", "a note", "lic-b: other", "lic-b: refused"]
    text = "\n".join(describe([pool]))
    assert "NOT SERVED" in text
    assert "  ! two servers" in text


def test_who_grants_nothing_is_said_in_the_first_line():
    """The exit status is of pools that nobody serves."""
    blocked = picture(backends=[pictures.backend("lic-a", said=BLOCKED)])
    first, *_ = describe([blocked])
    assert first.startswith("acme (acme-licenses): served by lic-a, BLOCKED: no seats are granted, for 2 h")
    assert is_well(blocked)
    assert next(describe([picture(is_expired=True)])).startswith("acme (acme-licenses): served by lic-a, EXPIRED: no")


def test_what_is_wrong_with_lsproxy_itself_stands_last():
    """And what a restart would forget of a pool, with the pool."""
    lines = list(describe([picture(unsaved="forgotten: disk full")], ["the history is not kept"]))
    assert lines[-2:] == ["  ! forgotten: disk full", "! the history is not kept"]


def test_well_is_served_and_without_conflict():
    """Either alone is not enough."""
    assert is_well(picture())
    assert not is_well(picture(serving=None))
    assert not is_well(picture(conflicts=["two servers"]))


def test_durations_are_for_people():
    """The largest unit of which there are two."""
    assert [duration(s) for s in (0, 119.9, 120, 7199, 7200, 172_800)] == [
        "0 s",
        "119 s",
        "2 min",
        "119 min",
        "2 h",
        "2 d",
    ]
