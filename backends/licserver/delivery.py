"""How does what the desk says reach those who are connected, a page of a long answer at a time?"""

from collections.abc import Callable, Sequence

import msgspec
from twisted.internet.interfaces import IReactorTime

from licserver.connection import Connection
from licserver.core.desk import Desk, Saying, Says
from licserver.core.uses import Use
from licserver.tenure import isolated


class Delivery:
    """See the module. `settle` is called when the desk has turned a page."""

    def __init__(self, reactor: IReactorTime, desk: Desk, settle: Callable[[], None]) -> None:
        self._reactor = reactor
        self._desk = desk
        self._settle = settle
        self._is_turning = False

    def deliver(self, sayings: Sequence[Saying], *, vouched: bool) -> None:
        """Write out what may be said now."""
        for conversation, message, says in sayings:
            if conversation is None:
                self._tell_witness(message)
                continue
            connection = conversation.transport
            assert isinstance(connection, Connection)
            if message is None:
                connection.hang_up()
                continue
            if says is Says.VOUCHED and not vouched:
                message = isolated(message.id, self._desk)  # type: ignore[attr-defined] # noqa: PLW2901 every answer has an id
            connection.say(message)
            if says is not Says.EVENT:
                connection.answered()
            if says is Says.PAGE:
                self._desk.is_page_unsaid = False
                self.turn_soon()

    def turn_soon(self) -> None:
        """Have the next page said, if there is one and the last one was said; others have their turn in between."""
        if self._desk.pages and not self._is_turning and not self._desk.is_page_unsaid:
            self._is_turning = True
            self._reactor.callLater(0, self._turn_page)

    def _turn_page(self) -> None:
        self._is_turning = False
        if self._desk.turn_page():
            self._settle()

    def _tell_witness(self, use: msgspec.Struct | None) -> None:
        assert isinstance(use, Use)
        if self._desk.witness is not None:
            self._desk.witness(use)
