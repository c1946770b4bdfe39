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
        return reactor.listenUNIX(str(path), factory, mode=MODE)
    except OSError as error:
        raise _unusable(path, error) from error
    except Exception as error:  # Twisted's CannotListenError has the OSError inside
        cause = getattr(error, "socketError", None)
        if not isinstance(cause, OSError):
            raise
        raise _unusable(path, cause) from error


def _unusable(path: Path, error: OSError) -> SocketFileError:
    why = f"the folder {path.parent} does not exist" if error.errno == errno.ENOENT else error.strerror
    return SocketFileError(f"cannot listen on {path}: {why}; make it usable, or set admin.socket elsewhere")


def _clear(path: Path) -> None:
    try:
        mode = path.stat(follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
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
