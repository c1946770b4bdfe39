"""Lines out of a stream, however it is cut."""

from hypothesis import given
from hypothesis import strategies as st

from lsproxy.seat.lines import LineSplitter

LIMIT = 12

lines = st.lists(st.binary(max_size=LIMIT).map(lambda line: line.replace(b"\n", b"")), max_size=8)


def feed_in_pieces(splitter, data, cuts):
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        found += splitter.feed(data[start:end])
    return found


@given(lines, st.binary(max_size=LIMIT).filter(lambda rest: b"\n" not in rest), st.data())
def test_any_cut_gives_the_same_lines(given_lines, rest, data):
    """Wherever the network cuts, the lines are those that were sent, and the rest waits."""
    sent = b"".join(line + b"\n" for line in given_lines) + rest
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    splitter = LineSplitter(LIMIT)
    assert feed_in_pieces(splitter, sent, cuts) == given_lines
    assert not splitter.is_overflowing
    assert splitter.feed(b"\n") == [rest]


@given(lines, st.data())
def test_a_line_past_the_limit_ends_it(given_lines, data):
    """The lines before one that is too long are given out, nothing after it, and the rest kept stays bounded."""
    sent = b"".join(line + b"\n" for line in given_lines) + b"x" * (LIMIT + 1) + b"\nmore\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    splitter = LineSplitter(LIMIT)
    assert feed_in_pieces(splitter, sent, cuts) == given_lines
    assert splitter.is_overflowing
    assert splitter.feed(b"again\n") == []


def test_the_limit_itself_fits():
    """A line of exactly the limit is one; a byte more is not, with or without its newline."""
    assert LineSplitter(4).feed(b"1234\n") == [b"1234"]
    for sent in (b"12345", b"12345\n"):
        splitter = LineSplitter(4)
        assert splitter.feed(sent) == []
        assert splitter.is_overflowing


def test_byte_by_byte():
    """One byte at a time is slow, not wrong."""
    splitter = LineSplitter(10)
    assert feed_in_pieces(splitter, b"ab\n\ncd\n", list(range(1, 7))) == [b"ab", b"", b"cd"]
