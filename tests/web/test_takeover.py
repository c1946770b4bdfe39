"""What a person sees of a pair whose primary is lost."""

import contextlib

import pytest

from lsproxy.config.tokens import SALT_BYTES, add_token
from tests.faults.system import System
from tests.web.conftest import TOKENS, Site, in_the_browser

pytestmark = pytest.mark.chromium


@pytest.fixture
def taken_over(tmp_path):
    """A pair whose redundant server serves."""
    system = System(tmp_path, redundancy="pair", has_proxy=True)
    for role, token in TOKENS.items():
        add_token(system.folder / "tokens.yaml", role, role, token, bytes(SALT_BYTES))
    with contextlib.ExitStack() as ending:
        ending.callback(system.end)
        system.start()
        _, epoch = system.wait_active()
        system.servers["lic-a"].kill()
        system.wait_active(epoch)
        yield system


@in_the_browser
def test_the_hours_that_are_left_are_shown_and_more_are_asked_for(taken_over, chromium):
    """The limit as a remark; a key to send to the vendor; one that is no answer to it is refused beside the form."""
    site = Site(taken_over, chromium)
    page = site.window("operator", "/pools/acme")
    page.get_by_text("lic-b serves in its primary's place, 71 h 59 min left").wait_for()
    assert page.get_by_text("licserver register --primary").count() == 0, "lic-b is registered"
    page.get_by_role("link", name="Request key").click()
    assert len(page.get_by_label("Request key").input_value()) > 16
    page.get_by_role("link", name="Enter the activation key").click()
    page.get_by_label("Activation key of the vendor").fill("GUESS")
    page.get_by_role("button", name="Activate").click()
    assert "key" in page.get_by_role("alert").inner_text()
    site.close()
    assert site.complaints == []
