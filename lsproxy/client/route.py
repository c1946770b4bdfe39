"""
Which address is dialed next, and after what pause?

A round tries every address once, starting after the one that failed last; an
address a server named as the active one is tried before the rest, once a
round, so two servers that name each other cost no endless loop. Rounds are
parted by pauses that double up to `LONGEST_PAUSE`, drawn at random so that
thousands of clients do not return in the same moment.
"""

import random
from collections.abc import Sequence

from lsproxy.net.address import Address

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
SPREAD = 0.1


class Route:
    """The addresses of a server list, in the order in which they are dialed."""

    def __init__(self, addresses: Sequence[Address], randomness: random.Random) -> None:
        self._addresses = tuple(addresses)
        self._random = randomness
        self._turn = 0
        self._hint: Address | None = None
        self._followed: set[Address] = set()
        self._tried = 0
        self._rounds = 0

    def next(self) -> tuple[float, Address]:
        """The pause in seconds to make first, and the address to dial then."""
        if self._hint is not None:
            hinted, self._hint = self._hint, None
            return 0.0, hinted
        pause = 0.0
        if self._tried == len(self._addresses):
            ceiling = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._rounds, 10))
            pause = self._random.uniform(ceiling / 2, ceiling)
            self._rounds += 1
            self._tried = 0
            self._followed.clear()
        address = self._addresses[self._turn]
        self._turn = (self._turn + 1) % len(self._addresses)
        self._tried += 1
        return pause, address

    def worked(self) -> None:
        """A server served the session for a while: a fresh round starts, at the address after it."""
        self._tried = self._rounds = 0
        self._followed.clear()

    def named(self, active: Address) -> None:
        """A server said that `active` is the active one."""
        if active not in self._followed:
            self._followed.add(active)
            self._hint = active

    def spread(self) -> float:
        """A short pause in seconds after a connection that worked was lost: everybody else's was, too."""
        return self._random.uniform(0.0, SPREAD)
