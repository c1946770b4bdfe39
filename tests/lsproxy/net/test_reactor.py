"""The reactor's clock, timers, threads, signals and children."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import pytest_twisted
from twisted.internet import reactor, utils
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from lsproxy.net.reactor import LONGEST_SLEEP_SECONDS, BoottimeReactor, boottime, install

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


def python(code: str, **environment: str) -> str:
    """What a Python process prints that runs `code`."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
        env={**os.environ, **environment},
    ).stdout


def test_seconds_are_boottime():
    """The reactor's clock is CLOCK_BOOTTIME."""
    assert abs(reactor.seconds() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 0.5
    assert abs(boottime() - reactor.seconds()) < 0.5


def test_install_is_idempotent():
    """Installed twice, it is one reactor, and the one Twisted knows."""
    assert install() is install() is reactor


def test_install_after_another_reactor():
    """Another reactor that is there already is refused in a sentence."""
    code = (
        "from twisted.internet import reactor\n"
        "from lsproxy.errors import LsproxyError\n"
        "from lsproxy.net.reactor import install\n"
        "try:\n    install()\nexcept LsproxyError as error:\n    print(error)\n"
    )
    assert "another reactor (EPollReactor) is already installed" in python(code)


@pytest_twisted.ensureDeferred
async def test_timed_calls_in_their_order(net):
    """Timed calls run in the order of their times, not too early and not much too late."""
    started = reactor.seconds()
    called = []
    for delay in (0.03, 0.0, 0.01, 0.02):
        reactor.callLater(delay, lambda due=delay: called.append((due, reactor.seconds() - started)))
    await net.until(lambda: len(called) == 4)
    assert [due for due, _ in called] == [0.0, 0.01, 0.02, 0.03]
    assert all(due <= at < due + 0.5 for due, at in called)


@pytest_twisted.ensureDeferred
async def test_timed_call_changed(net):
    """A timed call may be moved sooner, later, or cancelled."""
    called = []
    sooner = reactor.callLater(60, called.append, "sooner")
    later = reactor.callLater(0.02, called.append, "later")
    cancelled = reactor.callLater(0.001, called.append, "cancelled")
    sooner.reset(0.01)
    later.delay(0.02)
    cancelled.cancel()
    await net.until(lambda: len(called) == 2)
    assert called == ["sooner", "later"]


@pytest_twisted.ensureDeferred
async def test_timed_call_from_a_timed_call(net):
    """A timed call may ask for another, at once or soon."""
    called = []
    reactor.callLater(0, lambda: reactor.callLater(0, lambda: reactor.callLater(0.001, called.append, "third")))
    await net.until(lambda: called)


@pytest_twisted.ensureDeferred
async def test_timed_call_that_fails(net, logged):
    """A timed call that raises is logged, the next ones run."""
    called = []
    reactor.callLater(0, lambda: 1 / 0)
    reactor.callLater(0, called.append, "next")
    await net.until(lambda: called)
    assert [event["log_failure"].type for event in logged if "log_failure" in event] == [ZeroDivisionError]


@pytest_twisted.ensureDeferred
async def test_cancelled_timed_calls_are_forgotten():
    """A time limit that is cancelled soon, 20,000 times over, leaves nothing to wake up for."""
    for _ in range(200):
        for _ in range(100):
            reactor.callLater(60, lambda: None).cancel()
        await deferLater(reactor, 0)
    assert len(reactor._pendingTimedCalls) + len(reactor._newTimedCalls) < 2000


def test_after_a_suspend():
    """When the clock has gone on by hours while the loop's stood still, what is due by then runs within a second."""
    ahead = 0.0

    class AfterSuspend(BoottimeReactor):
        seconds = staticmethod(lambda: boottime() + ahead)

    loop = asyncio.new_event_loop()
    woken = threading.Event()
    other = AfterSuspend(loop)
    other.callLater(3600, woken.set)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    assert not woken.wait(0.05)
    ahead = 7200.0
    assert woken.wait(LONGEST_SLEEP_SECONDS + 2)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    for waker in other._internalReaders:
        waker.connectionLost(None)
    loop.close()


@pytest.mark.faketime
def test_wall_clock_jumps(tmp_path):
    """The wall clock set back and forth by an hour moves no timer."""
    code = """
import time
from lsproxy.net import reactor as net_reactor
reactor = net_reactor.install()
import pathlib
faked = pathlib.Path(FILE)
called = []
start = time.time()
def jump(offset):
    faked.write_text(offset)
for at, offset in ((0.1, "-3600"), (0.3, "+3600"), (0.5, "-3600")):
    reactor.callLater(at, jump, offset)
beats = []
def beat():
    beats.append((reactor.seconds(), time.time()))
    if len(beats) < 15:
        reactor.callLater(0.05, beat)
    else:
        reactor.stop()
beat()
reactor.run()
pauses = [later - sooner for (sooner, _), (later, _) in zip(beats, beats[1:])]
wall = [later - sooner for (_, sooner), (_, later) in zip(beats, beats[1:])]
print(min(pauses) > 0.04, max(pauses) < 0.5, min(wall) < -3000, max(wall) > 3000)
"""
    faked = tmp_path / "offset"
    faked.write_text("+0")
    said = python(
        code.replace("FILE", repr(str(faked))),
        LD_PRELOAD=FAKETIME,
        FAKETIME_TIMESTAMP_FILE=str(faked),
        FAKETIME_NO_CACHE="1",
        DONT_FAKE_MONOTONIC="1",
    )
    assert said.split() == ["True"] * 4


@pytest_twisted.ensureDeferred
async def test_call_from_thread():
    """A call from a thread comes soon, in the reactor's thread, and wakes a reactor that sleeps."""
    here = threading.current_thread()
    called = Deferred()

    def call():
        reactor.callFromThread(lambda: called.callback(threading.current_thread()))

    started = reactor.seconds()
    threading.Timer(0.05, call).start()
    assert await called is here
    assert reactor.seconds() - started < 0.9
    assert await deferToThread(threading.get_ident) != threading.get_ident()


@pytest_twisted.ensureDeferred
async def test_call_from_thread_that_fails(net, logged):
    """A call from a thread that raises is logged."""
    reactor.callFromThread(lambda: 1 / 0)
    await net.until(lambda: any("log_failure" in event for event in logged))


@pytest_twisted.ensureDeferred
async def test_children_are_reaped():
    """A child's end is noticed at once, on a loop that keeps the signals' descriptor for itself."""
    started = reactor.seconds()
    outputs = [utils.getProcessOutput("/bin/echo", [str(number).encode()]) for number in range(5)]
    assert [await output for output in outputs] == [f"{number}\n".encode() for number in range(5)]
    assert reactor.seconds() - started < 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("hidden", ["", "import sys; sys.modules['uvloop'] = None"])
def test_signals_stop(number, hidden):
    """TERM and INT stop a sleeping reactor in the orderly way, on uvloop and on asyncio's own loop."""
    code = f"""
{hidden}
import os, threading
from lsproxy.net import reactor as net_reactor
reactor = net_reactor.install()
reactor.addSystemEventTrigger("before", "shutdown", print, "flushed")
threading.Timer(0.1, os.kill, (os.getpid(), {int(number)})).start()
reactor.run()
print("ended")
"""
    assert python(code).split() == ["flushed", "ended"]


def test_children_without_uvloop():
    """On asyncio's own loop children are reaped too."""
    code = """
import sys; sys.modules["uvloop"] = None
from lsproxy.net import reactor as net_reactor
net_reactor.install()
from twisted.internet import task, utils
task.react(lambda _: utils.getProcessOutput("/bin/echo", [b"reaped"]).addCallback(lambda said: print(said.decode())))
"""
    assert python(code).split() == ["reaped"]


def test_idle_reactor_sleeps():
    """A reactor whose next timed call is far away spends next to no processor time."""
    code = """
import time
from lsproxy.net import reactor as net_reactor
reactor = net_reactor.install()
reactor.callLater(3600, print)
reactor.callWhenRunning(lambda: setattr(reactor, "began", time.process_time()))
reactor.callLater(0.4, reactor.stop)
reactor.run()
print(time.process_time() - reactor.began)
"""
    assert float(python(code)) < 0.1
