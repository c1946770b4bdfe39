"""
Which reactor do the daemons and their tests run on, and what time is it there?

asyncio's reactor on a uvloop loop (on asyncio's own where uvloop is missing), whose `seconds` is CLOCK_BOOTTIME: it
never jumps and goes on while the machine sleeps. The loop's own timers stand still in a suspend, so a sleeping reactor
looks at the clock once a second at the latest: after a suspend a timer is late by less than that.

Invariant: with timed calls pending and none of them running, `_wake_at` is no later than the earliest of them.
"""

import math
import signal
import sys
import time
from asyncio import AbstractEventLoop, Handle, new_event_loop
from collections.abc import Callable
from typing import Any

from twisted.internet import process
from twisted.internet._signals import SignalHandling, _WithSignalHandling
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.base import DelayedCall
from twisted.internet.main import installReactor
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger
from twisted.python.failure import Failure

from lsproxy.errors import LsproxyError

LONGEST_SLEEP_SECONDS = 1.0
SHORTEST_SLEEP_SECONDS = 0.001  # uvloop counts whole milliseconds and would round less to a busy wait

log = Logger()


def boottime() -> float:
    """Seconds since the machine started, those it was suspended for included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class BoottimeReactor(AsyncioSelectorReactor):
    """
    An asyncio reactor whose timed calls go by CLOCK_BOOTTIME; the loop's clock only measures the sleep between two.

    New timed calls stay in a list until the next wake-up, so one that is cancelled soon after costs next to nothing.
    """

    seconds = staticmethod(boottime)

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = loop
        self.is_uvloop = type(loop).__module__ == "uvloop"
        self._wake_at = math.inf
        self._sleep: Handle | None = None
        loop.set_exception_handler(_log_fault)
        super().__init__(loop)

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object) -> DelayedCall:  # noqa: A002 - Twisted's name
        """Call after `delay` seconds of CLOCK_BOOTTIME."""
        call: DelayedCall = PosixReactorBase.callLater(self, delay, callable, *args, **kwargs)
        if call.time < self._wake_at:
            self._wake(call.time)
        return call

    def callFromThread(  # type: ignore[override] # its two base classes name the first argument differently
        self,
        f: Callable[..., Any],
        *args: object,
        **kwargs: object,
    ) -> None:
        """Call `f` in the reactor's thread, soon; from any thread."""
        self.loop.call_soon_threadsafe(_call_logging, f, args, kwargs)

    def _moveCallLaterSooner(self, delayedCall: DelayedCall) -> None:  # noqa: N803 - Twisted's name
        PosixReactorBase._moveCallLaterSooner(self, delayedCall)  # noqa: SLF001 - past the class that wakes by other rules
        if delayedCall.time < self._wake_at:
            self._wake(delayedCall.time)

    def _wake(self, when: float) -> None:
        if self._sleep is not None:
            self._sleep.cancel()
        self._wake_at = when
        delay = when - self.seconds()
        if delay <= 0:
            self._sleep = self.loop.call_soon(self._awake)
        else:
            sleep = min(max(delay, SHORTEST_SLEEP_SECONDS), LONGEST_SLEEP_SECONDS)
            self._sleep = self.loop.call_later(sleep, self._awake)

    def _awake(self) -> None:
        self._sleep = None
        self._wake_at = -math.inf  # what the calls schedule is looked at below, once
        try:
            self.runUntilCurrent()
        finally:
            self._wake_at = math.inf
            timeout = self.timeout()
            if timeout is not None:
                self._wake(self.seconds() + timeout)

    def _signalsFactory(self) -> SignalHandling:
        return _Signals(self)


class _Signals:
    """
    INT and TERM stop the reactor, CHLD reaps.

    Twisted waits for CHLD at the end of a pipe given to `signal.set_wakeup_fd`. uvloop puts its own there when it
    starts to run, so the pipe stays empty and no child would ever be reaped. A handler in Python runs under either
    loop, because both look for signals when they are woken by one.
    """

    def __init__(self, reactor: BoottimeReactor) -> None:
        self._reactor = reactor
        self._stopping = _WithSignalHandling(reactor.sigInt, reactor.sigBreak, reactor.sigTerm)

    def install(self) -> None:
        self._stopping.install()
        signal.signal(signal.SIGCHLD, self._child_ended)
        signal.siginterrupt(signal.SIGCHLD, False)
        process.reapAllProcesses()

    def uninstall(self) -> None:
        self._stopping.uninstall()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def _child_ended(self, _number: int, _frame: object) -> None:
        self._reactor.callFromThread(process.reapAllProcesses)


def install() -> BoottimeReactor:
    """
    Make this process's reactor a `BoottimeReactor`, once: asked again, the same one is returned.

    Raises LsproxyError if another reactor is already installed.
    """
    installed = sys.modules.get("twisted.internet.reactor")
    if installed is None:
        reactor = BoottimeReactor(_new_loop())
        installReactor(reactor)
        return reactor
    if not isinstance(installed, BoottimeReactor):
        raise LsproxyError(
            f"another reactor ({type(installed).__name__}) is already installed: "
            "call lsproxy.net.reactor.install() before anything imports twisted.internet.reactor",
        )
    return installed


def _new_loop() -> AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - not on every system
    except ImportError:
        return new_event_loop()
    return uvloop.new_event_loop()


def _call_logging(f: Callable[..., Any], args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    try:
        f(*args, **kwargs)
    except Exception:  # noqa: BLE001 - whatever a call raises is logged, the reactor goes on
        log.failure("while handling a call from a thread")


def _log_fault(_loop: AbstractEventLoop, context: dict[str, Any]) -> None:
    exception = context.get("exception")
    if exception is None:
        log.error("{message}", message=context["message"])
    else:
        log.failure("{message}", Failure(exception), message=context["message"])
