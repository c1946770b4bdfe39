"""What the good lines of a file grant together."""

from datetime import date

from lsproxy.license.offer import pools, shortfalls
from tests.lsproxy.license.texts import signed, verified


def offered(lines):
    found = pools(verified(signed(lines)))
    return {feature: [(pool.line, pool.issued) for pool in of_feature] for feature, of_feature in found.items()}


def numbered(*lines):
    """Each line gets its SIGN on a row of its own, so line n of `lines` stands at 3 + 2 n."""
    return "".join(f"{line}\n" for line in lines)


def test_increments_add():
    """Every INCREMENT is a pool, whatever its version and date."""
    lines = numbered("INCREMENT cad acme 1.0 permanent 5", "INCREMENT cad acme 2.0 1-jan-2001 7")
    assert offered(lines) == {"cad": [(3, 5), (5, 7)]}


def test_first_feature_counts():
    """Of several FEATURE lines for one feature the first counts; its INCREMENT lines add to it."""
    lines = numbered(
        "INCREMENT cad acme 1.0 permanent 1",
        "FEATURE cad acme 1.0 1-jan-2001 2",
        "FEATURE cad acme 2.0 permanent 3",
        "FEATURE mesh acme 2.0 permanent 4",
    )
    assert offered(lines) == {"cad": [(3, 1), (5, 2)], "mesh": [(9, 4)]}


def test_first_good_feature_counts():
    """A FEATURE line that is not served does not stand in the way of the next."""
    lines = numbered("FEATURE cad acme 1.0 permanent 2 BORROW", "FEATURE cad acme 1.0 permanent 3")
    assert offered(lines) == {"cad": [(5, 3)]}


def test_pasted_twice():
    """A line pasted twice counts once, however it is wrapped; one with another serial number counts."""
    lines = numbered(
        "INCREMENT cad acme 1.0 permanent 5 SN=1 NOTICE=x",
        "increment cad acme 1.0 PERMANENT 5 notice=x \\\nSN=1",
        "INCREMENT cad acme 1.0 permanent 5 SN=2 NOTICE=x",
    )
    assert offered(lines) == {"cad": [(3, 5), (8, 5)]}


def test_exact_names():
    """`cad` and `CAD` are two features."""
    assert set(offered("INCREMENT cad acme 1.0 permanent 5\nINCREMENT CAD acme 1.0 permanent 5\n")) == {"cad", "CAD"}


def test_forged_line():
    """A forged line grants nothing."""
    assert pools(verified(signed("INCREMENT cad acme 1.0 permanent 5\n").replace(" 5 ", " 6 "))) == {}


def test_what_a_file_does_not_grant_is_told():
    """All of it has ended; or a feature has fewer seats than are in use, or is not in it; else nothing is said."""
    today = date(2026, 11, 22)
    ended = verified(signed(numbered("FEATURE cad acme 1.0 21-nov-2026 5", "FEATURE mesh acme 1.0 1-jan-2001 5")))
    assert shortfalls(ended, {"cad": 3}, today) == [
        "every line of the new license has expired: nobody is granted a seat by it"
    ]
    last_day = verified(signed(numbered("INCREMENT cad acme 1.0 22-nov-2026 2", "INCREMENT cad acme 1.0 1-jan-2001 9")))
    assert shortfalls(last_day, {"cad": 2}, today) == []
    cad, mesh = shortfalls(last_day, {"mesh": 1, "cad": 3, "old": 0}, today)
    assert cad.startswith("cad: 3 seats are in use, and the new license grants 2: nobody loses one")
    assert mesh.startswith("mesh: 1 seat is in use, and the new license grants 0:")
