"""What does each call of the admin API do? Requests in, replies out; every change is written to the audit log."""

import difflib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar
from urllib.parse import parse_qs

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from lsproxy.admin import page
from lsproxy.admin.access import Access, Caller
from lsproxy.admin.bodies import Activate, Page, Reached, Remove, State, Switch, converted, decoded
from lsproxy.admin.exchange import (
    BAD_REQUEST,
    CONFLICT,
    FAULT,
    FORBIDDEN,
    NOT_FOUND,
    TOO_LARGE,
    UNAUTHORIZED,
    UNAVAILABLE,
    Asked,
    RefusedError,
    Reply,
    Stream,
    refusal,
    said,
)
from lsproxy.admin.login import COOKIE, COOKIE_SECONDS, Logins
from lsproxy.admin.routes import Call, Found, find
from lsproxy.errors import LsproxyError
from lsproxy.net.address import is_host
from lsproxy.proxy.control import ControlLostError
from lsproxy.proxy.kinds.clientconfig import ClientConfig
from lsproxy.proxy.operator import Operator
from lsproxy.proxy.pool import Pool

MOST_LICENSE_BYTES: Final = 1024 * 1024

log = Logger()


class Service(Protocol):
    """What the API is about."""

    @property
    def pools(self) -> Mapping[str, Pool]:
        """The pools by name."""

    @property
    def operators(self) -> Mapping[str, Operator]:
        """The operator's side of each."""

    def client_config(self, pool: str, host: str | None) -> ClientConfig:
        """What clients of `pool` need; `host` is how they reach this machine, by default its name."""

    def reload(self) -> Deferred[list[str]]:
        """Take the configuration file as it is now; a sentence for each change. Fails with LsproxyError."""


class Api:
    """The calls. `wall` is seconds since 1970, `release` this program's version."""

    def __init__(
        self, service: Service, access: Access, logins: Logins, wall: Callable[[], float], release: str
    ) -> None:
        self._service = service
        self._access = access
        self._logins = logins
        self._wall = wall
        self._release = release
        self._calls: dict[Call, Callable[[Asked, Found, Caller | None], Awaitable[Reply | Stream]]] = {
            "healthz": self._healthz,
            "page": self._panel,
            "login_form": self._login_form,
            "login": self._login,
            "login_link": self._login_link,
            "pools": self._pools,
            "pool": self._pool,
            "switch": self._switch,
            "state": self._state,
            "usage": self._usage,
            "client_config": self._client_config,
            "remove": self._remove,
            "license": self._license,
            "request_key": self._request_key,
            "activate": self._activate,
            "events": self._events,
            "reload": self._reload,
        }

    async def answer(self, asked: Asked) -> Reply | Stream:
        """The answer to a request, whatever it is."""
        try:
            found = find(asked.method, asked.path)
            caller = await self._admit(asked, found)
            if not found.is_change or caller is None:
                return await self._carry_out(asked, found, caller)
            return await self._audited(asked, found, caller)
        except RefusedError as refused:
            return refused.reply
        except LsproxyError as problem:
            # Whoever is not let in yet learns no path of this machine.
            log.error("the admin API lets nobody in by token: {problem}", problem=str(problem))
            return refusal(FAULT, "fault", "the tokens cannot be read, the log of lsproxy says why")

    async def _admit(self, asked: Asked, found: Found) -> Caller | None:
        try:
            return await self._access.admit(asked, found.need)
        except RefusedError as refused:
            # a person in a browser is shown where to type the token
            if found.call == "page" and refused.reply.status == UNAUTHORIZED:
                refused.reply = Reply(status=303, headers={"Location": "/login"})
            if found.is_change:
                log.warn(
                    "audit: somebody from {source} was refused {what}: {why}",
                    source=asked.peer.source,
                    what=_what(found),
                    why=str(refused),
                )
            raise

    async def _audited(self, asked: Asked, found: Found, caller: Caller) -> Reply | Stream:
        outcome = "done"
        try:
            return await self._carry_out(asked, found, caller)
        except RefusedError as refused:
            outcome = f"refused, {refused}"
            raise
        except BaseException:
            outcome = "failed"
            raise
        finally:
            log.info(
                "audit: {who} ({role}) from {source}: {what}{body}: {outcome}",
                who=caller.name,
                role=caller.role,
                source=caller.source,
                what=_what(found),
                body="" if found.call == "license" else _shortened(asked.body),
                outcome=outcome,
            )

    async def _carry_out(self, asked: Asked, found: Found, caller: Caller | None) -> Reply | Stream:
        try:
            return await self._calls[found.call](asked, found, caller)
        except ControlLostError as lost:
            raise RefusedError(UNAVAILABLE, "unavailable", str(lost)) from lost
        except LsproxyError as refused:
            raise RefusedError(CONFLICT, "refused", str(refused)) from refused

    # --- reading --------------------------------------------------------------------

    async def _healthz(self, _asked: Asked, _found: Found, _caller: Caller | None) -> Reply:
        return said({"ok": True})

    async def _panel(self, _asked: Asked, _found: Found, _caller: Caller | None) -> Reply:
        now = datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return page.panel([pool.snapshot() for pool in self._service.pools.values()], now, self._release)

    async def _pools(self, _asked: Asked, _found: Found, _caller: Caller | None) -> Reply:
        return said({"pools": [pool.snapshot() for pool in self._service.pools.values()]})

    async def _pool(self, _asked: Asked, found: Found, _caller: Caller | None) -> Reply:
        return said(_named(self._service.pools, found.names["pool"]).snapshot())

    async def _usage(self, asked: Asked, found: Found, _caller: Caller | None) -> Reply:
        wanted = converted(asked.query, Page)
        operator = _named(self._service.operators, found.names["pool"])
        usage = await operator.usage(wanted.feature, wanted.after, wanted.limit, holders=wanted.holders)
        return said({"next": usage.next, "features": usage.features})

    async def _client_config(self, asked: Asked, found: Found, _caller: Caller | None) -> Reply:
        wanted = converted(asked.query, Reached)
        pool = _named(self._service.pools, found.names["pool"])
        if wanted.host is not None and not is_host(wanted.host):
            raise RefusedError(BAD_REQUEST, "bad_request", f"{wanted.host[:64]!r} is no host name or address")
        return said(self._service.client_config(pool.name, wanted.host))

    async def _request_key(self, _asked: Asked, found: Found, _caller: Caller | None) -> Reply:
        reply = await _named(self._service.operators, found.names["pool"]).request_key()
        return said({"key": reply.key, "takeover": reply.takeover, "extension": reply.extension})

    async def _events(self, asked: Asked, _found: Found, _caller: Caller | None) -> Stream:
        after = asked.headers.get("last-event-id") or asked.query.get("after")
        return Stream(after=after, is_followed=asked.query.get("follow", "true") != "false")

    # --- changing -------------------------------------------------------------------

    async def _switch(self, asked: Asked, found: Found, _caller: Caller | None) -> Reply:
        wanted = decoded(asked.body, Switch)
        pool = _named(self._service.pools, found.names["pool"])
        operator = self._service.operators[pool.name]
        if wanted.to is not None:
            _named(pool.backends, wanted.to, f"pool {pool.name}")
        await operator.switch(wanted.to, force=wanted.force)
        return said({"pool": pool.name, "serving": pool.serving})

    async def _state(self, asked: Asked, found: Found, _caller: Caller | None) -> Reply:
        wanted = decoded(asked.body, State)
        pool = _named(self._service.pools, found.names["pool"])
        backend = _named(pool.backends, found.names["backend"], f"pool {pool.name}")
        await self._service.operators[pool.name].set_state(backend.name, wanted.state)
        return said({"pool": pool.name, "backend": backend.name, "state": wanted.state.value, "serving": pool.serving})

    async def _remove(self, asked: Asked, found: Found, caller: Caller | None) -> Reply:
        wanted = decoded(asked.body, Remove)
        operator = _named(self._service.operators, found.names["pool"])
        by = "an operator" if caller is None else caller.name
        await operator.remove(wanted.seat, f"removed by {by}")
        return said({"seat": wanted.seat})

    async def _license(self, asked: Asked, found: Found, _caller: Caller | None) -> Reply:
        operator = _named(self._service.operators, found.names["pool"])
        if len(asked.body) > MOST_LICENSE_BYTES:
            raise RefusedError(TOO_LARGE, "too_large", f"a license file is at most {MOST_LICENSE_BYTES} bytes")
        try:
            text = asked.body.decode()
        except UnicodeDecodeError:
            raise RefusedError(BAD_REQUEST, "bad_request", "the license is not UTF-8 text") from None
        return said(await operator.install(text))

    async def _activate(self, asked: Asked, found: Found, _caller: Caller | None) -> Reply:
        wanted = decoded(asked.body, Activate)
        reply = await _named(self._service.operators, found.names["pool"]).activate(wanted.key)
        return said({"hours": reply.hours, "remaining": reply.remaining})

    async def _reload(self, _asked: Asked, _found: Found, _caller: Caller | None) -> Reply:
        return said({"changes": await self._service.reload()})

    # --- logging in -----------------------------------------------------------------

    async def _login_link(self, _asked: Asked, _found: Found, caller: Caller | None) -> Reply:
        name = "a login link" if caller is None else caller.name
        return said({"path": f"/login?code={self._logins.code(name)}"})

    async def _login_form(self, asked: Asked, _found: Found, _caller: Caller | None) -> Reply:
        self._access.refuse_other_names(asked)
        if "code" not in asked.query:
            return page.login_form()
        used = self._logins.use(asked.query["code"])
        if used is None:
            return page.login_form("This link was used already or has ended; ask for a new one.", UNAUTHORIZED)
        return self._welcome(*used, asked)

    async def _login(self, asked: Asked, _found: Found, _caller: Caller | None) -> Reply:
        self._access.refuse_other_names(asked)
        _refuse_other_sites(asked)
        token = parse_qs(asked.body.decode("utf-8", "replace")).get("token", [""])[0].strip()
        try:
            entry = await self._access.owner(token, asked.peer.source)
        except RefusedError as refused:
            return page.login_form(str(refused), refused.reply.status)
        return self._welcome(self._access.welcome(entry), entry.name, asked)

    def _welcome(self, cookie: str, who: str, asked: Asked) -> Reply:
        log.info("audit: {who} logged in to the panel from {source}", who=who, source=asked.peer.source)
        kept = f"{COOKIE}={cookie}; Path=/; Max-Age={COOKIE_SECONDS:.0f}; HttpOnly; SameSite=Strict"
        secured = f"{kept}; Secure" if asked.is_private else kept
        return Reply(status=303, headers={"Location": "/", "Set-Cookie": secured})


def _refuse_other_sites(asked: Asked) -> None:
    """A form of another site could log its visitor in as somebody else."""
    scheme = "https" if asked.is_private else "http"
    origin = asked.headers.get("origin")
    is_other = origin is not None and origin != f"{scheme}://{asked.headers.get('host', '')}"
    if is_other or asked.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise RefusedError(FORBIDDEN, "not_permitted", "the login form of another site is not taken")


def _what(found: Found) -> str:
    return " ".join([found.call, *(repr(name) for name in found.names.values())])


def _shortened(body: bytes) -> str:
    return "" if body in {b"", b"{}"} else f" {body[:200].decode('utf-8', 'replace')!r}"


T = TypeVar("T")


def _named(there: Mapping[str, T], name: str, whose: str = "lsproxy") -> T:
    if name in there:
        return there[name]
    kind = "pool" if whose == "lsproxy" else "backend"
    raise RefusedError(NOT_FOUND, "not_found", f"{whose} has no {kind} {name[:64]!r}{_advice(name, there)}")


def _advice(name: str, there: Iterable[str]) -> str:
    names = list(there)
    near = difflib.get_close_matches(name[:64], names, n=1)
    return f", did you mean {near[0]}?" if near else f"; it has {', '.join(names)}"
