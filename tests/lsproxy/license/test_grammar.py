"""What lines mean, and what is said of the faulty ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.license.grammar import MOST_BYTES, MOST_PROBLEMS, parse
from lsproxy.license.hostid import Hostid

EXAMPLE = """\
# acme.lic, issued to Example Corp
SERVER lic-a.example.com HOSTNAME=lic-a 27101
SERVER lic-b.example.com 02a1b2c3d4e5 27101
VENDOR acme
USE_SERVER
INCREMENT cad acme 2027.0 31-DEC-2027 25 ISSUED=21-nov-2026 sn=A-1001 \\
    NOTICE="Example Corp, Delft" SIGN="ed25519:"
increment mesh acme 2027.0 permanent UNCOUNTED HOSTID=02a1b2c3d4e5 USER_BASED
"""


def problems(text):
    return [(problem.line, problem.sentence) for problem in parse(text, "acme.lic").problems]


def only_problem(text):
    ((_, sentence),) = problems(text)
    return sentence


def test_example():
    """A file with every kind of line is read in full."""
    parsed = parse(EXAMPLE, "acme.lic")
    assert parsed.problems == ()
    assert [(s.line, s.host, s.hostids, s.port) for s in parsed.servers] == [
        (2, "lic-a.example.com", (Hostid("hostname", "lic-a"),), 27101),
        (3, "lic-b.example.com", (Hostid("ether", "02a1b2c3d4e5"),), 27101),
    ]
    assert [vendor.vendor for vendor in parsed.vendors] == ["acme"]
    assert parsed.use_server
    cad, mesh = parsed.features
    assert (cad.line, cad.keyword, cad.feature, cad.vendor, cad.version) == (6, "INCREMENT", "cad", "acme", "2027.0")
    assert (cad.expiry, cad.count, mesh.count) == ("31-dec-2027", "25", "uncounted")
    assert dict(cad.attributes) == {
        "ISSUED": "21-nov-2026", "SN": "A-1001", "NOTICE": "Example Corp, Delft", "SIGN": "ed25519:",
    }  # fmt: skip
    assert mesh.attributes == (("HOSTID", "02a1b2c3d4e5"), ("USER_BASED", None))
    assert EXAMPLE[slice(*cad.sign_span)] == 'SIGN="ed25519:"'


def test_line_ends():
    """A byte order mark and the line ends of Windows change nothing."""
    plain, windows = parse(EXAMPLE, "a"), parse("\ufeff" + EXAMPLE.replace("\n", "\r\n"), "a")
    assert windows.problems == ()
    assert [(f.line, f.attributes) for f in windows.features] == [(f.line, f.attributes) for f in plain.features]


def test_set_of_hostids():
    """Several hostids in quotes are a set; `this_host` is a host name like another."""
    (server,) = parse('SERVER this_host "HOSTNAME=a 02:a1:b2:c3:d4:e5"', "a").servers
    assert server.hostids == (Hostid("hostname", "a"), Hostid("ether", "02a1b2c3d4e5"))
    assert server.port is None


def test_server_attributes():
    """What follows a SERVER's hostid is a port, then attributes; a port may carry its old prefix."""
    first, second = parse(
        "SERVER a ANY TCP:27000 PRIMARY_IS_MASTER HEARTBEAT_INTERVAL=20\nSERVER b ANY X=1", "a"
    ).servers
    assert (first.port, first.attributes) == (27000, (("PRIMARY_IS_MASTER", None), ("HEARTBEAT_INTERVAL", "20")))
    assert (second.port, second.attributes) == (None, (("X", "1"),))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("VENDOR acme", (None, None, None)),
        ("DAEMON acme /opt/acme", ("/opt/acme", None, None)),
        (
            'VENDOR acme "C:\\Program Files\\acme.exe" options=a.opt port=27102',
            ("C:\\Program Files\\acme.exe", "a.opt", 27102),
        ),
        ("VENDOR acme /opt/acme a.opt 27102", ("/opt/acme", "a.opt", 27102)),
        ("VENDOR acme PORT=27102", (None, None, 27102)),
    ],
)
def test_vendor(line, expected):
    """Path, options and port of a VENDOR line stand in their places or under their keys."""
    parsed = parse(line, "a")
    assert not parsed.problems
    assert [(vendor.path, vendor.options, vendor.port) for vendor in parsed.vendors] == [expected]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("SERVER", "SERVER is followed by a host name and a hostid"),
        ("SERVER HOSTNAME=a 27000", "SERVER is followed by a host name and a hostid"),
        ("SERVER a ANY 65536", "'65536' is no port; a number from 1 to 65535"),
        ("SERVER a ANY 0", "'0' is no port"),
        ("SERVER a ANY 99999999999999999999", "is no port"),
        ("SERVER a VM_UUID=1", "'VM_UUID=1' is no hostid"),
        ('SERVER a "ANY foo"', "'foo' is no hostid"),
        ('SERVER a " "', "the hostid of this SERVER line is empty"),
        ("SERVER a ANY 27000 27001", "'27001' is no attribute"),
        ("VENDOR acme 1ST=x", "'1ST=x' is no attribute"),
        ("VENDOR", "VENDOR is followed by the vendor's name"),
        ("VENDOR acme PORT=x", "'x' is no port"),
        ("VENDOR acme a b 1 2", "VENDOR has at most"),
        ("USE_SERVER now", "USE_SERVER stands alone"),
        ("INCREMENT cad acme", "the version is missing: INCREMENT is followed by feature, vendor,"),
        ("FEATURE cad acme 1.0 permanent SIGN=x", "'SIGN=x' is no count"),
        ('FEATURE "c ad" acme 1.0 permanent 5', "'c ad' is no feature"),
        ("FEATURE c\u00e4d acme 1.0 permanent 5", "'c\\xe4d' is no feature"),
        ("FEATURE cad acme v1 permanent 5", "'v1' is no version"),
        ("FEATURE cad acme 1.0 31-feb-2027 5", "'31-feb-2027' is no expiry"),
        ("FEATURE cad acme 1.0 permanent 5x", "'5x' is no count"),
        ("FEATURE cad acme 1.0 permanent -5", "'-5' is no count"),
        ("FEATURE cad acme 1.0 permanent 1000000000", "is no count; a number of at most nine digits"),
        ("FEATURE cad acme 1.0 permanent 5 SN=1 sn=2", "SN stands on this line twice"),
        ("FEATURE cad acme 1.0 permanent 5 2ND=1", "'2ND=1' is no attribute"),
        ("FEATURE cad acme 1.0 permanent 5 \u017fn=1", "is no attribute"),
        ("PACKAGE suite acme 1.0", "'PACKAGE' begins no line of a license file"),
        ("\u017fERVER a ANY", "begins no line of a license file"),
        ("Dear customer, here is your license", "'Dear' begins no line"),
    ],
)  # fmt: skip
def test_faulty_line(line, sentence):
    """A faulty line is one problem that names file, line and what would be right; the lines around it stay."""
    parsed = parse(f"SERVER ok ANY\n{line}\nINCREMENT cad acme 1.0 permanent 5\n", "acme.lic")
    (problem,) = parsed.problems
    assert str(problem).startswith("acme.lic:2: ")
    assert sentence in problem.sentence
    assert parsed.servers[0].host == "ok"
    assert parsed.features[-1].line == 3


def test_all_problems():
    """Every problem of a file is told, in the order of its lines."""
    assert [line for line, _ in problems('FOO\nSERVER a\nINCREMENT x\n# fine\nSERVER b X=1\nVENDOR acme "')] == [
        1,
        2,
        3,
        5,
        6,
    ]


def test_many_problems():
    """Beyond a bound their number is told instead."""
    found = problems("FOO\n" * (MOST_PROBLEMS + 50))
    assert len(found) == MOST_PROBLEMS + 1
    assert found[-1] == (MOST_PROBLEMS + 1, "and 50 more problems from this line on")


def test_fourth_server():
    """A fourth SERVER line is a problem and counts for nothing."""
    parsed = parse("SERVER a ANY\n" * 4, "a")
    assert len(parsed.servers) == 3
    assert [problem.line for problem in parsed.problems] == [4]


def test_unknown_hostid_is_kept_in_sight():
    """A SERVER line with a hostid of an unknown kind is there, without hostids."""
    (server,) = parse('SERVER a "ANY VM_UUID=1" 27000', "a").servers
    assert (server.hostids, server.hostid_text, server.port) == ((), "ANY VM_UUID=1", 27000)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("#" * (MOST_BYTES + 1), "at most 1 MiB"),
        ("é" * (MOST_BYTES // 2 + 1), "at most 1 MiB"),
        ("FEATURE\0", "no text file"),
        ("# \ud800", "half a UTF-16 character"),
    ],
    ids=["long", "long in UTF-8", "binary", "surrogate"],
)
def test_no_license_text(text, sentence):
    """Text that is too long or no text is one problem."""
    assert sentence in only_problem(text)


def test_a_mebibyte():
    """A mebibyte is not too long."""
    assert problems("#" * MOST_BYTES) == []


@pytest.mark.parametrize("row", ["SN=A-2", "SN=", "USER_BASED", "X", "lsproxy-license 1"])
def test_forging_value(row):
    """A value whose later row reads like a row that begins something is refused: it would share a signature."""
    assert "begin that row with a blank" in only_problem(f'FEATURE f v 1 permanent 5 NOTICE="x\n{row}"')


@pytest.mark.parametrize(
    "row", [" SN=A-2", "sn=A-2", "", "Example Corp, Delft", "Tel. 1234", "A B", "INCREMENT f v 1 permanent 5"]
)
def test_harmless_newline(row):
    """Other rows may follow in a value."""
    (feature,) = parse(f'FEATURE f v 1 permanent 5 NOTICE="x\n{row}"', "a").features
    assert feature.get("NOTICE") == f"x\n{row}"


words = st.sampled_from(
    ["SERVER", "VENDOR", "FEATURE", "increment", "USE_SERVER", "#", "a", "ANY", "1.0", "permanent", "5", "27000",
     "SIGN=", 'NOTICE="x\ny"', '"', "\\", "\n", "\\\n", "\r\n", "=", "HOSTNAME=é", "0", "\x00", "\ud800", "K"]
)  # fmt: skip


@given(st.text(max_size=200) | st.lists(words, max_size=40).map(" ".join))
def test_any_text(text):
    """Whatever the text, it is parsed, and problems lie on lines that it has."""
    parsed = parse(text, "a")
    assert parsed.text == text
    assert all(1 <= problem.line <= text.count("\n") + 1 for problem in parsed.problems)
    assert all("\n" not in problem.sentence for problem in parsed.problems)
