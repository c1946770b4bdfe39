"""What people read of a takeover, word for word."""

import pytest

from licserver.core.events import Reading
from licserver.core.takeover import Counted, Returned, Whole
from licserver.core.takeover_news import (
    Announce,
    Block,
    Extend,
    Restore,
    Unblock,
    Warn,
    blocked_sentence,
    news,
    notice,
    sentence,
    shown_in_status,
)
from lsproxy.seat.messages import Notice, TakeoverStatus
from tests.licserver.core.takeover_world import HOUR

BLOCKED = (
    "the takeover limit of 72 h is spent: bring the primary back, or send the vendor the request key that `licserver "
    "request-key` prints and give the answer to `licserver activate`"
)


def reading(uptime=0.0):
    return Reading("boot", uptime, uptime, uptime)


def counted(spent, granted=72 * HOUR, number=2):
    return Counted(number, 1_795_294_080.0, granted, granted, spent, reading(), 0, b"nonce")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (Announce(2, 72 * HOUR), "takeover 2: this redundant server serves in the primary's place; 72 h left"),
        (Warn(24, 86_400.0), "redundant server: 24 h left"),
        (Warn(8, 6 * HOUR + 59.9), "redundant server: 6 h left"),
        (Warn(1, 3599.9), "redundant server: 59 min left"),
        (Warn(1, 59.4), "redundant server: 59 s left"),
        (Block(72 * HOUR), BLOCKED),
        (Extend(72, 95.5 * HOUR), "the activation key added 72 h; redundant server: 95 h 30 min left"),
        (Unblock(1), "the activation key ended the block; redundant server: 1 h left"),
        (Restore(3), "the primary was in control for long enough: the takeover limit is whole again (takeover 3)"),
    ],
)
def test_sentences(told, words):
    """Each piece of news is one sentence, with its hours and minutes."""
    assert sentence(told) == words


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (Whole(), counted(0.0), Announce(2, 72 * HOUR)),
        (Whole(), counted(0.0, 0.0), Block(0.0)),
        (Returned(counted(9.0), 1.0), counted(9.0), Announce(2, 72 * HOUR - 9.0)),
        (Returned(counted(9.0, 9.0), 1.0), counted(9.0, 9.0), Block(9.0)),
        (Returned(counted(9.0, 9.0), 1.0), Whole(3), Restore(3)),
        (counted(9.0), Returned(counted(9.0), 1.0), None),
        (counted(0.0), counted(30.0), None),
        (counted(47.9 * HOUR), counted(48 * HOUR), Warn(24, 24 * HOUR)),
        (counted(48 * HOUR), counted(48.1 * HOUR), None),
        (counted(1.0), counted(72 * HOUR), Block(72 * HOUR)),
        (counted(9.0, 9.0), counted(9.0, 9.0), None),
        (counted(9.0, 9.0), counted(9.0, HOUR + 9.0), Unblock(1.0)),
        (counted(8.0, 9.0), counted(8.0, HOUR + 8.0), Extend(3599 / 3600, HOUR)),
        (counted(0.0, 30 * HOUR), counted(0.0, 20 * HOUR), Warn(24, 20 * HOUR)),
        (counted(9.0, 30.0), counted(9.0, 9.0), Block(9.0)),
    ],
)
def test_news(before, after, told):
    """What is told of each change of state, and of which nothing is."""
    assert news(before, after) == told


def test_notice():
    """The notice counts down, changes its code when all is spent, and is not there where nobody took over."""
    assert notice(counted(0.0), reading(2880.0)) == Notice("takeover", "redundant server: 71 h 12 min left", 256_320.0)
    assert notice(counted(72 * HOUR), reading(5.0)) == Notice("blocked", BLOCKED, 0.0)
    assert notice(counted(72 * HOUR - 1.0), reading(5.0)).remaining == 0.0
    assert notice(Whole(), reading()) is None
    assert notice(Returned(counted(1.0), 1.0), reading()) is None


def test_blocked():
    """Checkouts are refused with what to do once all is spent, and only while the redundant server has the name."""
    assert blocked_sentence(counted(72 * HOUR)) == BLOCKED
    assert blocked_sentence(counted(72 * HOUR - 0.001)) == ""
    assert blocked_sentence(Whole()) == blocked_sentence(Returned(counted(9.0, 9.0), 1.0)) == ""


def test_status():
    """Status has the number, the beginning, what is spent and what remains, of a takeover that lasts."""
    shown = TakeoverStatus(2, "2026-11-21T20:48:00Z", spent=2880.0, remaining=256_320.0)
    assert shown_in_status(counted(0.0), reading(2880.0)) == shown
    assert shown_in_status(Whole(), reading()) is None
