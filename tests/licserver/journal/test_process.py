"""Which process is meant, whether it lives, and that only it is ended."""

import os
import signal
import subprocess
from collections.abc import Iterator

import msgspec
import pytest

from licserver.journal.process import end_process, identify, is_alive, is_stopped, this_process


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen]:
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        yield process
        process.kill()


def test_this_process():
    """This process knows itself and lives."""
    me = this_process()
    assert me.pid == os.getpid()
    assert is_alive(me)
    assert this_process() == me


def test_number_used_again():
    """The same number with another start time, or of another boot, is a process that has ended."""
    me = this_process()
    assert not is_alive(msgspec.structs.replace(me, started=me.started - 1))
    assert not is_alive(msgspec.structs.replace(me, boot_id="before"))


def test_end(sleeper):
    """An ended process has ended when the call returns, collected or not; ending it again is nothing."""
    process = identify(sleeper.pid)
    assert is_alive(process)
    end_process(process)
    assert not is_alive(process)
    end_process(process)
    assert sleeper.wait() == -signal.SIGKILL
    end_process(process)
    assert not is_alive(process)


def test_stopped_process_is_ended(sleeper):
    """A stopped process is alive, is seen to be stopped, and is ended all the same."""
    process = identify(sleeper.pid)
    assert not is_stopped(sleeper.pid)
    os.kill(sleeper.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
    assert is_stopped(sleeper.pid)
    assert is_alive(process)
    end_process(process)
    assert sleeper.wait() == -signal.SIGKILL


def test_another_is_never_ended(sleeper):
    """A process that has the number but not the start time or the boot stays."""
    process = identify(sleeper.pid)
    end_process(msgspec.structs.replace(process, started=process.started + 1))
    end_process(msgspec.structs.replace(process, boot_id="before"))
    assert sleeper.poll() is None


def test_never_itself():
    """A process does not end itself."""
    end_process(this_process())
