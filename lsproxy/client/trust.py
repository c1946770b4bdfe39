"""
May an application rely on its seat now?

    Trusted --trust seconds--> Grace --grace seconds--> Lost

Both spans count from the moment a request was *sent* that the server answered
`ok`, never from the answer's arrival: the server may have given the answer as
early as that. Only an answer moves a seat back to Trusted, and nothing moves
it back from Lost.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trusted:
    """The server keeps the seat at least until `until`."""

    until: float


@dataclass(frozen=True, slots=True)
class Grace:
    """Nobody vouches for the seat; the license lets the application go on until `until`."""

    until: float


@dataclass(frozen=True, slots=True)
class Lost:
    """The application may not go on. `reason` is half a sentence."""

    reason: str


Standing = Trusted | Grace | Lost


def standing(proved_at: float, trust: float, grace: float, now: float) -> Standing:
    """What a seat proved by a request sent at `proved_at` is worth at `now`; all in seconds of one clock."""
    if now < proved_at + trust:
        return Trusted(proved_at + trust)
    if now < lost_at(proved_at, trust, grace):
        return Grace(lost_at(proved_at, trust, grace))
    return Lost(f"no license server could be reached for {trust + grace:.0f} s")


def lost_at(proved_at: float, trust: float, grace: float) -> float:
    """The moment from which such a seat is lost."""
    return proved_at + trust + grace
