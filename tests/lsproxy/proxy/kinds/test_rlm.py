"""Tests of reading RLM's license files."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.license.hostid import ANY, Hostid
from lsproxy.license.thirdparty import Daemon, Host, Term
from lsproxy.proxy.kinds.rlm import read

FILE = """\
HOST rlm-a 02a1b2c3d4e5 5053
ISV render /opt/render/render /opt/render/render.opt 5054
ISV paint binary=/opt/paint options=paint.opt port=5055 password=secret-word
LICENSE render studio 3.0 31-dec-2027 25 share=uh \\
   hostid=ANY sig="60P0450"
LICENSE paint brush 1.0 permanent uncounted hostid="ether=02a1b2c3d4e6 ANY" sig=0
LICENSE brush 1.0 1-jan-2028 5 sig=0
"""


def test_a_whole_file():
    """Hosts, daemons and dates come out with their lines; a daemon's port stands fourth or behind port=."""
    found = read(FILE, "x.lic")
    assert found.hosts == (Host("rlm-a", (Hostid("ether", "02a1b2c3d4e5"),), 5053, 1, "HOST"),)
    assert found.daemons == (Daemon("render", 5054, 2, "ISV"), Daemon("paint", 5055, 3, "ISV"))
    assert found.terms == (
        Term("studio", date(2027, 12, 31), 4),
        Term("brush", None, 6),
        Term("brush", date(2028, 1, 1), 7),
    )


def test_a_password_is_not_kept():
    """Nothing of what is read repeats the password of an ISV line."""
    assert "secret-word" not in repr(read(FILE, "x.lic"))


@pytest.mark.parametrize(
    ("written", "hostids"),
    [
        ("ANY", [ANY]),
        ("any", [ANY]),
        ("ether=02a1b2c3d4e5", [Hostid("ether", "02a1b2c3d4e5")]),
        ("ip=192.0.2.10", [Hostid("internet", "192.0.2.10")]),
        ("internet=192.0.2.*", [Hostid("internet", "192.0.2.*")]),
        ("host=rlm-a", [Hostid("hostname", "rlm-a")]),
        ("80b918aa", [Hostid("id", "80b918aa")]),
        ("disksn=WD-123", [Hostid("id", "disksn=WD-123")]),
        ("rlmid1=0a1b", [Hostid("id", "rlmid1=0a1b")]),
        ("uuid=564D1C1F", [Hostid("id", "uuid=564D1C1F")]),
        ("user=alice", [Hostid("id", "user=alice")]),
        ("list:ether=02a1b2c3d4e5,host=rlm-a", [Hostid("ether", "02a1b2c3d4e5"), Hostid("hostname", "rlm-a")]),
        ('"02a1b2c3d4e5 80b918aa"', [Hostid("ether", "02a1b2c3d4e5"), Hostid("id", "80b918aa")]),
    ],
)
def test_hostids(written, hostids):
    """What can be compared from outside is told from what is opaque."""
    assert list(read(f"HOST h {written} 5053", "x").hosts[0].hostids) == hostids


def test_server_is_another_word_for_host():
    """Sentences use the word that the file uses."""
    found = read("SERVER rlm-a ANY 5053\nHOST", "x.lic")
    assert found.hosts[0].keyword == "SERVER"
    assert str(found.problems[0]).startswith("x.lic:2: HOST is followed by")


def test_an_isv_line_without_port():
    """Binary and options file alone say no port."""
    assert [daemon.port for daemon in read("ISV a\nISV a 5055 5056\nISV a binary=5055", "x").daemons] == [None] * 3


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_read(text):
    """Nothing crashes, and lines stay within the text."""
    for beginning in ("", "HOST ", "HOST h list:", "ISV ", "LICENSE ", 'LICENSE a b 1 "'):
        found = read(beginning + text, "x")
        lines = [part.line for part in (*found.hosts, *found.daemons, *found.terms, *found.problems)]
        assert all(1 <= line <= text.count("\n") + 1 for line in lines)
