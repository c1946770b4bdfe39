"""
What is the service manager told, and what does it pass: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3)?

It is told that this process is ready, what its standing is in one line, and, from the reactor, that it is alive: one
that hangs sends no beats, and is ended and started again. Nothing is told where there is no NOTIFY_SOCKET.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

LOOK_SECONDS: Final = 1.0
FIRST_DESCRIPTOR: Final = 3
_PASSED: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_MICROSECONDS: Final = 1e6
_LONGEST_STATUS: Final = 1000  # characters: `systemctl status` shows one line


def notify(state: str) -> None:
    """Send `state`, such as "READY=1", to the service manager of this process."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifying:
        try:
            notifying.connect(address)
            notifying.send(state.encode())
        except OSError:
            pass  # a service manager that is gone needs no news


def passed_descriptors(environment: MutableMapping[str, str], pid: int) -> Sequence[int]:
    """
    The descriptors of the sockets that `environment` announces to process `pid`; the variables are taken out, for no
    program that is started here is meant. To be asked before Twisted's endpoints are loaded, which take them out too.
    """
    meant, count, _names = (environment.pop(variable, "") for variable in _PASSED)
    is_meant = meant == str(pid) and count.isascii() and count.isdigit()
    return range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + (int(count) if is_meant else 0))


def watchdog_seconds(environment: Mapping[str, str], pid: int) -> float | None:
    """After how many seconds without a beat the service manager ends process `pid`; None if it does not look."""
    spent = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid) or not (spent.isascii() and spent.isdigit()):
        return None
    return int(spent) / _MICROSECONDS or None


class Watchdog:
    """Beats twice in `limit` seconds as long as the reactor turns; never where `limit` is None."""

    def __init__(self, reactor: IReactorTime, limit: float | None) -> None:
        self._reactor = reactor
        self._limit = limit
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """Beat from now on."""
        if self._limit is not None:
            notify("WATCHDOG=1")
            self._next = self._reactor.callLater(self._limit / 2, self.start)

    def stop(self) -> None:
        """Beat no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None


class Standing:
    """
    Tells the service manager that this process is ready, and what `standing` says, a line for people, whenever it is
    another one than before.
    """

    def __init__(self, reactor: IReactorTime, standing: Callable[[], str]) -> None:
        self._reactor = reactor
        self._standing = standing
        self._told = ""
        self._next: IDelayedCall | None = None
        self._is_ready = False

    def start(self) -> None:
        """Ready: tell it now and from now on; nothing where there is no service manager."""
        self._is_ready = True
        notify("READY=1")
        if "NOTIFY_SOCKET" in os.environ:
            self._look()

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """A reload lasts as long as this. One that begins before `start` says nothing: READY=1 would come too early."""
        if not self._is_ready:
            yield
            return
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        try:
            yield
        finally:
            if self._is_ready:
                notify("READY=1")

    def stop(self) -> None:
        """Tell no more."""
        self._is_ready = False
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _look(self) -> None:
        standing = " ".join(self._standing().split())[:_LONGEST_STATUS]
        if standing != self._told:
            self._told = standing
            notify(f"STATUS={standing}")
        self._next = self._reactor.callLater(LOOK_SECONDS, self._look)
