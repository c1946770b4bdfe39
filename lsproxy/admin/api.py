"""What does each call of the admin API do? Requests in, replies out; every change is written to the audit log."""

import difflib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from lsproxy.admin import audit, openapi
from lsproxy.admin import history as past
from lsproxy.admin.access import Access, Caller
from lsproxy.admin.bodies import Activate, Listening, Page, Past, Reached, Remove, State, Switch, converted, decoded
from lsproxy.admin.exchange import (
    BAD_REQUEST,
    CONFLICT,
    FAULT,
    NOT_FOUND,
    TOO_LARGE,
    UNAVAILABLE,
    Asked,
    RefusedError,
    Reply,
    Stream,
    refusal,
    said,
)
from lsproxy.admin.limits import MOST_LICENSE_BYTES
from lsproxy.admin.login import Logins
from lsproxy.admin.replies import (
    Activated,
    Alive,
    LoginLink,
    Pools,
    Reloaded,
    Removed,
    RequestKey,
    StateSet,
    Switched,
    UsagePage,
)
from lsproxy.admin.routes import Call, Found, find
from lsproxy.errors import LsproxyError
from lsproxy.history.history import History
from lsproxy.metrics.metrics import Metrics
from lsproxy.metrics.page import CONTENT_TYPE
from lsproxy.net.address import is_host
from lsproxy.proxy.control import ControlLostError
from lsproxy.proxy.kinds.clientconfig import ClientConfig
from lsproxy.proxy.operator import Operator
from lsproxy.proxy.pool import Pool

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
        self,
        service: Service,
        access: Access,
        logins: Logins,
        wall: Callable[[], float],
        release: str,
        history: History,
        metrics: Metrics,
    ) -> None:
        self._service = service
        self._access = access
        self._logins = logins
        self._wall = wall
        self._release = release
        self._past = history
        self._numbers = metrics
        self._handed_out = ""
        self._calls: dict[Call, Callable[[Asked, Found, Caller | None], Awaitable[Reply | Stream]]] = {
            "healthz": self._healthz,
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
            "history": self._history,
            "metrics": self._metrics,
            "reload": self._reload,
            "openapi": self._openapi,
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
            log.error("the admin API lets nobody in by token: {problem}", event="admin_unusable", problem=str(problem))
            return refusal(FAULT, "fault", "the tokens cannot be read, the log of lsproxy says why")

    async def perform(self, asked: Asked, caller: Caller) -> Reply | Stream:
        """What the panel asks in the name of `caller`, whom it knows by other means. Raises RefusedError."""
        found = find(asked.method, asked.path)
        self.permit(asked, found, caller)
        return await (self._audited if found.is_change else self._carry_out)(asked, found, caller)

    def permit(self, asked: Asked, found: Found, caller: Caller) -> None:
        """Raises RefusedError where the role of `caller` does not suffice."""
        try:
            self._access.permit(caller, found.need)
        except RefusedError as refused:
            _note_refusal(caller.name, asked, found, refused)
            raise

    async def _admit(self, asked: Asked, found: Found) -> Caller | None:
        try:
            return await self._access.admit(asked, found.need)
        except RefusedError as refused:
            _note_refusal("somebody", asked, found, refused)
            raise

    async def _audited(self, asked: Asked, found: Found, caller: Caller) -> Reply | Stream:
        outcome, why = "done", ""
        try:
            return await self._carry_out(asked, found, caller)
        except RefusedError as refused:
            outcome, why = "refused", str(refused)
            raise
        except BaseException:
            outcome = "failed"
            raise
        finally:
            audit.changed(asked, found, caller.name, caller.role, outcome, why)

    async def _carry_out(self, asked: Asked, found: Found, caller: Caller | None) -> Reply | Stream:
        try:
            return await self._calls[found.call](asked, found, caller)
        except ControlLostError as lost:
            raise RefusedError(UNAVAILABLE, "unavailable", str(lost)) from lost
        except LsproxyError as refused:
            raise RefusedError(CONFLICT, "refused", str(refused)) from refused

    # --- reading --------------------------------------------------------------------

    async def _healthz(self, _asked: Asked, _found: Found, _caller: Caller | None) -> Reply:
        return said(Alive(ok=True))

    async def _pools(self, _asked: Asked, _found: Found, _caller: Caller | None) -> Reply:
        trouble = self._past.trouble
        pools = [pool.snapshot() for pool in self._service.pools.values()]
        return said(Pools(pools, [] if trouble is None else [trouble]))

    async def _pool(self, _asked: Asked, found: Found, _caller: Caller | None) -> Reply:
        return said(_named(self._service.pools, found.names["pool"]).snapshot())

    async def _usage(self, asked: Asked, found: Found, _caller: Caller | None) -> Reply:
        wanted = converted(asked.query, Page)
        operator = _named(self._service.operators, found.names["pool"])
        usage = await operator.usage(wanted.feature, wanted.after, wanted.limit, holders=wanted.holders)
        return said(UsagePage(usage.next, usage.features))

    async def _client_config(self, asked: Asked, found: Found, _caller: Caller | None) -> Reply:
        wanted = converted(asked.query, Reached)
        pool = _named(self._service.pools, found.names["pool"])
        if wanted.host is not None and not is_host(wanted.host):
            raise RefusedError(BAD_REQUEST, "bad_request", f"{wanted.host[:64]!r} is no host name or address")
        return said(self._service.client_config(pool.name, wanted.host))

    async def _request_key(self, _asked: Asked, found: Found, _caller: Caller | None) -> Reply:
        reply = await _named(self._service.operators, found.names["pool"]).request_key()
        return said(RequestKey(reply.key, reply.takeover, reply.extension))

    async def _openapi(self, _asked: Asked, _found: Found, _caller: Caller | None) -> Reply:
        return said(openapi.document(self._release))

    async def _events(self, asked: Asked, _found: Found, _caller: Caller | None) -> Stream:
        wanted = converted(asked.query, Listening)
        after = asked.headers.get("last-event-id") or wanted.after
        return Stream(after=after, is_followed=wanted.follow, permit=lambda: self._access.admit(asked, "viewer"))

    async def _history(self, asked: Asked, _found: Found, _caller: Caller | None) -> Reply:
        wanted = converted(asked.query, Past)
        pools = self._service.pools
        names = list(pools) if wanted.pool is None else [_named(pools, wanted.pool).name]
        return said(await past.answer(self._past, wanted, names, self._wall()))

    async def _metrics(self, _asked: Asked, _found: Found, _caller: Caller | None) -> Reply:
        return Reply(content_type=CONTENT_TYPE, body=await self._numbers.text())

    # --- changing -------------------------------------------------------------------

    async def _switch(self, asked: Asked, found: Found, _caller: Caller | None) -> Reply:
        wanted = decoded(asked.body, Switch)
        pool = _named(self._service.pools, found.names["pool"])
        operator = self._service.operators[pool.name]
        if wanted.to is not None:
            _named(pool.backends, wanted.to, f"pool {pool.name}")
        await operator.switch(wanted.to, force=wanted.force)
        return said(Switched(pool.name, pool.serving))

    async def _state(self, asked: Asked, found: Found, _caller: Caller | None) -> Reply:
        wanted = decoded(asked.body, State)
        pool = _named(self._service.pools, found.names["pool"])
        backend = _named(pool.backends, found.names["backend"], f"pool {pool.name}")
        await self._service.operators[pool.name].set_state(backend.name, wanted.state)
        return said(StateSet(pool.name, backend.name, wanted.state.value, pool.serving, pool.unsaved))

    async def _remove(self, asked: Asked, found: Found, caller: Caller | None) -> Reply:
        wanted = decoded(asked.body, Remove)
        operator = _named(self._service.operators, found.names["pool"])
        by = "an operator" if caller is None else caller.name
        await operator.remove(wanted.seat, f"removed by {by}")
        return said(Removed(wanted.seat))

    async def _license(self, asked: Asked, found: Found, _caller: Caller | None) -> Reply:
        operator = _named(self._service.operators, found.names["pool"])
        if len(asked.body) > MOST_LICENSE_BYTES:
            raise RefusedError(TOO_LARGE, "too_large", f"a license file is at most {MOST_LICENSE_BYTES} bytes")
        try:
            text = asked.body.decode()
        except UnicodeDecodeError:
            raise RefusedError(BAD_REQUEST, "bad_request", "the license is not UTF-8 text") from None
        today = datetime.fromtimestamp(self._wall(), UTC).date()
        warnings = await operator.foresee(text, today)
        return said(msgspec.structs.replace(await operator.install(text), warnings=warnings))

    async def _activate(self, asked: Asked, found: Found, _caller: Caller | None) -> Reply:
        wanted = decoded(asked.body, Activate)
        reply = await _named(self._service.operators, found.names["pool"]).activate(wanted.key)
        return said(Activated(reply.hours, reply.remaining))

    async def _reload(self, _asked: Asked, _found: Found, _caller: Caller | None) -> Reply:
        return said(Reloaded(await self._service.reload()))

    # --- logging in -----------------------------------------------------------------

    async def _login_link(self, asked: Asked, found: Found, caller: Caller | None) -> Reply:
        assert caller is not None  # an operator
        code = self._logins.code(caller.name, caller.tokens)
        if code != self._handed_out:  # a window that shows a link asks for it again and again
            self._handed_out = code
            audit.changed(asked, found, caller.name, caller.role, "done")
        return said(LoginLink(f"/login?code={code}"))


def _note_refusal(who: str, asked: Asked, found: Found, why: RefusedError) -> None:
    if found.is_change:
        audit.kept_out(asked, found, who, str(why))


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
