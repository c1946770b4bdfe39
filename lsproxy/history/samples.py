"""What does one sample of the pools hold, and what does the history answer with? Times are seconds since 1970."""

from typing import Literal

import msgspec

Health = Literal["up", "maint", "unchecked", "down"]
"""Of a backend; where a span of time has several, the one that stands last here is told."""


class FeatureSample(msgspec.Struct, frozen=True):
    """The seats of one feature: `issued` is None for one that is not counted, `queued` are checkouts that wait."""

    name: str
    issued: int | None
    used: int
    queued: int


class PoolSample(msgspec.Struct, frozen=True):
    """
    One pool since the sample before: `serving` is the backend that clients are sent to, None where nobody served for
    `unserved` seconds of it; the most `clients`, and those of them `waiting` for a server; the worst health of each
    backend, with the seconds that it was `down`. `features` are empty where nobody could be asked.
    """

    pool: str
    serving: str | None
    clients: int
    waiting: int
    backends: dict[str, Health]
    features: list[FeatureSample]
    unserved: float = 0.0
    down: dict[str, float] = {}


class Sample(msgspec.Struct, frozen=True):
    """All pools at one moment."""

    time: float
    pools: list[PoolSample]


class SeatPoint(msgspec.Struct, frozen=True):
    """The most and the fewest seats in use, the longest queue and the most seats issued, from `time` to the next."""

    time: float
    used_max: int
    used_min: int
    queued_max: int
    issued: int | None


class HealthSpan(msgspec.Struct, frozen=True):
    """
    A backend's worst health from `since` to `until`, and for how many seconds of it it was `down`; while lsproxy did
    not run there is none.
    """

    since: float
    until: float
    health: Health
    down: float


class PoolPoint(msgspec.Struct, frozen=True):
    """
    Who served from `time` to the next point, None where nobody did for `unserved` seconds of it; the most clients of
    it.
    """

    time: float
    serving: str | None
    clients: int
    waiting: int
    unserved: float
