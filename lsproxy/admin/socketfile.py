"""
Where do commands on this host find the daemon: a unix socket that its owner and group may use.

A socket file that nobody listens on was left by a daemon that was killed, and
is replaced; one that somebody listens on is a daemon that runs. One that the
service manager made is used as it is, unless everybody may use it: its mode is
the manager's, and it outlives this process.
"""

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReadDescriptor
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from lsproxy.errors import LsproxyError
from lsproxy.net.reactor import BoottimeReactor

MODE: Final = 0o660
_OTHERS: Final = 0o007
REST_SECONDS: Final = 0.1
_LONGEST_PATH: Final = 107  # sockaddr_un, without its final zero


class SocketFileError(LsproxyError):
    """The socket cannot be made; `str()` says why."""


def listen(
    reactor: BoottimeReactor, path: Path, factory: ServerFactory, passed: socket.socket | None = None
) -> IListeningPort:
    """Listen at `path`, or on the socket `passed` that is bound to it. Raises SocketFileError."""
    if passed is not None:
        _refuse_open_to_all(passed, path)
        ready = _PassedPort(reactor, passed, factory)
        ready.startListening()
        return ready
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise SocketFileError(f"{path} is too long for a socket, set admin.socket to at most {_LONGEST_PATH} bytes")
    try:
        _clear(path)
        # Asked first, because Twisted leaks its socket where it cannot bind it.
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        port: IListeningPort = reactor.listenUNIX(str(path), factory, mode=MODE)
    except OSError as error:
        raise _unusable(path, error) from error
    except CannotListenError as error:
        raise _unusable(path, error.socketError) from error
    return port


@implementer(IListeningPort, IReadDescriptor)
class _PassedPort:
    """
    A socket of the service manager's. Twisted's own port would set its mode, and at its end take its file away and shut
    it down for whoever else holds it.
    """

    def __init__(self, reactor: BoottimeReactor, listening: socket.socket, factory: ServerFactory) -> None:
        self._reactor = reactor
        self._listening = listening
        self._factory = factory
        self._rest: IDelayedCall | None = None

    def startListening(self) -> None:
        self._listening.setblocking(False)
        self._factory.doStart()
        self._reactor.addReader(self)

    def stopListening(self) -> Deferred[None]:
        if self._rest is not None:
            self._rest.cancel()
        self._reactor.removeReader(self)
        self._listening.close()
        self._factory.doStop()
        return succeed(None)

    def getHost(self) -> UNIXAddress:
        return UNIXAddress(os.fsencode(self._listening.getsockname()))

    def fileno(self) -> int:
        return self._listening.fileno()

    def doRead(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptor is left for it: it waits
            self._reactor.removeReader(self)
            self._rest = self._reactor.callLater(REST_SECONDS, self._go_on)
            return
        with connection:
            connection.setblocking(False)
            self._reactor.adoptStreamConnection(connection.fileno(), socket.AF_UNIX, self._factory)

    def _go_on(self) -> None:
        self._rest = None
        self._reactor.addReader(self)

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: the reactor has ended."""

    def logPrefix(self) -> str:
        return "admin socket"


def _refuse_open_to_all(passed: socket.socket, path: Path) -> None:
    """Whoever may connect is an operator."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        passed.close()
        raise _unusable(path, error) from error
    if mode & _OTHERS:
        passed.close()
        raise SocketFileError(
            f"{path}, which the service manager passes, is open to everybody (mode {mode:04o}): write"
            " SocketMode=0660 and SocketGroup=lsproxy in the .socket unit"
        )


def _unusable(path: Path, error: OSError) -> SocketFileError:
    why = f"the folder {path.parent} does not exist" if error.errno == errno.ENOENT else error.strerror
    return SocketFileError(f"cannot listen on {path}: {why}; make it usable, or set admin.socket elsewhere")


def _clear(path: Path) -> None:
    try:
        path.parent.stat()
        mode = path.lstat().st_mode
    except FileNotFoundError as error:
        if error.filename == str(path):
            return
        raise
    if not stat.S_ISSOCK(mode):
        raise SocketFileError(f"cannot listen on {path}: it is no socket, move it away or set admin.socket elsewhere")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1)
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError:
            pass  # a backlog that is full is somebody's
    raise SocketFileError(f"cannot listen on {path}: another lsproxy runs there, stop it or set admin.socket elsewhere")
