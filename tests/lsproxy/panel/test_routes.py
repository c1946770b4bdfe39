"""Which page is meant."""

import pytest

from lsproxy.admin.exchange import RefusedError
from lsproxy.admin.routes import ROUTES
from lsproxy.panel.routes import find, is_of_the_api


def test_pages_are_found_and_names_decoded():
    """HEAD is as GET; an action is one that is known."""
    assert find("HEAD", "/").page == "glance"
    found = find("GET", "/pools/a%2Fb/switch")
    assert (found.page, found.names["pool"], found.action) == ("ask", "a/b", "switch")
    assert find("POST", "/pools/acme/remove").page == "do"
    assert find("GET", "/pools/acme/chart.svg").page == "chart"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/pools/acme/fly", 404), ("GET", "//", 404), ("PUT", "/", 405)],
)
def test_what_is_no_page_is_refused(method, path, status):
    """404, or 405 with what would go."""
    with pytest.raises(RefusedError) as refused:
        find(method, path)
    assert refused.value.reply.status == status


def test_no_page_stands_before_a_call_of_the_api():
    """All of them are the API's."""
    assert all(is_of_the_api(route.pattern) for route in ROUTES)
    assert not is_of_the_api("/apis")
