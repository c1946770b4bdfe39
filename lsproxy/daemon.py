"""The composition root of `lsproxy serve`: from a configuration to a running proxy, its reload and its end."""

import faulthandler
import gc
import os
import random
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from lsproxy import logs, systemd
from lsproxy.admin.access import Access
from lsproxy.admin.api import Api
from lsproxy.admin.doors import Doors
from lsproxy.admin.events import Events
from lsproxy.admin.login import Logins
from lsproxy.admin.tokens import TokenBook
from lsproxy.checkup import advice, third_party_licenses
from lsproxy.commands import all_ended, end_all_now
from lsproxy.config import model
from lsproxy.config.check import load_config
from lsproxy.config.tokens import load_tokens
from lsproxy.errors import LsproxyError
from lsproxy.eventnames import TROUBLES
from lsproxy.expiries import Expiries
from lsproxy.history.history import FILE_NAME, History
from lsproxy.history.sampler import Sampler
from lsproxy.metrics.metrics import Metrics
from lsproxy.net.descriptors import raise_descriptor_limit
from lsproxy.net.passed import PassedSockets, passed_sockets
from lsproxy.net.reactor import BoottimeReactor, install
from lsproxy.notify import Notify
from lsproxy.panel.site import Panel
from lsproxy.proxy.accesslog import AccessLog
from lsproxy.proxy.kinds.clientconfig import ClientConfig, client_config
from lsproxy.proxy.listener import Tally
from lsproxy.proxy.operator import Operator
from lsproxy.proxy.pool import Pool
from lsproxy.proxy.state import SqliteMemory
from lsproxy.readiness import first_known, standing
from lsproxy.reloading import Reloading
from lsproxy.services import Services

log = Logger()

READY_SECONDS: Final = 5.0  # by then clients are told themselves that nobody serves
_YOUNGEST_GENERATION: Final = 50_000  # sessions come in thousands and live long: look for garbage seldom


class CannotServeError(LsproxyError):
    """lsproxy cannot start; the sentence says why."""


def serve(path: Path, stop_timeout: float, descriptors: Iterable[int] = (), *, notifies: bool = True) -> None:
    """
    Run the proxy that `path` configures until it is stopped, which takes at most `stop_timeout` seconds. It runs the
    commands of `notify` itself where it `notifies`, and listens on the sockets of `descriptors` where they are bound.

    Raises ConfigError, and CannotServeError when it does not come to run.
    """
    config = load_config(path)
    passed = passed_sockets(descriptors)
    raise_descriptor_limit()
    faulthandler.enable()  # one that hangs is aborted, and the log says where it hung
    reactor = install()
    lines = logs.begin(config.log.format)
    gc.set_threshold(_YOUNGEST_GENERATION, 20, 50)
    daemon = Daemon(reactor, path, config, stop_timeout, lines, passed, notifies=notifies)
    reactor.callWhenRunning(daemon.start)
    reactor.run()
    if daemon.fault is not None:
        raise daemon.fault


class Daemon:
    """The proxy of the configuration file at `path`. `fault` says, after the end, why it did not come to run."""

    def __init__(
        self,
        reactor: BoottimeReactor,
        path: Path,
        config: model.LsproxyConfig,
        stop_timeout: float,
        lines: logs.Lines,
        passed: PassedSockets,
        *,
        notifies: bool,
    ) -> None:
        self._reactor = reactor
        self._lines = lines
        self._passed = passed
        self._notifies = notifies
        self._watchdog = systemd.Watchdog(reactor, systemd.watchdog_seconds(os.environ, os.getpid()))
        self._standing = systemd.Standing(reactor, lambda: standing(self.pools))
        self._known: Deferred[None] | None = None
        self._path = path
        self._state = config.state
        self._stop_timeout = stop_timeout
        self._events = Events(secrets.token_hex(4), time.time)
        self._config = config
        self._notify = Notify(reactor, config.notify if notifies else ())
        self._services: Services | None = None
        self._memory: SqliteMemory | None = None
        self._expiries = Expiries(reactor, lambda: {} if self._services is None else self._services.pools, time.time)
        self._tokens = TokenBook(reactor, reactor.getThreadPool(), config.admin.tokens_file, secrets.token_bytes(32))
        self._doors: Doors | None = None
        self._history = History(reactor, config.state.with_name(FILE_NAME), time.time)
        self._sampler = Sampler(reactor, self, self._history, time.time)
        self._metrics = Metrics(reactor, self, self._history, self._events, version("lsproxy"))
        self._reloading: Reloading | None = None
        self._is_stopping = False
        self.fault: LsproxyError | None = None

    @property
    def pools(self) -> Mapping[str, Pool]:
        """The pools by name."""
        return {} if self._services is None else self._services.pools

    @property
    def operators(self) -> Mapping[str, Operator]:
        """The operator's side of each."""
        return {} if self._services is None else self._services.operators

    @property
    def tallies(self) -> Mapping[str, Tally]:
        """The clients of each listener, by its name."""
        return {} if self._services is None else self._services.tallies

    def start(self) -> None:
        """Begin; the reactor runs."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._reactor.callFromThread(self.stop))
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._hang_up))
        self._watchdog.start()
        Deferred.fromCoroutine(self._start()).addErrback(self._cannot_start)

    def client_config(self, pool: str, host: str | None) -> ClientConfig:
        """What clients of `pool` need; `host` is how they reach this machine, by default its name."""
        assert self._services is not None  # there are pools
        config = self._services.config
        licenses = third_party_licenses(config.pools[pool])
        return client_config(pool, config.pools[pool], config.listen, licenses, host, socket.getfqdn())

    def reload(self) -> Deferred[list[str]]:
        """Take the configuration file as it is now; a sentence for each change. Fails with LsproxyError."""
        if self._reloading is None:
            return fail(LsproxyError("lsproxy is starting, nothing is reloaded"))
        return self._reloading.reload().addCallback(self._taken)

    def stop(self) -> None:
        """End, politely at first; told again, at once."""
        if self._is_stopping:
            self._end()
            return
        self._is_stopping = True
        systemd.notify("STOPPING=1")
        self._standing.stop()
        if self._known is not None:
            self._known.cancel()
        log.info("stopping: no more clients are accepted, those connected go to their next address", event="stopping")
        # A reactor that hangs, or a thread that does, must not outlast the limit.
        last_resort = threading.Timer(self._stop_timeout, os._exit, (0,))
        last_resort.daemon = True
        last_resort.start()
        Deferred.fromCoroutine(self._stop()).addErrback(lambda failure: log.failure("while stopping", failure)).addBoth(
            lambda _: self._end()
        )

    async def _start(self) -> None:
        self._memory = SqliteMemory(self._state)
        access_log = None
        if self._config.access_log is not None:
            access_log = AccessLog(self._reactor, self._config.access_log, self._config.log.format, time.time)
        shuffle = random.SystemRandom().random
        admin = self._config.admin
        self._passed.refuse_strangers(
            [admin.address, *(listener.address for listener in self._config.listen.values())], admin.socket
        )
        services = Services(self._reactor, self._config, self._memory, shuffle, self._tell, access_log, self._passed)
        load_tokens(admin.tokens_file)
        self._services = services
        self._doors = self._make_doors()
        self._reloading = Reloading(
            self._reactor,
            self._path,
            services,
            self._doors,
            self._tokens,
            self._lines,
            access_log,
            self._standing,
            self._tell,
        )
        await self._history.open()
        await self._doors.open()
        await services.start()
        self._reloading.start()
        self._expiries.start()
        self._sampler.start()
        self._warn_of(self._config)
        gc.collect()
        gc.freeze()
        where = ", ".join(f"{listener.address} (pool {listener.pool})" for listener in self._config.listen.values())
        log.info("serving {where}; panel and API at {admin}", event="started", where=where, admin=admin.address)
        self._known = Deferred.fromCoroutine(first_known(self._reactor, lambda: self.pools, READY_SECONDS))
        self._known.addCallback(lambda _: self._standing.start())
        self._known.addErrback(lambda failure: failure.trap(CancelledError))

    def _make_doors(self) -> Doors:
        seconds = self._reactor.seconds
        logins = Logins(seconds, lambda: secrets.token_urlsafe(24))
        access = Access(seconds, self._tokens, logins)
        api = Api(self, access, logins, time.time, version("lsproxy"), self._history, self._metrics)
        panel = Panel(self._reactor, api, self, access, self._events, self._history, time.time, version("lsproxy"))
        return Doors(self._reactor, self._config.admin, panel.answer, self._events, self._passed)

    def _taken(self, changes: list[str]) -> list[str]:
        assert self._services is not None  # they have changed
        self._notify.commands = self._services.config.notify if self._notifies else ()
        self._warn_of(self._services.config)
        self._expiries.look()
        return changes

    async def _stop(self) -> None:
        if self._services is None or self._reloading is None:
            return
        self._reloading.stop()
        self._sampler.stop()
        self._expiries.stop()
        await self._services.stop_listening()
        gone: Deferred[object] = self._services.stop_pools().addCallback(lambda _: None)
        self._notify.stop()
        ended: Deferred[object] = all_ended().addCallback(lambda _: None)
        # Half of the time: what is left is for what the kernel still sends, and for the threads to end.
        ended.addTimeout(self._stop_timeout / 2, self._reactor, onTimeoutCancel=_not_all_ended)
        await gone.addTimeout(self._stop_timeout / 2, self._reactor, onTimeoutCancel=_not_all_gone)
        await ended
        if self._reloading.access_log is not None:
            await self._reloading.access_log.close().addTimeout(self._stop_timeout / 4, self._reactor)
        closed = Deferred.fromCoroutine(self._history.close())
        await closed.addTimeout(self._stop_timeout / 8, self._reactor, onTimeoutCancel=lambda *_: None)

    def _end(self) -> None:
        self._watchdog.stop()
        self._passed.close()
        end_all_now()
        if self._doors is not None:
            self._doors.close()
        if self._memory is not None:
            self._memory.close()
        if self._reactor.running:
            self._reactor.stop()

    def _hang_up(self) -> None:
        def failed(failure: Failure) -> None:
            if not failure.check(LsproxyError):
                log.failure("reloading failed", failure)

        self.reload().addErrback(failed)

    def _cannot_start(self, failure: Failure) -> None:
        problem = failure.value
        if isinstance(problem, LsproxyError):
            self.fault = CannotServeError(str(problem))
        else:
            log.failure("lsproxy could not start", failure)
            self.fault = CannotServeError("lsproxy could not start, the lines above say why")
        self._end()

    def _warn_of(self, config: model.LsproxyConfig) -> None:
        for finding in advice(config):
            log.warn("{log_text}", event="advice", log_text=finding)

    def _tell(self, event: str, pool: str | None, message: str, details: dict[str, object]) -> None:
        self._events.tell(event, pool, message, details)
        self._notify.tell(event, pool, message)
        text = message if pool is None else f"{pool}: {message}"
        fields: dict[str, Any] = {**details, "event": event, "pool": pool, "log_text": text}
        if event in TROUBLES:
            log.warn("{log_text}", **fields)
        else:
            log.info("{log_text}", **fields)
        if event == "license_installed":
            self._expiries.look()


def _not_all_gone(_result: object, timeout: float) -> None:
    log.warn("some clients had not closed their connection after {timeout:g} s", event="stop_late", timeout=timeout)


def _not_all_ended(_result: object, timeout: float) -> None:
    log.warn("some commands had not ended after {timeout:g} s, and are killed", event="stop_late", timeout=timeout)
