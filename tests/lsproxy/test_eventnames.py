"""Every event has a name that is listed, and every name listed is that of an event."""

import re
from pathlib import Path

from lsproxy import eventnames, notify

SOURCES = {
    path: path.read_text()
    for path in (Path(__file__).parents[2] / "lsproxy").rglob("*.py")
    if path.name != "eventnames.py"
}
TOLD = re.compile(r"(?:\bannounce|_tell)\(\s*\"([a-z_]+)\"|event = \"([a-z_]+)\" if \w+ else \"([a-z_]+)\"")
LOGGED = re.compile(r"\bevent=\"([a-z_]+)\"")
OF_THE_LOG_ITSELF = {"cannot_start", "fault", "note"}
COMPOSED = {"access_log_failed", "access_log_restored"}  # of what the file is for


def found(pattern):
    return {name for text in SOURCES.values() for match in pattern.findall(text) for name in [*match] if name}


def test_what_is_told_is_listed():
    """In the stream, to notify, in the log."""
    assert found(TOLD) == set(eventnames.TOLD)


def test_what_is_logged_is_listed():
    """Under the names that stand in the code."""
    names = {name for text in SOURCES.values() for name in LOGGED.findall(text)}
    assert names - set(eventnames.TOLD) == set(eventnames.LOGGED) - OF_THE_LOG_ITSELF - COMPOSED


def test_no_name_means_two_things():
    """Nor do the lists overlap."""
    assert not set(eventnames.TOLD) & set(eventnames.LOGGED)


def test_people_are_told_of_events_that_exist():
    """The commands of `notify` are."""
    assert set(eventnames.TOLD) >= notify.EVENTS


def test_troubles_are_events_and_people_are_told_of_the_gravest():
    """What the panel marks is what the log warns of; the limit of a pair is among it."""
    assert eventnames.URGENT <= eventnames.TROUBLES <= set(eventnames.TOLD)
    assert {"blocked", "takeover_hours"} <= eventnames.TROUBLES
    assert notify.EVENTS - {"conflict_over"} <= eventnames.TROUBLES
