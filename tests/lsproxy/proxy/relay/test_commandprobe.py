"""What commands say of a backend: real ones, whose answers the test writes into a file."""

import shlex

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from lsproxy.commands import all_ended
from lsproxy.config import model
from lsproxy.net.address import Address
from lsproxy.proxy.relay.commandprobe import CommandProbe, Ill, Unknown, Well


class Command:
    """A command that does what `says` was told last, and a probe by it."""

    def __init__(self, folder, **settings):
        self._script = folder / "script"
        self.log = folder / "runs"
        self.log.touch()
        wanted = {"command_interval": 60.0, "command_timeout": 5.0, **settings}
        text = f'echo "$0" >> {shlex.quote(str(self.log))}; . {shlex.quote(str(self._script))}'
        command = ("/bin/sh", "-c", text, "{port}@{host}")
        probe = model.Probe(command=command, **wanted)
        self.probe = CommandProbe(reactor, probe, Address("fn-a", 27000), 3, lambda: 0.0)
        self.changes = 0

    def says(self, script):
        self._script.write_text(script)
        return self

    def start(self):
        self.probe.start(self._changed)

    def _changed(self):
        self.changes += 1

    @property
    def runs(self):
        return self.log.read_text().splitlines()

    async def until(self, verdict, seconds=5.0):
        end = reactor.seconds() + seconds
        while not isinstance(self.probe.verdict, verdict):
            assert reactor.seconds() < end, f"it is {self.probe.verdict}"
            await deferLater(reactor, 0.005)
        return self.probe.verdict

    async def has_run(self, times, seconds=5.0):
        end = reactor.seconds() + seconds
        while len(self.runs) < times:
            assert reactor.seconds() < end, f"it ran {len(self.runs)} times"
            await deferLater(reactor, 0.005)


@pytest.fixture
def command(tmp_path):
    """Makes a command; after the test it runs no more."""
    made = []

    def make(**settings):
        made.append(Command(tmp_path, **settings))
        return made[-1]

    yield make
    for one in made:
        one.probe.stop()
    pytest_twisted.blockon(all_ended())


@pytest_twisted.ensureDeferred
async def test_a_command_that_passes(command):
    """The first run decides: status 0 is well, the names in braces stand for the first port."""
    one = command().says("exit 0")
    assert one.probe.verdict == Unknown()
    one.start()
    one.start()
    assert await one.until(Well) == Well()
    assert one.changes == 1
    assert one.runs == ["27000@fn-a"]


@pytest_twisted.ensureDeferred
async def test_a_command_that_fails_at_first(command):
    """A first run that fails is repeated at once, and decides when `fall` runs have failed."""
    one = command().says("echo 'Cannot connect to license server'; exit 7")
    one.start()
    assert await one.until(Ill) == Ill("/bin/sh ended with status 7: Cannot connect to license server")
    assert len(one.runs) == 3
    await deferLater(reactor, 0.1)
    assert (len(one.runs), one.changes) == (3, 1)


@pytest_twisted.ensureDeferred
async def test_a_first_failure_is_no_verdict(command):
    """A first run that fails, as the one of a server in use may, does not count when the next one passes."""
    one = command().says("exit 1")
    one.says(f"[ $(wc -l < {one.log}) -gt 1 ]")
    one.start()
    await one.until(Well)
    assert (len(one.runs), one.changes) == (2, 1)


@pytest_twisted.ensureDeferred
async def test_the_verdict_is_inherited(command):
    """A probe by the same command goes on with the verdict, and runs when the former one would have."""
    former = command(command_interval=0.5).says("exit 0")
    former.start()
    await former.until(Well)
    heir = command(command_interval=0.5, command_timeout=1.0)
    heir.probe.inherit(former.probe)
    former.probe.stop()
    assert heir.probe.verdict == Well()
    heir.start()
    await deferLater(reactor, 0.1)
    assert len(heir.runs) == 1
    await heir.has_run(2)


@pytest_twisted.ensureDeferred
async def test_an_unfinished_run_is_made_anew(command):
    """A run that is ended with the former probe is begun again at once."""
    former = command(command_interval=0.1).says("exit 0")
    former.start()
    await former.until(Well)
    former.says("exec sleep 60")
    await former.has_run(2)
    heir = command(command_interval=60.0).says("exit 0")
    heir.probe.inherit(former.probe)
    former.probe.stop()
    heir.start()
    await heir.has_run(3, seconds=1.0)
    assert heir.probe.verdict == Well()


@pytest_twisted.ensureDeferred
async def test_the_verdict_of_another_command_says_nothing(command):
    """Where the command or what it is to print has changed, nothing is inherited."""
    former = command().says("exit 0")
    former.start()
    await former.until(Well)
    heir = command(command_expect="UP")
    heir.probe.inherit(former.probe)
    assert heir.probe.verdict == Unknown()


@pytest_twisted.ensureDeferred
async def test_one_failure_after_passes_is_repeated_first(command):
    """Of a backend that is well, `fall` failures in a row are needed; a pass between them is the end of it."""
    one = command(command_interval=0.05).says("exit 0")
    one.start()
    await one.until(Well)
    one.says(f"[ $(($(wc -l < {one.log}) % 3)) = 0 ]")
    await one.has_run(len(one.runs) + 9)
    assert (one.probe.verdict, one.changes) == (Well(), 1)


@pytest_twisted.ensureDeferred
async def test_ill_and_well_again(command):
    """After `fall` failures it is ill, and stays so until a run passes."""
    one = command(command_interval=0.1).says("exit 0")
    one.start()
    await one.until(Well)
    one.says("exit 1")
    await one.until(Ill)
    failed = len(one.runs)
    await one.has_run(failed + 2)
    assert isinstance(one.probe.verdict, Ill)
    one.says("exit 0")
    await one.until(Well)
    assert one.changes == 3


@pytest_twisted.ensureDeferred
async def test_what_is_printed_decides(command):
    """With `command_expect` the output has to hold it, at the beginning of a line where it says so."""
    one = command(command_expect=r"^\s+\w+: UP").says("echo 'Vendor daemon status'; echo '     demo: UP v11.19.6'")
    one.start()
    await one.until(Well)
    one.probe.stop()
    one.says("echo 'demo: UP'; echo '     demo: The desired vendor daemon is down. (-97,121)'")
    one.start()
    assert await one.until(Ill) == Ill(
        r'/bin/sh printed nothing that "^\s+\w+: UP" finds,'
        ' its last line is "demo: The desired vendor daemon is down. (-97,121)"'
    )


@pytest_twisted.ensureDeferred
async def test_what_is_looked_for_may_stand_far_from_the_end(command):
    """A long list of users behind the line that is looked for does not hide it."""
    one = command(command_expect="^server UP$").says("echo server UP; head -c 500000 /dev/zero | tr '\\0' x; echo")
    one.start()
    await one.until(Well)


@pytest_twisted.ensureDeferred
async def test_a_command_that_hangs(command):
    """A command that does not end in time has failed."""
    one = command(command_timeout=0.1).says("exec sleep 60")
    one.start()
    assert await one.until(Ill) == Ill("/bin/sh did not end within 0.1 s")


@pytest_twisted.ensureDeferred
async def test_a_command_that_is_not_there():
    """A program that cannot be started is ill, with that reason."""
    probe = CommandProbe(reactor, model.Probe(command=("/nowhere/lmutil",)), Address("fn-a", 27000), 3, lambda: 0.0)
    probe.start(lambda: None)
    await deferLater(reactor, 0.05)
    assert isinstance(probe.verdict, Ill)
    assert probe.verdict.reason.startswith("/nowhere/lmutil cannot be started: it is not there")
    probe.stop()


@pytest_twisted.ensureDeferred
async def test_stopped(command):
    """Stopped, it knows nothing, and what was running is ended and does not count."""
    one = command().says("exec sleep 60")
    one.start()
    await one.has_run(1)
    one.probe.stop()
    assert one.probe.verdict == Unknown()
    one.says("exit 0")
    one.start()
    await one.until(Well)
    assert len(one.runs) == 2


@pytest_twisted.ensureDeferred
async def test_regular_runs(command):
    """It is run every `command_interval`, one run at a time."""
    one = command(command_interval=0.05).says("sleep 0.1")
    one.start()
    await one.has_run(4)
    assert (one.changes, one.probe.verdict) == (1, Well())
