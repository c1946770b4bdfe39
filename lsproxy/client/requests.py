"""
Which requests are still to be said, or still to be answered?

A request is kept, in the order of the ids, until it is answered for good. A
new connection makes all of them unsaid again; their lines stay the same.
"""

from dataclasses import dataclass

from lsproxy.seat.messages import MOST_UNANSWERED, Bye, Checkin, Checkout, encode

ROOM_FOR_HEARTBEATS = 10

Wish = Checkout | Checkin | Bye


@dataclass(slots=True)
class Pending:
    """`sent_at`: when it was said on the present connection, None if it was not; `was_sent`: on any."""

    request: Wish
    was_sent: bool = False
    sent_at: float | None = None


class Requests:
    """The unanswered requests of one session, by id."""

    def __init__(self) -> None:
        self._pending: dict[int, Pending] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._pending

    def add(self, request: Wish) -> int:
        """Keep a new request, whose id is above all others; the id."""
        self._pending[request.id] = Pending(request)
        return request.id

    def get(self, number: int) -> Pending | None:
        """The request `number`, if it is unanswered."""
        return self._pending.get(number)

    def pop(self, number: int) -> Pending | None:
        """Forget the request `number`; what it was."""
        return self._pending.pop(number, None)

    def unsay(self) -> None:
        """There is a new connection, on which nothing has been said yet."""
        for pending in self._pending.values():
            pending.sent_at = None

    def lines_to_send(self, now: float) -> list[bytes]:
        """What may be said now, without more unanswered than the protocol allows."""
        unanswered = sum(pending.sent_at is not None for pending in self._pending.values())
        room = MOST_UNANSWERED - ROOM_FOR_HEARTBEATS - unanswered
        unsaid = [pending for pending in self._pending.values() if pending.sent_at is None][: max(0, room)]
        for pending in unsaid:
            pending.was_sent, pending.sent_at = True, now
        return [encode(pending.request) for pending in unsaid]

    def silent_since(self) -> float:
        """When the oldest request was said that should have been answered at once; infinity if there is none."""
        said = (pending for pending in self._pending.values() if not getattr(pending.request, "wait", 0.0))
        return min((pending.sent_at for pending in said if pending.sent_at is not None), default=float("inf"))

    def mentioned(self) -> set[int]:
        """The handles that are asked for or given back by a request kept here."""
        return {
            pending.request.handle if isinstance(pending.request, Checkin) else pending.request.id
            for pending in self._pending.values()
        }
