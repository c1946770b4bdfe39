"""Who is who, by the license file and the configuration."""

import pytest

from licserver.core.scheme import (
    Duplicate,
    Misfit,
    Primary,
    Redundant,
    Registered,
    Single,
    TriadMember,
    Wanted,
    head_start,
    role_of,
)
from lsproxy.license.grammar import parse
from lsproxy.license.hostid import parse_hostid
from lsproxy.license.signature import sign, verify
from tests.lsproxy.license.texts import KEY, OTHER_KEY, VENDOR_KEYS

A, B, C = (f"SERVER lic-{each} HOSTNAME=lic-{each} 27101\n" for each in "abc")
HOSTIDS = {each: (parse_hostid(f"HOSTNAME=lic-{each}"),) for each in "abcd"}
CAD = "INCREMENT cad acme 1.0 permanent 25 "
AT_A = Registered("lic-a", "a:27101", HOSTIDS["a"])


def verified(servers, lines=CAD, key=KEY, keys=VENDOR_KEYS):
    return verify(parse(sign(servers + lines, "acme.lic", key), "acme.lic"), keys)


def role(servers, me="a", lines=CAD, name=None, **wanted):
    return role_of(verified(servers, lines), VENDOR_KEYS, HOSTIDS[me], name or f"lic-{me}", Wanted(**wanted))


def without_pair(found):
    """A role but for the digest of its pair."""
    match found:
        case Primary():
            return "primary"
        case Redundant(_, limit, primary, address, _):
            return limit / 3600, primary, address
        case _:
            return found


@pytest.mark.parametrize(
    ("servers", "me", "wanted", "expected"),
    [
        (A, "a", {}, Single()),
        (A, "a", {"scheme": "duplicate"}, Duplicate()),
        (A, "a", {"scheme": "pair"}, "primary"),
        (A, "b", {"scheme": "pair", "registered": AT_A}, (72.0, "lic-a", "a:27101")),
        (A, "a", {"scheme": "pair", "registered": AT_A}, (72.0, "lic-a", "a:27101")),
        (A + B, "a", {"scheme": "pair"}, "primary"),
        (A + B, "b", {"scheme": "pair"}, (72.0, "lic-a", "lic-a:27101")),
        (B + A, "a", {"scheme": "pair"}, (72.0, "lic-b", "lic-b:27101")),
        (A.replace(" 27101", "") + B, "b", {"scheme": "pair"}, (72.0, "lic-a", None)),
        (A + B + C, "a", {"scheme": "triad"}, TriadMember(1)),
        (A + B + C, "c", {"scheme": "triad"}, TriadMember(3)),
        (A + B + C, "c", {"scheme": "triad", "priority": 1}, TriadMember(1)),
    ],
)
def test_roles(servers, me, wanted, expected):
    """Each license and configuration that fit make a role."""
    assert without_pair(role(servers, me, **wanted)) == expected


@pytest.mark.parametrize(
    ("servers", "me", "wanted", "reason"),
    [
        (A, "a", {"scheme": "triad"}, "its SERVER line is for a scheme of single or duplicate or pair"),
        (A, "a", {"scheme": "triad"}, "and `redundancy` is triad: set it to single or duplicate or pair"),
        (A + B, "a", {}, "its 2 SERVER lines are for a scheme of pair, and `redundancy` is single: set it to pair"),
        (A + B, "a", {"scheme": "triad"}, "are for a scheme of pair"),
        (A + B + C, "a", {"scheme": "duplicate"}, "are for a scheme of triad, and `redundancy` is duplicate"),
        (A, "b", {}, "it is bound to another host: line 1 wants HOSTNAME=lic-a; this host has HOSTNAME=lic-b"),
        (A, "b", {"scheme": "pair"}, "`licserver register` makes this host the redundant server of the one it names"),
        (A + B, "c", {"scheme": "pair"}, "it is bound to another host: line 1 wants"),
        (A + B + C, "d", {"scheme": "triad"}, "it is bound to another host"),
        ("", "a", {}, "it has no SERVER line"),
        (A, "b", {"registered": AT_A}, "this server is registered as redundant server of a:27101, and `redund"),
        (A, "b", {"registered": AT_A}, "is single: set it to pair, or take the registration back with `licserver unr"),
        (A + B, "b", {"scheme": "pair", "registered": AT_A}, "its 2 SERVER lines say who serves, and this server"),
        (A + B, "b", {"scheme": "pair", "registered": AT_A}, "of a:27101 as well: take the registration back with"),
        (B, "c", {"scheme": "pair", "registered": AT_A}, "the primary lic-a at a:27101, where this server is"),
        (B, "c", {"scheme": "pair", "registered": AT_A}, "may not serve this license itself: acme.lic: it is bound"),
        (A + B + C, "a", {"scheme": "triad", "priority": 0}, "`priority` is 0; a triad has the priorities 1, 2 and 3"),
        (A + B + C, "a", {"scheme": "triad", "priority": 4}, "`priority` is 4"),
    ],
)  # fmt: skip
def test_misfits(servers, me, wanted, reason):
    """A scheme that does not fit the license, the host or the registration is an error that says what would."""
    found = role(servers, me, **wanted)
    assert isinstance(found, Misfit)
    assert reason in found.reason


def test_register_is_no_advice_in_a_pair_of_two_lines():
    """A host that is on neither line of a pair is not told to register, because it could not."""
    assert "register" not in role(A + B, "c", scheme="pair").reason


def test_one_machine():
    """Two SERVER lines with one hostid are told apart by the servers' names."""
    both = A + A.replace("SERVER lic-a", "SERVER lic-b")
    assert without_pair(role(both, "a", name="lic-a", scheme="pair")) == "primary"
    assert without_pair(role(both, "a", name="lic-b", scheme="pair")) == (72.0, "lic-a", "lic-a:27101")
    assert "picks none of them" in role(both, "a", name="lic-c", scheme="pair").reason


@pytest.mark.parametrize(
    ("lines", "configured", "hours"),
    [
        (CAD + "TAKEOVER=48", None, 48.0),
        (CAD + "TAKEOVER=48", 24.0, 24.0),
        (CAD + "TAKEOVER=48", 72.0, 48.0),
        (CAD + "TAKEOVER=168", None, 168.0),
        (CAD + "TAKEOVER=168\n" + CAD.replace("cad", "mesh"), None, 72.0),
        (CAD + "TAKEOVER=0", 72.0, 0.0),
    ],
)
def test_limit(lines, configured, hours):
    """The limit is the lowest of the license's lines, and of the configuration if that is lower."""
    assert role(A + B, "b", lines, scheme="pair", limit_hours=configured).limit == hours * 3600


def test_both_of_a_pair_have_one_count():
    """A primary restores the very limit that its redundant server spends, in both ways of being a pair."""
    assert role(A + B, "a", scheme="pair").pair == role(A + B, "b", scheme="pair").pair
    assert role(A, "a", scheme="pair").pair == role(A, "b", scheme="pair", registered=AT_A).pair


def test_a_renewed_license_has_the_old_count():
    """Other lines of the same vendor for the same hosts, under other host names and ports, are the same pair."""
    renewed = role(A.replace("SERVER lic-a", "SERVER a.example.com").replace("27101", "1") + B, "b", CAD + "SN=2",
                   scheme="pair")  # fmt: skip
    assert renewed.pair == role(A + B, "b", scheme="pair").pair


def test_a_customers_own_license():
    """A license that a customer signs himself for his two hosts, whatever it calls the vendor, has its own count."""
    vendors = role(A + B, "b", scheme="pair").pair
    keys = {"acme": OTHER_KEY.public_key()}
    own = verified(A + B, CAD, OTHER_KEY, keys)
    assert role_of(own, keys, HOSTIDS["b"], "lic-b", Wanted("pair")).pair != vendors
    assert role(B + A, "b", scheme="pair").pair != vendors


def test_a_customers_own_line():
    """A line of a second vendor in a pair's license is a misfit: its key could answer request keys."""
    theirs = sign(A + B + CAD, "acme.lic", KEY)
    own = sign(A + B + "INCREMENT mine me 1.0 permanent 1\n", "acme.lic", OTHER_KEY).removeprefix(A + B)
    keys = {**VENDOR_KEYS, "me": OTHER_KEY.public_key()}
    both = verify(parse(theirs + "\n" + own, "acme.lic"), keys)
    assert not both.problems
    found = role_of(both, keys, HOSTIDS["b"], "lic-b", Wanted("pair"))
    assert found == Misfit("acme.lic: it has lines of acme, me, and the license of a pair is of one vendor")


@pytest.mark.parametrize(
    ("one", "at_start", "later"),
    [
        (Single(), 0.0, 0.0),
        (Duplicate(), 0.0, 0.0),
        (Primary(b""), 0.0, 0.0),
        (Redundant(b"", 1.0, "a", None, b""), 2.0, 0.0),
        (TriadMember(1), 0.0, 0.0),
        (TriadMember(2), 1.0, 0.5),
        (TriadMember(3), 2.0, 1.0),
        (Misfit("why"), 0.0, 0.0),
    ],
)
def test_head_start(one, at_start, later):
    """Who leaves a free name to whom: longer at the start, when the others may be starting too."""
    assert [head_start(one, 2.0, is_new=is_new) for is_new in (True, False)] == [at_start, later]
