"""What may stand in the reply to a call that went well, beside what pools, servers and the history say themselves?"""

import msgspec

from lsproxy.proxy.snapshot import PoolSnapshot
from lsproxy.seat.messages import FeatureUsage


class Alive(msgspec.Struct, frozen=True):
    """The reply to `healthz`: this process answers; whether pools are served is said by `pools`."""

    ok: bool


class Pools(msgspec.Struct, frozen=True):
    """
    The reply to `pools`: all of them, in the order of the configuration; `remarks` are sentences on what is not as it
    should be with lsproxy itself.
    """

    pools: list[PoolSnapshot]
    remarks: list[str] = []


class UsagePage(msgspec.Struct, frozen=True):
    """The reply to `usage`; `next` is the `after` of the next page, null on the last."""

    next: int | None
    features: list[FeatureUsage]


class Switched(msgspec.Struct, frozen=True):
    """The reply to `switch`: the backend that serves the pool now."""

    pool: str
    serving: str | None


class StateSet(msgspec.Struct, frozen=True):
    """
    The reply to `state`; `serving` is null while the next one takes over, and where nobody can. `warning` says why
    the state would be forgotten at a restart, null where it is kept.
    """

    pool: str
    backend: str
    state: str
    serving: str | None
    warning: str | None = None


class Removed(msgspec.Struct, frozen=True):
    """The reply to `remove`: the number of the seat that was taken back."""

    seat: int


class RequestKey(msgspec.Struct, frozen=True):
    """The reply to `request-key`: what the vendor is sent, for which extension of which takeover."""

    key: str
    takeover: int
    extension: int


class Activated(msgspec.Struct, frozen=True):
    """The reply to `activate`: the hours that the key gave, and the seconds that remain with them."""

    hours: int
    remaining: float


class Reloaded(msgspec.Struct, frozen=True):
    """The reply to `reload`: a few words for each change, none where the file says what it said before."""

    changes: list[str]


class LoginLink(msgspec.Struct, frozen=True):
    """The reply to `login-link`: a path on this site that logs in whoever opens it first, within ten minutes."""

    path: str


class Refusal(msgspec.Struct, frozen=True):
    """The reply to a call that did not go well: a stable code, and a sentence for people."""

    error: str
    message: str
