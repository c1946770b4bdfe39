"""How does what is shown become a page: whole, or the part of it that a page that is open already asks for?"""

from collections.abc import Callable
from typing import Any, Final

from lsproxy.admin.access import Visitor
from lsproxy.admin.events import Events
from lsproxy.admin.exchange import HTML, Asked, Reply
from lsproxy.eventnames import TOLD
from lsproxy.panel.assets import Assets
from lsproxy.panel.eventlist import latest_id
from lsproxy.panel.views import MARKS, stamp
from lsproxy.panel.words import Clock

REFRESH_SECONDS: Final = 5
POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = {"Content-Security-Policy": POLICY}


class Renderer:
    """Fills the templates of `assets` in. `wall` is seconds since 1970, `release` this program's version."""

    def __init__(self, assets: Assets, events: Events, wall: Callable[[], float], clock: Clock, release: str) -> None:
        self._assets = assets
        self._events = events
        self._wall = wall
        self._clock = clock
        self._release = release

    def page(
        self,
        asked: Asked,
        template: str,
        visitor: Visitor | None,
        status: int = 200,
        *,
        live: bool = False,
        here: str = "",
        **shown: Any,
    ) -> Reply:
        """
        The page for `visitor`, None before the login. A page that is `live` is asked for again by its script, by the
        header X-Fragment: then only what is between head and foot is sent. `here` is the entry of the menu.
        """
        now = self._clock(self._wall())
        is_fragment = live and "x-fragment" in asked.headers
        body = self._assets.page(
            template,
            layout="fragment.html" if is_fragment else "base.html",
            root=asked.root,
            live=live,
            here=here,
            who=None if visitor is None else visitor.caller,
            form=None if visitor is None else visitor.form,
            may_change=visitor is not None and visitor.form is not None and visitor.caller.role == "operator",
            marks=MARKS,
            stamp=stamp(now),
            zone=now.tzname() or "",
            release=self._release,
            refresh_seconds=REFRESH_SECONDS,
            event_names=" ".join(TOLD),
            last_event=latest_id(list(self._events.after(None))),
            **shown,
        )
        headers = {**_HEADERS, "X-Stamp": stamp(now), "Vary": "X-Fragment"}
        return Reply(status=status, content_type=HTML, body=body, headers=headers)
