"""What is spelt is read again, however it is typed, and a slip of the finger is caught."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.license.crockford import Mistyped, spell, unspell

SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
contents = st.binary(min_size=1, max_size=120)


def symbols_of(content):
    return spell(content).replace("-", "")


@pytest.mark.parametrize(
    ("content", "spelt"),
    [
        (b"\x00", "000"),
        (b"\x01", "044"),
        (b"\xff", "ZWN"),
        (b"\x00\x00\x00\x00$", "00000-014U"),
        (b"hello world", "D1JPR-V3F41-VPYWK-CCGT"),
    ],
)
def test_spelling(content, spelt):
    """Five bits to a symbol, highest first, zeros behind the last bit, the check symbol last, groups of five."""
    assert spell(content) == spelt


@given(contents)
def test_round_trip(content):
    """What is read is what was spelt."""
    assert unspell(spell(content)) == content


@given(contents, st.data())
def test_typed_by_a_person(content, data):
    """Case, O for 0, I and L for 1, and hyphens and blanks anywhere or nowhere make no difference."""
    typed = []
    for symbol in symbols_of(content):
        alike = {"0": "0Oo", "1": "1IiLl"}.get(symbol, symbol + symbol.lower())
        typed += [data.draw(st.sampled_from(alike)), data.draw(st.sampled_from(["", "", "-", " ", "\n"]))]
    assert unspell("".join(typed)) == content


@given(contents, st.data())
def test_one_wrong_symbol(content, data):
    """Any one wrong symbol is found, also the check symbol itself."""
    symbols = symbols_of(content)
    place = data.draw(st.integers(0, len(symbols) - 1))
    allowed = SYMBOLS + ("*~$=U" if place == len(symbols) - 1 else "")
    wrong = data.draw(st.sampled_from([symbol for symbol in allowed if symbol != symbols[place]]))
    found = unspell(symbols[:place] + wrong + symbols[place + 1 :])
    assert isinstance(found, Mistyped)
    assert "does not fit them: one is mistyped" in found.reason


@given(contents, st.data())
def test_neighbours_that_changed_places(content, data):
    """Two neighbours typed in each other's place are found."""
    symbols = symbols_of(content)
    place = data.draw(st.integers(0, len(symbols) - 3))
    first, second = symbols[place : place + 2]
    if first != second:
        assert isinstance(unspell(symbols[:place] + second + first + symbols[place + 2 :]), Mistyped)


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", "this is empty"),
        (" - ", "this is empty"),
        ("00U00", "digits and letters but U, and this holds 'U'"),
        ("00*00", "this holds '*'"),
        ("00é", "this holds '\\xe9'"),
        ("ß000", "this holds '\\xdf'"),
        ("0" * 1025, "at most 1024 characters, and this has 1025"),
        ("0", "its beginning or its end is missing"),
        ("00", "its beginning or its end is missing"),
        ("011", "its beginning or its end is missing"),
        ("0000", "its beginning or its end is missing"),
    ],
)
def test_nothing_spelt(typed, reason):
    """What spells no bytes is said to, with the reason."""
    found = unspell(typed)
    assert isinstance(found, Mistyped)
    assert reason in found.reason


@given(st.text(max_size=30) | st.text(SYMBOLS + "*~$=Uoil- ", max_size=30))
def test_anything(typed):
    """Whatever is typed is bytes or a reason, and there is one spelling for each bytes."""
    found = unspell(typed)
    if isinstance(found, bytes):
        assert unspell(spell(found)) == found
        assert symbols_of(found) == typed.upper().translate(str.maketrans("OIL", "011", "- "))
