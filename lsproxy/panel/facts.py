"""What do the license files say that lsproxy has read for a pool, and what is there to copy for its clients?"""

from datetime import date
from typing import Final

import msgspec

from lsproxy.errors import LsproxyError
from lsproxy.license.offer import pools as granted
from lsproxy.proxy.kinds import read_licenses
from lsproxy.proxy.kinds.clientconfig import ClientConfig
from lsproxy.proxy.pool import Pool
from lsproxy.proxy.relay.pool import RelayPlan, RelayPool
from lsproxy.proxy.seatpool import SeatPool

_NO_FILE: Final = "No license file is configured for this pool."
_NO_LINE: Final = "The license file has no line that grants seats."


class Term(msgspec.Struct, frozen=True):
    """A license line: `issued` seats of `feature`, until the end of the day `expires`, for ever where that is None."""

    feature: str
    expires: date | None
    version: str = ""
    vendor: str = ""
    issued: int | None = None

    def has_ended(self, today: date) -> bool:
        """Whether its last day is over on the day `today`, in UTC."""
        return self.expires is not None and self.expires < today


class Facts(msgspec.Struct, frozen=True):
    """A license as lsproxy knows it; `nothing` says why there are no `terms`, `problems` what is wrong in the file."""

    file: str | None
    digest: str | None
    terms: list[Term]
    problems: list[str]
    nothing: str = _NO_LINE


class Line(msgspec.Struct, frozen=True):
    """Something to copy, and what it is."""

    what: str
    text: str


class LicenseFacts:
    """Reads each pool's once for each of its configurations: a third party's file is read from the disk."""

    def __init__(self) -> None:
        self._read: dict[str, tuple[RelayPlan, Facts]] = {}

    def of(self, pool: Pool) -> Facts:
        """What is known of the license of `pool`."""
        match pool:
            case SeatPool():
                return _of_seats(pool)
            case RelayPool():
                kept = self._read.get(pool.name)
                if kept is None or kept[0] is not pool.plan:
                    kept = self._read[pool.name] = (pool.plan, _of_relay(pool))
                return kept[1]
            case _:
                return Facts(None, None, [], [], _NO_FILE)


def to_copy(pool: Pool, clients: ClientConfig) -> list[Line]:
    """What clients of `pool` are told, and how a redundant server joins it."""
    lines = [Line("Clients are told", f"{name}={value}") for name, value in clients.environment.items()]
    if clients.servers and not lines:
        lines.append(Line("Clients connect to", clients.servers))
    lines.append(Line("More for clients, on the machine of lsproxy", f"lsproxy client-config {pool.name}"))
    serving = pool.backends.get(pool.serving or "")
    if serving is not None and is_of_a_pair(pool) and not _is_registered(pool):
        command = f"licserver register --primary {serving.address} --token-file operator.token -c NAME.yaml"
        lines.append(Line("A redundant server, to be called NAME, registers itself on its own machine", command))
    return lines


def is_of_a_pair(pool: Pool) -> bool:
    """Whether a takeover limit can run in it, so that keys are asked for and redundant servers register."""
    return isinstance(pool, SeatPool) and any(backend.is_of_a_pair for backend in pool.backends.values())


def _is_registered(pool: Pool) -> bool:
    return isinstance(pool, SeatPool) and any(backend.is_redundant for backend in pool.backends.values())


def _of_seats(pool: SeatPool) -> Facts:
    name = pool.serving or next(iter(pool.backends))
    verified = pool.plan.licenses.of(name)
    terms = [
        Term(part.feature, part.expires, part.version_text, part.vendor, part.issued)
        for parts in granted(verified).values()
        for part in parts
    ]
    return Facts(verified.license.file, verified.digest, terms, [str(problem) for problem in verified.problems])


def _of_relay(pool: RelayPool) -> Facts:
    try:
        files = {read.file: read for read in read_licenses(pool.config).values()}
    except LsproxyError as problem:
        return Facts(None, None, [], [str(problem)], _NO_FILE)
    if not files:
        return Facts(None, None, [], [], _NO_FILE)
    terms = dict.fromkeys(Term(term.feature, term.expires) for read in files.values() for term in read.terms)
    problems = [str(problem) for read in files.values() for problem in read.problems]
    return Facts(", ".join(files), None, list(terms), problems)
