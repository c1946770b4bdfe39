"""Tests of reading FlexNet's and Citrix's license files."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.license.hostid import ANY, Hostid
from lsproxy.license.thirdparty import Daemon, Host, Term
from lsproxy.proxy.kinds.flexnet import read

FILE = """\
# Example Corp, site 7
SERVER fn-a.example.com 02A1B2C3D4E5 27000 PRIMARY_IS_MASTER HEARTBEAT_INTERVAL=30
VENDOR mcad /opt/mcad/mcad OPTIONS=/opt/mcad/mcad.opt PORT=27001
USE_SERVER
PACKAGE suite mcad 2027.0 COMPONENTS="draw mesh" SIGN="0011 2233 4455"
FEATURE draw mcad 2027.0 31-dec-2027 10 4F1DA8E0B5A1C3D2E6F7 VENDOR_STRING="a=b c" \\
    HOSTID=ANY ck=120 SN=7
INCREMENT mesh mcad 2027.0 permanent 5 SIGN="0011 2233 \\
    4455 6677"
INCREMENT mesh mcad 2026.0 1-jan-0 5 0123456789AB
UPGRADE draw mcad 2026.0 2027.0 30-jun-2027 10 SIGN=0
"""


def test_a_whole_file():
    """Hosts, daemons and dates come out with their lines; keys, packages and options do no harm."""
    found = read(FILE, "x.lic")
    assert found.problems == ()
    assert found.hosts == (Host("fn-a.example.com", (Hostid("ether", "02a1b2c3d4e5"),), 27000, 2, "SERVER"),)
    assert found.daemons == (Daemon("mcad", 27001, 3, "VENDOR"),)
    assert found.terms == (
        Term("draw", date(2027, 12, 31), 6),
        Term("mesh", None, 8),
        Term("mesh", None, 10),
        Term("draw", date(2027, 6, 30), 11),
    )


def test_carriage_returns_do_no_harm():
    """A file that came by way of Windows says the same."""
    assert read(FILE.replace("\n", "\r\n"), "x.lic") == read(FILE, "x.lic")


@pytest.mark.parametrize(
    ("written", "hostids"),
    [
        ("ANY", [ANY]),
        ("DEMO", [ANY]),
        ("02a1b2c3d4e5", [Hostid("ether", "02a1b2c3d4e5")]),
        ("02:A1:b2:c3:d4:e5", [Hostid("ether", "02a1b2c3d4e5")]),
        ('"02a1b2c3d4e5 02a1b2c3d4e6"', [Hostid("ether", "02a1b2c3d4e5"), Hostid("ether", "02a1b2c3d4e6")]),
        ("HOSTNAME=CTX-A", [Hostid("hostname", "CTX-A")]),
        ("hostname=fn-a", [Hostid("hostname", "fn-a")]),
        ("INTERNET=192.0.2.10", [Hostid("internet", "192.0.2.10")]),
        ("INTERNET=192.0.2.*", [Hostid("internet", "192.0.2.*")]),
        ("INTERNET6=2001:DB8::0:1", [Hostid("internet", "2001:db8::1")]),
        ("INTERNET=300.*.*.*", [Hostid("id", "INTERNET=300.*.*.*")]),
        ("HOSTNAME=", [Hostid("id", "HOSTNAME=")]),
        ("INTERNET=somewhere", [Hostid("id", "INTERNET=somewhere")]),
        ("12345678", [Hostid("id", "12345678")]),
        ("VM_UUID=564D1C1F-0001", [Hostid("id", "VM_UUID=564D1C1F-0001")]),
        ("DISK_SERIAL_NUM=3e2e17fd", [Hostid("id", "DISK_SERIAL_NUM=3e2e17fd")]),
        ("FLEXID=9-b28520b9", [Hostid("id", "FLEXID=9-b28520b9")]),
        ("PTC_HOSTID=08-00-76-32-E4-22", [Hostid("id", "PTC_HOSTID=08-00-76-32-E4-22")]),
    ],
)
def test_hostids(written, hostids):
    """What can be compared from outside is told from what is opaque; names keep their case."""
    assert list(read(f"SERVER h {written} 27000", "x").hosts[0].hostids) == hostids


@pytest.mark.parametrize(
    ("line", "port"),
    [
        ("VENDOR acme PORT=27001", 27001),
        ("daemon acme /opt/acme port=27001", 27001),
        ("VENDOR acme /opt/acme /opt/acme.opt 27001", 27001),
        ("VENDOR acme /opt/acme 27001", 27001),
        ('VENDOR acme "/opt/my acme" OPTIONS="/opt/my acme.opt" PORT=27001', 27001),
        ("VENDOR CITRIX options=citrix.opt port=7279", 7279),
        ("VENDOR acme", None),
        ("VENDOR acme /opt/acme", None),
        ("VENDOR acme PORT=0", None),
        ("VENDOR acme PORT=99999", None),
    ],
)
def test_ports_of_daemons(line, port):
    """A port stands behind PORT= or, as a number, last of the words without a key."""
    assert read(line, "x").daemons[0].port == port


@pytest.mark.parametrize(
    ("written", "expires"),
    [("31-dec-27", date(2027, 12, 31)), ("31-DEC-99", date(1999, 12, 31)), ("01-jan-00", None), ("1-jan-0000", None)],
)
def test_years_of_two_digits(written, expires):
    """Old generators write them; a year of zeros is for ever."""
    assert read(f"FEATURE f v 1.0 {written} 1 KEY", "x").terms == (Term("f", expires, 1),)


def test_a_server_line_without_hostid_is_a_problem():
    """It is told with its line, and the others are read."""
    found = read('SERVER fn-a\nSERVER fn-b ANY\nSERVER fn-c  ""', "x.lic")
    assert [host.name for host in found.hosts] == ["fn-b"]
    assert [str(problem).partition(" ")[0] for problem in found.problems] == ["x.lic:1:", "x.lic:3:"]


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_read(text):
    """Nothing crashes, and lines stay within the text."""
    for beginning in ("", "SERVER ", "VENDOR ", "FEATURE ", 'INCREMENT a b 1 "'):
        found = read(beginning + text, "x")
        lines = [part.line for part in (*found.hosts, *found.daemons, *found.terms, *found.problems)]
        assert all(1 <= line <= text.count("\n") + 1 for line in lines)


@pytest.mark.parametrize("piece", ['"', "\\\n", 'a"', "SERVER a ", "\\", 'FEATURE "a" ', "\n", "a="])
def test_reading_takes_time_in_proportion(piece):
    """A megabyte of one thing is read at once, whatever it is."""
    read(f"SERVER {piece * (1_000_000 // len(piece))}", "x")
