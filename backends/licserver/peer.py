"""
Is the other license server there, what is it, and does it give the name up?

Any answer within `LIFE_SECONDS` proves that it lives; what was asked of it may
then take longer, because a server that stands down keeps first what it decided.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    ConnectionRefusedError,  # noqa: A004 Twisted's name
    DNSLookupError,
    TCPTimedOutError,
    TimeoutError,  # noqa: A004 as above
)
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from licserver.core.role import Answer, Answered, Silent, StoodDown, Unasked
from licserver.journal.interface import Member
from lsproxy.net.tls import HandshakeError
from lsproxy.seat.lines import REPLY_LIMIT, LineSplitter

LIFE_SECONDS: Final = 0.2
LATE_SECONDS: Final = 0.05
_HELLO, _ASKED = 1, 2
_NOT_ACTIVE: Final = frozenset({"not_active"})


class Said(msgspec.Struct):
    """What is looked at of a reply; of one to `status`, its keys as in docs/protocol.md."""

    id: int = 0
    ok: bool = False
    role: str = ""
    error: str = ""
    message: str = ""
    epoch: int = 0
    journal: str = ""
    revision: int = 0
    redundancy: dict[str, Any] = {}


class Peers:
    """
    Asks other license servers. `connect` gives the endpoint of a member; `token` is the operator's, which only those
    are told whom `may_be_told` allows.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        connect: Callable[[Member], IStreamClientEndpoint],
        token: str | None,
        patience: float,
        may_be_told: Callable[[Member], bool] = lambda _: True,
    ) -> None:
        self._reactor = reactor
        self._connect = connect
        self.token = token
        self._patience = patience
        self._may_be_told = may_be_told

    async def ask_whether_active(self, member: Member) -> Answer:
        """Its role, by `status`."""
        reply = await self._ask(member, [{"id": _ASKED, "op": "status"}])
        return Answered(reply.role) if isinstance(reply, Said) else reply

    async def ask_status(self, member: Member) -> Said | None:
        """Its status, None if it does not say it."""
        reply = await self._ask(member, [{"id": _ASKED, "op": "status"}])
        return reply if isinstance(reply, Said) and reply.ok else None

    async def ask_to_stand_down(self, member: Member, heir: str, reason: str) -> Answer:
        """Whether it gives the name up for `heir`."""
        if self.token is None or not self._may_be_told(member):
            reply = await self._ask(member, [{"id": _ASKED, "op": "status"}])
            reason = "there is no token_file here with which to ask it"
            if self.token is not None:
                reason = f"it is asked at {member.listen}, on another host, and the token is sent there over TLS only"
            return Answered("refuses", reason) if isinstance(reply, Said) else reply
        hello = {"id": _HELLO, "op": "hello", "token": self.token}
        asking = {"id": _ASKED, "op": "stand_down", "to": heir, "reason": reason}
        reply = await self._ask(member, [hello, asking])
        if not isinstance(reply, Said):
            return reply
        if reply.ok or reply.error in _NOT_ACTIVE:
            return StoodDown()
        return Answered("refuses", reply.message)

    async def _ask(self, member: Member, requests: list[dict[str, object]]) -> Silent | Answered | Unasked | Said:
        """One that is silent is asked again if this process was held up itself: the answer may be there by now."""
        asked_at = self._reactor.seconds()
        reply = await self._ask_once(member, requests)
        if isinstance(reply, Silent) and self._reactor.seconds() - asked_at > LIFE_SECONDS + LATE_SECONDS:
            return await self._ask_once(member, requests)
        return reply

    async def _ask_once(self, member: Member, requests: list[dict[str, object]]) -> Silent | Answered | Unasked | Said:
        asking = _Asking(requests)
        connecting = self._connect(member).connect(Factory.forProtocol(lambda: asking))
        is_alive = False
        try:
            await connecting.addTimeout(LIFE_SECONDS, self._reactor)
            await asking.life.addTimeout(LIFE_SECONDS, self._reactor)
            is_alive = True
            return await asking.answer.addTimeout(self._patience, self._reactor)
        except HandshakeError as problem:
            return Answered("refuses", f"it answers, but {problem}")
        except defer.TimeoutError:
            if is_alive:
                return Answered("refuses", f"it answers, but was not done after {self._patience:g} s")
            return Silent()
        except (ConnectionRefusedError, TCPTimedOutError, TimeoutError, ConnectionClosed, ConnectingCancelledError):
            if is_alive:
                return Answered("refuses", "it answers, but closed the connection before it was done")
            return Silent()
        except (ConnectError, DNSLookupError) as problem:
            # The fault may be on this side (no port or route left): that says nothing about the holder.
            return Unasked(str(problem))
        finally:
            asking.give_up()


class _Asking(Protocol):
    def __init__(self, requests: list[dict[str, object]]) -> None:
        self._requests = requests
        self._lines = LineSplitter(REPLY_LIMIT)
        self.life: Deferred[None] = Deferred()
        self.answer: Deferred[Said] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"".join(msgspec.json.encode(request) + b"\n" for request in self._requests))

    def dataReceived(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            try:
                reply = msgspec.json.decode(line, type=Said)
            except msgspec.DecodeError:
                continue
            if not self.life.called:
                self.life.callback(None)
            refused_hello = reply.id == _HELLO and not reply.ok
            if (reply.id == _ASKED or refused_hello) and not self.answer.called:
                self.answer.callback(reply)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        for waiting in (self.life, self.answer):
            if not waiting.called:
                waiting.addErrback(lambda _: None)
                waiting.errback(reason)

    def give_up(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined] # every stream transport of ours has it
