"""
Which checkout gets a seat, waits, or is refused, and who is next in the queue.

How many seats are free
-----------------------
A feature's pools may differ in version, and a pool of a higher version serves
requests for a lower one. Seats are not tied to pools; what must hold is that
they *could* be handed out to pools, at any time. For versions, which are
ordered, that is so exactly if in all, and for the version `v` of every pool,

    seats that asked for more than v  <=  seats issued with a version above v

(Hall's theorem: requests for more than `v` compete for the pools above `v`, and
for nothing else.) What is free is the slack of the tightest of these bounds
that a new request would take part in. Seats whose line has expired or
shrunk go on counting on the left side, so nothing new is granted until there
is room, and nothing is taken away.
"""

from collections.abc import Sequence
from functools import lru_cache

from licserver.core import events as ev
from licserver.core.ledger import Held, Ledger, Session, Waiting
from lsproxy.license.offer import Pool
from lsproxy.license.version import Version, parse_version
from lsproxy.seat.messages import Checkout, Granted, Refusal


def decide_checkout(
    ledger: Ledger, session: Session, request: Checkout, active: float, wall: float, blocked: str = ""
) -> ev.CheckoutQueued | ev.SeatGranted | Held | Waiting | Refusal:
    """
    What becomes of a checkout of an open session.

    An event: it is granted or queued by this. A `Held` or `Waiting`: it is a
    repetition, and that is its state. Otherwise the refusal. `blocked`: why none is granted now, whatever is free.
    """
    handle = request.id
    known = ledger.entry(session.number, handle)
    if known is not None:
        if (known.feature, known.asked, known.count, known.wait) != _contents(request):
            sentence = (
                f"checkout {handle} was sent before with other contents ({_asked(known)}); a new request needs a new id"
            )
            return Refusal(handle, "bad_request", sentence)
        return known
    if handle <= session.highest:
        return Refusal(handle, "ended", f"checkout {handle} has ended; a new request needs a new id")
    if blocked:
        return Refusal(handle, "blocked", blocked)
    feature, count = request.feature, request.count
    offer = find_offer(ledger, feature, request.version, count, wall)
    if isinstance(offer, tuple):
        return Refusal(handle, *offer)
    queue = ledger.queues.get(feature)
    free = free_seats(ledger, feature, request.version, wall)
    if queue or count > free:
        if request.wait > 0:
            return ev.CheckoutQueued(
                session.number,
                handle,
                ledger.next_seat,
                feature,
                request.version,
                count,
                request.wait,
                active + request.wait,
                wall,
            )
        sentence = f"{feature}: {count} asked, {max(free, 0)} of {issued_seats(ledger, feature, wall)} free"
        if queue:
            sentence += f", {len(queue)} waiting before"
        return Refusal(handle, "no_seats", sentence)
    return _grant(offer, session.number, handle, ledger.next_seat, request.wait, feature, request.version, count, wall)


def next_in_queue(
    ledger: Ledger, feature: str, wall: float, blocked: str = ""
) -> ev.SeatGranted | tuple[ev.WaitEnded, Refusal] | None:
    """
    What the head of a feature's queue is due now: a seat, an end (it can no
    longer be served, or `blocked` says why nobody is), or nothing yet. To be asked again after applying.
    """
    queue = ledger.queues.get(feature)
    if not queue:
        return None
    head = next(iter(queue.values()))
    if blocked:
        return ev.WaitEnded(head.session, head.handle), Refusal(head.handle, "blocked", blocked)
    offer = find_offer(ledger, feature, head.asked, head.count, wall)
    if isinstance(offer, tuple):
        return ev.WaitEnded(head.session, head.handle), Refusal(head.handle, *offer)
    if head.count > free_seats(ledger, feature, head.asked, wall):
        return None
    return _grant(offer, head.session, head.handle, head.number, head.wait, feature, head.asked, head.count, wall)


def find_offer(ledger: Ledger, feature: str, asked: str, count: int, wall: float) -> Pool | tuple[str, str]:
    """The pool whose terms a checkout gets, or the code and sentence that say why the license does not allow it."""
    pools = ledger.pools.get(feature)
    if not pools:
        return "unknown_feature", f"{feature}: the license file has no such feature"
    version = _version(asked)
    covering = [pool for pool in pools if pool.version >= version]
    if not covering:
        best = max(pools, key=_by_version).version_text
        return "version_not_covered", f"{feature}: version {asked} asked, {best} is the highest licensed"
    valid = [pool for pool in covering if pool.has_started(wall) and not pool.has_expired(wall)]
    if not valid:
        pending = [pool for pool in covering if not pool.has_started(wall)]
        if pending:
            return "not_started", f"{feature}: the license starts on {min(str(pool.starts) for pool in pending)}"
        return "expired", f"{feature}: the license expired on {max(str(pool.expires) for pool in covering)}"
    issued = _supply(valid)
    if count > issued:
        return "over_limit", f"{feature}: {count} asked, {issued} is all there is"
    return min(valid, key=_by_version)


def free_seats(ledger: Ledger, feature: str, asked: str, wall: float) -> int:
    """How many seats of at least version `asked` can be granted now, whoever waits. Negative after a license shrank."""
    valid = _valid(ledger.pools.get(feature, ()), wall)
    demand = ledger.demand.get(feature, {})
    bounds = sorted({pool.version for pool in valid if pool.version < _version(asked)})
    free = _supply(valid) - sum(demand.values())
    for bound in bounds:
        above = [pool for pool in valid if pool.version > bound]
        free = min(free, _supply(above) - _demand_above(demand, bound))
    return free


def issued_seats(ledger: Ledger, feature: str, wall: float) -> int:
    """How many seats of a feature there are now, overdraft included."""
    return _supply(_valid(ledger.pools.get(feature, ()), wall))


def granted(entry: Held) -> Granted:
    """The reply that tells a client of its seat, the same each time."""
    return Granted(
        entry.handle, entry.handle, entry.number, entry.feature, entry.version, entry.count, entry.expires, entry.grace
    )


def _grant(
    offer: Pool, session: int, handle: int, seat: int, wait: float, feature: str, asked: str, count: int, wall: float
) -> ev.SeatGranted:
    expires = None if offer.expires is None else offer.expires.isoformat()
    return ev.SeatGranted(
        session,
        handle,
        seat,
        feature,
        asked,
        count,
        wait,
        wall,
        offer.version_text,
        expires,
        offer.grace_seconds,
    )


@lru_cache(4096)
def _version(asked: str) -> Version:
    return parse_version(asked) or ()


def _contents(request: Checkout) -> tuple[str, str, int, float]:
    return request.feature, request.version, request.count, request.wait


def _asked(entry: Held | Waiting) -> str:
    return f"{entry.count} of {entry.feature}, version {entry.asked}, wait {entry.wait:g}"


def _valid(pools: Sequence[Pool], wall: float) -> list[Pool]:
    return [pool for pool in pools if pool.has_started(wall) and not pool.has_expired(wall)]


def _supply(pools: Sequence[Pool]) -> int:
    return sum(pool.issued + pool.overdraft for pool in pools)


def _demand_above(demand: dict[str, int], bound: Version) -> int:
    return sum(count for asked, count in demand.items() if _version(asked) > bound)


def _by_version(pool: Pool) -> Version:
    return pool.version
