"""The debug log as an analyzer reads it: by regular expressions written from what FlexNet's looks like."""

import re
import time

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor

from licserver.core.uses import Use
from licserver.debuglog import DebugLog, text_of
from lsproxy.linefile import LineFileError

# 2026-11-21 08:00:00
EIGHT = 1_795_248_000.0

# The line as a whole, and what readers of such logs are known to look for: at the beginning, with or without a count.
LINE = re.compile(
    r"(?P<time>\d{1,2}:\d\d:\d\d) \((?P<vendor>[\w.:-]+)\) (?:"
    r"TIMESTAMP (?P<date>\d{1,2}/\d{1,2}/\d{4})"
    r'|(?P<kind>OUT|IN|QUEUED|DEQUEUED|DENIED): "(?P<feature>[^" ]+)" (?P<user>[^@" ]+)@(?P<host>[\w.:-]+)  '
    r"(?:\((?P<count>\d+) licenses\) )?(?:\((?P<why>.*)\) )?\[(?P<address>[\w.:-]+)\])"
)
READERS = [
    re.compile(r'^\s*(\d+):(\d+):(\d+) \((\S+)\) (OUT|IN): "([^"]+)" (\S+)@(\S+)(?:\s+\((\d+) licenses\))?.*$'),
    re.compile(r'(\d+:\d+:\d+) \(.*?\) (IN|OUT|DENIED|QUEUED|DEQUEUED): "(.*?)" (.*?)@(.*?)\s'),
    re.compile(r'DENIED: "(?P<f>.+?)" (?P<u>\S+)@(?P<h>\S+)\s+\((?P<why>.+) \((?P<n>-\d+,\d+)\)\)'),
    re.compile(r"^\s*(\d+:\d+:\d+) \(lmgrd\) TIMESTAMP (\d+)/(\d+)/(\d+)\s*$"),
]


def use(kind="OUT", **more):
    words = {"feature": "cad", "count": 1, "vendor": "acme", "user": "alice", "host": "ws1", "address": "192.0.2.7"}
    return Use(kind, **{**words, **more})


class Written:
    """A debug log at a clock of its own; `text` is what it wrote."""

    def __init__(self, folder, wall=EIGHT):
        self.now = wall
        self.path = folder / "debug.log"
        self.log = DebugLog(reactor, self.path, lambda: self.now, time.gmtime)

    async def text(self):
        await self.log.close()
        return self.path.read_text()


@pytest.fixture
def written(tmp_path):
    return Written(tmp_path)


@pytest_twisted.ensureDeferred
async def test_a_day(written):
    """The lines of a morning, letter by letter."""
    written.log(use())
    written.now += 541
    written.log(use(user="bob", host="ws2", count=5, address="2001:db8::7"))
    written.log(use("QUEUED", user="carol"))
    written.log(use("DEQUEUED", user="carol"))
    written.log(use("IN"))
    written.log(use("DENIED", user="dave", code="no_seats", reason="cad: 1 asked, 0 of 5 free"))
    assert await written.text() == (
        "8:00:00 (lmgrd) TIMESTAMP 11/21/2026\n"
        '8:00:00 (acme) OUT: "cad" alice@ws1  [192.0.2.7]\n'
        '8:09:01 (acme) OUT: "cad" bob@ws2  (5 licenses) [2001:db8::7]\n'
        '8:09:01 (acme) QUEUED: "cad" carol@ws1  [192.0.2.7]\n'
        '8:09:01 (acme) DEQUEUED: "cad" carol@ws1  [192.0.2.7]\n'
        '8:09:01 (acme) IN: "cad" alice@ws1  [192.0.2.7]\n'
        '8:09:01 (acme) DENIED: "cad" dave@ws1  (Licensed number of users already reached. (-4,342)) [192.0.2.7]\n'
    )


@pytest_twisted.ensureDeferred
async def test_dates(written):
    """The date is told when it has changed, and after six hours; a clock set back tells it as well."""
    for passed in (0, 1, 5 * 3600, 6 * 3600, 16 * 3600, -24 * 3600):
        written.now = EIGHT + passed
        written.log(use())
    stamps = [line for line in (await written.text()).splitlines() if "TIMESTAMP" in line]
    assert stamps == [
        "8:00:00 (lmgrd) TIMESTAMP 11/21/2026",
        "14:00:00 (lmgrd) TIMESTAMP 11/21/2026",
        "0:00:00 (lmgrd) TIMESTAMP 11/22/2026",
        "8:00:00 (lmgrd) TIMESTAMP 11/20/2026",
    ]


@pytest_twisted.ensureDeferred
async def test_reopened(written):
    """After a move the lines go to a new file, which begins with the date."""
    written.log(use())
    written.path.rename(written.path.with_suffix(".1"))
    written.log.reopen()
    written.log(use("IN"))
    text = await written.text()
    assert text.splitlines()[-2:] == [
        "8:00:00 (lmgrd) TIMESTAMP 11/21/2026",
        '8:00:00 (acme) IN: "cad" alice@ws1  [192.0.2.7]',
    ]


def test_cannot_be_opened(tmp_path):
    """A file that cannot be had is named at once."""
    with pytest.raises(LineFileError, match=f"the debug log {tmp_path} cannot be opened: it is a folder"):
        DebugLog(reactor, tmp_path, time.time)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("no_seats", "Licensed number of users already reached. (-4,342)"),
        ("unknown_feature", "No such feature exists. (-5,357)"),
        ("expired", "Feature has expired. (-10,32)"),
        ("version_not_covered", "License server system does not support this version of this feature. (-25,334)"),
        ("blocked", "lic-b: the limit of 72 h is spent _activate it_"),
    ],
)
def test_reasons(code, text):
    """A denial has FlexNet's text and number where one fits, and else what the client was told."""
    line = text_of(use("DENIED", code=code, reason="lic-b: the limit of 72 h is spent (activate it)"))
    assert f"({text})" in line


words = st.text(max_size=20) | st.sampled_from(
    ['x"\n8:00:00 (acme) OUT: "cad" eve@ws', "a@b", "a b", "(5 licenses)", "]"]
)
kinds = st.sampled_from(["OUT", "IN", "QUEUED", "DEQUEUED", "DENIED"])


@given(
    kind=kinds,
    count=st.integers(1, 999),
    feature=words,
    user=words,
    host=words,
    address=words,
    vendor=words,
    code=st.sampled_from(["no_seats", "blocked", "new"]),
    reason=words,
)
def test_no_word_makes_a_line(kind, count, code, **strange):
    """Whatever the words are, a line is one line, and reads as what it was written from."""
    reason = strange.pop("reason")
    text = text_of(use(kind, count=count, code=code, reason=reason, **strange))
    read = LINE.fullmatch(f"8:00:00 {text}")
    assert read is not None
    assert read["kind"] == kind
    assert int(read["count"] or 1) == count
    assert (read["why"] is not None) == (kind == "DENIED")
    assert text.isascii()
    assert text.isprintable()


@given(
    kind=kinds,
    count=st.integers(1, 999),
    user=st.from_regex(r"[a-z][\w.\\-]{0,10}", fullmatch=True),
    host=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.-]{0,20}", fullmatch=True),
)
def test_usual_words_stay(kind, count, user, host):
    """Words as people have them are read back unchanged."""
    read = LINE.fullmatch(f"8:00:00 {text_of(use(kind, count=count, user=user, host=host, code='no_seats'))}")
    if user.isascii():
        assert read["user"] == user
    assert (read["feature"], read["host"], read["vendor"], read["address"]) == ("cad", host, "acme", "192.0.2.7")


def test_readers():
    """Regular expressions of the kind that analyzers have find their parts."""
    out = f"8:09:01 {text_of(use(count=5))}"
    denied = f"8:09:01 {text_of(use('DENIED', code='no_seats'))}"
    assert READERS[0].match(out).groups()[3:] == ("acme", "OUT", "cad", "alice", "ws1", "5")
    assert READERS[1].match(out).groups()[1:] == ("OUT", "cad", "alice", "ws1")
    assert READERS[1].match(denied).groups()[1:] == ("DENIED", "cad", "alice", "ws1")
    assert READERS[2].search(denied)["n"] == "-4,342"
    assert READERS[3].match("8:00:00 (lmgrd) TIMESTAMP 11/21/2026")
