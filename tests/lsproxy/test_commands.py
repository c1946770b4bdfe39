"""Programs run from a reactor: real ones, and what is left of them."""

import os
import resource
import signal
import stat
import sys
import time
from pathlib import Path

import psutil
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from lsproxy.commands import (
    GRACE_SECONDS,
    OUTPUT_BYTES,
    CommandError,
    Outcome,
    all_ended,
    end_all_now,
    fill,
    placeholders,
    run,
)


def shell(text):
    return ("/bin/sh", "-c", text)


def script(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def descriptors():
    """Those of pipes and of processes."""
    links = {one.name: str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()}
    return {one for one, link in links.items() if link.startswith(("pipe:", "anon_inode:[pidfd]"))}


def inheritable():
    """What this process's children have open by the will of whoever started the tests."""
    given = [int(one.name) for one in Path("/proc/self/fd").iterdir() if one.exists()]
    return [number for number in given if number > 2 and os.get_inheritable(number)]


async def until(happened, seconds=5.0):
    end = reactor.seconds() + seconds
    while not happened():
        assert reactor.seconds() < end, "it did not happen in time"
        await deferLater(reactor, 0.002)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def number_in(path):
    return int(path.read_text()) if path.exists() and path.read_text().endswith("\n") else None


@pytest.fixture(autouse=True)
def nothing_is_left():
    """No descriptor, timer, reader or child is left by any test here."""
    before, calls, readers = descriptors(), set(reactor.getDelayedCalls()), len(reactor.getReaders())
    others = set(psutil.Process().children())
    yield
    assert descriptors() == before
    assert not {call for call in reactor.getDelayedCalls() if call.active()} - calls
    assert len(reactor.getReaders()) == readers
    assert set(psutil.Process().children()) <= others


@pytest_twisted.ensureDeferred
async def test_what_it_prints_and_how_it_ends():
    """Status and output, standard error among it, in the order it came."""
    outcome = await run(reactor, shell("echo one; echo two >&2; echo three; exit 3"), 5)
    assert (outcome.status, outcome.output, outcome.is_late) == (3, "one\ntwo\nthree\n", False)
    assert outcome.problem == "ended with status 3: three"


@pytest_twisted.ensureDeferred
async def test_success_is_no_problem():
    """A program that ends with status 0 in time has no problem, whatever it printed."""
    assert (await run(reactor, shell("echo warning"), 5)).problem is None


@pytest_twisted.ensureDeferred
async def test_ended_by_a_signal():
    """A signal is a negative status, with its name."""
    outcome = await run(reactor, shell("kill -SEGV $$"), 5)
    assert (outcome.status, outcome.problem) == (-signal.SIGSEGV, "was ended by SIGSEGV")


@pytest_twisted.ensureDeferred
async def test_only_the_end_of_the_output_is_kept():
    """Of 1 MiB the last 4 KiB are kept; bytes that are no text do no harm."""
    outcome = await run(reactor, shell(r"head -c 1000000 /dev/zero; printf '\377end'"), 5)
    assert len(outcome.output) == OUTPUT_BYTES
    assert outcome.output.endswith("\0\N{REPLACEMENT CHARACTER}end")


@pytest_twisted.ensureDeferred
async def test_a_flood_ends_at_the_limit():
    """A program that prints for ever neither fills the memory nor holds up the reactor."""
    running = run(reactor, ("yes",), 0.2)
    turns = 0
    while not running.called:
        await deferLater(reactor, 0.001)
        turns += 1
    outcome = await running
    assert outcome.problem == "did not end within 0.2 s: y"
    assert len(outcome.output) == OUTPUT_BYTES
    assert turns > 20


@pytest_twisted.ensureDeferred
async def test_end_at_the_limit():
    """At its limit a program is told to end, and what it says meanwhile is kept."""
    began = reactor.seconds()
    outcome = await run(reactor, shell("trap 'echo ending; exit 7' TERM; sleep 60 & wait"), 0.1)
    assert reactor.seconds() - began < 1
    assert (outcome.is_late, outcome.status) == (True, 7)
    assert outcome.problem == "did not end within 0.1 s: ending"


@pytest_twisted.ensureDeferred
async def test_whoever_ignores_the_signal_is_killed():
    """A second after the limit, whoever ignores SIGTERM is killed."""
    began = reactor.seconds()
    outcome = await run(reactor, (sys.executable, "-c", IGNORING), 0.3)
    assert 1.2 < reactor.seconds() - began < 2.5
    assert (outcome.is_late, outcome.status) == (True, -signal.SIGKILL)


IGNORING = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


@pytest_twisted.ensureDeferred
async def test_a_stopped_program_is_killed():
    """A program that was stopped ends with its limit too."""
    outcome = await run(reactor, shell("kill -STOP $$"), 0.1)
    assert (outcome.is_late, outcome.status) == (True, -signal.SIGKILL)


@pytest_twisted.ensureDeferred
async def test_what_it_started_ends_with_it(tmp_path):
    """At the limit the whole process group ends, also those that ignore SIGTERM once their leader is gone."""
    child = tmp_path / "child"
    ignoring = f"{sys.executable} -c '{IGNORING}'"
    outcome = await run(reactor, shell(f"{ignoring} & echo $! > {child}; sleep 60"), 0.3)
    assert outcome.is_late
    await until(lambda: not is_alive(number_in(child)))


@pytest_twisted.ensureDeferred
async def test_cancelled(tmp_path):
    """Cancelled, the answer is there at once, and the program ends as at its limit."""
    child = tmp_path / "child"
    running = run(reactor, shell(f"echo $$ > {child}; trap '' TERM; sleep 60 & wait; wait"), 60)
    await until(lambda: number_in(child))
    running.cancel()
    with pytest.raises(CancelledError):
        await running
    pid = number_in(child)
    assert is_alive(pid)
    await until(lambda: not Path(f"/proc/{pid}").exists())


OF_ANOTHER_USER = """
import os, signal
from lsproxy.net.reactor import install
reactor = install()
from lsproxy.commands import run

def done(outcome):
    print(outcome.status, outcome.is_late, reactor.seconds() - began < 3)
    os.setresuid(0, 0, 0)
    os.kill(child, signal.SIGKILL)
    reactor.callLater(0.5, reap)

def reap():
    try:
        os.waitpid(child, os.WNOHANG)
    except ChildProcessError:
        print("reaped")
    reactor.stop()

began = reactor.seconds()
running = run(reactor, ("sleep", "60"), 0.1)
child = int(open("/proc/thread-self/children").read())
os.setresuid(65534, 65534, 0)
running.addCallback(done)
reactor.run()
"""


@pytest.mark.root
@pytest_twisted.ensureDeferred
async def test_nobody_waits_for_a_program_that_cannot_be_ended():
    """A program that no signal reaches, as it is another user's, is given up 2 s later, and reaped at its end."""
    outcome = await run(reactor, (sys.executable, "-c", OF_ANOTHER_USER), 20)
    assert outcome.output == "-9 True True\nreaped\n"


@pytest_twisted.ensureDeferred
async def test_what_stays_behind_holds_nothing_up(tmp_path):
    """A process that the program leaves behind, with the output open, neither delays the answer nor is ended."""
    child = tmp_path / "child"
    began = reactor.seconds()
    outcome = await run(reactor, shell(f"sleep 60 & echo $! > {child}; echo started"), 30)
    assert reactor.seconds() - began < 5
    assert (outcome.status, outcome.output) == (0, "started\n")
    pid = number_in(child)
    assert is_alive(pid)
    os.kill(pid, signal.SIGKILL)


@pytest_twisted.ensureDeferred
async def test_what_a_program_inherits():
    """Standard input is empty, no descriptor of this process is open, and it leads its own session."""
    code = (
        "import os, sys; fds = [it for it in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + it)];"
        "print(sys.stdin.read() == '', os.getsid(0) == os.getpid(), sorted(map(int, fds)))"
    )
    outcome = await run(reactor, (sys.executable, "-c", code), 10)
    assert outcome.output == f"True True {sorted([0, 1, 2, *inheritable()])}\n"


@pytest_twisted.ensureDeferred
async def test_a_cancelled_program_is_waited_for():
    """Who cancels is answered at once; `all_ended` fires when the program is gone, by SIGKILL if it has to."""
    assert all_ended().called
    running = run(reactor, shell("trap '' TERM; while :; do sleep 1; done"), 60)
    quick = run(reactor, shell("exec sleep 60"), 60)
    await deferLater(reactor, 0.1)
    for one in (running, quick):
        one.addErrback(lambda failure: failure.trap(CancelledError))
        one.cancel()
        assert one.called
    began = time.monotonic()
    ended, other = all_ended(), all_ended()
    assert not ended.called
    await ended
    assert other.called
    assert GRACE_SECONDS * 0.9 < time.monotonic() - began < GRACE_SECONDS + 1
    assert all_ended().called


@pytest_twisted.ensureDeferred
async def test_whoever_has_no_time_kills_all():
    """What was cancelled and what was not, and what they started, end at once; a wait that was given up is over."""
    running = [run(reactor, shell("trap '' TERM; sleep 60 & wait; sleep 60"), 60) for _ in range(2)]
    running[0].addErrback(lambda failure: failure.trap(CancelledError))
    await deferLater(reactor, 0.1)
    running[0].cancel()
    given_up = all_ended().addErrback(lambda failure: failure.trap(CancelledError))
    given_up.cancel()
    began = time.monotonic()
    end_all_now()
    await all_ended()
    assert (await running[1]).status == -signal.SIGKILL
    assert time.monotonic() - began < GRACE_SECONDS / 2


@pytest_twisted.ensureDeferred
async def test_a_broken_pipe_ends_what_a_program_starts():
    """SIGPIPE, which Python ignores, is as usual again: `yes | head` ends."""
    outcome = await run(reactor, shell("yes | head -n 1"), 5)
    assert (outcome.status, outcome.output) == (0, "y\n")


@pytest_twisted.ensureDeferred
async def test_environment():
    """An environment that is given replaces this process's."""
    outcome = await run(reactor, ("/usr/bin/env",), 5, environment={"EVENT": "takeover"})
    assert outcome.output == "EVENT=takeover\n"
    assert "PATH=" in (await run(reactor, ("/usr/bin/env",), 5)).output


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (("/nowhere/fence", "a"), "/nowhere/fence cannot be started: it is not there"),
        (("lsproxy-has-no-such-program",), "lsproxy-has-no-such-program cannot be started: it is not there"),
        (("/etc/passwd",), "/etc/passwd cannot be started: this user may not execute it"),
        (("/bin/true", "a\0b"), "/bin/true cannot be started: an argument holds what no argument can"),
        (("/bin/true", "a" * 200_000), "/bin/true cannot be started: Argument list too long"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_programs_that_cannot_be_started(argv, why):
    """What cannot be started is a sentence that names the program."""
    with pytest.raises(CommandError) as caught:
        await run(reactor, argv, 5)
    assert str(caught.value).startswith(why)


@pytest_twisted.ensureDeferred
async def test_no_shell_behind_anyones_back(tmp_path):
    """A script without #! is refused, not given to a shell; one whose interpreter is missing is said."""
    with pytest.raises(CommandError, match="a script begins with #!"):
        await run(reactor, (str(script(tmp_path / "plain", "echo hello\n")),), 5)
    with pytest.raises(CommandError, match="or its interpreter is not"):
        await run(reactor, (str(script(tmp_path / "lost", "#!/nowhere/sh\n")),), 5)


@pytest_twisted.ensureDeferred
async def test_out_of_descriptors():
    """Without a descriptor left, that is what is said, and nothing is lost."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for spare in (0, 1, 2):
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        held = []
        try:
            while True:
                held.append(os.dup(0))
        except OSError:
            pass
        for _ in range(spare):
            os.close(held.pop())
        try:
            with pytest.raises(CommandError, match="/bin/true cannot be started: Too many open files"):
                await run(reactor, ("/bin/true",), 5)
        finally:
            for it in held:
                os.close(it)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest_twisted.ensureDeferred
async def test_many_at_once():
    """Fifty at once each have their own output, and none waits for another."""
    began = time.monotonic()
    running = [run(reactor, shell(f"sleep 0.3; echo {number}"), 10) for number in range(50)]
    assert [(await one).output for one in running] == [f"{number}\n" for number in range(50)]
    assert time.monotonic() - began < 5


def test_placeholders_are_names_in_braces():
    """Names in braces are placeholders; other braces are not."""
    argv = ("lmutil", "-c", "{port}@{host}", "awk '{ print }'", "{}", "{Port}")
    assert placeholders(argv) == {"port", "host"}
    assert fill(argv, {"port": "27000", "host": "fn-a"}) == (
        "lmutil", "-c", "27000@fn-a", "awk '{ print }'", "{}", "{Port}",
    )  # fmt: skip


def test_a_value_is_not_filled_again():
    """What stands in a value is text, also braces and what a shell would take for more."""
    assert fill(("page", "{event}: {message}"), {"event": "{message}", "message": "$(rm) ; {event}"}) == (
        "page", "{message}: $(rm) ; {event}",
    )  # fmt: skip


def test_a_placeholder_that_stands_for_nothing():
    """A name without a value is a sentence that tells the ones there are."""
    with pytest.raises(CommandError) as caught:
        fill(("fence", "{bakend}"), {"backend": "fn-a", "pool": "mcad"})
    assert str(caught.value) == ("fence is given {bakend}, which stands for nothing here: known are {backend}, {pool}")


def test_the_sentence_has_the_last_line_that_says_something():
    """The last line that is not empty ends the sentence, cut and printable; an unknown signal is its number."""
    assert (
        Outcome(1, "a\nno route\x1b[0m\n\n  \n", False, 1).problem
        == "ended with status 1: no route\N{REPLACEMENT CHARACTER}[0m"
    )
    assert len(Outcome(1, "x" * 4096, False, 1).problem) < 250
    assert Outcome(-40, "", False, 1).problem == "was ended by signal 40"
