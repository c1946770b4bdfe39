"""Sites of real processes for the tests of relayed pools; lsproxy's log is looked through at each one's end."""

import pytest

from tests.faults.process import wait_for
from tests.relay.site import Site
from tests.relay.steps import Steps


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


@pytest.fixture
def steps(site):
    return Steps(site.folder)


@pytest.fixture
def make_fenced(site, steps):
    """Servers a and b, with commands that fence and activate them."""

    def make(**settings):
        site.server("a")
        site.server("b")
        hooks = {
            "on_deactivate": [steps.command("fence", "{backend}")],
            "on_activate": [steps.command("activate", "{backend}")],
        }
        site.pool(**{**hooks, "hook_retries": 0, "hold": 10, **settings})
        site.listen()
        site.tree["notify"] = [steps.command("notify", "{event}", "{message}")]
        site.start()
        site.wait_serving("a")
        wait_for(lambda: site.health("b") == "up", "b could follow")
        return site

    return make


def _start_pair(site):
    site.server("a")
    site.server("b")
    site.pool()
    site.listen()
    site.start()
    site.wait_serving("a")
    return site
