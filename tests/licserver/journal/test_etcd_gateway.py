"""Limits, lines, and where a request goes."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from licserver.journal.etcd_gateway import LONGEST_SECONDS, SHORTEST_SECONDS, Limit, Lines, longer
from licserver.journal.etcd_recent import MOST_ENTRIES, Recent
from licserver.journal.interface import Entry


def test_limit_grows_and_shrinks():
    """By a quarter with each silence, to four times what the last answer took; never below 250 ms or above 2 s."""
    limit = Limit()
    assert limit.seconds == SHORTEST_SECONDS == 0.25
    assert longer(longer(0.25)) == 0.25 * 1.25**2
    assert longer(1.9) == LONGEST_SECONDS
    limit.gave_up(0.5)
    limit.gave_up(0.3)
    assert limit.seconds == 0.5
    limit.answered(0.01)
    assert limit.seconds == SHORTEST_SECONDS
    limit.answered(0.2)
    assert limit.seconds == 0.8
    limit.answered(1.9)
    assert limit.seconds == LONGEST_SECONDS


@given(
    lines=st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b""))), cuts=st.lists(st.integers(0, 80))
)
def test_lines_come_whole(lines: list[bytes], cuts: list[int]):
    """However the bytes arrive, the lines are those that were sent, without the empty ones."""
    sent = b"".join(line + b"\n" for line in lines)
    received: list[bytes] = []
    splitting = Lines(received.append)
    edges = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    for start, end in pairwise(edges):
        splitting.feed(sent[start:end])
    assert received == [line for line in lines if line]


@given(slots=st.lists(st.integers(1, 30), max_size=40), after=st.integers(0, 30), limit=st.integers(0, 30))
def test_recent_is_all_or_nothing(slots: list[int], after: int, limit: int):
    """What is given is exactly what was asked for, and what was sent last for each slot."""
    recent = Recent()
    for number, slot in enumerate(slots):
        recent.add(Entry(slot, 1, b"%d" % number))
    found = recent.entries(after, limit)
    assert [entry.slot for entry in found] in ([], list(range(after + 1, after + limit + 1)))
    last = {slot: b"%d" % number for number, slot in enumerate(slots)}
    assert all(entry.batch == last[entry.slot] for entry in found)


def test_recent_is_bounded():
    """The oldest make room."""
    recent = Recent()
    for slot in range(MOST_ENTRIES + 10):
        recent.add(Entry(slot, 1, b"x"))
    assert recent.entries(8, 1) == []
    assert len(recent.entries(9, MOST_ENTRIES)) == MOST_ENTRIES
    recent.add(Entry(MOST_ENTRIES + 10, 1, bytes(17 * 1024 * 1024)))
    assert recent.entries(MOST_ENTRIES + 8, 1) == []
