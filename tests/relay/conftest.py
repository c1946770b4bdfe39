"""Sites of real processes for the tests of relayed pools; lsproxy's log is looked through at each one's end."""

import pytest

from tests.relay.site import Site


@pytest.fixture
def make_site(tmp_path):
    """Sites as the test wants them, nothing of them started."""
    sites = []

    def make(**wishes):
        folder = tmp_path / str(len(sites))
        folder.mkdir()
        site = Site(folder, **wishes)
        sites.append(site)
        return site

    yield make
    for site in sites:
        site.end()
    faults = [fault for site in sites for fault in site.faults_in_log()]
    assert not faults, "\n".join(faults)


@pytest.fixture
def site(make_site):
    """A site of which nothing is started."""
    return make_site()


@pytest.fixture
def pair(site):
    """Servers a and b, a preferred, lsproxy before them with one door; running."""
    return _start_pair(site)


@pytest.fixture(scope="module")
def lasting_pair(tmp_path_factory):
    """The same for all tests of a file that leave it as they found it."""
    site = Site(tmp_path_factory.mktemp("pair"))
    yield _start_pair(site)
    site.end()
    assert not site.faults_in_log()


def _start_pair(site):
    site.server("a")
    site.server("b")
    site.pool()
    site.listen()
    site.start()
    site.wait_serving("a")
    return site
