"""
How is one connection made: name looked up, addresses tried in turn, within a time limit, until somebody cancels?

Invariant: the Deferred of an attempt fires once; whatever comes after that closes.
"""

import errno
import ipaddress
import os
import socket
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from twisted.internet.address import HostnameAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    DNSLookupError,
    NoProtocol,
    TimeoutError,  # noqa: A004 - Twisted's ConnectError family, not the built-in
    getConnectError,
)
from twisted.internet.interfaces import IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from lsproxy.net.address import Address
from lsproxy.net.deadlines import Deadlines
from lsproxy.net.eager import Eager
from lsproxy.net.reactor import BoottimeReactor
from lsproxy.net.transport import Transport

_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


class Attempt:
    """
    One attempt to connect to `address`, begun by making it.

    `connected` fires with the protocol after its `connectionMade` and before it receives anything, or fails with
    Twisted's ConnectError family (DNSLookupError for a name that is not known, TimeoutError when `limit` is over).
    """

    def __init__(
        self, reactor: BoottimeReactor, address: Address, factory: IProtocolFactory, limit: "Deadlines[Attempt]"
    ) -> None:
        self.connected: Deferred[IProtocol] = Deferred(self._cancelled)
        self._loop = reactor.loop
        self._address = address
        self._factory = factory
        self._is_open = False
        self._limit = limit
        limit.add(self)
        self._dialing = Eager(self._dial(), self._dialed)

    async def _dial(self) -> None:
        refusal: OSError | None = None
        for peer in self._known_peers() or await self._look_up():
            try:
                new_transport: Callable[[], Any] = partial(Transport, self._loop, self._start, peer)
                await self._loop.create_connection(new_transport, peer[0], peer[1])
            except OSError as error:
                refusal = refusal or error
            else:
                return
        raise refusal or OSError(f'"{self._address.host}" has no address')

    def _known_peers(self) -> list[tuple[Any, ...]]:
        host, port = self._address.host, self._address.port
        if not is_numeric(host):
            return []
        return [(host, port, 0, 0) if ":" in host else (host, port)]

    async def _look_up(self) -> list[tuple[Any, ...]]:
        found = await self._loop.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_STREAM)
        return [sockaddr for _family, _type, _proto, _name, sockaddr in found]

    def _start(self, transport: Transport) -> None:
        if self.connected.called:
            return
        try:
            protocol = self._factory.buildProtocol(transport.getPeer())
        except Exception:  # noqa: BLE001 - it is the answer to whoever dials
            self._fail(Failure())
            return
        if protocol is None:
            self._fail(Failure(NoProtocol()))
            return
        if self.connected.called:  # cancelled in buildProtocol
            return
        self._limit.discard(self)
        self._is_open = True
        transport.open(protocol)
        if self.connected.called:  # cancelled in connectionMade
            transport.abortConnection()
        else:
            self.connected.callback(protocol)

    def _dialed(self, error: BaseException | None) -> None:
        if error is not None and not self.connected.called:
            self._fail(Failure(_connect_error(error)))

    def time_out(self) -> None:
        """Its time is up."""
        self._dialing.cancel()
        late = TimeoutError(None, f"{self._address} did not answer within {self._limit.seconds:g} s")
        self.connected.errback(Failure(late))

    def _cancelled(self, _deferred: Deferred[IProtocol]) -> None:
        if not self._is_open:  # uvloop would close a connected transport without a word to its protocol
            self._dialing.cancel()
        address = HostnameAddress(self._address.host.encode("ascii"), self._address.port)
        self._fail(Failure(ConnectingCancelledError(address)))

    def _fail(self, failure: Failure) -> None:
        self._limit.discard(self)
        self.connected.errback(failure)


@lru_cache
def is_numeric(host: str) -> bool:
    """Whether `host` is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_shortage(error: BaseException | None) -> bool:
    """Whether a connection failed because this machine has run out of something, which says nothing of the server."""
    return getattr(error, "osError", None) in _SHORTAGES


def in_words(failure: Failure) -> str:
    """Why a connection could not be made: what the system says of it, without Twisted's words before that."""
    number = getattr(failure.value, "osError", None)
    return os.strerror(number) if isinstance(number, int) else str(failure.getErrorMessage())


def _connect_error(error: BaseException) -> BaseException:
    if isinstance(error, socket.gaierror):
        return DNSLookupError(error.strerror)
    if isinstance(error, OSError):
        found: ConnectError = getConnectError((error.errno, error.strerror or str(error)))
        return found
    return error
