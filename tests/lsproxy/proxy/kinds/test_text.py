"""Tests of reading the text of third parties' license files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.license.model import LicenseError
from lsproxy.proxy.kinds.text import MOST_BYTES, logical_lines, read_text, words


def test_a_file_that_is_no_utf8_is_latin_1(tmp_path):
    """Umlauts of old files are no fault; a byte order mark is not part of the first word."""
    (tmp_path / "a").write_bytes(b"# M\xfcller\nSERVER x ANY\n")
    assert read_text(tmp_path / "a") == "# Müller\nSERVER x ANY\n"
    (tmp_path / "b").write_bytes(b"\xef\xbb\xbfSERVER x ANY\n")
    assert read_text(tmp_path / "b") == "SERVER x ANY\n"


def test_what_cannot_be_a_license_file_is_refused(tmp_path):
    """Each refusal names the file, and the line where there is one."""
    (tmp_path / "big").write_bytes(b"x" * (MOST_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"SERVER\nx\0y\n")
    for name, says in (("big", "at most 4 MiB"), ("binary", ":2: this is no text file"), ("none", "cannot be read")):
        with pytest.raises(LicenseError, match=says) as refusal:
            read_text(tmp_path / name)
        assert str(tmp_path / name) in str(refusal.value)


def test_lines_are_continued_by_a_backslash():
    """Blanks and a carriage return after it do no harm; a comment is never continued; rows are counted."""
    text = "# c \\\nFEATURE a \\ \r\n  b \\\n\tc\r\nSERVER x\n\\"
    assert list(logical_lines(text)) == [(2, "FEATURE a  b  c"), (5, "SERVER x"), (6, "")]


def test_quotes_hold_words_together():
    """A quote that is never closed ends with its line."""
    assert words('SERVER h "a b" PORT=1 N="x y"z "open end') == ["SERVER", "h", "a b", "PORT=1", "N=x yz", "open end"]


@given(st.text())
def test_any_text_falls_into_lines(text):
    """Line numbers grow and stay within the text."""
    numbers = [number for number, line in logical_lines(text) if words(line) or True]
    assert numbers == sorted(set(numbers))
    assert all(1 <= number <= text.count("\n") + 1 for number in numbers)
