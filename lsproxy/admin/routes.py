"""Which call of the admin API does a method and path mean, and who may make it?"""

from typing import Final, Literal
from urllib.parse import unquote

import msgspec

from lsproxy.admin.exchange import NOT_FOUND, WRONG_METHOD, RefusedError

Need = Literal["nobody", "viewer", "operator"]
Call = Literal[
    "healthz",
    "login_link",
    "pools",
    "pool",
    "switch",
    "state",
    "usage",
    "client_config",
    "remove",
    "license",
    "request_key",
    "activate",
    "events",
    "history",
    "metrics",
    "reload",
    "openapi",
]


class Route(msgspec.Struct, frozen=True):
    """One call: `pattern` has names in braces where the path varies, `need` is the least role that may make it."""

    method: str
    pattern: str
    call: Call
    need: Need


ROUTES: Final = (
    Route("GET", "/healthz", "healthz", "nobody"),
    Route("POST", "/api/v1/login-link", "login_link", "operator"),
    Route("GET", "/api/v1/pools", "pools", "viewer"),
    Route("GET", "/api/v1/pools/{pool}", "pool", "viewer"),
    Route("POST", "/api/v1/pools/{pool}/switch", "switch", "operator"),
    Route("POST", "/api/v1/pools/{pool}/backends/{backend}/state", "state", "operator"),
    Route("GET", "/api/v1/pools/{pool}/usage", "usage", "viewer"),
    Route("GET", "/api/v1/pools/{pool}/client-config", "client_config", "viewer"),
    Route("POST", "/api/v1/pools/{pool}/remove", "remove", "operator"),
    Route("PUT", "/api/v1/pools/{pool}/license", "license", "operator"),
    Route("GET", "/api/v1/pools/{pool}/request-key", "request_key", "viewer"),
    Route("POST", "/api/v1/pools/{pool}/activate", "activate", "operator"),
    Route("GET", "/api/v1/events", "events", "viewer"),
    Route("GET", "/api/v1/history", "history", "viewer"),
    Route("GET", "/metrics", "metrics", "viewer"),
    Route("POST", "/api/v1/reload", "reload", "operator"),
    Route("GET", "/api/v1/openapi.json", "openapi", "viewer"),
)

_CHANGES: Final = frozenset({"switch", "state", "remove", "license", "activate", "reload"})


class Found(msgspec.Struct, frozen=True):
    """The call meant, and what stood in the path for its names."""

    call: Call
    need: Need
    names: dict[str, str]

    @property
    def is_change(self) -> bool:
        """Whether it changes something, so that it stands in the audit log."""
        return self.call in _CHANGES


def find(method: str, path: str) -> Found:
    """The call that `method` and `path`, not decoded, mean; HEAD is as GET. Raises RefusedError, 404 or 405."""
    allowed = []
    for route in ROUTES:
        names = match(route.pattern, path)
        if names is None:
            continue
        if route.method == ("GET" if method == "HEAD" else method):
            return Found(route.call, route.need, names)
        allowed.append(route.method)
    if allowed:
        there = " and ".join(allowed)
        raise RefusedError(
            WRONG_METHOD, "wrong_method", f"{path} takes {there}, not {method}", Allow=", ".join(allowed)
        )
    raise RefusedError(NOT_FOUND, "not_found", f"there is nothing at {path}")


def match(pattern: str, path: str) -> dict[str, str] | None:
    """What stands in `path` for the names in braces of `pattern`, decoded; None where it is another path."""
    wanted, given = pattern.split("/"), path.split("/")
    if len(wanted) != len(given):
        return None
    names: dict[str, str] = {}
    for part, text in zip(wanted, given, strict=True):
        if part.startswith("{"):
            names[part[1:-1]] = unquote(text)
        elif part != text:
            return None
    return names
