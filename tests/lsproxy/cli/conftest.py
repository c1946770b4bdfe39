"""Commands as processes, and one running system for all that only look at it."""

import os
import subprocess

import pytest

from tests.faults.system import COMMANDS, System


class Done:
    """How a command ended."""

    def __init__(self, process):
        self.status = process.returncode
        self.out = process.stdout
        self.err = process.stderr


def lsproxy(*arguments, answer=None, **environment):
    """Run the command `lsproxy`, with `answer` as its standard input."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LSPROXY_")}
    process = subprocess.run(
        [str(COMMANDS / "lsproxy"), *map(str, arguments)],
        input=answer,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**clean, **environment},
    )
    assert "Traceback" not in process.stderr, process.stderr
    return Done(process)


@pytest.fixture(scope="package")
def system(tmp_path_factory):
    """A running lsproxy before two license servers."""
    made = System(tmp_path_factory.mktemp("system"), has_proxy=True)
    try:
        made.start()
        yield made
        faults = made.faults_in_logs()
    finally:
        made.end()
    assert not faults, faults


@pytest.fixture
def asked(system):
    """Run a command against that system's admin socket."""

    def ask(*arguments, answer=None):
        return lsproxy(*arguments, answer=answer, LSPROXY_ADMIN=f"unix:{system.folder / 'admin.sock'}")

    return ask
