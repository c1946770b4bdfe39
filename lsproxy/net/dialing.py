"""
How is one connection made: name looked up, addresses tried in turn, within a time limit, until somebody cancels?

Invariant: the Deferred of an attempt fires once; whatever comes after that closes.
"""

import ipaddress
import socket
from asyncio import Task
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
from lsproxy.net.reactor import BoottimeReactor
from lsproxy.net.transport import Transport


class Attempt:
    """
    One attempt to connect to `address`, begun by making it.

    `connected` fires with the protocol after its `connectionMade` and before it receives anything, or fails with
    Twisted's ConnectError family (DNSLookupError for a name that is not known, TimeoutError after `timeout` seconds).
    """

    def __init__(self, reactor: BoottimeReactor, address: Address, factory: IProtocolFactory, timeout: float) -> None:
        self.connected: Deferred[IProtocol] = Deferred(self._cancelled)
        self._loop = reactor.loop
        self._address = address
        self._factory = factory
        self._is_open = False
        self._limit = reactor.callLater(timeout, self._time_out, timeout)
        self._task: Task[None] = self._loop.create_task(self._dial())
        self._task.add_done_callback(self._dialed)

    async def _dial(self) -> None:
        refusal: OSError | None = None
        for host in await self._hosts():
            try:
                await self._loop.create_connection(self._new_transport, host, self._address.port)
            except OSError as error:
                refusal = refusal or error
            else:
                return
        raise refusal or OSError(f'"{self._address.host}" has no address')

    async def _hosts(self) -> list[str]:
        host, port = self._address.host, self._address.port
        if is_numeric(host):
            return [host]
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(sockaddr[0]) for _family, _type, _proto, _name, sockaddr in found]

    def _new_transport(self) -> Any:
        return Transport(self._loop, self._start)

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
        self._limit.cancel()
        self._is_open = True
        transport.open(protocol)
        if self.connected.called:  # cancelled in connectionMade
            transport.abortConnection()
        else:
            self.connected.callback(protocol)

    def _dialed(self, task: Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.connected.called:
            self._fail(Failure(_connect_error(error)))

    def _time_out(self, timeout: float) -> None:
        self._task.cancel()
        late = TimeoutError(None, f"{self._address} did not answer within {timeout:g} s")
        self.connected.errback(Failure(late))

    def _cancelled(self, _deferred: Deferred[IProtocol]) -> None:
        if not self._is_open:  # uvloop would close a connected transport without a word to its protocol
            self._task.cancel()
        address = HostnameAddress(self._address.host.encode("ascii"), self._address.port)
        self._fail(Failure(ConnectingCancelledError(address)))

    def _fail(self, failure: Failure) -> None:
        if self._limit.active():
            self._limit.cancel()
        self.connected.errback(failure)


def is_numeric(host: str) -> bool:
    """Whether `host` is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _connect_error(error: BaseException) -> BaseException:
    if isinstance(error, socket.gaierror):
        return DNSLookupError(error.strerror)
    if isinstance(error, OSError):
        found: ConnectError = getConnectError((error.errno, error.strerror or str(error)))
        return found
    return error
