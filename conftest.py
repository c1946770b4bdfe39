"""
What every test runs on: the daemons' reactor, installed before pytest-twisted
looks for one, and the programs that some tests need.

A test that needs a program is marked with its name. Where the program is
missing the test is skipped by name; in continuous integration it fails.
"""

import os
import shutil
import signal
from pathlib import Path

import pytest

from lsproxy.net import reactor

PROGRAMS = {
    "cc": lambda: shutil.which("cc"),
    "faketime": lambda: Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1").exists(),
    "haproxy": lambda: shutil.which("haproxy"),
    "root": lambda: os.geteuid() == 0,
    "systemd": lambda: shutil.which("systemd-analyze"),
}

reactor.install()
# Whoever starts a test run in the background may have it ignore SIGINT, and what it starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """One mark for each program."""
    for name in PROGRAMS:
        config.addinivalue_line("markers", f"{name}: needs {name}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail, what cannot be tested here."""
    for name, is_there in PROGRAMS.items():
        if item.get_closest_marker(name) is not None and not is_there():
            if os.environ.get("CI") == "true":
                pytest.fail(f"{name} is missing, and nothing may be left untested here")
            pytest.skip(f"needs {name}")
