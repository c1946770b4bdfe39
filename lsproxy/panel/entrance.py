"""How does a person come in by the login page, and go again?"""

from typing import Final

from lsproxy.admin import audit
from lsproxy.admin.access import Access, Visitor
from lsproxy.admin.exchange import FORBIDDEN, UNAUTHORIZED, Asked, RefusedError, Reply
from lsproxy.admin.login import COOKIE, COOKIE_SECONDS
from lsproxy.panel.forms import filled_in
from lsproxy.panel.rendering import Renderer

_USED: Final = "This link was used already or has ended; ask for a new one."


class Entrance:
    """The pages that give and end a cookie."""

    def __init__(self, access: Access, renderer: Renderer) -> None:
        self._access = access
        self._renderer = renderer

    async def login_form(self, asked: Asked) -> Reply:
        """Where a token is typed; a link with a code leads straight on. Raises RefusedError."""
        self._access.refuse_other_names(asked)
        if "code" not in asked.query or asked.method != "GET":
            return self._form(asked)
        used = self._access.follow(asked.query["code"])
        if used is None:
            return self._form(asked, _USED, UNAUTHORIZED)
        self._access.goodbye(asked)
        return _welcome(*used, asked)

    async def login(self, asked: Asked) -> Reply:
        """The token was typed. Raises RefusedError."""
        self._access.refuse_other_names(asked)
        refuse_other_sites(asked)
        token = filled_in(asked).get("token", "").strip()
        try:
            entry = await self._access.owner(token, asked.client)
        except RefusedError as refused:
            return self._form(asked, str(refused), refused.reply.status)
        self._access.goodbye(asked)
        return _welcome(self._access.welcome(entry), entry.name, asked)

    def logout_form(self, asked: Asked, visitor: Visitor) -> Reply:
        """For who came here by the address."""
        return self._renderer.page(asked, "logout.html", visitor)

    def logout(self, asked: Asked) -> Reply:
        """The cookie counts no more, and the browser forgets it."""
        self._access.goodbye(asked)
        gone = f"{COOKIE}=; Max-Age=0; HttpOnly; SameSite=Strict"
        return Reply(status=303, headers={"Location": f"{asked.root}login", "Set-Cookie": gone})

    def _form(self, asked: Asked, problem: str | None = None, status: int = 200) -> Reply:
        return self._renderer.page(asked, "login.html", None, status, problem=problem)


def refuse_other_sites(asked: Asked) -> None:
    """A form of another site could log its visitor in as somebody else. Raises RefusedError."""
    ours = "" if asked.seen is None else asked.seen.origin
    is_ours = asked.headers.get("origin", ours) == ours
    # What the browser says itself counts first: with `Referrer-Policy: no-referrer` its Origin is "null" everywhere.
    if "sec-fetch-site" in asked.headers:
        is_ours = asked.headers["sec-fetch-site"] in {"same-origin", "none"}
    if not is_ours:
        raise RefusedError(FORBIDDEN, "not_permitted", "the form of another site is not taken")


def _welcome(cookie: str, who: str, asked: Asked) -> Reply:
    audit.logged_in(asked, who)
    # Without a path it counts for the folder in which the browser saw the login page: a reverse proxy's prefix.
    kept = f"{COOKIE}={cookie}; Max-Age={COOKIE_SECONDS:.0f}; HttpOnly; SameSite=Strict"
    secured = f"{kept}; Secure" if asked.is_secure else kept
    return Reply(status=303, headers={"Location": asked.root, "Set-Cookie": secured})
