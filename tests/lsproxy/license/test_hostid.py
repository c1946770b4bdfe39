"""Hostids have one normal form, and a host has one or has not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.license.hostid import HostidError, matches, parse_hostid


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("ANY", "any"),
        ("any", "any"),
        ("02A1B2C3D4E5", "ether=02a1b2c3d4e5"),
        ("02:a1:b2:c3:d4:e5", "ether=02a1b2c3d4e5"),
        ("ETHER=02-A1-B2-C3-D4-E5", "ether=02a1b2c3d4e5"),
        ("HOSTNAME=Lic-A", "hostname=lic-a"),
        ("fqdn=LIC-A.Example.com", "fqdn=lic-a.example.com"),
        ("INTERNET=192.0.2.*", "internet=192.0.2.*"),
        ("INTERNET=2001:DB8:0::1", "internet=2001:db8::1"),
        ("MACHINE_ID=3D1219C7C4C5404AAA1F6D2A48ADFDA4", "machine_id=3d1219c7c4c5404aaa1f6d2a48adfda4"),
        ("ID=Dongle-77=x", "id=Dongle-77=x"),
        ("USER=Alice", "user=Alice"),
        ("DISPLAY=ws1:0", "display=ws1:0"),
    ],
)
def test_normal_form(text, normal):
    """Kinds and names are in lower case, cards are 12 hex digits, opaque values stay."""
    hostid = parse_hostid(text)
    assert str(hostid) == normal
    assert parse_hostid(str(hostid)) == parse_hostid(hostid.describe()) == hostid


@pytest.mark.parametrize(
    "text",
    ["", "=", "lic-a", "02a1b2c3d4e", "02a1b2c3d4e55", "02:a1-b2:c3:d4:e5", "ETHER=02a1b2c3d4eg", "HOSTNAME=",
     "HOSTNAME=a b", "HOSTNAME=a\nserver any", "HOSTNAME=läc", "INTERNET=1.2.3", "INTERNET=1.2.3.256",
     "INTERNET=256.*.*.*", "INTERNET=01.2.3.*", "INTERNET=*", "INTERNET=a.example", "MACHINE_ID=12", "VM_UUID=1234",
     "ANY=1", "ID=" + "x" * 256],
)  # fmt: skip
def test_no_hostid(text):
    """What has no known kind or a value its kind does not allow is refused with a sentence that shows it."""
    with pytest.raises(HostidError, match="is no hostid"):
        parse_hostid(text)


@pytest.mark.parametrize(
    ("wanted", "is_met"),
    [
        ("ANY", True),
        ("HOSTNAME=LIC-A", True),
        ("HOSTNAME=lic-b", False),
        ("FQDN=lic-a", False),
        ("02:a1:b2:c3:d4:e5", True),
        ("INTERNET=192.0.*.10", True),
        ("INTERNET=192.0.2.10", True),
        ("INTERNET=192.0.3.*", False),
        ("ID=dongle", False),
    ],
)
def test_matching(wanted, is_met):
    """A host has a hostid of the same kind and value; ANY is everybody's; * stands for one part of an address."""
    own = [parse_hostid(text) for text in ("hostname=lic-a", "ether=02a1b2c3d4e5", "internet=192.0.2.10", "ID=Dongle")]
    assert matches(parse_hostid(wanted), own) is is_met


def test_any_is_asked_for_not_had():
    """A host that claims to be ANY has only ANY."""
    assert not matches(parse_hostid("HOSTNAME=lic-a"), [parse_hostid("ANY")])


def normal_form(text):
    try:
        return str(parse_hostid(text))
    except HostidError:
        return ""


@given(st.text(max_size=40) | st.from_regex(r"(ETHER|HOSTNAME|INTERNET|ID|ANY)=?[ -~]{0,30}", fullmatch=True))
def test_any_text(text):
    """Any text is a hostid with one row of printable ASCII without blanks, or refused."""
    normal = normal_form(text)
    assert normal.isascii()
    assert normal.isprintable()
    assert " " not in normal
    assert not normal or normal_form(normal) == normal
