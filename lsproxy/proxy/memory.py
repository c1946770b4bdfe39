"""
What must a pool still know after a restart?

The backend it chose, what operators said of its backends, and the journal it
follows with the highest epoch seen of it, behind which it may not go.
"""

from typing import Protocol

import msgspec

from lsproxy.errors import LsproxyError


class Remembered(msgspec.Struct, frozen=True):
    """
    `chosen` is the backend last served. `admin` holds ready, drain or maint by backend (absent: ready),
    `kept_out` the backends that `failback: manual` keeps out. `journal` is the id of the journal followed and
    `epoch` the highest epoch seen of it.
    `is_activated`: whether the commands that make `chosen` fit for use had succeeded; `address` is where it was.
    `lively` are the ports, by backend, that have once shown that a process is behind them.
    """

    chosen: str | None = None
    admin: dict[str, str] = {}
    kept_out: tuple[str, ...] = ()
    journal: str | None = None
    epoch: int = 0
    is_activated: bool = True
    address: str | None = None
    lively: dict[str, tuple[str, ...]] = {}


class StateFileError(LsproxyError):
    """The state file cannot be read or written."""


class PoolMemory(Protocol):
    """Keeps one `Remembered` for each pool name. Both calls are quick and synchronous, and raise StateFileError."""

    def load(self, pool: str) -> Remembered:
        """What was saved last under this name, or an empty `Remembered`."""

    def save(self, pool: str, remembered: Remembered) -> None:
        """Keep it; when this returns it survives the death of the process."""


class InMemory:
    """A memory for tests and for a proxy that needs none."""

    def __init__(self) -> None:
        self._kept: dict[str, Remembered] = {}

    def load(self, pool: str) -> Remembered:
        """What was saved last under this name, or an empty `Remembered`."""
        return self._kept.get(pool, Remembered())

    def save(self, pool: str, remembered: Remembered) -> None:
        """Keep it for as long as this object lives."""
        self._kept[pool] = remembered
