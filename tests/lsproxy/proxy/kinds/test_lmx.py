"""Tests of reading LM-X license files."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.license.hostid import Hostid
from lsproxy.license.thirdparty import Host, Term
from lsproxy.proxy.kinds.lmx import read

FILE = """\
# Example Corp
FEATURE solve
{
  VENDOR=ACME VERSION=1.4 COUNT=6 END=2027-12-31
  SHARE = HOST LICENSEE="Example {Corp} # Delft"
  SERVER_HOSTID="ETHERNET=02a1b2c3d4e5 HOSTNAME=lmx-a"
  KEY=4i]mYsfn30C6S=hBYszCq2W{VicpT
}
FEATURE post { VENDOR=ACME KEYTYPE=TOKEN
  TOKEN_DEPENDENCY="FEATURE=solve VERSION=1.0 COUNT=3" END=01-06-2028 KEY=x
}
FEATURE view
{
COUNT = UNLIMITED
KEY = F2DNR9K
}
"""


def test_a_whole_file():
    """Features come out with line and last day; a block without END is for ever."""
    found = read(FILE, "x.lic")
    assert found.terms == (
        Term("solve", date(2027, 12, 31), 2),
        Term("post", date(2028, 6, 1), 9),
        Term("view", None, 12),
    )
    assert found.hosts == (
        Host(None, (Hostid("ether", "02a1b2c3d4e5"), Hostid("hostname", "lmx-a")), None, 2, "FEATURE"),
    )
    assert found.daemons == ()


def test_hostids_of_a_local_license_are_the_clients():
    """Without COUNT the file is for one machine, which is no server."""
    assert read("FEATURE a { SERVER_HOSTID=HOSTNAME=x KEY=1 }", "x").hosts == ()


def test_equal_hostids_make_one_host():
    """Each block repeats the server's hostids."""
    block = "FEATURE a\n{\nCOUNT=1 SERVER_HOSTID=IPADDRESS=192.0.2.10\n}\n"
    assert [host.hostids for host in read(block * 3, "x").hosts] == [(Hostid("internet", "192.0.2.10"),)]


def test_a_block_that_is_not_closed_ends_at_the_next():
    """Half a block does not swallow the others."""
    found = read("FEATURE a\n{ END=2027-01-31\nFEATURE b\n{ END=2027-02-28 }\nFEATURE", "x")
    assert found.terms == (Term("a", date(2027, 1, 31), 1), Term("b", date(2027, 2, 28), 3))


def test_a_day_that_is_none_is_passed_over():
    """The license server will say so."""
    assert read("FEATURE a { END=2027-02-31 }", "x").terms == ()


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_read(text):
    """Nothing crashes, and lines stay within the text."""
    for beginning in ("", "FEATURE ", "FEATURE a { COUNT=1 SERVER_HOSTID=", 'FEATURE a { END = "'):
        found = read(beginning + text, "x")
        assert all(1 <= part.line <= text.count("\n") + 1 for part in (*found.hosts, *found.terms))


@pytest.mark.parametrize("piece", ['"', "a", "a ", "{", "=", "FEATURE a {", 'A="', "# ", "\n"])
def test_reading_takes_time_in_proportion(piece):
    """A megabyte of one thing is read at once, whatever it is."""
    read(f"FEATURE a {{ {piece * (1_000_000 // len(piece))}", "x")
