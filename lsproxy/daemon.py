"""The composition root of `lsproxy serve`: from a configuration to a running proxy, its reload and its end."""

import gc
import os
import random
import secrets
import signal
import socket
import threading
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python.failure import Failure

from lsproxy import logs, systemd
from lsproxy.admin import socketfile
from lsproxy.admin.access import Access
from lsproxy.admin.api import Api
from lsproxy.admin.events import Events
from lsproxy.admin.http import Site
from lsproxy.admin.login import Logins
from lsproxy.admin.tokens import TokenBook
from lsproxy.checkup import advice, third_party_licenses
from lsproxy.commands import all_ended, end_all_now
from lsproxy.config import model
from lsproxy.config.check import load_config
from lsproxy.config.tokens import load_tokens
from lsproxy.errors import LsproxyError
from lsproxy.net.descriptors import raise_descriptor_limit
from lsproxy.net.endpoints import server_endpoint
from lsproxy.net.reactor import BoottimeReactor, install
from lsproxy.net.tls import server_tls, wrap_server
from lsproxy.notify import Notify
from lsproxy.proxy.accesslog import AccessLog
from lsproxy.proxy.kinds.clientconfig import ClientConfig, client_config
from lsproxy.proxy.operator import Operator
from lsproxy.proxy.pool import Pool
from lsproxy.proxy.state import SqliteMemory
from lsproxy.services import Services

log = Logger()

_YOUNGEST_GENERATION: Final = 50_000  # sessions come in thousands and live long: look for garbage seldom
_GRAVE: Final = frozenset(
    {
        "activation_failed",
        "backend_barred",
        "backend_down",
        "conflict",
        "fencing_failed",
        "not_fenced",
        "license_differs",
        "state_not_saved",
        "takeover",
        "takeover_refused",
        "unserved",
    }
)


class CannotServeError(LsproxyError):
    """lsproxy cannot start; the sentence says why."""


def serve(path: Path, stop_timeout: float) -> None:
    """
    Run the proxy that `path` configures until it is stopped, which takes at most `stop_timeout` seconds.

    Raises ConfigError, and CannotServeError when it does not come to run.
    """
    config = load_config(path)
    raise_descriptor_limit()
    reactor = install()
    logs.begin(config.log.format)
    gc.set_threshold(_YOUNGEST_GENERATION, 20, 50)
    daemon = Daemon(reactor, path, config, stop_timeout)
    reactor.callWhenRunning(daemon.start)
    reactor.run()
    if daemon.fault is not None:
        raise daemon.fault


class Daemon:
    """The proxy of the configuration file at `path`. `fault` says, after the end, why it did not come to run."""

    def __init__(self, reactor: BoottimeReactor, path: Path, config: model.LsproxyConfig, stop_timeout: float) -> None:
        self._reactor = reactor
        self._path = path
        self._admin = config.admin
        self._state = config.state
        self._stop_timeout = stop_timeout
        self._events = Events(secrets.token_hex(4), time.time)
        self._config = config
        self._access_log: AccessLog | None = None
        self._notify = Notify(reactor, config.notify)
        self._services: Services | None = None
        self._memory: SqliteMemory | None = None
        self._sites: list[Site] = []
        self._ports: list[IListeningPort] = []
        self._reloading = DeferredLock()
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

    def start(self) -> None:
        """Begin; the reactor runs."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._reactor.callFromThread(self.stop))
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._hang_up))
        Deferred.fromCoroutine(self._start()).addErrback(self._cannot_start)

    def client_config(self, pool: str, host: str | None) -> ClientConfig:
        """What clients of `pool` need; `host` is how they reach this machine, by default its name."""
        assert self._services is not None  # there are pools
        config = self._services.config
        licenses = third_party_licenses(config.pools[pool])
        return client_config(pool, config.pools[pool], config.listen, licenses, host, socket.getfqdn())

    def reload(self) -> Deferred[list[str]]:
        """Take the configuration file as it is now; a sentence for each change. Fails with LsproxyError."""
        return self._reloading.run(lambda: Deferred.fromCoroutine(self._reload()))

    def stop(self) -> None:
        """End, politely at first; told again, at once."""
        if self._is_stopping:
            self._end()
            return
        self._is_stopping = True
        systemd.notify("STOPPING=1")
        log.info("stopping: no more clients are accepted, those connected go to their next address")
        # A reactor that hangs, or a thread that does, must not outlast the limit.
        last_resort = threading.Timer(self._stop_timeout, os._exit, (0,))
        last_resort.daemon = True
        last_resort.start()
        Deferred.fromCoroutine(self._stop()).addErrback(lambda failure: log.failure("while stopping", failure)).addBoth(
            lambda _: self._end()
        )

    async def _start(self) -> None:
        self._memory = SqliteMemory(self._state)
        if self._config.access_log is not None:
            self._access_log = AccessLog(self._reactor, self._config.access_log, self._config.log.format, time.time)
        shuffle = random.SystemRandom().random
        services = Services(self._reactor, self._config, self._memory, shuffle, self._tell, self._access_log)
        load_tokens(self._admin.tokens_file)
        self._services = services
        await self._open_admin()
        await services.start()
        self._warn_of(self._config)
        gc.collect()
        gc.freeze()
        where = ", ".join(f"{listener.address} (pool {listener.pool})" for listener in self._config.listen.values())
        log.info("serving {where}; panel and API at {admin}", where=where, admin=self._admin.address)
        systemd.notify("READY=1")

    async def _open_admin(self) -> None:
        admin = self._admin
        seconds = self._reactor.seconds
        logins = Logins(seconds, lambda: secrets.token_urlsafe(24))
        tokens = TokenBook(self._reactor, self._reactor.getThreadPool(), admin.tokens_file, secrets.token_bytes(32))
        api = Api(self, Access(seconds, tokens, logins), logins, time.time, version("lsproxy"))
        # One limit on connections each: whoever fills the port up does not shut the socket.
        local, site = self._sites = [Site(self._reactor, api.answer, self._events) for _ in range(2)]
        # First of all ports: who runs here already is found out by it.
        self._ports.append(socketfile.listen(self._reactor, admin.socket, local))
        endpoint = server_endpoint(self._reactor, admin.address.host, admin.address.port)
        if admin.tls is not None:
            tls = server_tls(admin.tls.certificate, admin.tls.key, admin.tls.client_ca)
            endpoint = wrap_server(self._reactor, endpoint, tls)
        self._ports.append(await endpoint.listen(site))

    async def _reload(self) -> list[str]:
        services = self._services
        if services is None or self._is_stopping:
            raise LsproxyError("lsproxy is starting or stopping, nothing is reloaded")
        systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        if self._access_log is not None:
            self._access_log.reopen()
        try:
            changes = await services.change(load_config(self._path))
        except LsproxyError as problem:
            message = f"{self._path} was not taken, the old configuration goes on: {problem}"
            self._tell("reload_refused", None, message, {})
            raise LsproxyError(message) from problem
        finally:
            systemd.notify("READY=1")
        self._notify.commands = services.config.notify
        self._warn_of(services.config)
        self._tell("reloaded", None, f"{self._path} was read again: {'; '.join(changes) or 'no changes'}", {})
        return changes

    async def _stop(self) -> None:
        if self._services is None:
            return
        await self._services.stop_listening()
        gone: Deferred[object] = self._services.stop_pools().addCallback(lambda _: None)
        self._notify.stop()
        ended: Deferred[object] = all_ended().addCallback(lambda _: None)
        # Half of the time: what is left is for what the kernel still sends, and for the threads to end.
        ended.addTimeout(self._stop_timeout / 2, self._reactor, onTimeoutCancel=_not_all_ended)
        await gone.addTimeout(self._stop_timeout / 2, self._reactor, onTimeoutCancel=_not_all_gone)
        await ended
        if self._access_log is not None:
            await self._access_log.close().addTimeout(self._stop_timeout / 4, self._reactor)

    def _end(self) -> None:
        end_all_now()
        for site in self._sites:
            site.close()
        ports, self._ports = self._ports, []
        for port in ports:
            port.stopListening()
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
            log.warn("{finding}", finding=finding)

    def _tell(self, event: str, pool: str | None, message: str, details: dict[str, object]) -> None:
        self._events.tell(event, pool, message, details)
        self._notify.tell(event, pool, message)
        text = message if pool is None else f"{pool}: {message}"
        if event in _GRAVE or event == "reload_refused":
            log.warn("{text}", text=text)
        else:
            log.info("{text}", text=text)


def _not_all_gone(_result: object, timeout: float) -> None:
    log.warn("some clients had not closed their connection after {timeout:g} s", timeout=timeout)


def _not_all_ended(_result: object, timeout: float) -> None:
    log.warn("some commands had not ended after {timeout:g} s, and are killed", timeout=timeout)
