"""How one protocol object is given to an endpoint that wants a factory."""

from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from zope.interface import implementer


@implementer(IProtocolFactory)
class OneProtocol:
    """The factory of a single connection."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: IProtocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress) -> IProtocol:  # noqa: ARG002 - Twisted passes the peer
        """Twisted: the protocol of the connection."""
        return self._protocol

    def doStart(self) -> None:
        """Twisted: about to connect."""

    def doStop(self) -> None:
        """Twisted: done."""
