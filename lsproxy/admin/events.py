"""What has happened, for those who ask later and for those who listen: a bounded backlog and its followers."""

from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

from lsproxy.oneline import one_line

MOST_KEPT: Final = 1000


class Event(msgspec.Struct, frozen=True):
    """One thing that happened. `time` is RFC 3339, UTC; `pool` is None for what is no pool's."""

    id: str
    time: str
    event: str
    pool: str | None
    message: str
    details: dict[str, object]


class Events:
    """`instance` tells this process's ids from those of another start; `wall` is seconds since 1970."""

    def __init__(self, instance: str, wall: Callable[[], float]) -> None:
        self._instance = instance
        self._wall = wall
        self._number = 0
        self._kept: deque[Event] = deque(maxlen=MOST_KEPT)
        self._followers: list[Callable[[Event], None]] = []

    def tell(self, event: str, pool: str | None, message: str, details: dict[str, object]) -> None:
        """It happened, now. What servers call themselves, which is anything, may be in `message`."""
        self._number += 1
        time = datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        happened = Event(f"{self._instance}-{self._number}", time, event, pool, one_line(message), details)
        self._kept.append(happened)
        for follower in list(self._followers):
            follower(happened)

    def after(self, last: str | None) -> Iterable[Event]:
        """Those kept that came after the one with the id `last`; all of them where it is not known any more."""
        kept = list(self._kept)
        positions = [position for position, event in enumerate(kept) if event.id == last]
        return kept[positions[0] + 1 :] if positions else kept

    def follow(self, told: Callable[[Event], None]) -> Callable[[], None]:
        """Have `told` called with each event from now on; returns what ends that."""
        self._followers.append(told)
        return lambda: self._followers.remove(told)
