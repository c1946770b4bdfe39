"""What is asked of the admin API and what it answers, without HTTP's machinery."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from lsproxy.admin.forwarded import Seen

JSON: Final = "application/json"
HTML: Final = "text/html; charset=utf-8"
EVENTS: Final = "text/event-stream"

BAD_REQUEST: Final = 400
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
WRONG_METHOD: Final = 405
CONFLICT: Final = 409
TOO_LARGE: Final = 413
MISDIRECTED: Final = 421
TOO_MANY: Final = 429
FAULT: Final = 500
UNAVAILABLE: Final = 503


class Peer(msgspec.Struct, frozen=True):
    """
    Who is at the other end: `source` for people ("127.0.0.1", "unix socket"), `user` the account of a process on
    the unix socket, whom file permissions have let in; None over TCP, where a token is asked for.
    """

    source: str
    user: str | None = None


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request. `path` without its query, not decoded; header names in lower case."""

    method: str
    path: str
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: bytes = b""
    peer: Peer
    is_private: bool = False
    """Whether it came over TLS."""
    seen: Seen | None = None
    """How the browser sees it where a reverse proxy stands between; None where nobody asked."""

    @property
    def source(self) -> str:
        """From where, for the log."""
        return self.peer.source if self.seen is None else self.seen.source

    @property
    def client(self) -> str:
        """The address that wrong tokens are counted for."""
        return self.peer.source if self.seen is None else self.seen.client

    @property
    def is_secure(self) -> bool:
        """Whether the browser speaks TLS, with us or with a reverse proxy of this machine."""
        return self.is_private if self.seen is None else self.seen.is_private

    @property
    def root(self) -> str:
        """
        The relative way to `/` from this page: every link, form and redirect begins with it (`asked.root + "login"`),
        so that they lead there under whatever path a reverse proxy has put us.
        """
        return "../" * (self.path.count("/") - 1) or "./"


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    status: int = 200
    content_type: str = JSON
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """Server-sent events after the one with the id `after`; without `is_followed` those kept, and no more."""

    after: str | None
    is_followed: bool
    permit: Callable[[], Awaitable[object]]
    """Asked again and again while it is followed; raises RefusedError once the listener may hear no more."""


class RefusedError(Exception):
    """The request is not done: the reply to it."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.reply = refusal(status, code, message, headers)


def said(content: Any, status: int = 200) -> Reply:
    """`content` as JSON."""
    return Reply(status=status, body=msgspec.json.encode(content) + b"\n")


def refusal(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """`{"error": code, "message": sentence}`; in the names of `headers` an underscore stands for a dash."""
    named = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
    body = msgspec.json.encode({"error": code, "message": message}) + b"\n"
    return Reply(status=status, body=body, headers=named)
