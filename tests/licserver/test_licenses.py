"""Which license text a server serves, and what may replace it."""

import pytest

from licserver.licenses import LicenseRefused, Licenses
from lsproxy.license.hostid import parse_hostid
from lsproxy.license.signature import sign
from tests.lsproxy.license.texts import OTHER_KEY, SERVERS, VENDOR_KEYS, signed

GOOD = signed("INCREMENT cad acme 1.0 permanent 10\nINCREMENT mesh acme 1.0 permanent 3\n")
RENEWED = signed("INCREMENT cad acme 1.0 permanent 20\n")
FORGED = GOOD.replace("permanent 10", "permanent 99")
FOREIGN = signed("INCREMENT cad acme 1.0 permanent 5\n", SERVERS.replace("lic-a", "lic-x"))
PAIR = signed("INCREMENT cad acme 1.0 permanent 5\n", "SERVER lic-a HOSTNAME=lic-a\nSERVER b HOSTNAME=b\nVENDOR acme\n")


@pytest.fixture
def licenses(tmp_path):
    licenses = Licenses(tmp_path / "acme.lic", VENDOR_KEYS, (parse_hostid("HOSTNAME=lic-a"),), "lic-a")
    licenses.path.write_text(GOOD)
    return licenses


@pytest.mark.parametrize(("own", "in_force", "is_unconfirmed", "brings"), [
    (GOOD, "", False, GOOD),
    (FORGED, "", False, FORGED),
    (RENEWED, GOOD, False, None),
    (RENEWED, GOOD, True, RENEWED),
    (GOOD, GOOD, True, None),
    (FORGED, GOOD, True, None),
    ("nonsense", GOOD, True, None),
    (FOREIGN, GOOD, True, None),
    (FORGED, FOREIGN, True, FORGED),
])  # fmt: skip
def test_text_to_bring(licenses, own, in_force, is_unconfirmed, brings):
    """The text in force gives way at a takeover only to a faultless own file of a name nobody confirmed."""
    licenses.path.write_text(own)
    assert licenses.text_to_bring(in_force, "acme.lic", is_unconfirmed) == brings


@pytest.mark.parametrize(("own", "in_force", "is_unconfirmed", "words"), [
    ("nonsense", "", False, "no line of the license can be served"),
    (FOREIGN, "", True, "bound to another host"),
    (GOOD, FOREIGN, False, "the license in force"),
    (FOREIGN, FOREIGN, True, "the license in force"),
    (PAIR, "", False, "2 SERVER lines are for a scheme of pair"),
])  # fmt: skip
def test_nothing_to_serve(licenses, own, in_force, is_unconfirmed, words):
    """A host that may serve neither text is told why."""
    licenses.path.write_text(own)
    with pytest.raises(LicenseRefused, match=words):
        licenses.text_to_bring(in_force, "acme.lic", is_unconfirmed)


def test_missing_file(licenses):
    """A file that is not there is said to be that, and hurts nobody while there is a text in force."""
    licenses.path.unlink()
    with pytest.raises(LicenseRefused, match=r"acme\.lic"):
        licenses.read()
    assert licenses.text_to_bring(GOOD, "acme.lic", is_unconfirmed=True) is None


@pytest.mark.parametrize(("text", "words"), [
    (FORGED, "acme.lic:3: "),
    (GOOD.replace("SIGN", "SING", 1), "acme.lic:3: "),
    (signed("INCREMENT cad acme 1.0 permanent 10\n").replace("VENDOR", "VANDER"), "acme.lic:2: "),
    (FOREIGN, "bound to another host"),
    ("", "no FEATURE or INCREMENT line"),
])  # fmt: skip
def test_what_may_not_replace(licenses, text, words):
    """A text with one broken line, or for another host, replaces nothing; the reason has file and line."""
    with pytest.raises(LicenseRefused, match="the license in force stays") as refused:
        licenses.check_new(text, "acme.lic")
    assert words in str(refused.value)


def test_signed_but_not_served(licenses):
    """A validly signed line that this release does not serve stands in nobody's way."""
    licenses.check_new(signed("INCREMENT cad acme 1.0 permanent 10\nINCREMENT b acme 1.0 permanent 1 BORROW\n"), "f")


def test_other_vendors_key(licenses):
    """A line signed with another key is refused."""
    forged = sign(SERVERS + "INCREMENT cad acme 1.0 permanent 10\n", "acme.lic", OTHER_KEY)
    assert "no line of the license can be served" in licenses.why_not(forged, "acme.lic")


def test_install(licenses):
    """A new file takes the old one's place whole, the old one stays beside it."""
    licenses.install(RENEWED)
    old = licenses.path.with_name("acme.lic.old")
    assert (licenses.path.read_text(), old.read_text()) == (RENEWED, GOOD)
    licenses.install(RENEWED)
    assert old.read_text() == GOOD
    assert sorted(path.name for path in licenses.path.parent.iterdir()) == ["acme.lic", "acme.lic.old"]


def test_install_where_nothing_was(licenses):
    """A file is installed also where there was none; a folder that is not there is said to be that."""
    licenses.path.unlink()
    licenses.install(RENEWED)
    assert licenses.path.read_text() == RENEWED
    licenses.path = licenses.path.parent / "gone" / "acme.lic"
    with pytest.raises(LicenseRefused, match="cannot be written"):
        licenses.install(GOOD)


def test_digest(licenses):
    """The digest is that of the validly signed lines; that of an empty text is the one of no lines."""
    assert licenses.digest(GOOD) == licenses.digest("# a comment\n" + GOOD)
    assert licenses.digest(GOOD) != licenses.digest(FORGED)
    assert licenses.digest("").startswith("sha256:")


def test_pools(licenses):
    """What a text grants is read from its validly signed lines alone."""
    assert {name: sum(pool.issued for pool in found) for name, found in licenses.read_pools(FORGED, "f").items()} == {
        "mesh": 3
    }
