"""How text falls into lines and words."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.license.words import Unreadable, split


def lines(text):
    return [
        (line.line, line.sentence) if isinstance(line, Unreadable) else (line.line, [word.text for word in line.words])
        for line in split(text)
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b\tc", ["a", "b", "c"]),
        ("  a  ", ["a"]),
        ("a \\\n b", ["a", "b"]),
        ("a \\  \r\n b", ["a", "b"]),
        ("a\\\nb", ["a", "b"]),
        ('a K="x y"', ["a", "K=x y"]),
        ('a "x y" z', ["a", "x y", "z"]),
        ('a K="x\n  y"', ["a", "K=x\n  y"]),
        ('a K="x\r\ny"', ["a", "K=x\ny"]),
        ('a K="x \\\n\ty"', ["a", "K=x \ty"]),
        ("a K=x=y", ["a", "K=x=y"]),
        ('a K="x=y"', ["a", "K=x=y"]),
        ("a b#c #d", ["a", "b#c", "#d"]),
        ("a c:\\temp", ["a", "c:\\temp"]),
        ('a K=""', ["a", "K="]),
        ("\ufeffa", ["a"]),
    ],
)
def test_words(text, words):
    r"""Blanks part words, `\` at a line's end is a blank, within quotes it and the line's end vanish."""
    assert lines(text) == [(1, words)]


def test_line_numbers():
    """A line has the number of its first word's line, whatever was continued, quoted or left blank before it."""
    text = '# one \\\na \\\n b\n\n  \nc K="\n\n"\r\n\td'
    assert lines(text) == [(2, ["a", "b"]), (6, ["c", "K=\n\n"]), (9, ["d"])]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('a\nb K="x', 2, "never closed"),
        ('a\nb "x"y', 2, "closes in the middle of a word"),
        ('a\nb x"y"', 2, "opens neither a word"),
        ('a\nb K=x"y"', 2, "opens neither a word"),
        ("a\nb x\x07", 2, "control character '\\x07'"),
        ("a\nb x\ry", 2, "control character '\\r'"),
        ("a\nb x\x85y", 2, "control character '\\x85'"),
        ("a\nb x\ufffdy", 2, "not UTF-8"),
        ("a\nb \\", 2, None),
    ],
)
def test_faults(text, line, reason):
    """A fault names its line and the lines around it are read."""
    found = lines(text + "\nlast\n" if reason else text)
    assert found[0] == (1, ["a"])
    if reason:
        assert found[1][0] == line
        assert reason in found[1][1]
        assert found[2] == (3, ["last"])
    else:
        assert found[1:] == [
            (2, ["b"]),
            (2, "the file ends behind a \\ that continues the line; its end may be missing"),
        ]


@pytest.mark.parametrize(
    "text",
    ["a \\\n" * 200_000 + 'a"b', '"\n' * 300_000, 'A="\\\n' * 150_000, "\\" + " " * 900_000 + "x", "=" * 1_000_000,
     'x"' * 500_000, "\\ " * 400_000],
    ids=["continued", "quotes", "quoted", "blanks", "equals", "faults", "backslashes"],
)  # fmt: skip
def test_time(text):
    """A mebibyte of anything is read in a few seconds at most: nothing is looked at again and again."""
    before = time.monotonic()
    assert list(split(text))
    assert time.monotonic() - before < 10


@given(st.text(alphabet='ab=\\"# \t\r\n\x00é\ufffd', max_size=60))
def test_any_text(text):
    """Whatever the text, its lines come in their order with numbers that it has."""
    numbers = [line.line for line in split(text)]
    assert numbers == sorted(numbers)
    assert all(1 <= number <= text.count("\n") + 1 for number in numbers)
