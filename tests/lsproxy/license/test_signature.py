"""What a signature holds together, and what it lets the customer change."""

import base64
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lsproxy.license.grammar import MOST_BYTES, parse
from lsproxy.license.model import LicenseError
from lsproxy.license.signature import canonical_text, sign, verify
from tests.lsproxy.license.texts import KEY, OTHER_KEY, SERVERS, VENDOR_KEYS, sentences, signed, verified

LINE = 'INCREMENT cad acme 2027.0 31-Dec-2027 25 SN=A-1001 ISSUED=21-nov-2026 NOTICE="Example Corp, Delft" X\n'


def test_canonical_text():
    """The canonical text holds the SERVER lines' hostids and the line, its attributes sorted, without SIGN."""
    text = 'SERVER a HOSTNAME=Lic-A 27101\nSERVER b "02:A1:B2:C3:D4:E5 any"\n' + LINE.replace("X\n", "x SIGN=y\n")
    parsed = parse(text, "acme.lic")
    assert canonical_text(parsed, parsed.features[0]) == (
        "lsproxy-license 1\n"
        "vendor acme\n"
        "server hostname=lic-a\n"
        "server ether=02a1b2c3d4e5 any\n"
        "INCREMENT cad acme 2027.0 31-dec-2027 25\n"
        "ISSUED=21-nov-2026\n"
        "NOTICE=Example Corp, Delft\n"
        "SN=A-1001\n"
        "X\n"
    )


def test_round_trip():
    """What is signed verifies, without a problem."""
    result = verified(signed(LINE))
    assert result.problems == ()
    assert [line.feature for line in result.good] == ["cad"]
    assert result.good == result.signed


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_all_else_stays(line_end):
    """Signing changes SIGN alone: comments, wrapping, line ends and a byte order mark stay, byte for byte."""
    text = (
        "\ufeff# é comment \\\nSERVER  a\tANY\n\n"
        'increment cad acme 1.0 permanent 5 sign="old \\\n   one" SN=1 \\\n   NOTICE="two\nrows" # odd'
    ).replace(" # odd", "\n# end").replace("\n", line_end)  # fmt: skip
    once = sign(text, "a", KEY)
    before, after = text.split(f'sign="old \\{line_end}   one"')
    assert once.startswith(before + 'SIGN="ed25519:')
    assert once.endswith('"' + after)
    assert verified(once).problems == ()
    assert sign(once, "a", KEY) == once


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_new_sign(line_end):
    """A line without SIGN gets one on a continued row, also at the very end of a file; a bare SIGN is replaced."""
    text = f"{SERVERS}INCREMENT cad acme 1.0 permanent 5{line_end}INCREMENT mesh acme 1.0 permanent 5 SIGN"
    result = sign(text, "acme.lic", KEY)
    assert f'permanent 5 \\{line_end}    SIGN="ed25519:' in result
    assert len(verified(result).good) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no FEATURE or INCREMENT line"),
        ("FOO\nBAR\n" + LINE, "acme.lic:1: 'FOO' begins no line"),
        (LINE + LINE.replace("acme", "other"), "its lines are of acme, other; a key signs a file of one vendor only"),
        ("SERVER a VM_UUID=7\n" + LINE, "'VM_UUID=7' is no hostid"),
        (LINE + "#" * (MOST_BYTES - len(LINE)), "at most 1 MiB"),
    ],
    ids=["nothing", "problems", "two vendors", "unknown hostid", "too long once signed"],
)
def test_not_to_be_signed(text, reason):
    """A file with a problem is not signed, and every reason is told."""
    with pytest.raises(LicenseError, match=re.escape(reason)):
        sign(text, "acme.lic", KEY)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("HOSTNAME=lic-a", "HOSTNAME=lic-b"),
        ("HOSTNAME=lic-a", "ANY"),
        ("SERVER lic-a", "SERVER extra ANY\nSERVER lic-a"),
        ("INCREMENT", "FEATURE"),
        ("cad", "mesh"),
        ("2027.0", "2028.0"),
        ("31-Dec-2027", "permanent"),
        (" 25 ", " 250 "),
        ("A-1001", "A-1002"),
        ("SN=A-1001 ", ""),
        ("Delft", "Delft "),
        (" X", " X="),
        (" X", " Y"),
        (" X", " X USER_BASED"),
        (" X", " X OVERDRAFT=99"),
    ],
)
def test_signed_words(old, new):
    """A change of anything the vendor signed refuses the line, by file, line and reason."""
    text = signed(LINE)
    assert old in text
    (sentence,) = sentences(text.replace(old, new, 1))
    assert re.match(r"acme\.lic:\d+: \w+ is not served: its signature is not that of vendor acme's key", sentence)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SERVER lic-a", "server elsewhere.example.com"),
        ("27101", "27999"),
        (" 27101", ""),
        ("VENDOR acme", "VENDOR acme /opt/acme OPTIONS=acme.opt PORT=27102"),
        ("VENDOR acme\n", ""),
        ("VENDOR acme", "VENDOR acme\nUSE_SERVER"),
        ("HOSTNAME=lic-a", "hostname=LIC-A"),
        ("INCREMENT", "# a comment\n  increment"),
        ("Dec", "DEC"),
        ("SN=A-1001", 'sn="A-1001" \\\n   '),
        ("SN=A-1001 ISSUED=21-nov-2026", "ISSUED=21-nov-2026 SN=A-1001"),
    ],
)
def test_customers_words(old, new):
    """Host names, ports, VENDOR lines, comments, case where it says nothing, wrapping and order are the customer's."""
    text = signed(LINE)
    assert old in text
    assert sentences(text.replace(old, new, 1)) == []


SIGN = base64.b64encode(bytes(64)).decode()


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ("", "it has no SIGN"),
        ("SIGN", "it has no SIGN"),
        ("SIGN=", "its SIGN is not ed25519: and the 64 bytes of a signature in base64"),
        ("SIGN=0A1B2C3D", "its SIGN is not ed25519:"),
        (f"SIGN=rsa:{SIGN}", "its SIGN is not ed25519:"),
        ("SIGN=ed25519:AAAA", "its SIGN is not ed25519:"),
        ("SIGN=ed25519:é", "its SIGN is not ed25519:"),
        (f"SIGN=ed25519:{SIGN[:-1]}", "its SIGN is not ed25519:"),
        (f"SIGN=ed25519:{SIGN}", "its signature is not that of vendor acme's key"),
    ],
)
def test_bad_sign(attributes, reason):
    """A missing, unreadable or foreign SIGN refuses its line with the reason."""
    (sentence,) = sentences(f"{SERVERS}INCREMENT cad acme 1.0 permanent 5 {attributes}")
    assert sentence.startswith(f"acme.lic:3: cad is not served: {reason}")


def test_wrapped_sign():
    """A SIGN that was wrapped, with blanks in it, verifies."""
    text = re.sub(r'SIGN="(.{30})(.{30})', r'SIGN="\1 \\\n\t\2\n', signed(LINE))
    assert sentences(text) == []


def test_wrong_keys():
    """A vendor without a key, another key, and a hostid of an unknown kind refuse the line."""
    text = signed(LINE)
    parsed = parse(text, "acme.lic")
    assert "no public key of vendor acme" in verify(parsed, {}).problems[0].sentence
    assert "another key signed it" in verify(parsed, {"acme": OTHER_KEY.public_key()}).problems[0].sentence
    unknown = verified(text.replace("HOSTNAME=lic-a", "VM_UUID=7"))
    assert [problem.line for problem in unknown.problems] == [1, 3]
    assert unknown.problems[1].sentence == "cad is not served: the hostid of the SERVER line 1 is not understood"
    assert unknown.good == ()


def test_good_lines_are_served():
    """One bad line takes no other with it; a validly signed one that this release does not serve counts as signed."""
    text = signed(LINE + "FEATURE mesh acme 1.0 permanent 5 BORROW\n") + "FEATURE cad acme 1.0 permanent 5\nFOO\n"
    result = verified(text)
    assert [line.feature for line in result.good] == ["cad"]
    assert [line.feature for line in result.signed] == ["cad", "mesh"]
    assert [problem.line for problem in result.problems] == [5, 7, 8]


def test_digest():
    """The digest is of the set of signed lines: order, repetition, bad lines, dates and comments do not matter."""
    one, two = signed(LINE), signed("FEATURE mesh acme 1.0 1-jan-2001 5\n")
    lines = [text.removeprefix(SERVERS) for text in (one, two)]
    both = verified(SERVERS + "".join(lines)).digest
    assert re.fullmatch("sha256:[0-9a-f]{64}", both)
    assert verified(SERVERS + "".join([*reversed(lines), "# end\n", lines[0], "FOO\n", LINE])).digest == both
    assert len({both, verified(one).digest, verified(two).digest, verified("").digest}) == 4


values = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters='"\ufffd') | st.just("\n"), max_size=30
)
keys = st.from_regex(r"[A-Z_][A-Z0-9_]{0,5}", fullmatch=True).filter(lambda key: key not in {"SIGN", "HOSTID", "START"})
attributes_of_a_line = st.dictionaries(keys, st.none() | values, max_size=4)


def line_of(attributes):
    words = [key if value is None else f'{key}="{value}"' for key, value in attributes.items()]
    return f"{SERVERS}INCREMENT cad acme 1.0 permanent 5 {' '.join(words)}\n"


@given(attributes_of_a_line)
def test_any_line(attributes):
    """Whatever a line's attributes, it is signed and verified, or nothing of it is signed."""
    text = line_of(attributes)
    if parse(text, "acme.lic").problems:
        with pytest.raises(LicenseError):
            sign(text, "acme.lic", KEY)
        return
    result = verify(parse(sign(text, "acme.lic", KEY), "acme.lic"), VENDOR_KEYS)
    assert len(result.signed) == 1


@given(attributes_of_a_line, attributes_of_a_line)
def test_no_two_lines_share_a_text(first, second):
    """Lines with different attributes never have the same canonical text."""
    one, two = parse(line_of(first), "a"), parse(line_of(second), "a")
    assume(one.features and two.features)
    same = canonical_text(one, one.features[0]) == canonical_text(two, two.features[0])
    assert same == (dict(one.features[0].attributes) == dict(two.features[0].attributes))


rows = st.lists(st.sampled_from(["A=1", "A", "B=2", "B", "x", "", " A=1", "lsproxy-license 1"]), max_size=3).map(
    "\n".join
)


@given(
    st.dictionaries(st.sampled_from("ABC"), rows, max_size=3), st.dictionaries(st.sampled_from("ABC"), rows, max_size=3)
)
def test_no_value_forges_a_row(first, second):
    """No value takes the place of an attribute: rows made to collide never do."""
    one, two = parse(line_of(first), "a"), parse(line_of(second), "a")
    assume(one.features and two.features and first != second)
    assert canonical_text(one, one.features[0]) != canonical_text(two, two.features[0])


@given(st.data())
def test_any_edit(data):
    """Any other character in a line's signed part leaves no other line served than the one signed."""
    text = signed("INCREMENT cad acme 2027.0 31-dec-2027 25 SN=A-1001\n")
    at = data.draw(st.integers(text.index("INCREMENT"), text.index("SN=A-1001") + len("SN=A-1001") - 1))
    character = data.draw(st.sampled_from('aZ09.-= "#\\\n\té'))
    edited = text[:at] + character + text[at + 1 :]
    original = verified(text)
    result = verified(edited)
    if result.good:
        kept = canonical_text(result.license, result.good[0])
        assert kept == canonical_text(original.license, original.good[0])
