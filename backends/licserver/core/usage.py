"""Who holds what: the reply to `usage`, a page at a time, from a ledger."""

from datetime import UTC, datetime
from itertools import islice

from msgspec import UNSET

from licserver.core.checkout import issued_seats
from licserver.core.ledger import Entry, Held, Ledger
from lsproxy.license.offer import Pool
from lsproxy.seat.messages import FeatureUsage, HolderUsage, Refusal, Usage, UsageReply


def usage_reply(ledger: Ledger, request: Usage, wall: float) -> UsageReply | Refusal:
    """
    The features asked for with their holders after seat number `after`.

    A page holds up to `limit` holders over all its features, in order of seat numbers. What is issued is what is
    valid at `wall`, POSIX seconds; where nothing is, version and expiry are those of the best line all the same.
    """
    wanted = request.feature
    if wanted is None:
        features = sorted({*ledger.pools, *(feature for feature, demand in ledger.demand.items() if demand)})
    elif wanted in ledger.pools or ledger.demand.get(wanted):
        features = [wanted]
    else:
        return Refusal(request.id, "unknown_feature", f"{wanted}: the license file has no such feature")
    replies = {feature: _feature(ledger, feature, wall) for feature in features}
    following = None
    if request.holders:
        for reply in replies.values():
            reply.holders = []
        found = (
            entry for number, entry in ledger.entries.items() if number > request.after and entry.feature in replies
        )
        page = list(islice(found, request.limit + 1))
        if len(page) > request.limit:
            page.pop()
            following = page[-1].number
        for entry in page:
            holders = replies[entry.feature].holders
            assert holders is not UNSET
            holders.append(_holder(ledger, entry))
    return UsageReply(request.id, following, list(replies.values()))


def rfc3339(wall: float) -> str:
    """POSIX seconds as "2026-11-21T20:48:00Z"."""
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _feature(ledger: Ledger, feature: str, wall: float) -> FeatureUsage:
    pools = ledger.pools.get(feature, ())
    valid = [pool for pool in pools if pool.has_started(wall) and not pool.has_expired(wall)]
    best: Pool | None = max(valid or pools, key=lambda pool: pool.version, default=None)
    return FeatureUsage(
        feature=feature,
        version="" if best is None else best.version_text,
        vendor="" if best is None else best.vendor,
        issued=issued_seats(ledger, feature, wall),
        in_use=sum(ledger.demand.get(feature, {}).values()),
        reserved=0,
        queued=len(ledger.queues.get(feature, ())),
        expires=None if best is None or best.expires is None else best.expires.isoformat(),
    )


def _holder(ledger: Ledger, entry: Entry) -> HolderUsage:
    session = ledger.sessions[entry.session]
    if not isinstance(entry, Held):
        state = "queued"
    elif session.deadline is None:
        state = "held"
    else:
        state = "detached"
    return HolderUsage(
        seat=entry.number,
        user=session.user,
        host=session.host,
        display=session.display,
        pid=session.pid,
        address=session.address,
        count=entry.count,
        version=entry.asked,
        since=rfc3339(entry.since),
        state=state,
    )
