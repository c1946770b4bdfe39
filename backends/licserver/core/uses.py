"""
Who took, gave back, waited for or was refused seats by an event: what a log of uses tells.

An event names sessions and handles by number, so it is looked at before the ledger changes by it.
"""

from typing import Literal

import msgspec

from licserver.core import events as ev
from licserver.core.ledger import Held, Ledger, Waiting
from lsproxy.seat.messages import Checkout, Refusal

Kind = Literal["OUT", "IN", "QUEUED", "DEQUEUED", "DENIED"]


class Use(msgspec.Struct, frozen=True, gc=False):
    """
    What `user` at `host`, connected from `address`, did with `count` seats of `feature`; of a feature that nobody
    licenses `vendor` is that of the first one there is. `code` and `reason` are those of a refusal.
    """

    kind: Kind
    feature: str
    count: int
    vendor: str
    user: str
    host: str
    address: str
    code: str = ""
    reason: str = ""


def uses(ledger: Ledger, event: ev.AnyEvent) -> list[Use]:
    """What `event` will do to the seats of `ledger`, which it has not been applied to."""
    match event:
        case ev.SeatGranted(session, _, seat, feature, _, count):
            is_new = seat >= ledger.next_seat
            kinds: tuple[Kind, ...] = ("OUT",) if is_new else ("DEQUEUED", "OUT")
            return [_use(ledger, kind, session, feature, count) for kind in kinds]
        case ev.CheckoutQueued(session, _, _, feature, _, count):
            return [_use(ledger, "QUEUED", session, feature, count)]
        case ev.SeatReturned(session, handle) | ev.WaitEnded(session, handle) | ev.SeatRemoved(session, handle):
            entry = ledger.entry(session, handle)
            return [] if entry is None else [_ended(ledger, entry)]
        case ev.SessionClosed(session):
            return [_ended(ledger, entry) for entry in ledger.entries_of(session)]
        case _:
            return []


def denial(ledger: Ledger, session: int, asked: Checkout | Waiting, refusal: Refusal) -> Use:
    """A checkout of `session` that was refused, at once or after it had waited."""
    use = _use(ledger, "DENIED", session, asked.feature, asked.count)
    return msgspec.structs.replace(use, code=refusal.error, reason=refusal.message)


def _ended(ledger: Ledger, entry: Held | Waiting) -> Use:
    kind: Kind = "IN" if isinstance(entry, Held) else "DEQUEUED"
    return _use(ledger, kind, entry.session, entry.feature, entry.count)


def _use(ledger: Ledger, kind: Kind, session: int, feature: str, count: int) -> Use:
    who = ledger.sessions[session]
    return Use(kind, feature, count, _vendor(ledger, feature), who.user, who.host, who.address)


def _vendor(ledger: Ledger, feature: str) -> str:
    pools = ledger.pools.get(feature) or next(iter(ledger.pools.values()), ())
    return pools[0].vendor if pools else ""
