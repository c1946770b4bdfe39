"""
Who counts the connections that are not yet anybody's: those whose PROXY header or TLS handshake is under way?

They hold a descriptor each and nothing has built a protocol for them, so a flood of silent ones would go unseen by
whoever counts protocols.
"""

from collections.abc import Callable
from typing import Literal, Protocol

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure

from lsproxy.net.transport import is_given_up

EndedBy = Literal["client", "lsproxy", "timeout"]

Over = Callable[[EndedBy | None], None]
"""Called once, when a preface is over: with who ended the connection, or None where it goes on."""


class Prefaces(Protocol):
    """Who is told of prefaces."""

    def preface_begun(self, peer: IPv4Address | IPv6Address, *, is_client: bool) -> Over | None:
        """
        A connection has something to say before a protocol is built for it; `is_client`: `peer` is the client, not a
        proxy that is to tell who is. None: turn it away.
        """


class _Uncounted:
    def preface_begun(self, peer: IPv4Address | IPv6Address, *, is_client: bool) -> Over | None:  # noqa: ARG002 - anybody
        return _drop


UNCOUNTED: Prefaces = _Uncounted()
"""Lets all begin, as many as there are."""


class TurnedAway(TwistedProtocol):
    """The protocol of a connection that is reset at once."""

    transport: ITCPTransport

    def connectionMade(self) -> None:
        """Twisted: connected."""
        self.transport.abortConnection()


def gone(loss: Failure) -> EndedBy:
    """Who ended a connection that was lost within its preface."""
    return "timeout" if is_given_up(loss) else "client"


def _drop(_ended: EndedBy | None) -> None:
    pass
