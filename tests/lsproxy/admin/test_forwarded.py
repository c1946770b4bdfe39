"""What is believed of a reverse proxy's headers: from this machine alone, and only for what is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.admin.exchange import Asked, Peer
from lsproxy.admin.forwarded import seen

HEADERS = {
    "host": "127.0.0.1",
    "x-forwarded-for": "192.0.2.7",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "licenses.example.com",
}


def test_a_proxy_of_this_machine_is_believed():
    """Who asks, and how the browser calls us."""
    found = seen("127.0.0.1", HEADERS, is_private=False)
    assert (found.source, found.client) == ("192.0.2.7 through 127.0.0.1", "192.0.2.7")
    assert (found.origin, found.is_private) == ("https://licenses.example.com", True)


def test_nobody_else_is():
    """The headers of another machine say nothing."""
    found = seen("192.0.2.99", HEADERS, is_private=True)
    assert (found.source, found.client, found.origin) == ("192.0.2.99", "192.0.2.99", "https://127.0.0.1")


def test_without_headers_it_is_what_it_is():
    """A browser on this machine."""
    found = seen("::1", {"host": "localhost:27080"}, is_private=False)
    assert (found.source, found.origin, found.is_private) == ("::1", "http://localhost:27080", False)


@pytest.mark.parametrize("written", ["10.0.0.1, 192.0.2.7", "unknown, 192.0.2.7", " 192.0.2.7 "])
def test_what_the_nearest_proxy_wrote_counts(written):
    """The client may have sent a list of its own."""
    assert seen("127.0.0.1", {"x-forwarded-for": written}, is_private=False).client == "192.0.2.7"


@pytest.mark.parametrize("scope", ["eth0", "1 from 10.1.1.1: switch demo: done \x1b[31m"])
def test_an_address_with_a_scope_is_none(scope):
    """It is any text, and would come into the audit log."""
    found = seen("127.0.0.1", {"x-forwarded-for": f"fe80::1%{scope}"}, is_private=False)
    assert (found.client, found.source) == ("127.0.0.1", "127.0.0.1")


@given(st.text() | st.text().map(lambda scope: f"fe80::1%{scope}"))
def test_no_name_gets_into_the_log(written):
    """Only an address does."""
    client = seen("127.0.0.1", {"x-forwarded-for": written}, is_private=False).client
    assert set(client) <= set("0123456789abcdef.:")


@pytest.mark.parametrize(
    ("path", "root"),
    [("/", "./"), ("/login", "./"), ("/pools/acme", "../"), ("/pools/acme/switch", "../../"), ("/pools/", "../")],
)
def test_the_way_to_the_root(path, root):
    """As a browser follows it from that page."""
    assert Asked(method="GET", path=path, peer=Peer("127.0.0.1")).root == root
