"""Coroutines of the loop's, run without a task."""

import gc
import weakref
from asyncio import CancelledError

import pytest_twisted
from twisted.internet import reactor

from lsproxy.net.eager import Eager


@pytest_twisted.ensureDeferred
async def test_first_part_runs_at_once(net):
    """What needs no wait is done when the call returns; the rest follows when what it awaits is there."""
    future = reactor.loop.create_future()
    said, ends = [], []

    async def speak():
        said.append("one")
        said.append(await future)

    Eager(speak(), ends.append)
    assert said == ["one"]
    future.set_result("two")
    await net.until(lambda: ends)
    assert (said, ends) == (["one", "two"], [None])


def test_fault_is_the_answer():
    """What a coroutine raises is told, not raised."""
    ends = []

    async def fail():
        raise OSError("no")

    Eager(fail(), ends.append)
    assert [str(end) for end in ends] == ["no"]


@pytest_twisted.ensureDeferred
async def test_cancelled_ends_what_it_awaits(net):
    """A cancelled one gets CancelledError where it waits, and may clean up."""
    ends, cleaned = [], []

    async def wait():
        try:
            await reactor.loop.create_future()
        finally:
            cleaned.append(True)

    eager = Eager(wait(), ends.append)
    eager.cancel()
    await net.until(lambda: ends)
    assert cleaned == [True]
    assert isinstance(ends[0], CancelledError)
    eager.cancel()


def test_leaves_no_cycle():
    """A finished one is gone when its last user is, with no help of the garbage collector."""

    class User:
        def __init__(self):
            self.eager = Eager(self.work(), self.done)

        async def work(self):
            pass

        def done(self, error):
            pass

    gc.disable()
    try:
        user = weakref.ref(User())
        assert user() is None
    finally:
        gc.enable()
