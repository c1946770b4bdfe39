"""
Who is asking, and may they?

    unix socket        the file's permissions have decided: an operator
    bearer token       the role that tokens.yaml gives it
    the panel's cookie a viewer, for reading alone; the role of its login in the panel's own forms
    nothing            /healthz and the login page

Without TLS only names of this machine are answered to, so that a page of
another site cannot reach the API by a name it controls (DNS rebinding).
"""

import math
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Final

import msgspec
from twisted.logger import Logger

from lsproxy.admin import throttle
from lsproxy.admin.exchange import FORBIDDEN, MISDIRECTED, TOO_MANY, UNAUTHORIZED, Asked, RefusedError
from lsproxy.admin.login import COOKIE, Logins, Visit
from lsproxy.admin.routes import Need
from lsproxy.admin.tokens import TokenBook, Version
from lsproxy.config.relations import is_loopback
from lsproxy.config.tokens import Role, Token
from lsproxy.net.address import Address

_READING: Final = frozenset({"GET", "HEAD"})
_LONGEST_COOKIES: Final = 4096

log = Logger()


class Caller(msgspec.Struct, frozen=True):
    """Who makes a call, by the name of the token or the account, and from where: what the audit log says."""

    name: str
    role: Role
    source: str
    tokens: Version | None = None
    """The version of tokens.yaml that lets them in; None on the unix socket."""


class Visitor(msgspec.Struct, frozen=True):
    """Who looks at the panel. `form` is what their forms carry; None: they have not logged in and change nothing."""

    caller: Caller
    form: str | None


class Access:
    """The door of the admin API. `seconds` is a clock."""

    def __init__(self, seconds: Callable[[], float], tokens: TokenBook, logins: Logins) -> None:
        self._seconds = seconds
        self._tokens = tokens
        self._logins = logins
        self._sources: throttle.Sources = {}
        self._said: dict[str, float] = {}

    async def admit(self, asked: Asked, need: Need) -> Caller | None:
        """The caller, None where nobody in particular may ask. Raises RefusedError."""
        if asked.peer.user is not None:
            return Caller(asked.peer.user, "operator", asked.peer.source)
        if need == "nobody":
            return None
        self.refuse_other_names(asked)
        caller = await self._caller(asked)
        self.permit(caller, need)
        return caller

    def permit(self, caller: Caller, need: Need) -> None:
        """Raises RefusedError where the role of `caller` does not suffice."""
        if need == "operator" and caller.role != "operator":
            why = f"{caller.name} is a {caller.role}, this needs the token of an operator"
            raise RefusedError(FORBIDDEN, "not_permitted", why)

    async def visitor(self, asked: Asked) -> Visitor:
        """Who asks for a page of the panel. Raises RefusedError."""
        self.refuse_other_names(asked)
        cookie = _cookie(asked)
        visit = self._visit(cookie)
        if visit is not None:
            return Visitor(Caller(visit.name, visit.role, asked.source, visit.tokens), self._logins.form_token(cookie))
        caller = await self.admit(asked, "viewer")
        if caller is None:
            raise _unauthorized("a token is needed")
        return Visitor(Caller(caller.name, "viewer", caller.source, caller.tokens), None)

    def goodbye(self, asked: Asked) -> None:
        """The cookie that came with the request counts no more."""
        self._logins.end(_cookie(asked))

    def follow(self, code: str) -> tuple[str, str] | None:
        """A cookie for the code of a link, and for whom; None if it is none."""
        return self._logins.use(code, self._tokens.version)

    def welcome(self, entry: Token) -> str:
        """A cookie for who gave the token of `entry`."""
        return self._logins.welcome(entry.name, entry.role, self._tokens.version)

    async def owner(self, token: str, source: str) -> Token:
        """The entry of `token`. Raises RefusedError where it is none, and where `source` guessed too often."""
        known = self._tokens.known(token)
        if known is not None:
            return known
        wait = throttle.pause(self._sources, source, self._seconds())
        if wait > 0:
            again = math.ceil(wait)
            message = f"too many wrong tokens came from {source}, try again in {again} s"
            self._note(source, f"too many wrong tokens came from {source}, which has to wait {again} s")
            raise RefusedError(TOO_MANY, "too_many_failures", message, Retry_After=str(again))
        # counted before it is verified, so that many at once are no way around the pause
        before = self._sources
        self._sources = throttle.failed(before, source, self._seconds())
        found = await self._tokens.find(token)
        if found is None:
            self._note(source, f"a wrong token came from {source}")
            raise _unauthorized("the token is not in tokens.yaml, add one with: lsproxy token add NAME --role viewer")
        self._sources = throttle.passed(self._sources, source)
        return found

    def _note(self, source: str, message: str) -> None:
        now = self._seconds()
        if throttle.is_news(self._said, source, now):
            self._said = throttle.noted(self._said, source, now)
            log.warn("{log_text}", event="guessing", source=source, log_text=message)

    def refuse_other_names(self, asked: Asked) -> None:
        """Raises RefusedError where the Host of a request without TLS is no name of this machine's loopback."""
        host = asked.headers.get("host", "")
        if asked.peer.user is None and not asked.is_private and not is_loopback(Address(_host_name(host), 0)):
            raise RefusedError(MISDIRECTED, "misdirected", "without TLS this address is asked for by 127.0.0.1 alone")

    async def _caller(self, asked: Asked) -> Caller:
        scheme, _, token = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            entry = await self.owner(token.strip(), asked.client)
            return Caller(entry.name, entry.role, asked.source, self._tokens.version)
        visit = self._visit(_cookie(asked)) if asked.method in _READING else None
        if visit is None:
            raise _unauthorized("a token is needed: send Authorization: Bearer TOKEN")
        return Caller(visit.name, "viewer", asked.source, visit.tokens)

    def _visit(self, cookie: str) -> Visit | None:
        visit = self._logins.visit(cookie)
        return None if visit is None or visit.tokens not in {None, self._tokens.version} else visit


def _unauthorized(message: str) -> RefusedError:
    return RefusedError(UNAUTHORIZED, "unauthorized", message, WWW_Authenticate='Bearer realm="lsproxy"')


def _host_name(header: str) -> str:
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def _cookie(asked: Asked) -> str:
    header = asked.headers.get("cookie", "")
    if len(header) > _LONGEST_COOKIES:
        return ""
    try:
        kept = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return "" if kept is None else kept.value
