"""Tests of the commands that tell people: real scripts that write down what they were told."""

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from lsproxy.commands import all_ended
from lsproxy.notify import MOST_WAITING, Notify


@pytest.fixture
def page(tmp_path):
    """A command that writes down its arguments, after a while."""
    told = tmp_path / "told"
    path = tmp_path / "page-me"
    path.write_text(f'#!/bin/sh\nsleep 0.05\necho "$1|$2|$3" >> {told}\nexit 1\n')
    path.chmod(0o755)

    async def lines(count):
        for _ in range(200):
            found = told.read_text().splitlines() if told.exists() else []
            if len(found) >= count:
                return found
            await deferLater(reactor, 0.02)
        raise AssertionError(found)

    return (str(path), "{event}", "{pool}", "{message}"), lines


@pytest_twisted.ensureDeferred
async def test_events_are_passed_on_in_order(page):
    """One after the other, whatever becomes of the command; only what people are to be told."""
    command, lines = page
    notify = Notify(reactor, [command])
    notify.tell("takeover", "acme", "lic-b took over from lic-a")
    notify.tell("backend_up", "acme", "lic-a answers")
    notify.tell("unserved", "acme", 'no license server for 10 s: "$(reboot)"')
    notify.tell("conflict", None, "two")
    assert await lines(3) == [
        "takeover|acme|lic-b took over from lic-a",
        'unserved|acme|no license server for 10 s: "$(reboot)"',
        "conflict||two",
    ]


@pytest_twisted.ensureDeferred
async def test_a_flood_is_cut(page):
    """So many wait, the rest is left out; a stop forgets those that wait."""
    command, _ = page
    notify = Notify(reactor, [command])
    for _ in range(MOST_WAITING * 2):
        notify.tell("takeover", "acme", "again")
    assert len(notify._waiting) == MOST_WAITING
    notify.stop()
    assert not notify._waiting
    notify.tell("takeover", "acme", "too late")
    assert not notify._waiting
    await all_ended()
    notify.tell("takeover", "acme", "too late")
    assert all_ended().called


@pytest_twisted.ensureDeferred
async def test_a_command_that_is_not_there_stops_nothing(page, tmp_path):
    """The next command is run all the same."""
    command, lines = page
    notify = Notify(reactor, [(str(tmp_path / "missing"), "{event}"), command])
    notify.tell("takeover", "acme", "message")
    assert await lines(1) == ["takeover|acme|message"]


@pytest_twisted.ensureDeferred
async def test_what_no_argument_can_hold_is_left_out_of_it(page):
    """The message comes all the same."""
    command, lines = page
    Notify(reactor, [command]).tell("unserved", "acme", "lic\x00a\x1b[31m\nis down")
    assert await lines(1) == ["unserved|acme|lic\ufffda\ufffd[31m is down"]
    await all_ended()
