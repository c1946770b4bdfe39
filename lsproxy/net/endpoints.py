"""
Where does this process listen, and how does it reach others?

Twisted endpoints whose connections run on uvloop's transports. On any other loop they are Twisted's own: slower, and a
registered producer that never pauses holds up their `loseConnection`.
"""

import errno
import os
import socket
from asyncio import ensure_future

from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from lsproxy.errors import LsproxyError
from lsproxy.net.address import Address
from lsproxy.net.deadlines import Deadlines
from lsproxy.net.dialing import Attempt, is_numeric
from lsproxy.net.listening import Port
from lsproxy.net.reactor import BoottimeReactor

CONNECT_SECONDS = 10.0
BACKLOG = 4096  # connections the kernel keeps until they are accepted: a failover brings thousands at once


class ListenError(LsproxyError):
    """An address that cannot be listened on; `str()` says which and why."""


def server_endpoint(
    reactor: BoottimeReactor,
    host: str,
    port: int,
    *,
    backlog: int = BACKLOG,
) -> IStreamServerEndpoint:
    """
    Listen on `host` (of a name the first address, IPv4 before IPv6) and `port` (0: the system picks one).

    `listen(factory)` fails with ListenError.
    """
    kind = ServerEndpoint if reactor.is_uvloop else _TwistedServerEndpoint
    endpoint: IStreamServerEndpoint = kind(reactor, Address(host, port), backlog)
    return endpoint


def heir_endpoint(reactor: BoottimeReactor, port: IListeningPort) -> IStreamServerEndpoint | None:
    """
    Listen beside `port` on its very socket, so that nobody is refused or reset when that one stops then. None where it
    cannot be done: without uvloop, where a port that stops shuts the socket down for all.
    """
    return HeirEndpoint(reactor, port) if isinstance(port, Port) else None


def client_endpoint(
    reactor: BoottimeReactor,
    host: str,
    port: int,
    *,
    timeout: float = CONNECT_SECONDS,
) -> IStreamClientEndpoint:
    """
    Connect to `host` (name or IP address) and `port` within `timeout` seconds, the look-up of the name included.

    `connect(factory)` fails with Twisted's ConnectError family; cancelled, it closes what was begun.
    """
    endpoint: IStreamClientEndpoint
    if reactor.is_uvloop:
        endpoint = ClientEndpoint(reactor, Address(host, port), timeout)
    else:
        endpoint = HostnameEndpoint(reactor, host, port, timeout)
    return endpoint


@implementer(IStreamServerEndpoint)
class ServerEndpoint:
    """Listens with uvloop."""

    def __init__(self, reactor: BoottimeReactor, address: Address, backlog: int) -> None:
        self._reactor = reactor
        self._address = address
        self._backlog = backlog

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803 - Twisted's name
        """Answers at once where the host is an IP address."""
        return Deferred.fromCoroutine(self._listen(protocolFactory))

    async def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        host = self._address.host
        try:
            if not is_numeric(host):
                host = await self._resolve(host)
            listening = _listening_socket(host, self._address.port, self._backlog)
        except OSError as error:
            raise ListenError(_why_not(self._address, error)) from error
        port = Port(self._reactor, listening, factory)
        port.startListening()
        return port

    async def _resolve(self, name: str) -> str:
        loop = self._reactor.loop
        found = await Deferred.fromFuture(
            ensure_future(loop.getaddrinfo(name, None, type=socket.SOCK_STREAM), loop=loop)
        )
        _family, _type, _proto, _name, sockaddr = min(found, key=lambda info: info[0] != socket.AF_INET)
        return str(sockaddr[0])


@implementer(IStreamServerEndpoint)
class HeirEndpoint:
    """Listens with uvloop where `port` does."""

    def __init__(self, reactor: BoottimeReactor, port: Port) -> None:
        self._reactor = reactor
        self._port = port

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803 - Twisted's name
        """Answers at once; `port` still listens."""
        heir = Port(self._reactor, self._port.duplicate(), protocolFactory)
        heir.startListening()
        return succeed(heir)


@implementer(IStreamClientEndpoint)
class ClientEndpoint:
    """Connects with uvloop."""

    def __init__(self, reactor: BoottimeReactor, address: Address, timeout: float) -> None:
        self._reactor = reactor
        self._address = address
        self._limit: Deadlines[Attempt] = Deadlines(reactor, timeout, Attempt.time_out)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - Twisted's name
        """Fires with the connected protocol before it receives anything."""
        return Attempt(self._reactor, self._address, protocolFactory, self._limit).connected


@implementer(IStreamServerEndpoint)
class _TwistedServerEndpoint:
    def __init__(self, reactor: BoottimeReactor, address: Address, backlog: int) -> None:
        kind = TCP6ServerEndpoint if ":" in address.host else TCP4ServerEndpoint
        self._endpoint = kind(reactor, address.port, backlog, address.host)
        self._address = address

    async def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        try:
            port: IListeningPort = await self._endpoint.listen(factory)  # type: ignore[no-untyped-call]
        except CannotListenError as error:
            raise ListenError(_why_not(self._address, error.socketError)) from error
        return port

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803 - Twisted's name
        return Deferred.fromCoroutine(self._listen(protocolFactory))


def _listening_socket(host: str, port: int, backlog: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(backlog)
    except OSError:
        listening.close()
        raise
    return listening


def _why_not(address: Address, error: OSError) -> str:
    match error:
        case socket.gaierror():
            return f'cannot listen on {address}: the name "{address.host}" is not known here'
        case OSError(errno=errno.EADDRINUSE):
            return f"cannot listen on {address}: the address is in use, stop what listens there or choose another port"
        case OSError(errno=errno.EADDRNOTAVAIL):
            return f"cannot listen on {address}: this machine does not have the address {address.host}"
        case OSError(errno=errno.EACCES):
            return f"cannot listen on {address}: a port below 1024 needs the right to bind it, choose another one"
        case _:
            return f"cannot listen on {address}: {os.strerror(error.errno) if error.errno else error}"
