"""
What is known of one checkout, one session, one answer: the vocabulary of `testimony` and `checker`.

Times are those of the history; infinity stands for never, minus infinity for not yet.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.promises.history import Record

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Violation:
    """Promise `promise` (1 to 5, or 6, the takeover limit) was seen broken at `time`."""

    promise: int
    time: float
    sentence: str


@dataclass(slots=True, eq=False)
class Take:
    """
    One checkout of a session. Of its certain life: `granted_at` the first `ok`,
    `proved_at` the sending of the last request that proved the session alive,
    `named_at` the sending of the last hello that named it, `freed_at` the
    sending of what may have ended it, `over_at` when it was told to be over,
    `missing_at` the sending of a hello that showed it was not granted yet.
    """

    session: str
    handle: int
    feature: str
    count: int
    wait: float
    first_sent: float
    trust: float = 0.0
    grant: Message | None = None
    granted_at: float = float("inf")
    proved_at: float = float("-inf")
    named_at: float = float("-inf")
    freed_at: float = float("inf")
    over_at: float = float("inf")
    is_removed: bool = False
    queued_at: float = float("inf")
    missing_at: float = float("-inf")
    refused_at: float = float("inf")
    refusal: str = ""
    last_sent: float = float("-inf")

    @property
    def live_until(self) -> float:
        """The end of its certain life. See [Live] and [Removed] in `testimony`."""
        proved_until = self.named_at if self.is_removed else self.proved_at + self.trust
        return min(self.freed_at, proved_until)

    def is_live_at(self, time: float) -> bool:
        """Whether it is certainly live at `time`, as far as is known yet."""
        return self.granted_at < time <= self.proved_at + self.trust and self.freed_at > time

    def __str__(self) -> str:
        return f"session {self.session}, handle {self.handle} of {self.feature}"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """An `ok` from the server of `epoch` to a request sent at `sent` on that connection."""

    kind: str
    who: str
    epoch: int
    backend: str
    sent: float
    received: float
    take: Take | None = None
    ttl: float = 0.0


@dataclass(frozen=True, slots=True)
class Doubt:
    """A violation, unless one of `takes` turns out to have been removed by an operator."""

    violation: Violation
    takes: tuple[Take, ...]


@dataclass(slots=True)
class Session:
    """What one session knows so far."""

    label: str
    is_open: bool = False
    newest: int = 0
    trust: float = 0.0
    ttl: float = 0.0
    proved_at: float = float("-inf")
    takes: dict[int, Take] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)
    unanswered: dict[tuple[int, int], list[Record]] = field(default_factory=lambda: defaultdict(list))
