"""What lsproxy leaves behind when it stops in the middle of a switch: nothing that the next start would meet."""

import signal
import time
from pathlib import Path

from tests.faults.process import wait_for

STUBBORN = "trap '' TERM; echo begin $$ >> $here/steps.log; sleep 60 & wait; sleep 60; echo end >> $here/steps.log"


def stop_while_fencing(site, steps):
    """Stop it while a command that ignores SIGTERM fences a; the seconds that took, and the command's process."""
    steps.does("fence", STUBBORN)
    site.servers["a"].kill()
    begun = wait_for(lambda: [step for step in steps.done if step.startswith("begin")], "a is being fenced")
    site.proxy.signal(signal.SIGTERM)
    stopped_at = time.monotonic()
    assert site.proxy.wait(20) == 0
    return time.monotonic() - stopped_at, int(begun[0].split()[1])


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_command_does_not_outlive_it(make_fenced, steps):
    """A command that will not end is killed before lsproxy ends, so that the next start runs it alone."""
    site = make_fenced()
    took, pid = stop_while_fencing(site, steps)
    assert 0.9 < took < 4
    assert not is_alive(pid)
    steps.does("fence", "")
    site.start()
    site.wait_serving("b")
    assert not [step for step in steps.done if step == "end"]


def test_with_little_time_it_is_killed_at_once(make_fenced, steps, site):
    """The limit of the stop is kept, and the command does not outlive it either."""
    site.proxy.command += ["--stop-timeout", "0.6"]
    took, pid = stop_while_fencing(make_fenced(), steps)
    assert took < 2
    assert not is_alive(pid)
