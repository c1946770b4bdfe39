"""Where do clients of a pool connect? Each accepted connection becomes a session of its pool."""

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from lsproxy.proxy.pool import Pool
from lsproxy.proxy.session import Session


@implementer(IProtocolFactory)
class Listener:
    """The listener `name` of the configuration, on `endpoint`, for `pool`. `accepted` counts its connections."""

    def __init__(self, reactor: IReactorTime, name: str, endpoint: IStreamServerEndpoint, pool: Pool) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._pool = pool
        self._port: IListeningPort | None = None
        self.name = name
        self.accepted = 0

    def start(self) -> Deferred[IListeningPort]:
        """Accept from now on; fires with the port. Fails with ListenError."""

        def listening(port: IListeningPort) -> IListeningPort:
            self._port = port
            return port

        return self._endpoint.listen(self).addCallback(listening)

    def stop(self) -> Deferred[None]:
        """Accept no more. Sessions go on; `Pool.stop` closes them."""
        port, self._port = self._port, None
        if port is None:
            return succeed(None)
        stopped: Deferred[None] = Deferred.fromCoroutine(_stopped(port))
        return stopped

    def buildProtocol(self, addr: IAddress) -> Session:  # noqa: ARG002 - Twisted passes the peer
        """Twisted: a connection was accepted."""
        self.accepted += 1
        return Session(self._reactor, self._pool.traffic)

    def doStart(self) -> None:
        """Twisted: about to listen."""

    def doStop(self) -> None:
        """Twisted: done."""


async def _stopped(port: IListeningPort) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        await stopping
