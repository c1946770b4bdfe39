"""
What does a person or program see of a pool?

One immutable picture, taken by `Pool.snapshot()`: the admin API sends it as
it is. Durations are in seconds by the reactor's clock, up to the moment of
the picture. Nothing in it is secret.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from lsproxy.seat.messages import TakeoverStatus

_MINUTES: Final = 60
_SECONDS: Final = 60

Barren = Literal["blocked", "isolated", "expired"]
_BARREN_ROLES: Final[Mapping[str, Barren]] = {"blocked": "blocked", "isolated": "isolated"}


class Said(msgspec.Struct, frozen=True):
    """
    What a backend's last status said of it, in the words of protocol.md; `takeover` is None unless it is a redundant
    server in its primary's place.
    """

    role: str
    epoch: int
    journal: str
    license: str
    sessions: int
    seats: int
    uptime: float
    release: str
    takeover: TakeoverStatus | None = None

    def remark(self, pool: str) -> str | None:
        """What people are to know of the takeover limit in `pool`, the end of a sentence that begins with its name."""
        if self.takeover is None:
            return None
        if self.role == "blocked":
            return (
                "is blocked, the takeover limit is spent: bring the primary back, or ask the vendor by"
                f" `lsproxy request-key {pool}`"
            )
        return f"serves in its primary's place, {hours(self.takeover.remaining)} left"


def hours(seconds: float) -> str:
    """A span as people say it: `71 h 12 min`, `41 s`."""
    if seconds < _SECONDS:
        return f"{int(seconds)} s"
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= _MINUTES else f"{minutes} min"


class BackendSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """
    One backend as the pool judges it.

    `health` is up, down or unchecked; `admin` ready, drain or maint; `binding` bound, unbound, unknown or off, with
    its reason. `said` is None before its first status and while it is down. `is_kept_out` is set under
    `failback: manual` after it was lost. `license_note` says that the license it serves is another than the proxy's
    file, or its own file another than the license in force; `takeover_note` that its takeover limit runs or is spent.
    `connections` is how many of the pool's clients are connected to it; `changed_for` how long its health is what it
    is. Of third-party servers: `ports` are their addresses by name, `latency` is how many seconds the last passed
    check took, `fencing` and `activation` are
    sentences on what came of the commands that were run last.
    """

    name: str
    address: str
    health: str
    changed_for: float
    admin: str
    is_kept_out: bool
    binding: str
    binding_reason: str
    license_note: str | None
    said: Said | None
    connections: int
    last_error: str | None
    ports: dict[str, str] = {}
    latency: float | None = None
    fencing: str | None = None
    activation: str | None = None
    takeover_note: str | None = None


class PoolSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """
    One pool. `serving` and `address` name the backend that clients are sent to, None while `reason` says why
    nobody is; `serving_for` how long that has been so, either way. `epoch` is the highest one seen of `journal`.
    `note` says what is not as it should be though clients are served. `conflicts` are sentences, one for each
    reason not to trust who claims the name. `switching_to` is the backend that was asked to take over.
    `clients` are connected clients, `waiting` those of them that wait for a server. `expiring` are sentences on what
    of the license files ends soon or has ended, `is_expired` is set when every line of them has. `unsaved` says why
    what was decided last would be forgotten at a restart.
    """

    pool: str
    kind: str
    server_name: str | None
    serving: str | None
    address: str | None
    serving_for: float
    epoch: int
    journal: str | None
    reason: str | None
    note: str | None
    conflicts: list[str]
    switching_to: str | None
    clients: int
    waiting: int
    failback: str
    hold: float
    expiring: list[str]
    backends: list[BackendSnapshot]
    is_expired: bool = False
    unsaved: str | None = None

    @property
    def is_well(self) -> bool:
        """Whether clients are served and nobody else claims the name."""
        return self.serving is not None and not self.conflicts

    @property
    def barrenness(self) -> Barren | None:
        """Why the one that serves grants no seats, to nobody; None where it may."""
        if self.serving is None:
            return None
        role = next((one.said.role for one in self.backends if one.name == self.serving and one.said is not None), "")
        fallback: Barren | None = "expired" if self.is_expired else None
        return _BARREN_ROLES.get(role, fallback)
