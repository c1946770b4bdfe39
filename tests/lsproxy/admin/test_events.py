"""The backlog of events and those who follow it."""

from lsproxy.admin.events import MOST_KEPT, Events


def told(events, count):
    for number in range(count):
        events.tell("backend_up", "acme", f"event {number}", {"number": number})


def test_the_backlog_is_bounded():
    """The oldest go first."""
    events = Events("abc", lambda: 0.0)
    told(events, MOST_KEPT + 5)
    kept = list(events.after(None))
    assert len(kept) == MOST_KEPT
    assert kept[0].message == "event 5"


def test_who_comes_back_gets_what_was_missed():
    """After a known id only what came later; after one of another start everything."""
    events = Events("abc", lambda: 0.0)
    told(events, 3)
    first, *later = events.after(None)
    assert list(events.after(first.id)) == later
    assert list(events.after("xyz-1")) == [first, *later]


def test_times_are_utc():
    """RFC 3339 with milliseconds."""
    events = Events("abc", lambda: 1_700_000_000.25)
    told(events, 1)
    (event,) = events.after(None)
    assert event.time == "2023-11-14T22:13:20.250Z"


def test_a_follower_is_told_until_it_leaves():
    """From its first moment to its last, nothing before or after."""
    events = Events("abc", lambda: 0.0)
    heard = []
    told(events, 1)
    leave = events.follow(heard.append)
    told(events, 2)
    leave()
    told(events, 1)
    assert [event.id for event in heard] == ["abc-2", "abc-3"]


def test_a_message_is_one_line():
    """It comes to terminals, whoever wrote parts of it."""
    events = Events("test", lambda: 0.0)
    events.tell("unserved", "acme", "lic\x1b[31m\nis down", {})
    assert [event.message for event in events.after(None)] == ["lic\ufffd[31m is down"]
