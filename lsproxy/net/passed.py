"""
Who listens on the sockets that the service manager passed to this process (sd_listen_fds(3))?

They are told apart by the address they are bound to. The service manager keeps them open while this process is
started again: whoever connects meanwhile waits in the kernel's queue and is not refused. For the same reason each is
kept open here, and who listens on it has a copy: a listener that a reload takes away may come back.
"""

import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from lsproxy.errors import LsproxyError
from lsproxy.net.address import Address
from lsproxy.net.dialing import is_numeric
from lsproxy.net.endpoints import BACKLOG
from lsproxy.net.listening import Port
from lsproxy.net.reactor import BoottimeReactor

Place = Address | Path


class PassedSocketError(LsproxyError):
    """A socket that was passed and cannot be used; `str()` says which and what would be right."""


class PassedSockets:
    """Listening sockets by the address, or the path, that they are bound to."""

    def __init__(self, sockets: Mapping[Place, socket.socket]) -> None:
        self._sockets = sockets

    def endpoint(self, reactor: BoottimeReactor, address: Address) -> IStreamServerEndpoint | None:
        """Listens on the socket bound to `address`, whose host is a name or an IP address; None if none was passed."""
        place = next((place for place in _places(address) if place in self._sockets), None) if self._sockets else None
        return None if place is None else _PassedEndpoint(reactor, self._sockets[place])

    def unix(self, path: Path) -> socket.socket | None:
        """A copy of the socket bound to `path`; None if none was passed."""
        passed = self._sockets.get(path)
        return None if passed is None else passed.dup()

    def close(self) -> None:
        """Keep them no more; who listens goes on."""
        for passed in self._sockets.values():
            passed.close()

    def refuse_strangers(self, addresses: Iterable[Address], path: Path | None = None) -> None:
        """Raises PassedSocketError if one was passed that is for none of `addresses` and not for `path`."""
        known: set[Place] = {place for address in addresses for place in _places(address)} if self._sockets else set()
        for place in self._sockets:
            if place not in known and place != path:
                raise PassedSocketError(
                    f"the service manager passes a socket bound to {place}, and nothing in the configuration listens "
                    "there: write the same address in the .socket unit and in the configuration"
                )


def passed_sockets(descriptors: Iterable[int]) -> PassedSockets:
    """Those of `systemd.passed_descriptors`. Raises PassedSocketError for one that is no listening stream socket."""
    found: dict[Place, socket.socket] = {}
    for descriptor in descriptors:
        passed = _listening(descriptor)
        found[_bound_to(passed)] = passed
    return PassedSockets(found)


@implementer(IStreamServerEndpoint)
class _PassedEndpoint:
    def __init__(self, reactor: BoottimeReactor, passed: socket.socket) -> None:
        self._reactor = reactor
        self._passed = passed

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803 - Twisted's name
        """Answers at once."""
        if not self._reactor.is_uvloop:
            raise PassedSocketError("the service manager passes sockets, and without uvloop none can be used here")
        copy = self._passed.dup()
        copy.listen(BACKLOG)  # what the unit says may be too little for a failover
        port = Port(self._reactor, copy, protocolFactory)
        port.startListening()
        return succeed(port)


def _listening(descriptor: int) -> socket.socket:
    try:
        passed = socket.socket(fileno=descriptor)
        is_listening = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        is_listening = 0
    if not is_listening:
        raise PassedSocketError(
            f"descriptor {descriptor} that the service manager passes is no socket that listens for connections: "
            "the .socket unit takes ListenStream=, and no Accept=yes"
        )
    os.set_inheritable(descriptor, False)
    return passed


def _bound_to(passed: socket.socket) -> Place:
    name = passed.getsockname()
    return Address(name[0], name[1]) if passed.family in {socket.AF_INET, socket.AF_INET6} else Path(os.fsdecode(name))


def _places(address: Address) -> set[Address]:
    """As the kernel writes them: of a name all, numbers in their shortest form."""
    flags = socket.AI_NUMERICHOST if is_numeric(address.host) else 0
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=flags)
    except OSError:
        return {address}
    return {Address(str(sockaddr[0]), address.port) for *_, sockaddr in found}
