"""
What does the takeover limit do at the desk of the server that has the name: what is to be kept, may seats be granted?

Every change of the limit is an event as any other, decided here and applied at
once; `news` collects what people are to be told of it. Time is looked at before
each decision on a checkout, so no seat is granted past the limit, however late a tick is.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from licserver.core import events as ev
from licserver.core import takeover, unblocking
from licserver.core.scheme import Primary, Redundant, Role
from licserver.core.takeover_news import News, blocked_sentence, news, notice, shown_in_status
from lsproxy.license.activation import KeyRefused, Request
from lsproxy.license.hostid import Hostid
from lsproxy.seat.messages import Notice, TakeoverStatus

if TYPE_CHECKING:
    from licserver.core.desk import Desk, Moment


class TakeoverLimit:
    """
    See the module. `boot_id` is the kernel's; a primary in control for `restore_seconds` makes the limit whole.

    `role` is what this server serves as, None while it does not have the name.
    """

    def __init__(self, desk: "Desk", boot_id: str, restore_seconds: float) -> None:
        self._desk = desk
        self._boot_id = boot_id
        self.restore_seconds = restore_seconds
        self.role: Role | None = None
        self.news: list[News] = []

    def serve_as(self, role: Role, moment: "Moment", nonce: bytes, *, is_seen: bool) -> None:
        """
        This server took the name, or serves another license now, as `role`; `nonce` are 8 random bytes. One that the
        pair has not seen has no time, but what was left under another license of the same vendor.
        """
        before = self.role
        is_renewed = isinstance(before, Redundant) and isinstance(role, Redundant) and before.signer == role.signer
        left = (self.remaining_seconds(moment) or 0.0) if is_renewed else 0.0
        self.role = role
        own = role.pair if isinstance(role, Primary | Redundant) else None
        for pair, state in list(self._desk.ledger.takeovers.items()):
            if pair != own:
                for change in takeover.taken_by_another(state, self._reading(moment)):
                    self._desk.record(ev.TakeoverChanged(pair, change))
        match role:
            case Primary():
                self._record(takeover.taken_by_primary(self._state, self._reading(moment)))
            case Redundant(limit=limit) if not is_seen:
                self._record(takeover.taken_unseen(self._state, self._reading(moment), limit, left, nonce))
            case Redundant(limit=limit):
                self._record(takeover.taken_by_redundant(self._state, self._reading(moment), limit, nonce))

    def leave(self) -> None:
        """This server does not have the name any more."""
        self.role = None

    def keep(self, moment: "Moment") -> None:
        """Decide what the time makes due."""
        if isinstance(self.role, Primary | Redundant):
            self._record(takeover.time_passed(self._state, self._reading(moment), self.restore_seconds))

    @property
    def blocked(self) -> str:
        """Why no seats are granted, "" if they are."""
        return blocked_sentence(self._state)

    def remaining_seconds(self, moment: "Moment") -> float | None:
        """How much longer this server may serve, None where there is no limit."""
        state = self._state
        return takeover.remaining_seconds(state, self._reading(moment)) if isinstance(state, takeover.Counted) else None

    def notice(self, moment: "Moment") -> Notice | None:
        """What heartbeats and status say of it."""
        return notice(self._state, self._reading(moment))

    def shown(self, moment: "Moment") -> TakeoverStatus | None:
        """`takeover` in the reply to `status`."""
        return shown_in_status(self._state, self._reading(moment))

    def request(self, hostids: Collection[Hostid], license_digest: str) -> Request | KeyRefused:
        """What the vendor is to be asked for, or why nothing; `hostids` are those by which this host is licensed."""
        return unblocking.request_of(self._state, self._desk.backend, hostids, license_digest)

    def activate(
        self,
        typed: str,
        asked: Request | KeyRefused,
        vendor_key: Ed25519PublicKey,
        moment: "Moment",
        nonce: bytes,
    ) -> int | KeyRefused:
        """Count the hours of a `typed` activation key, which are returned, or why it does not count."""
        changes = unblocking.activate(self._state, typed, asked, vendor_key, self._reading(moment), nonce)
        if isinstance(changes, KeyRefused):
            return changes
        self._record(changes)
        return sum(change.hours for change in changes if isinstance(change, ev.TakeoverExtended))

    @property
    def _state(self) -> takeover.State:
        role = self.role
        return self._desk.ledger.takeover_of(role.pair) if isinstance(role, Primary | Redundant) else takeover.Whole()

    def _reading(self, moment: "Moment") -> ev.Reading:
        return ev.Reading(self._boot_id, moment.boot, moment.active, moment.wall)

    def _record(self, changes: takeover.Changes) -> None:
        role = self.role
        assert isinstance(role, Primary | Redundant)
        for change in changes:
            before = self._state
            self._desk.record(ev.TakeoverChanged(role.pair, change))
            told = news(before, self._state)
            if told is not None:
                self.news.append(told)
