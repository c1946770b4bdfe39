"""What can come out of a session's dialogue?"""

from dataclasses import dataclass

from lsproxy.seat.messages import Granted


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The server took the session."""


@dataclass(frozen=True, slots=True)
class HelloRefused:
    """No session for this application here: no address will say otherwise."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """Another connection has this session; this client stops."""


@dataclass(frozen=True, slots=True)
class Left:
    """The bye was answered: the session is over, as wished."""


@dataclass(frozen=True, slots=True)
class Useless:
    """The connection is of no use any more. `problem` continues "27000@host: …"; `active` is "host:port" or None."""

    problem: str
    active: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """Request `id` was answered `ok`; a checkout with its seat."""

    id: int
    granted: Granted | None


@dataclass(frozen=True, slots=True)
class Denied:
    """Request `id` was refused for good."""

    id: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A checkout of `feature` waits at `position`, 1 is the head."""

    feature: str
    position: int


@dataclass(frozen=True, slots=True)
class SeatWasLost:
    """The seat of `handle` is lost. `reason` is half a sentence."""

    handle: int
    reason: str


Event = Welcomed | HelloRefused | Superseded | Left | Useless | Answered | Denied | Waiting | SeatWasLost
