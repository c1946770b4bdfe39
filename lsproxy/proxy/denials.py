"""Who was refused a seat lately, and why? Kept for people who look; a denial is seldom, so it may cost a little."""

from collections import Counter, deque
from typing import Final

import msgspec

from lsproxy.seat.messages import UNREADABLE

MOST_KEPT: Final = 100
_LONGEST: Final = 200


class Denial(msgspec.Struct, frozen=True):
    """A checkout that was refused `at` seconds of the reactor, by whom it was asked, with the server's sentence."""

    at: float
    user: str
    host: str
    feature: str
    count: int
    code: str
    message: str


class _Hello(msgspec.Struct):
    user: str = ""
    host: str = ""


class _Checkout(msgspec.Struct):
    feature: str = ""
    count: int = 1


class _Refused(msgspec.Struct):
    error: str = ""
    message: str = ""


_hello = msgspec.json.Decoder(_Hello).decode
_checkout = msgspec.json.Decoder(_Checkout).decode
_refused = msgspec.json.Decoder(_Refused).decode


class Denials:
    """The last MOST_KEPT of a pool, the oldest first; `counts` has all of them, by the code of the refusal."""

    def __init__(self) -> None:
        self.kept: deque[Denial] = deque(maxlen=MOST_KEPT)
        self.counts: Counter[str] = Counter()

    def note(self, at: float, hello: bytes, request: bytes, reply: bytes) -> None:
        """The checkout `request` of the session that `hello` opened was refused by the line `reply`."""
        try:
            who, asked, refusal = _hello(hello or b"{}"), _checkout(request), _refused(reply)
        except UNREADABLE:
            return  # the server has understood what lsproxy does not: nothing to tell
        self.counts[refusal.error] += 1
        short = (text[:_LONGEST] for text in (who.user, who.host, asked.feature))
        user, host, feature = short
        self.kept.append(
            Denial(at, user, host, feature, asked.count, refusal.error[:_LONGEST], refusal.message[:_LONGEST])
        )
