"""What is known of a client's connection when it is accepted, and who is told when it is over?"""

from typing import Protocol

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import ITransport
from twisted.python.failure import Failure

from lsproxy.net.announcing import ends_of
from lsproxy.net.ends import Ends
from lsproxy.net.transport import is_given_up
from lsproxy.proxy.accesslog import EndedBy


class Door(Protocol):
    """What accepted it."""

    def over(self, arrival: "Arrival", backend: str | None, received: int, sent: int, ended: EndedBy) -> None:
        """It has ended."""


class Arrival:
    """
    One accepted connection. `client` is its address, `port` the name of the backends' port that it is for, `since` the
    reactor's time. Whoever takes it on calls `over` once, at its end.
    """

    __slots__ = ("_door", "client", "port", "since")

    def __init__(self, door: Door, client: IPv4Address | IPv6Address, port: str, since: float) -> None:
        self._door = door
        self.client = client
        self.port = port
        self.since = since

    def ends(self, transport: ITransport) -> Ends:
        """Both ends of the connection, as the client sees it, once it has its transport."""
        host = transport.getHost()
        assert isinstance(host, IPv4Address | IPv6Address)
        return ends_of(self.client, host)

    def over(self, backend: str | None, received: int, sent: int, ended: EndedBy) -> None:
        """It has ended; `backend` is the server it had last, `received` and `sent` are bytes from and to the client."""
        self._door.over(self, backend, received, sent, ended)


def ended_by(side: EndedBy, loss: Failure) -> EndedBy:
    """Who ended a connection that was lost on this `side`: the side, unless the kernel gave it up."""
    return "timeout" if is_given_up(loss) else side
