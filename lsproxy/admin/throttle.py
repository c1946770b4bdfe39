"""
How long must a source wait that offered wrong tokens?

The first FREE mistakes cost nothing, each later one a pause that doubles, so
guessing is hopeless and a slip is not. Only the MOST_SOURCES latest are kept.
The log tells of each source once in QUIET_SECONDS.
"""

import math
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Final

import msgspec

FREE: Final = 4
SHORTEST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 60.0
FORGOTTEN_SECONDS: Final = 600.0
MOST_SOURCES: Final = 1024
QUIET_SECONDS: Final = 60.0


class Failures(msgspec.Struct, frozen=True):
    """`count` wrong tokens in a row, the last one at `last` seconds."""

    count: int
    last: float


Sources = dict[str, Failures]
"""The latest failing source stands last."""


def pause(sources: Sources, source: str, now: float) -> float:
    """Seconds until `source` may try again, 0 if it may now."""
    failures = sources.get(network(source))
    if failures is None:
        return 0.0
    return max(0.0, failures.last + _penalty(failures.count) - now)


def failed(sources: Sources, source: str, now: float) -> Sources:
    """After one more wrong token of `source`."""
    here = network(source)
    before = sources.get(here)
    is_old = before is None or now - before.last >= FORGOTTEN_SECONDS
    count = 1 if before is None or is_old else before.count + 1
    others = [(name, failures) for name, failures in sources.items() if name != here]
    return dict([*others[-(MOST_SOURCES - 1) :], (here, Failures(count, now))])


def passed(sources: Sources, source: str) -> Sources:
    """After a right token of `source`."""
    here = network(source)
    return {name: failures for name, failures in sources.items() if name != here}


def is_news(said: Mapping[str, float], source: str, now: float) -> bool:
    """Whether the log has had no line on `source` for QUIET_SECONDS; `said` is what `noted` gave."""
    return now - said.get(network(source), -math.inf) >= QUIET_SECONDS


def noted(said: Mapping[str, float], source: str, now: float) -> dict[str, float]:
    """After a line on `source`."""
    here = network(source)
    others = [(name, at) for name, at in said.items() if name != here]
    return dict([*others[-(MOST_SOURCES - 1) :], (here, now)])


def _penalty(count: int) -> float:
    if count <= FREE:
        return 0.0
    doublings = min(count - FREE - 1, 16)
    return min(LONGEST_SECONDS, SHORTEST_SECONDS * 2.0**doublings)


def network(source: str) -> str:
    """Who is one source: an IPv6 host has 2**64 addresses to come from: they count as one."""
    try:
        address = ip_address(source.partition("%")[0])
    except ValueError:
        return source
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return f"{int(address) >> 64:x}/64"
    return str(address)
