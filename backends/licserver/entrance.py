"""
Where do clients and other servers connect, and how does that change while it is open?

TLS and the PROXY protocol may come, go and change on the same socket: who waits to be accepted is, who is connected
stays. The address may not.
"""

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint

from licserver.config import Listen
from licserver.errors import LicserverError
from lsproxy.net import tls
from lsproxy.net.announcing import accept_proxy_protocol
from lsproxy.net.endpoints import heir_endpoint, server_endpoint
from lsproxy.net.passed import PassedSockets
from lsproxy.net.reactor import BoottimeReactor


class Entrance:
    """Gives each connection to `connections`; `passed` are the sockets that the service manager has opened."""

    def __init__(self, reactor: BoottimeReactor, passed: PassedSockets, connections: IProtocolFactory) -> None:
        self._reactor = reactor
        self._passed = passed
        self._connections = connections
        self._port: IListeningPort | None = None

    async def open(self, listen: Listen) -> None:
        """Accept. Raises LsproxyError."""
        endpoint = self._passed.endpoint(self._reactor, listen.address)
        if endpoint is None:
            endpoint = server_endpoint(self._reactor, listen.address.host, listen.address.port)
        self._port = await self._wrap(endpoint, listen).listen(self._connections)

    async def change(self, listen: Listen) -> None:
        """Go on with another TLS or PROXY protocol; raises LsproxyError, and then nothing has changed."""
        if self._port is None:
            return
        former = self._port
        heir = heir_endpoint(self._reactor, former)
        if heir is None:
            raise LicserverError("listen: TLS and PROXY protocol cannot change here without uvloop, start again")
        self._port = await self._wrap(heir, listen).listen(self._connections)
        await maybeDeferred(former.stopListening)

    async def close(self) -> None:
        """Accept no more; who is connected stays."""
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)

    def _wrap(self, endpoint: IStreamServerEndpoint, listen: Listen) -> IStreamServerEndpoint:
        if listen.accept_proxy_protocol:
            endpoint = accept_proxy_protocol(self._reactor, endpoint, listen.accept_proxy_protocol)
        if listen.tls is None:
            return endpoint
        shown = tls.server_tls(listen.tls.certificate, listen.tls.key, listen.tls.client_ca)
        return tls.wrap_server(self._reactor, endpoint, shown)
