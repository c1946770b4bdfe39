"""Systems of real processes for the fault tests; each test's logs are looked through at its end."""

import os
from pathlib import Path

import pytest

from tests.faults.system import System

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def pytest_configure(config):
    """The marks of this folder."""
    config.addinivalue_line("markers", "faketime: needs Debian's libfaketime")


@pytest.fixture
def make_system(tmp_path):
    """Systems as the test wants them, not yet started."""
    systems = []

    def make(**wishes):
        folder = tmp_path / str(len(systems))
        folder.mkdir()
        system = System(folder, **wishes)
        systems.append(system)
        return system

    yield make
    faults = []
    for system in systems:
        faults += system.faults_in_logs()
        system.end()
    assert not faults, "\n".join(faults)


@pytest.fixture(params=["direct", "lsproxy"])
def system(make_system, request):
    """A running pair; clients come directly, then through lsproxy."""
    return make_system(has_proxy=request.param == "lsproxy").start()


@pytest.fixture
def pair(make_system):
    """A running pair without lsproxy."""
    return make_system().start()


@pytest.fixture
def faketime():
    """The library that moves a process's wall clock."""
    if not FAKETIME.exists():
        _cannot(f"faketime: {FAKETIME} is missing, it comes with Debian's libfaketime")
    return str(FAKETIME)


@pytest.fixture
def root():
    """The right to make a mount namespace."""
    if os.getuid() != 0:
        _cannot("a small disk of its own can be mounted by root only")


def _cannot(reason):
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
