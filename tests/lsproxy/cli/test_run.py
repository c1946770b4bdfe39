"""`lsproxy run`: a command that holds a seat while it runs."""

import signal
import subprocess
import sys

from tests.faults.process import wait_for
from tests.faults.system import COMMANDS
from tests.lsproxy.cli.conftest import lsproxy


def server(system):
    return f"{system.addresses['proxy'][1]}@127.0.0.1"


def in_use(system):
    return system.usage()["cad"]["in_use"]


def test_the_exit_status_is_the_commands(system):
    """Also when a signal ended it."""
    assert lsproxy("run", "--server", server(system), "--feature", "cad", "--", "sh", "-c", "exit 7").status == 7
    done = lsproxy("run", "--server", server(system), "--feature", "cad", "--", "sh", "-c", "kill -TERM $$")
    assert done.status == 128 + signal.SIGTERM


def test_the_seat_is_held_as_long_as_it_runs(system):
    """Taken before, returned after; a signal to `run` reaches the command."""
    before = in_use(system)
    command = [str(COMMANDS / "lsproxy"), "run", "--feature", "cad", "--count", "2", "--server", server(system)]
    script = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(3)); print('runs', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([*command, "--", sys.executable, "-c", script], stdout=subprocess.PIPE) as running:
        assert running.stdout.readline() == b"runs\n"
        assert in_use(system) == before + 2
        running.terminate()
        assert running.wait(10) == 3
    wait_for(lambda: in_use(system) == before, "the seats are returned", 5)


def test_without_a_seat_nothing_runs(system, tmp_path):
    """Exit status 69 and the server's sentence."""
    ran = tmp_path / "ran"
    for options in (["--feature", "none"], ["--feature", "cad", "--count", "1000"]):
        done = lsproxy("run", "--server", server(system), *options, "--", "touch", ran)
        assert done.status == 69
        assert done.err.count("\n") == 1
        assert not ran.exists()


def test_options_behind_the_command_are_the_commands(system):
    """Nothing of it is taken for an option of `run`."""
    done = lsproxy("run", "--server", server(system), "--feature", "cad", "echo", "--feature", "--help")
    assert done.out == "--feature --help\n"


def test_a_command_that_is_not_there_is_said(system):
    """As a shell does: 127."""
    done = lsproxy("run", "--server", server(system), "--feature", "cad", "--", "/no/such/command")
    assert (done.status, done.err) == (127, "/no/such/command is not found\n")


def test_a_server_must_be_named(system):
    """By option or environment; a wrong one is wrong usage."""
    done = lsproxy("run", "--feature", "cad", "--", "true")
    assert (done.status, done.err.startswith("which server?")) == (2, True)
    assert lsproxy("run", "--feature", "cad", "--server", "nonsense", "--", "true").status == 2
    assert lsproxy("run", "--feature", "cad", "--", "true", LSPROXY_LICENSE=server(system)).status == 0
