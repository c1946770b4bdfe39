"""Which call a method and path mean."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.admin.exchange import RefusedError
from lsproxy.admin.routes import ROUTES, find


@pytest.mark.parametrize(
    ("method", "path", "call", "names"),
    [
        ("GET", "/healthz", "healthz", {}),
        ("HEAD", "/healthz", "healthz", {}),
        ("GET", "/api/v1/pools/acme", "pool", {"pool": "acme"}),
        ("POST", "/api/v1/pools/acme/backends/lic%2Da/state", "state", {"pool": "acme", "backend": "lic-a"}),
        ("PUT", "/api/v1/pools/a%2Fb/license", "license", {"pool": "a/b"}),
    ],
)
def test_a_path_names_its_call(method, path, call, names):
    """Method and path give the call and the names in the path, decoded."""
    found = find(method, path)
    assert (found.call, found.names) == (call, names)


def test_a_wrong_method_is_told_the_right_one():
    """405, with Allow."""
    with pytest.raises(RefusedError) as refused:
        find("GET", "/api/v1/reload")
    assert refused.value.reply.status == 405
    assert refused.value.reply.headers["Allow"] == "POST"
    assert str(refused.value) == "/api/v1/reload takes POST, not GET"


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/pools/a/b", "//", "", "/api/v1/Pools", "/healthz/"])
def test_an_unknown_path_is_404(path):
    """Nothing is guessed."""
    with pytest.raises(RefusedError) as refused:
        find("GET", path)
    assert refused.value.reply.status == 404


@given(st.text(), st.text())
def test_whatever_is_asked_is_found_or_refused(method, path):
    """No method and no path do anything else."""
    with contextlib.suppress(RefusedError):
        assert find(method, path).call in {route.call for route in ROUTES}


def test_only_reading_is_for_viewers():
    """What changes something needs an operator, as does a link that lets others read; GET never does."""
    for route in ROUTES:
        found = find(route.method, route.pattern)
        assert found.is_change == (route.need == "operator" and route.call != "login_link"), route
        assert route.method != "GET" or route.need != "operator"
