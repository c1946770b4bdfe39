"""Text of others as one line."""

from hypothesis import given
from hypothesis import strategies as st

from lsproxy.oneline import lines, one_line


@given(st.text())
def test_a_line_is_printable(text):
    """Whatever it was; what was printable is as it was."""
    assert one_line(text).isprintable()
    assert one_line(text) == text or not text.isprintable()
    assert len(one_line(text)) == len(text)


def test_spaces_stay_spaces():
    """Lines and tabs become one line; where there are to be several, they stay."""
    assert one_line("a\n\tb\x1b") == "a  b\N{REPLACEMENT CHARACTER}"
    assert lines("a\n\tb\x00\n") == "a\n b\N{REPLACEMENT CHARACTER}\n"
