"""Who was refused a seat."""

import json

from hypothesis import given
from hypothesis import strategies as st

from lsproxy.proxy.denials import MOST_KEPT, Denial, Denials


def test_a_denial_names_who_asked_for_what_and_why_not():
    """As the hello, the request and the reply say it."""
    denials = Denials()
    hello = json.dumps({"id": 1, "op": "hello", "user": "alice", "host": "ws1"}).encode()
    request = json.dumps({"id": 2, "op": "checkout", "feature": "cad", "count": 2}).encode()
    reply = json.dumps({"id": 2, "ok": False, "error": "no_seats", "message": "cad: 2 asked, 1 of 25 free"}).encode()
    denials.note(7.0, hello, request, reply)
    assert list(denials.kept) == [Denial(7.0, "alice", "ws1", "cad", 2, "no_seats", "cad: 2 asked, 1 of 25 free")]


def test_only_the_latest_are_kept():
    """However many there are, and however long what they say."""
    denials = Denials()
    for number in range(MOST_KEPT + 3):
        denials.note(float(number), b"", b'{"feature":"%s"}' % (b"x" * 60_000), b"{}")
    assert [denials.kept[0].at, len(denials.kept), len(denials.kept[0].feature)] == [3.0, MOST_KEPT, 200]


@given(st.binary(max_size=50), st.binary(max_size=50), st.binary(max_size=50))
def test_no_bytes_break_it(hello, request, reply):
    """What cannot be read is no denial."""
    Denials().note(0.0, hello, request, reply)
