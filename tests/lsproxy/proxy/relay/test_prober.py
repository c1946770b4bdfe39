"""Tests of probers: checks that end as the test says on a clock that is told, and real servers that die."""

import os
import signal
import subprocess
import sys

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import globalLogPublisher

from lsproxy.config import model
from lsproxy.core.health import Down, Unchecked, Up, check_failed, check_passed
from lsproxy.core.rhythm import Timing
from lsproxy.net.address import Address
from lsproxy.net.endpoints import client_endpoint
from lsproxy.proxy.relay.checks import build_checks
from lsproxy.proxy.relay.commandprobe import Ill, Unknown, Well
from lsproxy.proxy.relay.portcheck import Failed, Passed, Undecided
from lsproxy.proxy.relay.prober import Prober

LOOPBACK = "127.0.0.1"
TIMING = Timing(interval=2.0, timeout=3.0, rise=2, fall=3)
QUICK = Timing(interval=0.25, timeout=0.5, rise=2, fall=3)
SILENT = Failed("vendor: silent", is_certain=False)
REFUSED = Failed("vendor: refused", is_certain=True)

SERVER = """
import ctypes, signal, socket, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(listening.getsockname()[1], flush=True)
while True:
    accepted, _ = listening.accept()
    while accepted.recv(4096):
        pass
    accepted.close()
"""


class Command:
    """A command whose verdict the test says."""

    def __init__(self):
        self.verdict = Unknown()
        self.starts = 0
        self._changed = None

    def start(self, changed):
        if self._changed is None:
            self.starts += 1
            self._changed = changed

    def stop(self):
        self._changed = None
        self.verdict = Unknown()

    def says(self, verdict):
        self.verdict = verdict
        self._changed()


class Checks:
    """Checks that are open until the test ends them; with `always`, each ends so at once."""

    def __init__(self, command=None):
        self.command = command
        self.asked = []
        self.cancelled = []
        self.always = None

    def ask(self):
        number = len(self.asked)
        self.asked.append(Deferred(lambda _check: self.cancelled.append(number)))
        if self.always is not None:
            self.asked[-1].callback(self.always)
        return self.asked[-1]

    def end(self, number, result):
        self.asked[number].callback(result)

    @property
    def count(self):
        return len(self.asked)


class Heard:
    """What the prober said, and the health that comes of it."""

    def __init__(self, timing):
        self.said = []
        self.health = Unchecked()
        self.down_at = None
        self._thresholds = timing.thresholds

    def check_passed(self):
        self.said.append("passed")
        self.health = check_passed(self.health, self._thresholds)

    def check_failed(self, reason, *, is_lost):
        self.said.append((reason, is_lost))
        before, self.health = self.health, check_failed(self.health, self._thresholds)
        if isinstance(self.health, Down) and before != self.health:
            self.down_at = reactor.seconds()


def probing(command=None, *, timing=TIMING, always=None):
    clock, checks, heard = Clock(), Checks(command), Heard(timing)
    checks.always = always
    prober = Prober(clock, checks, timing, lambda: 0.0, heard)
    prober.start()
    clock.advance(0)
    return clock, checks, heard, prober


def answered(deferred):
    said = []
    deferred.addCallback(said.append)
    return said


def test_checks_every_interval():
    """A check goes out at once and then every `interval`."""
    clock, checks, heard, prober = probing(always=Passed(0.002))
    clock.pump([1.0] * 4)
    assert checks.count == 3
    assert heard.said == ["passed"] * 3
    assert prober.latency == 0.002


def test_silence():
    """While a check is unanswered others go out beside it, `fall` at most."""
    clock, checks, heard, _ = probing()
    checks.end(0, Passed(0.1))
    clock.pump([1.0] * 6)
    assert checks.count == 4
    checks.end(1, SILENT)
    clock.advance(0)
    assert checks.count == 5
    assert heard.said == ["passed", ("vendor: silent", False)]


def test_refused():
    """A refusal is followed at once, until it is down."""
    clock, checks, heard, prober = probing(always=Passed(0.1))
    checks.always = REFUSED
    clock.advance(0.5)
    prober.suspect()
    clock.pump([0.01] * 10)
    assert heard.said == ["passed"] + [("vendor: refused", True)] * 3
    assert isinstance(heard.health, Down)
    assert checks.count == 4


def test_a_shortage_here_says_nothing_of_the_server():
    """A check that could not be made moves nothing, and leaves what a connection met to be the server's will."""
    clock, checks, heard, prober = probing(always=Passed(0.1))
    checks.always = Undecided("vendor: Too many open files")
    answer = answered(prober.verify())
    clock.pump([1.0] * 20)
    assert checks.count > 5
    assert heard.said == ["passed"]
    assert isinstance(heard.health, Up)
    assert answer == [True]


def test_a_pass_ends_older_checks():
    """A check that passes ends those that went out before it, which are not told of any more."""
    clock, checks, heard, _ = probing()
    checks.end(0, Passed(0.1))
    clock.pump([2.0, 1.0])
    checks.end(2, Passed(0.1))
    assert checks.cancelled == [1]
    clock.pump([1.0, 1.0])
    assert heard.said == ["passed", "passed"]
    assert checks.count == 4


def test_suspicion_of_many():
    """Thousands that suspect at once cause one check, and one more when that has passed."""
    clock, checks, _, prober = probing(always=Passed(0.1))
    clock.advance(0.5)
    for _ in range(1000):
        prober.suspect()
    clock.advance(0)
    assert checks.count == 2
    prober.suspect()
    clock.advance(0.005)
    assert checks.count == 2
    clock.advance(0.005)
    assert checks.count == 3


def test_verify():
    """It is answered by a check that begins after it was asked, not by one that was on its way."""
    clock, checks, _, prober = probing()
    checks.end(0, Passed(0.1))
    clock.advance(2.0)
    said = answered(prober.verify())
    checks.end(1, Passed(0.1))
    assert said == []
    clock.advance(0.01)
    checks.end(2, Passed(0.1))
    assert said == [True]
    said = answered(prober.verify())
    clock.advance(0.01)
    checks.end(3, REFUSED)
    assert said == [False]


def test_verify_by_a_newer_check():
    """Who waits for a check is answered by a newer one that passed first."""
    clock, checks, _, prober = probing()
    checks.end(0, Passed(0.1))
    clock.advance(0.5)
    said = answered(prober.verify())
    clock.pump([0.0, 1.0])
    assert checks.count == 3
    checks.end(2, Passed(0.1))
    assert said == [True]


def test_verify_many_at_once():
    """All that ask in one turn share a check."""
    clock, checks, _, prober = probing(always=Passed(0.1))
    clock.advance(0.5)
    said = [answered(prober.verify()) for _ in range(1000)]
    clock.advance(0)
    assert said == [[True]] * 1000
    assert checks.count == 2


def test_stopped():
    """Stopped, it ends its checks, tells nothing more, and who waits is told no."""
    clock, checks, heard, prober = probing()
    checks.end(0, Passed(0.1))
    waiting = answered(prober.verify())
    clock.advance(0.01)
    later = answered(prober.verify())
    prober.stop()
    assert (waiting, later, checks.cancelled) == ([False], [False], [1])
    assert not prober.is_running
    assert answered(prober.verify()) == [False]
    prober.suspect()
    assert not clock.getDelayedCalls()
    assert heard.said == ["passed"]


def test_stopped_with_all_checks_open():
    """Stopped amid a silence, with as many checks open as may be, it ends them and the command."""
    command = Command()
    clock, checks, _, prober = probing(command, always=Passed(0.1))
    command.says(Well())
    clock.advance(0.01)
    checks.always = None
    clock.pump([2.0, 1.0, 1.0, 1.0])
    assert not clock.getDelayedCalls()
    prober.stop()
    assert checks.cancelled == [2, 3, 4]
    assert command.verdict == Unknown()


def test_a_fault_of_whoever_is_told():
    """When whoever is told fails, that is logged, and the checks go on."""
    clock, checks, heard, _ = probing()
    logged = []
    heard.check_passed = lambda: 1 / 0
    globalLogPublisher.addObserver(logged.append)
    checks.end(0, Passed(0.1))
    globalLogPublisher.removeObserver(logged.append)
    assert [event["log_failure"].type for event in logged] == [ZeroDivisionError]
    clock.advance(2.0)
    assert checks.count == 2


def test_started_again():
    """Started again, it begins at once."""
    clock, checks, heard, prober = probing(always=REFUSED)
    prober.stop()
    checks.always = Passed(0.1)
    prober.start()
    prober.start()
    clock.advance(0)
    assert checks.count == 2
    assert heard.said == [("vendor: refused", True), "passed"]


def test_started_with_what_is_known():
    """It goes on from the health it is told: one that was up is up after a failed check, and looked at soon."""
    clock, checks, heard, prober = probing(always=REFUSED)
    prober.stop()
    heard.health = Up(1)
    prober.start(Up(1))
    clock.advance(0)
    assert (checks.count, heard.health) == (2, Up(2))
    clock.advance(0.01)
    assert (checks.count, heard.health) == (3, Down())


def test_a_command_that_is_known_to_be_well_goes_on():
    """With a verdict from before, checks count from the first one on, and the command is run all the same."""
    command = Command()
    command.verdict = Well()
    _, _, heard, _ = probing(command, always=Passed(0.1))
    assert (heard.said, command.starts) == (["passed"], 1)


def test_one_that_is_not_known_is_down_after_fall_failures():
    """From the start on, a single failed check brings nobody down; refusals follow each other at once."""
    clock, checks, heard, _ = probing(always=REFUSED)
    assert heard.health == Unchecked(1)
    clock.pump([0.01, 0.01])
    assert (checks.count, heard.health) == (3, Down())


def test_stopped_by_what_it_says():
    """Whoever is told may stop it: who waits for that check is told no."""
    clock, checks, heard, prober = probing()
    checks.end(0, Passed(0.1))
    said = answered(prober.verify())
    clock.advance(0.01)
    heard.check_passed = prober.stop
    checks.end(1, Passed(0.1))
    assert said == [False]
    assert not clock.getDelayedCalls()


def test_passes_wait_for_the_command():
    """Until the command has said something, passed checks say nothing; it is run when the ports answer."""
    command = Command()
    clock, _, heard, prober = probing(command, always=Passed(0.1))
    clock.pump([2.0] * 2)
    assert (heard.said, command.starts) == ([], 1)
    command.says(Well())
    clock.advance(0.01)
    assert heard.said == ["passed"]
    assert prober.complaint is None


def test_a_command_that_is_ill_brings_it_down():
    """When the command says something is wrong, the backend is down in some 10 ms and stays so until it is well."""
    command = Command()
    clock, _, heard, prober = probing(command, always=Passed(0.1))
    command.says(Well())
    clock.advance(1.0)
    command.says(Ill("lmutil ended with status 1"))
    clock.pump([0.01] * 4)
    assert heard.said == ["passed"] + [("lmutil ended with status 1", False)] * 3
    assert isinstance(heard.health, Down)
    assert prober.complaint == "lmutil ended with status 1"
    clock.pump([2.0] * 3)
    assert heard.said[4:] == [("lmutil ended with status 1", False)] * 3
    command.says(Well())
    clock.pump([0.01, 0.5])
    assert heard.said[7:] == ["passed", "passed"]


def test_verify_heeds_the_command():
    """A server of which the command says that something is wrong is not well, whatever its ports do."""
    command = Command()
    clock, _, _, prober = probing(command, always=Passed(0.1))
    command.says(Ill("down"))
    said = answered(prober.verify())
    clock.advance(0.01)
    assert said == [False]


def test_the_verdict_is_forgotten_when_the_ports_are_down():
    """When the ports are down the command is stopped; when they are back it is asked anew before they count."""
    command = Command()
    clock, checks, heard, _ = probing(command, always=Passed(0.1))
    command.says(Well())
    clock.advance(0.01)
    checks.always = REFUSED
    clock.pump([2.0, 0.01, 0.01])
    assert command.verdict == Unknown()
    checks.always = Passed(0.1)
    clock.pump([2.0, 2.0])
    assert command.starts == 2
    assert heard.said[-1] == ("vendor: refused", True)
    command.says(Well())
    clock.pump([0.01, 0.5])
    assert heard.said[-2:] == ["passed", "passed"]


def test_one_failure_of_the_ports_leaves_the_verdict():
    """A single failed check is no reason to ask the command anew."""
    command = Command()
    clock, checks, _, _ = probing(command, always=Passed(0.1))
    command.says(Well())
    clock.advance(0.01)
    checks.always = SILENT
    clock.advance(2.0)
    assert command.verdict == Well()


class Real:
    """A server in a process of its own, and a prober that watches it."""

    def __init__(self, timing):
        self.timing = timing
        self.number = 0
        self.process = None
        self.serve()
        address = Address(LOOPBACK, self.number)
        doors = {"vendor": client_endpoint(reactor, address.host, address.port, timeout=10)}
        health = model.RelayHealth(interval=timing.interval, timeout=timing.timeout)
        checks = build_checks(reactor, doors, {"vendor": address}, model.Probe(), health, lambda: 0.0)
        self.heard = Heard(timing)
        self.prober = Prober(reactor, checks, timing, lambda: 0.0, self.heard)

    def serve(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(self.number)], stdout=subprocess.PIPE, text=True
        )
        self.number = int(self.process.stdout.readline())

    def end(self):
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()

    async def said(self, count, seconds=5.0):
        """Wait until so many checks were told of."""
        end = reactor.seconds() + seconds
        while len(self.heard.said) < count:
            assert reactor.seconds() < end, self.heard.said
            await deferLater(reactor, 0.001)

    async def down(self, seconds=5.0):
        """Wait until it is down; when that was."""
        end = reactor.seconds() + seconds
        while self.heard.down_at is None:
            assert reactor.seconds() < end, self.heard.said
            await deferLater(reactor, 0.001)
        return self.heard.down_at


@pytest.fixture
def real():
    made = Real(QUICK)
    yield made
    made.prober.stop()
    made.end()


@pytest_twisted.ensureDeferred
async def test_a_stopped_server_is_found_in_time(real):
    """SIGSTOP is found within interval + timeout + (fall - 1) * timeout / fall: here 1.1 s."""
    real.prober.start()
    await real.said(2)
    os.kill(real.process.pid, signal.SIGSTOP)
    began = reactor.seconds()
    assert await real.down() - began < 0.25 + 0.5 + 2 * 0.5 / 3 + 0.15
    assert "did nothing for 0.5 s" in real.heard.said[-1][0]


@pytest_twisted.ensureDeferred
async def test_a_killed_server_is_found_at_once(real):
    """Once somebody noticed, a server that was killed is down after two pauses of 10 ms."""
    real.prober.start()
    await real.said(1)
    real.end()
    began = reactor.seconds()
    said = answered(real.prober.verify())
    assert await real.down() - began < 0.2
    assert said == [False]
    assert real.heard.said[-1] == (f"vendor ({LOOPBACK}:{real.number}): connection refused", True)


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_back(real):
    """A server that was killed and started again is up after `rise` checks, in faster rhythm."""
    real.prober.start()
    await real.said(1)
    real.end()
    await real.said(5)
    real.serve()
    told = len(real.heard.said)
    await real.said(told + 6)
    assert real.heard.said[-1] == "passed"
    assert not isinstance(real.heard.health, Down)
