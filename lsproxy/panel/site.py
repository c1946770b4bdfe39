"""
What does the control panel answer to a browser?

Pages are read with the cookie of a login; what a form asks for is done by the
calls of the API, in the name of who logged in, so roles, refusals and the audit
log are theirs. A form counts only with the token of its login: see [Forms].

[Forms] The cookie is SameSite=Strict, the browser says where a form comes from, and the form carries a token that no
page of another site can read. Each would do; none of them is trusted alone.
"""

import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lsproxy.admin.access import Access, Visitor
from lsproxy.admin.api import Api, Service
from lsproxy.admin.events import Events
from lsproxy.admin.exchange import FAULT, FORBIDDEN, NOT_FOUND, UNAUTHORIZED, Asked, RefusedError, Reply, Stream
from lsproxy.admin.routes import Call
from lsproxy.admin.routes import Found as Wanted
from lsproxy.errors import LsproxyError
from lsproxy.panel import charts
from lsproxy.panel.actions import (
    LONGEST_NUMBER,
    SURE,
    Action,
    Question,
    call,
    done,
    license_again,
    license_text,
    question,
)
from lsproxy.panel.assets import Assets
from lsproxy.panel.entrance import Entrance, refuse_other_sites
from lsproxy.panel.eventlist import Filters, event_list
from lsproxy.panel.forms import filled_in
from lsproxy.panel.poolpage import SPANS, Past, PoolPage
from lsproxy.panel.rendering import Renderer
from lsproxy.panel.routes import Found, find, is_of_the_api
from lsproxy.panel.sights import Sights
from lsproxy.panel.views import glance
from lsproxy.panel.words import clock, counted
from lsproxy.proxy.pool import Pool

RECENT: Final = 8
MOST_NEWS: Final = 256
_LONGEST_FILTER: Final = 200
_CALLS: Final[Mapping[Action, Call]] = {
    "switch": "switch",
    "state": "state",
    "remove": "remove",
    "license": "license",
    "activate": "activate",
    "request-key": "request_key",
}
_FORGED: Final = "this form is not of your login: go back, load the page again, and send it from there"

log = Logger()


class Panel:
    """
    The panel before `api`, which answers to programs. `wall` is seconds since 1970, `release` this program's version,
    `zone` the one in which times are told, None for the machine's.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        api: Api,
        service: Service,
        access: Access,
        events: Events,
        past: Past,
        wall: Callable[[], float],
        release: str,
        zone: tzinfo | None = None,
    ) -> None:
        self._api = api
        self._service = service
        self._access = access
        self._events = events
        self._past = past
        self._wall = wall
        self._clock = clock(zone)
        self._assets = Assets()
        self._renderer = Renderer(self._assets, events, wall, self._clock, release)
        self._entrance = Entrance(access, self._renderer)
        self._sights = Sights(reactor, service)
        self._pool_page = PoolPage(reactor, service, self._sights, events, past, wall, self._clock)
        self._news: dict[str, str] = {}

    async def answer(self, asked: Asked) -> Reply | Stream:
        """The answer to a request, whatever it is."""
        if is_of_the_api(asked.path):
            return await self._api.answer(asked)
        try:
            found = find(asked.method, asked.path)
            if found.page in {"file", "login_form", "login"}:
                return await self._before_login(asked, found)
            visitor = await self._access.visitor(asked)
        except RefusedError as refused:
            return self._refused(asked, None, refused)
        except LsproxyError as problem:
            # Whoever is not let in yet learns no path of this machine.
            log.error("the panel lets nobody in: {problem}", event="admin_unusable", problem=str(problem))
            why = "The tokens cannot be read, the log of lsproxy says why."
            return self._renderer.page(asked, "problem.html", None, FAULT, title="Nobody is let in", problem=why)
        try:
            return await self._for(visitor, asked, found)
        except RefusedError as refused:
            return self._refused(asked, visitor, refused)

    async def _before_login(self, asked: Asked, found: Found) -> Reply:
        match found.page:
            case "login_form":
                return await self._entrance.login_form(asked)
            case "login":
                return await self._entrance.login(asked)
        return self._assets.file(found.names["file"])

    async def _for(self, visitor: Visitor, asked: Asked, found: Found) -> Reply:
        match found.page:
            case "glance":
                return await self._glance(visitor, asked)
            case "events":
                return self._event_page(visitor, asked)
            case "logout_form":
                return self._entrance.logout_form(asked, visitor)
            case "logout":
                _refuse_others(asked, visitor)
                _refuse_forged(visitor, filled_in(asked))
                return self._entrance.logout(asked)
        pool = self._service.pools.get(found.names["pool"])
        if pool is None:
            raise RefusedError(NOT_FOUND, "not_found", f"lsproxy has no pool {found.names['pool'][:64]!r}")
        match found.page:
            case "pool":
                return await self._pool(visitor, asked, pool)
            case "chart":
                return await self._chart(asked, pool)
        assert found.action is not None  # `ask` and `do` have one
        if found.page == "ask":
            return await self._ask(visitor, asked, pool, found.action)
        return await self._do(visitor, asked, pool, found.action)

    # --- reading --------------------------------------------------------------------

    async def _glance(self, visitor: Visitor, asked: Asked) -> Reply:
        now = self._wall()
        sights = await self._sights.everything()
        recent = event_list(self._events.after(None), Filters(), self._clock(now), self._clock).entries[:RECENT]
        troubles = [] if self._past.trouble is None else [self._past.trouble]
        shown = glance(sights, troubles, now, self._clock)
        return self._renderer.page(asked, "glance.html", visitor, live=True, here="pools", glance=shown, entries=recent)

    def _event_page(self, visitor: Visitor, asked: Asked) -> Reply:
        chosen = {key: asked.query.get(key, "")[:_LONGEST_FILTER] for key in Filters.__struct_fields__}
        filters = Filters(**chosen)
        shown = event_list(self._events.after(None), filters, self._clock(self._wall()), self._clock)
        found = counted(shown.found, "event")
        if shown.left_out:
            found += f", the newest {len(shown.entries)} are shown"
        return self._renderer.page(
            asked, "events.html", visitor, live=True, here="events", list=shown, filters=filters, found=found
        )

    async def _pool(self, visitor: Visitor, asked: Asked, pool: Pool) -> Reply:
        shown = await self._pool_page.shown(pool, asked)
        # A page that is open already does not take the news away from the one that shows them.
        is_whole = "x-fragment" not in asked.headers
        flash = self._news.pop(visitor.form, None) if is_whole and visitor.form is not None else None
        return self._renderer.page(asked, "pool.html", visitor, live=True, here="pools", flash=flash, **shown)

    async def _chart(self, asked: Asked, pool: Pool) -> Reply:
        span = asked.query.get("span", "day")
        if span not in SPANS:
            raise RefusedError(NOT_FOUND, "not_found", f"a chart is of a {' or a '.join(SPANS)}")
        drawn = await self._pool_page.chart(pool, asked.query.get("feature", ""), span)
        headers = {"Content-Security-Policy": charts.POLICY, "Cache-Control": "private, max-age=60"}
        return Reply(content_type="image/svg+xml", body=drawn, headers=headers)

    # --- changing -------------------------------------------------------------------

    async def _ask(self, visitor: Visitor, asked: Asked, pool: Pool, action: Action) -> Reply:
        self._access.permit(visitor.caller, "operator")
        if action == "request-key":
            return await self._request_key(visitor, asked, pool)
        asking = await self._question(pool, action, dict(asked.query))
        return self._question_page(visitor, asked, pool, action, asking)

    async def _do(self, visitor: Visitor, asked: Asked, pool: Pool, action: Action) -> Reply:
        # All that needs nothing of the body comes before anything of it is read.
        _refuse_others(asked, visitor)
        self._api.permit(asked, Wanted(_CALLS[action], "operator", {"pool": pool.name}), visitor.caller)
        given = filled_in(asked, has_file=action == "license")
        _refuse_forged(visitor, given)
        try:
            if action == "license" and SURE not in given:
                text = license_text(given)
                warnings = await self._foreseen(pool, text)
                if warnings:
                    again = license_again(pool.name, text, warnings)
                    return self._question_page(visitor, asked, pool, action, again)
            said = await self._call(visitor, asked, pool, action, given)
        except RefusedError as refused:
            asking = await self._question(pool, action, given)
            return self._question_page(visitor, asked, pool, action, asking, str(refused), refused.reply.status)
        assert visitor.form is not None  # else it were forged
        self._news = dict([*list(self._news.items())[-MOST_NEWS:], (visitor.form, done(action, said))])
        return Reply(status=303, headers={"Location": f"{asked.root}pools/{pool.name}"})

    async def _foreseen(self, pool: Pool, text: str) -> list[str]:
        """What a license would not grant; nothing where it will be refused, which the call says."""
        today = datetime.fromtimestamp(self._wall(), UTC).date()
        try:
            return await self._service.operators[pool.name].foresee(text, today)
        except LsproxyError:
            return []

    async def _request_key(self, visitor: Visitor, asked: Asked, pool: Pool) -> Reply:
        asking = question("request-key", pool.snapshot(), {})
        try:
            said = await self._call(visitor, asked, pool, "request-key", {})
        except RefusedError as refused:
            status = refused.reply.status
            return self._question_page(visitor, asked, pool, "request-key", asking, str(refused), status)
        key = done("request-key", said)
        return self._question_page(visitor, asked, pool, "request-key", asking, key=key)

    async def _question(self, pool: Pool, action: Action, given: dict[str, str]) -> Question:
        holder = None
        if action == "remove" and given.get("seat", "").isdecimal():
            holder = await self._pool_page.holder(pool, int(given["seat"][:LONGEST_NUMBER]))
        return question(action, pool.snapshot(), given, holder)

    async def _call(
        self, visitor: Visitor, asked: Asked, pool: Pool, action: Action, given: dict[str, str]
    ) -> dict[str, Any]:
        wanted = call(action, pool.name, given)
        request = msgspec.structs.replace(
            asked, method=wanted.method, path=wanted.path, body=wanted.body, query={}, headers={}
        )
        reply = await self._api.perform(request, visitor.caller)
        assert isinstance(reply, Reply)  # a stream changes nothing
        said: dict[str, Any] = msgspec.json.decode(reply.body)
        return said

    def _question_page(
        self,
        visitor: Visitor,
        asked: Asked,
        pool: Pool,
        action: Action,
        asking: Question,
        problem: str | None = None,
        status: int = 200,
        key: str | None = None,
    ) -> Reply:
        return self._renderer.page(
            asked,
            "question.html",
            visitor,
            status,
            here="pools",
            name=pool.name,
            action=f"{asked.root}pools/{pool.name}/{action}",
            question=asking,
            problem=problem,
            key=key,
        )

    def _refused(self, asked: Asked, visitor: Visitor | None, refused: RefusedError) -> Reply:
        status = refused.reply.status
        is_page = asked.method in {"GET", "HEAD"} and "x-fragment" not in asked.headers
        if status == UNAUTHORIZED and is_page:
            return Reply(status=303, headers={"Location": f"{asked.root}login"})
        titles = {UNAUTHORIZED: "Please log in", FORBIDDEN: "Not permitted", NOT_FOUND: "Not found"}
        title = titles.get(status, "Not done")
        reply = self._renderer.page(asked, "problem.html", visitor, status, title=title, problem=str(refused))
        return msgspec.structs.replace(reply, headers={**reply.headers, **refused.reply.headers})


def _refuse_others(asked: Asked, visitor: Visitor) -> None:
    """See [Forms]; this much is known without the body. Raises RefusedError."""
    refuse_other_sites(asked)
    if visitor.form is None:
        raise RefusedError(FORBIDDEN, "not_permitted", _FORGED)


def _refuse_forged(visitor: Visitor, given: dict[str, str]) -> None:
    """See [Forms]. Raises RefusedError."""
    expected = visitor.form or ""
    if not expected or not hmac.compare_digest(given.get("form", "").encode(), expected.encode()):
        raise RefusedError(FORBIDDEN, "not_permitted", _FORGED)
