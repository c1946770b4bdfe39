"""
When do the license files of the pools expire, and who is told?

`core.expiry` decides what is to be said; here the files' lines are gathered, looked at once an hour, by the wall
clock. What is due stands in the pools' pictures, too. What was said is not kept over a restart: a start says what is
due then, once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from lsproxy.core.expiry import Said, Term, due, news, sentence
from lsproxy.errors import LsproxyError
from lsproxy.license.offer import pools as granted
from lsproxy.license.signature import VerifiedLicense
from lsproxy.proxy.kinds import read_licenses
from lsproxy.proxy.relay.pool import RelayPool
from lsproxy.proxy.seatpool import SeatPool

LOOK_SECONDS: Final = 3600.0

log = Logger()

Pools = Mapping[str, SeatPool | RelayPool]


class Expiries:
    """Watches over the license files of what `pools` gives. `wall` is seconds since 1970."""

    def __init__(self, reactor: IReactorTime, pools: Callable[[], Pools], wall: Callable[[], float]) -> None:
        self._pools = pools
        self._wall = wall
        self._said: dict[str, Said] = {}
        self._looking = LoopingCall(self.look)
        self._looking.clock = reactor

    def start(self) -> None:
        """Look now and every LOOK_SECONDS."""
        self._looking.start(LOOK_SECONDS).addErrback(_unexpected)

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()

    def look(self) -> None:
        """Say what is new, and put what is due into the pools' pictures."""
        today = datetime.fromtimestamp(self._wall(), UTC).date()
        pools = self._pools()
        self._said = {name: said for name, said in self._said.items() if name in pools}
        for name, pool in pools.items():
            self._look_at(name, pool, today)

    def _look_at(self, name: str, pool: SeatPool | RelayPool, today: date) -> None:
        try:
            terms = list(_terms(pool))
        except LsproxyError:
            return  # a file that cannot be read now is said by `check`; what is known of it goes on to count
        found = due(terms, today)
        pool.is_expired = bool(terms) and all(term.expires is not None and term.expires < today for term in terms)
        pool.expiring = [sentence(one, today) for one in found]
        fresh, self._said[name] = news(found, self._said.get(name, {}), today)
        for one in fresh:
            days = (one.expires - today).days
            said: dict[str, object] = {"expires": str(one.expires), "days": days, "features": list(one.features)}
            pool.announce("license_expiring", sentence(one, today), file=one.file, **said)


def terms_of(licenses: Iterable[VerifiedLicense]) -> Iterator[Term]:
    """The lines that a licserver serves, of each file once."""
    for verified in {verified.license.file: verified for verified in licenses}.values():
        for feature, parts in granted(verified).items():
            yield from (Term(verified.license.file, feature, part.expires, part.issued) for part in parts)


def _terms(pool: SeatPool | RelayPool) -> Iterator[Term]:
    """The lines of each file once. Raises LsproxyError for a file that cannot be read."""
    match pool:
        case SeatPool():
            yield from terms_of(pool.plan.licenses.of(name) for name in pool.backends)
        case RelayPool():
            for read in {read.file: read for read in read_licenses(pool.config).values()}.values():
                yield from (Term(read.file, term.feature, term.expires) for term in read.terms)


def _unexpected(failure: Failure) -> None:
    log.failure("license files are not watched over any more", failure)
