"""Which page of the panel does a method and path mean?"""

from typing import Final, Literal

import msgspec

from lsproxy.admin.exchange import NOT_FOUND, WRONG_METHOD, RefusedError
from lsproxy.admin.routes import match
from lsproxy.panel.actions import ACTIONS, Action

Page = Literal["glance", "pool", "chart", "events", "login_form", "login", "logout_form", "logout", "file", "ask", "do"]

_PAGES: Final[tuple[tuple[str, str, Page], ...]] = (
    ("GET", "/", "glance"),
    ("GET", "/pools/{pool}", "pool"),
    ("GET", "/pools/{pool}/chart.svg", "chart"),
    ("GET", "/events", "events"),
    ("GET", "/login", "login_form"),
    ("POST", "/login", "login"),
    ("GET", "/logout", "logout_form"),
    ("POST", "/logout", "logout"),
    ("GET", "/static/{file}", "file"),
    ("GET", "/pools/{pool}/{action}", "ask"),
    ("POST", "/pools/{pool}/{action}", "do"),
)


class Found(msgspec.Struct, frozen=True):
    """The page meant, and what stood in the path for its names; `action` where it asks or does something."""

    page: Page
    names: dict[str, str]
    action: Action | None = None


def is_of_the_api(path: str) -> bool:
    """Whether it is no page's but a program's."""
    return path in {"/healthz", "/metrics", "/api"} or path.startswith("/api/")


def find(method: str, path: str) -> Found:
    """The page; HEAD is as GET. Raises RefusedError, 404 or 405."""
    read = "GET" if method == "HEAD" else method
    allowed = []
    for wanted, pattern, page in _PAGES:
        names = match(pattern, path)
        if names is None:
            continue
        action = next((one for one in ACTIONS if one == names.get("action")), None)
        if page in {"ask", "do"} and action is None:
            continue
        if wanted == read:
            return Found(page, names, action)
        allowed.append(wanted)
    if allowed:
        there = ", ".join(allowed)
        raise RefusedError(WRONG_METHOD, "wrong_method", f"this page takes {there}, not {method}", Allow=there)
    raise RefusedError(NOT_FOUND, "not_found", "there is no such page")
