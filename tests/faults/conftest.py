"""Systems of real processes for the fault tests; each test's logs are looked through at its end."""

import pytest

from tests.faults.system import System


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
        system.end()
    for system in systems:
        faults += system.faults_in_logs()
    assert not faults, "\n".join(faults)


@pytest.fixture(params=["direct", "lsproxy"])
def system(make_system, request):
    """A running pair; clients come directly, then through lsproxy."""
    return make_system(has_proxy=request.param == "lsproxy").start()


@pytest.fixture
def pair(make_system):
    """A running pair without lsproxy."""
    return make_system().start()
