"""One seat in the hands of an application: what it is, and whether it may still be relied on."""

from datetime import date
from types import TracebackType
from typing import Protocol, Self

from lsproxy.client.errors import SeatLost
from lsproxy.client.trust import Lost, Standing, Trusted
from lsproxy.seat.messages import Granted


class Holder(Protocol):
    """What a seat needs of the session that holds it."""

    def standing(self, handle: int) -> Standing:
        """What the seat of `handle` is worth now."""

    def check_in(self, handle: int) -> None:
        """Give the seat of `handle` back; bounded in time."""

    def was_told(self, seat: "Seat") -> bool:
        """Note that the application learns now that this seat is lost; whether it knew before."""


class Seat:
    """
    A seat held. As a context manager it is given back at the end.

    `handle` the checkout's id, `number` the seat's public number, `feature`,
    `version` that of the license ("2027.0"), `count`, `expires` a date or None
    for a permanent license, `grace` the seconds an application may go on when
    it can reach no server.
    """

    def __init__(self, holder: Holder, granted: Granted) -> None:
        self._holder = holder
        self._lost: str | None = None
        self._is_returned = False
        self.handle = granted.handle
        self.number = granted.seat
        self.feature = granted.feature
        self.version = granted.version
        self.count = granted.count
        self.expires = None if granted.expires is None else date.fromisoformat(granted.expires)
        self.grace = granted.grace

    def __repr__(self) -> str:
        return f"<Seat {self.number}: {self.count} of {self.feature} {self.version}, {self._state()}>"

    @property
    def is_trusted(self) -> bool:
        """Whether a server vouches for this seat now; if not, it is in its grace, lost or returned."""
        return self._lost is None and isinstance(self._holder.standing(self.handle), Trusted)

    @property
    def lost(self) -> str | None:
        """Why this seat is lost, half a sentence; None as long as the application may go on with it."""
        if self._lost is None and not self._is_returned:
            match self._holder.standing(self.handle):
                case Lost(reason):
                    return self._lost or reason
        return self._lost

    def check(self) -> None:
        """Raise SeatLost if the application may not go on with this seat."""
        reason = self.lost
        if reason is not None:
            self._holder.was_told(self)
            raise SeatLost(self.feature, reason)

    def checkin(self) -> None:
        """Give the seat back. Raises SeatLost if it was lost before and nobody has been told yet."""
        if self._is_returned:
            return
        if self.lost is not None and not self._holder.was_told(self):
            raise SeatLost(self.feature, self.lost)
        self._is_returned = True
        if self._lost is None:
            self._holder.check_in(self.handle)

    def mark_lost(self, reason: str) -> None:
        """From now on this seat is lost. For the session only."""
        if not self._is_returned and self._lost is None:
            self._lost = reason

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if problem is not None:
            self._holder.was_told(self)
        self.checkin()

    def _state(self) -> str:
        if self._is_returned:
            return "returned"
        if self.lost is not None:
            return "lost"
        return "held" if self.is_trusted else "in its grace"
