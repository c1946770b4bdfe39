"""
Where does the admin API answer, and how does it come to answer elsewhere while it runs?

New doors are opened beside the old ones, which close only when everything else of a new configuration was taken too;
where the address stays and its TLS does not, both listen on one socket for that moment. Who is connected, such as a
listener to events, stays connected.
"""

from collections.abc import Callable

import msgspec
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint

from lsproxy.admin import socketfile
from lsproxy.admin.events import Events
from lsproxy.admin.http import Answer, Site
from lsproxy.config import model
from lsproxy.config.relations import do_collide
from lsproxy.errors import LsproxyError
from lsproxy.net.address import Address
from lsproxy.net.endpoints import heir_endpoint, server_endpoint
from lsproxy.net.passed import PassedSockets
from lsproxy.net.reactor import BoottimeReactor
from lsproxy.net.tls import server_tls, wrap_server


class DoorError(LsproxyError):
    """The API cannot answer there while it answers here; `str()` says why."""


class Move(msgspec.Struct, frozen=True):
    """What was opened for a new configuration. Either `done` or `undo` is called, once."""

    done: Callable[[], None]
    undo: Callable[[], None]


class Doors:
    """
    The unix socket and the address of `admin`, where `answer` answers, once they are open. `passed` are the sockets
    that the service manager has opened for this process.
    """

    def __init__(
        self,
        reactor: BoottimeReactor,
        admin: model.Admin,
        answer: Answer,
        events: Events,
        passed: PassedSockets | None = None,
    ) -> None:
        self._reactor = reactor
        self._admin = admin
        self._passed = passed or PassedSockets({})
        # One limit on connections each: whoever fills the port up does not shut the socket.
        self._local, self._site = [Site(reactor, answer, events) for _ in range(2)]
        self._ports: dict[str, IListeningPort] = {}

    async def open(self) -> None:
        """Open both. Raises LsproxyError."""
        # The socket first: who runs here already is found out by it.
        self._ports["socket"] = self._at_socket(self._admin)
        self._ports["address"] = await self._at_address(self._admin, self._endpoint(self._admin.address))

    async def prepare(self, admin: model.Admin) -> Move:
        """Open what `admin` has otherwise. Raises LsproxyError, and then nothing has changed."""
        old = self._admin
        opened: dict[str, IListeningPort] = {}
        if admin.socket != old.socket:
            opened["socket"] = self._at_socket(admin)
        try:
            if (admin.address, admin.tls) != (old.address, old.tls):
                opened["address"] = await self._at_address(admin, self._endpoint_beside(admin.address))
        except LsproxyError:
            _close(opened)
            raise

        def done() -> None:
            left = {name: self._ports[name] for name in opened}
            self._ports |= opened
            self._admin = admin
            _close(left)

        return Move(done, lambda: _close(opened))

    def close(self) -> None:
        """Close both, and end all connections."""
        for site in (self._local, self._site):
            site.close()
        ports, self._ports = self._ports, {}
        _close(ports)

    def _endpoint_beside(self, address: Address) -> IStreamServerEndpoint:
        here = self._admin.address
        if address == here:
            heir = heir_endpoint(self._reactor, self._ports["address"])
            if heir is None:
                raise DoorError("admin.tls cannot change on this machine while lsproxy runs: restart lsproxy")
            return heir
        if do_collide(address, here):
            raise DoorError(
                f"admin.address: {address} overlaps {here}, where lsproxy answers now: name another port, or restart"
            )
        return self._endpoint(address)

    def _endpoint(self, address: Address) -> IStreamServerEndpoint:
        passed = self._passed.endpoint(self._reactor, address)
        return passed or server_endpoint(self._reactor, address.host, address.port)

    def _at_socket(self, admin: model.Admin) -> IListeningPort:
        return socketfile.listen(self._reactor, admin.socket, self._local, self._passed.unix(admin.socket))

    async def _at_address(self, admin: model.Admin, endpoint: IStreamServerEndpoint) -> IListeningPort:
        if admin.tls is not None:
            tls = server_tls(admin.tls.certificate, admin.tls.key, admin.tls.client_ca)
            endpoint = wrap_server(self._reactor, endpoint, tls)
        port: IListeningPort = await endpoint.listen(self._site)
        return port


def _close(ports: dict[str, IListeningPort]) -> None:
    for port in ports.values():
        port.stopListening()
