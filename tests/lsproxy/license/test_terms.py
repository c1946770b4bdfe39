"""What one line grants, or why it is not served."""

from datetime import UTC, date, datetime
from math import inf

import pytest

from lsproxy.license.grammar import parse
from lsproxy.license.model import LicenseError
from lsproxy.license.terms import pool_of, takeover_hours, why_not_served


def line(fields="2027.0 permanent 25", attributes=""):
    (feature,) = parse(f"INCREMENT cad acme {fields} {attributes}", "a").features
    return feature


def wall(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_plain_pool():
    """A line without attributes grants its count at once and for ever, with four hours of grace."""
    pool = pool_of(line())
    assert (pool.feature, pool.vendor, pool.version, pool.version_text) == ("cad", "acme", (2027,), "2027.0")
    assert (pool.issued, pool.overdraft, pool.starts, pool.expires, pool.line) == (25, 0, None, None, 1)
    assert pool.grace_seconds == 14400.0
    assert pool.has_started(-inf)
    assert not pool.has_expired(1e18)


def test_dates():
    """A pool starts with the first moment of its START in UTC and expires with the last of its expiry."""
    pool = pool_of(line("1.0 31-dec-2027 25", "START=21-nov-2026"))
    assert (pool.starts, pool.expires) == (date(2026, 11, 21), date(2027, 12, 31))
    first, end = wall("2026-11-21"), wall("2028-01-01")
    assert [pool.has_started(at) for at in (first - 0.001, first)] == [False, True]
    assert [pool.has_expired(at) for at in (end - 0.001, end)] == [False, True]


def test_overdraft_and_grace():
    """OVERDRAFT adds seats beyond the count, GRACE is in hours."""
    pool = pool_of(line(attributes="OVERDRAFT=3 GRACE=0.5"))
    assert (pool.issued, pool.overdraft, pool.grace_seconds) == (25, 3, 1800.0)
    assert pool_of(line(attributes="GRACE=0")).grace_seconds == 0.0


@pytest.mark.parametrize(
    ("attributes", "hours"),
    [
        ([""], 72.0),
        (["TAKEOVER=168"], 168.0),
        (["TAKEOVER=168", "TAKEOVER=0.5"], 0.5),
        (["TAKEOVER=168", ""], 72.0),
        (["TAKEOVER=0"], 0.0),
        ([], 0.0),
    ],
)
def test_takeover_hours(attributes, hours):
    """Of the takeover limits of a file's lines the lowest holds; a line that says nothing allows 72 hours."""
    assert takeover_hours(line(attributes=each) for each in attributes) == hours


@pytest.mark.parametrize(
    "attributes",
    [
        "HOSTID=ANY",
        "TAKEOVER=24",
        "hostid=any",
        'ISSUED=x SN= NOTICE="" ISSUER=x VENDOR_STRING=x SIGN=x',
        "UNLISTED=1 ALSO",
    ],
)
def test_served(attributes):
    """A floating line is served with every attribute of this release, and with unlisted ones."""
    assert why_not_served(line(attributes=attributes)) == ""


@pytest.mark.parametrize(
    ("attribute", "reason"),
    [
        ("HOSTID=02a1b2c3d4e5", "a line with a HOSTID is node-locked, and node-locked lines are not served by"),
        ("HOSTID", "node-locked"),
        ("DUP_GROUP=UH", "DUP_GROUP is not served by this release"),
        ("BORROW", "BORROW is not served"),
        ("BORROW=24", "BORROW is not served"),
        ("LINGER=60", "LINGER is not served"),
        ("USER_BASED", "USER_BASED is not served"),
        ("HOST_BASED", "HOST_BASED is not served"),
        ("MINIMUM=2", "MINIMUM is not served"),
        ("SUPERSEDE", "SUPERSEDE is not served"),
        ("START", "'' is no START"),
        ("START=permanent", "'permanent' is no START; a date such as 21-nov-2026 would be one"),
        ("OVERDRAFT", "'' is no OVERDRAFT"),
        ("OVERDRAFT=1.5", "'1.5' is no OVERDRAFT"),
        ("OVERDRAFT=-1", "'-1' is no OVERDRAFT"),
        ("GRACE=nan", "'nan' is no GRACE"),
        ("GRACE=1e9", "'1e9' is no GRACE"),
        ("TAKEOVER", "'' is no TAKEOVER; a number of hours such as 72 or 1.5 would be one"),
        ("TAKEOVER=inf", "'inf' is no TAKEOVER"),
    ],
)  # fmt: skip
def test_not_served(attribute, reason):
    """A listed attribute that this release has not built, or a wrong value, refuses the line with a sentence."""
    assert reason in why_not_served(line(attributes=attribute))


@pytest.mark.parametrize("count", ["uncounted", "0", "000"])
def test_uncounted(count):
    """Uncounted lines are node-locked, which this release does not serve; nothing is granted by them."""
    feature = line(f"1.0 permanent {count}")
    assert "an uncounted line is node-locked" in why_not_served(feature)
    with pytest.raises(LicenseError, match="line 1 grants nothing"):
        pool_of(feature)
