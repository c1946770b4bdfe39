"""Tests of the commands that fence and activate: real scripts that write down how they were called."""

import pytest
import pytest_twisted
from twisted.internet import reactor

from lsproxy.proxy.relay.hooks import Hooks

VALUES = {"backend": "fn-a", "address": "127.0.0.1:27000", "host": "127.0.0.1", "pool": "mcad"}


@pytest.fixture
def script(tmp_path):
    calls = tmp_path / "calls"

    def write(name, rest):
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\necho "{name} $@" >> {calls}\n{rest}\n')
        path.chmod(0o755)
        return str(path)

    write.calls = lambda: calls.read_text().splitlines() if calls.exists() else []
    return write


@pytest_twisted.ensureDeferred
async def test_commands_run_in_order_with_what_they_are_about(script):
    """Each command is told the backend, one after the other."""
    commands = [(script("first", "sleep 0.1"), "{backend}", "{pool}"), (script("second", ""), "{address}", "{host}")]
    hooks = Hooks(reactor, "on_deactivate", commands, 5.0, 0)
    assert await hooks.run(VALUES) is None
    assert script.calls() == ["first fn-a mcad", "second 127.0.0.1:27000 127.0.0.1"]


@pytest_twisted.ensureDeferred
async def test_all_are_run_again_when_one_fails(script):
    """A failed attempt begins again with the first command; the last failure is told with the number of attempts."""
    commands = [(script("first", ""),), (script("second", "echo the switch is off; exit 3"),)]
    failure = await Hooks(reactor, "on_deactivate", commands, 5.0, 2).run(VALUES)
    assert script.calls() == ["first ", "second "] * 3
    assert failure == f"on_deactivate: {commands[1][0]} ended with status 3: the switch is off (3 attempts)"


@pytest_twisted.ensureDeferred
async def test_one_that_hangs_is_ended(script):
    """A command that does not end in time has failed."""
    hanging = script("hanging", "sleep 60")
    failure = await Hooks(reactor, "on_activate", [(hanging,)], 0.2, 0).run(VALUES)
    assert failure == f"on_activate: {hanging} did not end within 0.2 s"


@pytest_twisted.ensureDeferred
async def test_one_that_is_not_there_is_named(tmp_path):
    """A program that cannot be started is a failure like any other."""
    missing = str(tmp_path / "missing")
    failure = await Hooks(reactor, "on_activate", [(missing,)], 5.0, 0).run(VALUES)
    assert failure is not None
    assert failure.startswith(f"on_activate: {missing} cannot be started: it is not there")


def test_none_is_nothing_to_run():
    """Without commands there is nothing to be done."""
    assert not Hooks(reactor, "on_activate", (), 5.0, 0).are_there
