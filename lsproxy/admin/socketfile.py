"""
Where do commands on this host find the daemon: a unix socket that its owner and group may use.

A socket file that nobody listens on was left by a daemon that was killed, and
is replaced; one that somebody listens on is a daemon that runs.
"""

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorUNIX
from twisted.internet.protocol import ServerFactory

from lsproxy.errors import LsproxyError

MODE: Final = 0o660
_LONGEST_PATH: Final = 107  # sockaddr_un, without its final zero


class SocketFileError(LsproxyError):
    """The socket cannot be made; `str()` says why."""


def listen(reactor: IReactorUNIX, path: Path, factory: ServerFactory) -> IListeningPort:
    """Listen at `path`. Raises SocketFileError."""
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise SocketFileError(f"{path} is too long for a socket, set admin.socket to at most {_LONGEST_PATH} bytes")
    try:
        _clear(path)
        # Asked first, because Twisted leaks its socket where it cannot bind it.
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return reactor.listenUNIX(str(path), factory, mode=MODE)
    except OSError as error:
        raise _unusable(path, error) from error
    except CannotListenError as error:
        raise _unusable(path, error.socketError) from error


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
