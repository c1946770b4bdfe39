"""
The composition root of `lsproxy notify`: the commands of `notify`, run outside of lsproxy's sandbox.

Events are passed on one at a time, in order. The id of the last one is kept in $STATE_DIRECTORY, so that after a start
of this process it goes on with the next one that lsproxy still knows; one whose commands were running at the end is
told once more. Where nothing is kept there, what happened before the start is not told. lsproxy has its events in
memory, the newest MOST_KEPT of them: what it had not handed over when it ended is not told.
"""

import contextlib
import faulthandler
import fcntl
import os
import signal
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lsproxy import logs, systemd
from lsproxy.admin.events import Event
from lsproxy.commands import all_ended, end_all_now
from lsproxy.config.notifying import NotifyConfig, load_notify
from lsproxy.config.problems import ConfigError
from lsproxy.errors import LsproxyError
from lsproxy.following import Following
from lsproxy.net.reactor import BoottimeReactor, install
from lsproxy.notify import EVENTS, run_told

MOST_WAITING: Final = 100
STOP_SECONDS: Final = 5.0  # a command that is ended has 2 s for it
_FILE: Final = "last-event"
_LONGEST_ID: Final = 100

log = Logger()


def serve(path: Path) -> None:
    """
    Pass on the events of the lsproxy that `path` configures until SIGTERM. Raises ConfigError, and NotAloneError where
    another process does so.
    """
    config = load_notify(path)
    alone = _alone(path)
    faulthandler.enable()
    reactor = install()
    logs.begin("text")
    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    notifier = Notifier(reactor, path, config, Path(state) / _FILE if state else None)
    reactor.callWhenRunning(notifier.start)
    reactor.run()
    end_all_now()
    os.close(alone)


class NotAloneError(LsproxyError):
    """People would be told twice."""


def _alone(path: Path) -> int:
    """The file at `path`, locked for as long as it is open. Raises NotAloneError where another process has it so."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise NotAloneError(f"another `lsproxy notify` passes on the events of {path}: stop one of them") from None
    return descriptor


class Notifier:
    """Passes on the events of the lsproxy of the file at `path`; the last one's id is kept in `memory`, if any."""

    def __init__(self, reactor: BoottimeReactor, path: Path, config: NotifyConfig, memory: Path | None) -> None:
        self._reactor = reactor
        self._path = path
        self._commands = config.notify
        self._socket = config.admin.socket
        self._complaint = ""
        self._memory = memory
        last = _remembered(memory)
        self._not_before = "" if last else datetime.fromtimestamp(time.time(), UTC).isoformat()
        self._following = Following(reactor, self._where, self._told, last)
        self._watchdog = systemd.Watchdog(reactor, systemd.watchdog_seconds(os.environ, os.getpid()))
        self._waiting: deque[Event] = deque()
        self._passing: Deferred[None] | None = None
        self._is_passing = False
        self._is_stopping = False

    def start(self) -> None:
        """Begin; the reactor runs."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._reactor.callFromThread(self.stop))
        self._watchdog.start()
        self._following.start()
        log.info("passing on the events of lsproxy to {count} commands", event="started", count=len(self._commands))
        systemd.notify("READY=1")

    def stop(self) -> None:
        """End; a command that runs is ended first."""
        if self._is_stopping:
            return
        self._is_stopping = True
        systemd.notify("STOPPING=1")
        self._following.stop()
        if self._passing is not None:
            self._passing.cancel()
        ended: Deferred[object] = all_ended().addCallback(lambda _: None)
        ended.addTimeout(STOP_SECONDS, self._reactor, onTimeoutCancel=lambda *_: None)
        ended.addBoth(lambda _: self._end())

    def _end(self) -> None:
        self._watchdog.stop()
        self._reactor.stop()

    def _told(self, event: Event) -> None:
        self._waiting.append(event)
        if len(self._waiting) >= MOST_WAITING:
            self._following.pause()
        if not self._is_passing:
            self._is_passing = True
            self._passing = Deferred.fromCoroutine(self._pass_on())
            self._passing.addErrback(_unexpected)

    async def _pass_on(self) -> None:
        try:
            while self._waiting:
                event = self._waiting[0]
                if event.event == "reloaded":
                    self._read_again()
                if event.event in EVENTS and event.time >= self._not_before:
                    values = {"event": event.event, "pool": event.pool or "", "message": event.message}
                    for command in self._commands:
                        await run_told(self._reactor, command, values)
                self._remember(self._waiting.popleft())
        finally:
            self._is_passing = False
        self._following.resume()

    def _where(self) -> Path:
        """The admin socket: lsproxy may have been started with another configuration meanwhile."""
        self._read_again()
        return self._socket

    def _read_again(self) -> None:
        complaint = ""
        try:
            config = load_notify(self._path)
            self._commands, self._socket = config.notify, config.admin.socket
        except ConfigError as error:
            complaint = str(error)
        if complaint and complaint != self._complaint:
            log.warn("{error}", event="reload_refused", error=complaint)
        self._complaint = complaint

    def _remember(self, event: Event) -> None:
        if self._memory is None:
            return
        fresh = self._memory.with_suffix(".new")
        try:
            fresh.write_text(event.id)
            fresh.replace(self._memory)
        except OSError as error:
            log.warn(
                "{path} cannot be written, after a restart events may be told twice: {why}",
                event="state_not_saved",
                path=str(self._memory),
                why=error.strerror,
            )


def _remembered(memory: Path | None) -> str | None:
    if memory is None:
        return None
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = memory.read_text().strip()
        if text.isascii() and text.isprintable() and len(text) <= _LONGEST_ID:
            return text or None
    return None


def _unexpected(failure: Failure) -> None:
    if not failure.check(CancelledError):
        log.failure("while passing events on", failure)
