"""Pools whose license servers are of another make look complete, too."""

import time

import pytest
import pytest_twisted
import yaml
from twisted.internet.defer import Deferred

from lsproxy.config.check import load_config
from lsproxy.history.samples import PoolSample, Sample
from tests.faults.system import free_port

LICENSE = "SERVER fn ANY 27000\nVENDOR mcad\nINCREMENT solid mcad 2027.0 05-dec-2030 10 SIGN=1\n"


@pytest.fixture
def mixed(browser):
    """The panel of a pool of FlexNet, one of plain TCP, and the usual one."""
    folder = browser.demo.folder
    (folder / "mcad.lic").write_text(LICENSE)
    config = yaml.safe_load(browser.demo.proxy_config.read_text())
    ports = {"lmgrd": f"127.0.0.1:{free_port()}", "vendor": f"127.0.0.1:{free_port()}"}
    config["pools"] |= {
        "mcad": {"kind": "flexnet", "license_file": "mcad.lic", "backends": {"fn-a": {"ports": ports}}},
        "plain": {"kind": "tcp", "backends": {"one": {"address": f"127.0.0.1:{free_port()}"}}},
    }
    config["listen"]["mcad"] = {"address": f"127.0.0.1:{free_port()}", "pool": "mcad", "port": "lmgrd"}
    path = folder / "mixed.yaml"
    path.write_text(yaml.safe_dump(config))
    pytest_twisted.blockon(Deferred.fromCoroutine(browser.services.change(load_config(path), None)))
    return browser


@pytest_twisted.ensureDeferred
async def test_what_is_known_is_shown_and_nothing_else(mixed):
    """Ports, license lines, the variable for clients; clients in the place of seats; no actions on licenses."""
    await mixed.log_in("operator")
    page = (await mixed.look("/pools/mcad")).body.decode()
    for words in (
        "FlexNet",
        "lmgrd 127.0.0.1:",
        "solid",
        "2030-12-05",
        "LM_LICENSE_FILE=",
        "Connected clients",
        "Drain",
    ):
        assert words in page
    for words in ("Who holds what", "Denials", "Install a license file", "Epoch", "Request key"):
        assert words not in page
    assert "No license file is configured for this pool." in (await mixed.look("/pools/plain")).body.decode()


@pytest_twisted.ensureDeferred
async def test_clients_are_drawn(mixed):
    """Without a limit, which lsproxy does not know."""
    await mixed.history.record(Sample(time.time() - 60, [PoolSample("mcad", "fn-a", 7, 0, {"fn-a": "up"}, [])]))
    await mixed.log_in("viewer")
    assert 'alt="Clients, last day: at most 7 clients"' in (await mixed.look("/pools/mcad")).body.decode()
    assert (await mixed.look("/pools/mcad/chart.svg?span=week")).body.count(b"line reactive") == 1


@pytest_twisted.ensureDeferred
async def test_a_license_file_that_is_gone_is_said(mixed):
    """The page is there all the same."""
    (mixed.demo.folder / "mcad.lic").unlink()
    await mixed.log_in("viewer")
    answer = await mixed.look("/pools/mcad")
    assert answer.status == 200
    assert "mcad.lic" in answer.body.decode()
