"""
How are connections accepted, and what happens when there is no descriptor left for one?

uvloop's own server accepts one connection a turn and, out of descriptors, accepts and closes what waits without a word.
Here they are accepted in batches; out of descriptors, accepting rests for a moment: what is connected stays, what waits
waits in the kernel's queue, the log says it once, and it goes on.
"""

import errno
import resource
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IProtocolFactory
from twisted.logger import Logger
from zope.interface import implementer

from lsproxy.net.eager import Eager
from lsproxy.net.keepalive import keep_socket_alive
from lsproxy.net.reactor import BoottimeReactor
from lsproxy.net.transport import Transport, twisted_address

BATCH = 64  # connections accepted before others have their turn
REST_SECONDS = 0.1
REMIND_SECONDS = 60.0  # a shortage that comes and goes is said again no sooner than this

_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = Logger()


@implementer(IListeningPort)
class Port:
    """A listening socket that gives each connection to `factory`. The socket is closed by `stopListening`."""

    def __init__(self, reactor: BoottimeReactor, listening: socket.socket, factory: IProtocolFactory) -> None:
        self._reactor = reactor
        self._listening = listening
        # What `accept` calls; the rest of it is a detour to make the numbers of the socket's kind enums and back.
        self._accepting: Callable[[], tuple[int, Any]] = listening._accept  # type: ignore[attr-defined] # noqa: SLF001
        self._factory = factory
        self._family = int(listening.family)
        self._host = twisted_address(listening.getsockname())
        self._is_listening = False
        self._rest: IDelayedCall | None = None
        self._shortage_said: float | None = None

    def startListening(self) -> None:
        """Accept from now on."""
        self._is_listening = True
        self._listening.setblocking(False)
        keep_socket_alive(self._listening)
        self._factory.doStart()
        self._reactor.loop.add_reader(self._listening, self._accept)

    def stopListening(self) -> Deferred[None]:
        """Accept no more and free the address; connections there are go on."""
        if self._is_listening:
            self._is_listening = False
            if self._rest is not None:
                self._rest.cancel()
                self._rest = None
            self._reactor.loop.remove_reader(self._listening)
            self._listening.close()
            self._factory.doStop()
        return succeed(None)

    def duplicate(self) -> socket.socket:
        """The same listening socket once more: what waits to be accepted waits until both are closed."""
        return self._listening.dup()

    def getHost(self) -> IPv4Address | IPv6Address:
        """The address with the port that the system picked, where 0 was asked for."""
        return self._host

    def _accept(self) -> None:
        for _ in range(BATCH):
            if not self._is_listening:  # a connection's protocol may have stopped it
                return
            try:
                descriptor, peer = self._accepting()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _SHORTAGE:
                    self._rest_from(error)
                    return
                continue  # the peer's or the network's fault, accept(2): try the next one
            connection = socket.socket(self._family, socket.SOCK_STREAM, 0, descriptor)
            loop = self._reactor.loop
            new_transport: Callable[[], Any] = partial(Transport, loop, self._start, peer, is_kept_alive=True)
            Eager(loop.create_connection(new_transport, sock=connection), partial(self._accepted, connection))

    def _start(self, transport: Transport) -> None:
        protocol = self._factory.buildProtocol(transport.getPeer())
        if protocol is not None:
            transport.open(protocol)

    def _accepted(self, connection: socket.socket, error: BaseException | None) -> None:
        # uvloop closes the descriptor, but forgets to take it from the socket object where the connection has ended
        # by now; the object's end would then close that number again, whoever has it by that time.
        connection.detach()
        if error is not None:
            log.warn("{host}: a connection was lost while it was accepted: {error}", host=self._host, error=error)

    def _rest_from(self, shortage: OSError) -> None:
        self._reactor.loop.remove_reader(self._listening)
        self._rest = self._reactor.callLater(REST_SECONDS, self._go_on)
        now = self._reactor.seconds()
        if self._shortage_said is None or now - self._shortage_said >= REMIND_SECONDS:
            self._shortage_said = now
            log.warn(
                "{host} can accept no more for now: {shortage} (this process may have {limit} descriptors); "
                "connections there are go on, new ones wait",
                event="clients_refused",
                host=f"{self._host.host}:{self._host.port}",
                shortage=shortage.strerror,
                limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            )

    def _go_on(self) -> None:
        self._rest = None
        self._reactor.loop.add_reader(self._listening, self._accept)
