"""
How does a browser come to the panel?

With a token typed once, or with the code of a link that counts once. Either is
exchanged for a cookie. In the API the cookie reads and changes nothing; the
forms of the panel also carry a token that follows from it, which no page of
another site can know. Codes and cookies are kept as digests only where they
are not handed out again, a limited number of them, for a limited time.
"""

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from lsproxy.admin.tokens import Version
from lsproxy.config.tokens import Role

CODE_SECONDS: Final = 600.0
RENEWED_SECONDS: Final = 300.0
COOKIE_SECONDS: Final = 12 * 3600.0
MOST_COOKIES: Final = 32  # of one name, so that nobody logs others out
COOKIE: Final = "lsproxy_panel"


class Code(msgspec.Struct, frozen=True):
    """A code that counts once, until `until`; `name` is for whom, `tokens` as of a Visit."""

    text: str
    name: str
    until: float
    tokens: Version | None


class Visit(msgspec.Struct, frozen=True):
    """
    Whose cookie it is, with which role, and until when it counts. `tokens` is the version of tokens.yaml where a token
    was given for it, or for the link that was followed, so that a token that is taken out takes its cookies along; None
    where the unix socket needed none.
    """

    name: str
    role: Role
    until: float
    tokens: Version | None


class Logins:
    """The codes and cookies given out. `secret` makes unguessable texts, `seconds` is a clock."""

    def __init__(self, seconds: Callable[[], float], secret: Callable[[], str]) -> None:
        self._seconds = seconds
        self._secret = secret
        self._code: Code | None = None
        self._visits: dict[bytes, Visit] = {}

    def code(self, name: str, tokens: Version | None = None) -> str:
        """A code for a link; the same again as long as nobody used it and it is not about to end."""
        now = self._seconds()
        kept = self._code
        if kept is None or (kept.name, kept.tokens) != (name, tokens) or kept.until - now < RENEWED_SECONDS:
            kept = self._code = Code(self._secret(), name, now + CODE_SECONDS, tokens)
        return kept.text

    def use(self, code: str, tokens: Version) -> tuple[str, str] | None:
        """
        A cookie for the code, which has then been used, and for whom; None if it is none, or came of a token of another
        version of tokens.yaml than `tokens`, that of now. It is an operator's: nobody else is given a code.
        """
        now = self._seconds()
        kept = self._code
        if kept is None or kept.until <= now or _digest(kept.text) != _digest(code):
            return None
        self._code = None
        if kept.tokens not in {None, tokens}:
            return None
        return self.welcome(kept.name, "operator", kept.tokens), kept.name

    def welcome(self, name: str, role: Role, tokens: Version | None = None) -> str:
        """A new cookie for `name`; `tokens` as of a Visit. The oldest of too many of that name count no more."""
        now = self._seconds()
        visits = {key: visit for key, visit in self._visits.items() if visit.until > now}
        own = [key for key, visit in visits.items() if visit.name == name]
        for oldest in own[: -(MOST_COOKIES - 1)]:
            del visits[oldest]
        cookie = self._secret()
        self._visits = {**visits, _digest(cookie): Visit(name, role, now + COOKIE_SECONDS, tokens)}
        return cookie

    def visit(self, cookie: str) -> Visit | None:
        """What is known of a cookie, None if it is none or has ended."""
        visit = self._visits.get(_digest(cookie))
        return None if visit is None or visit.until <= self._seconds() else visit

    def end(self, cookie: str) -> None:
        """It counts no more."""
        self._visits.pop(_digest(cookie), None)

    def form_token(self, cookie: str) -> str:
        """What the forms shown to the owner of a cookie carry: it follows from the cookie, and not the other way."""
        return hashlib.sha256(f"forms of {cookie}".encode("utf-8", "surrogatepass")).hexdigest()


def _digest(text: str) -> bytes:
    """What is compared: how long that takes says nothing of the text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
