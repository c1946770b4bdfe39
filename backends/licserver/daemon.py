"""The composition root of `licserver serve`: from a configuration to a running server, and its end."""

import faulthandler
import gc
import os
import secrets
import signal
import time
from collections.abc import Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from licserver.config import LicserverConfig, load_config
from licserver.connection import Connections
from licserver.core.sessions import Terms
from licserver.dialing import Dialing
from licserver.entrance import Entrance
from licserver.errors import LicserverError
from licserver.journal.etcd_place import EtcdPlace
from licserver.journal.interface import Journal, Member
from licserver.journal.process import boot_id, this_process
from licserver.journal.worker import Worker
from licserver.journals import open_journal
from licserver.licenses import Licenses
from licserver.ownlicenses import load_licenses
from licserver.peer import Peers
from licserver.redundancy import Outfit
from licserver.reloading import Reloading
from licserver.server import Identity, Server
from licserver.state import SeenState
from lsproxy import logs, systemd
from lsproxy.errors import LsproxyError
from lsproxy.net.address import Address
from lsproxy.net.descriptors import raise_descriptor_limit
from lsproxy.net.passed import PassedSockets, passed_sockets
from lsproxy.net.reactor import BoottimeReactor, install
from lsproxy.secretfile import read_secret

log = Logger()

_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 what a wildcard is asked at, not bound to
_YOUNGEST_GENERATION: Final = 50_000
_FAREWELL_SECONDS: Final = 1.0


class CannotServe(LicserverError):
    """This server cannot start; the sentence says why and what to do."""


def serve(path: Path, descriptors: Iterable[int] = ()) -> int:
    """
    Run the server that `path` configures until it is stopped, on the socket of `descriptors` where there is one. The
    exit status. Raises ConfigError.
    """
    config = load_config(path)
    passed = passed_sockets(descriptors)
    passed.refuse_strangers([config.listen.address])
    raise_descriptor_limit()
    faulthandler.enable()  # one that hangs is aborted, and the log says where it hung
    reactor = install()
    lines = logs.begin(config.log.format)
    gc.set_threshold(_YOUNGEST_GENERATION, 20, 50)
    service = Service(reactor, path, config, passed, lines)
    reactor.callWhenRunning(service.start)
    reactor.run()
    if service.fault:
        log.error("{log_fault}", event="cannot_start", log_fault=service.fault)
    return service.status


class Service:
    """
    A server and its listener, from start to stop. `config` was read from `path`, `lines` write the log. `status` is
    the exit status, `fault` the sentence behind it.
    """

    def __init__(
        self, reactor: BoottimeReactor, path: Path, config: LicserverConfig, passed: PassedSockets, lines: logs.Lines
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._lines = lines
        self._passed = passed
        self._watchdog = systemd.Watchdog(reactor, systemd.watchdog_seconds(os.environ, os.getpid()))
        self._standing = systemd.Standing(reactor, self._role)
        self._config = config
        self._server: Server | None = None
        self._connections: Connections | None = None
        self._entrance: Entrance | None = None
        self._reloading: Reloading | None = None
        self._is_stopping = False
        self.status = 0
        self.fault = ""

    def start(self) -> None:
        """Begin; the reactor runs."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._reactor.callFromThread(self.stop))
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._hang_up))
        self._watchdog.start()
        Deferred.fromCoroutine(self._start()).addErrback(self._cannot_start)

    def stop(self) -> None:
        """Give everything back and end the reactor. Asked again, it goes on with that."""
        if self._is_stopping:
            return
        self._is_stopping = True
        systemd.notify("STOPPING=1")
        self._standing.stop()
        Deferred.fromCoroutine(self._stop()).addErrback(self._cannot_stop)

    async def _start(self) -> None:
        config = self._config
        licenses = load_licenses(config)
        journal = await open_journal(config, self._reactor)
        try:
            server = await self._assemble(journal, licenses)
        except BaseException:
            await journal.close()
            raise
        self._server = server
        log.info(
            "serving {address} as {name} of {server_name}, {role}",
            event="started",
            address=config.listen.address,
            name=config.name,
            server_name=config.server_name,
            role=server.role(),
        )
        self._standing.start()

    def _role(self) -> str:
        role = "stopping" if self._server is None else self._server.role()
        return f"{self._config.name} of {self._config.server_name}: {role}"

    async def _assemble(self, journal: Journal, licenses: Licenses) -> Server:
        config = self._config
        seen = SeenState(config.state, config.server_name)
        claim = await journal.claim()
        reason = seen.check(journal.journal_id, claim.epoch, claim.newest_slot)
        if reason:
            raise CannotServe(reason)
        await self._refuse_twice(journal)
        member = Member(
            name=config.name,
            instance=secrets.token_hex(16),
            address=str(config.advertise),
            process=this_process(),
            listen=str(_ask_at(config)),
            ttl=config.ttl,
            identity=seen.identity,
        )
        identity = Identity(member, config.server_name, version("lsproxy"), licenses.hostids)
        token = None if config.token_file is None else read_secret(config.token_file)
        writer = Worker(self._reactor, "state writer")
        dialing = Dialing(self._reactor, config.listen)
        peers = Peers(self._reactor, dialing, token, config.ttl, dialing.may_be_told)
        server = Server(
            reactor=self._reactor,
            wall=time.time,
            identity=identity,
            terms=Terms(config.heartbeat, config.resume, config.trust),
            ttl=config.ttl,
            token=token,
            journal=journal,
            licenses=licenses,
            outfit=_outfit(config),
            peers=peers,
            remember=lambda *seen_of_it: writer.do(partial(seen.remember, *seen_of_it)),
            stopping=self.stop,
            reconfigure=self._reload,
        )
        self._connections = Connections(server)
        self._entrance = Entrance(self._reactor, self._passed, self._connections)
        self._reloading = Reloading(
            self._reactor, self._path, config, server, peers, self._entrance, dialing, self._lines, self._standing
        )
        await self._entrance.open(config.listen)
        await self._reloading.start()
        await server.read_journal()
        reason = server.why_not_ready()
        if reason:
            raise CannotServe(reason)
        await journal.join(member)
        await server.start()
        return server

    async def _refuse_twice(self, journal: Journal) -> None:
        config = self._config
        for member, is_running in await journal.members():
            if is_running and member.name == config.name:
                raise CannotServe(
                    f"{config.name} is running already, as process {member.process.pid}; "
                    "stop it, or give this one a name of its own"
                )
            if is_running and config.redundancy.scheme == "single":
                raise CannotServe(
                    f"{member.name} serves {config.server_name} from this journal and the scheme here is single; "
                    "several servers of one name need `redundancy: duplicate`"
                )
            if is_running and member.ttl not in {0.0, config.ttl}:
                raise CannotServe(
                    f"{member.name} serves {config.server_name} with `ttl: {member.ttl:g}`, and here it is "
                    f"{config.ttl:g}; all servers of a name have the same: stop all, and start them with one"
                )

    def _hang_up(self) -> None:
        Deferred.fromCoroutine(self._reread()).addErrback(lambda failure: log.failure("rereading failed", failure))

    async def _reread(self) -> None:
        if self._server is None or self._reloading is None:
            return
        await self._reload()
        if self._server is not None:
            self._server.reread()

    async def _reload(self) -> str:
        """Take the configuration file as it is now; what stands against it."""
        assert self._reloading is not None  # there is a server that is asked
        return await self._reloading.reload()

    def _cannot_start(self, failure: Failure) -> None:
        self.status = 2
        self.fault = str(failure.value)
        if not failure.check(LicserverError, LsproxyError):
            log.failure("the server could not start", failure)
            self.status = 1
        if not self._is_stopping:
            self._is_stopping = True
            self._reactor.stop()

    async def _stop(self) -> None:
        # The port stays open until the name is given up: a closed one would be taken for a death.
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop()
        if self._entrance is not None:
            await self._entrance.close()
        if self._connections is not None:
            farewell = self._connections.close()
            await farewell.addTimeout(_FAREWELL_SECONDS, self._reactor, onTimeoutCancel=lambda *_: None)
        if self._reloading is not None:
            await self._reloading.stop()
        self._reactor.stop()

    def _cannot_stop(self, failure: Failure) -> None:
        log.failure("stopping failed", failure)
        os._exit(1)


def _ask_at(config: LicserverConfig) -> Address:
    """Where the other servers ask this one: they may stand on other hosts where the journal is in etcd."""
    listen = config.listen.address
    if listen.host not in _ANY_ADDRESS:
        return listen
    if isinstance(config.journal, EtcdPlace):
        return config.advertise
    return Address(_ANY_ADDRESS[listen.host], listen.port)


def _outfit(config: LicserverConfig) -> Outfit:
    is_file = isinstance(config.journal, Path)
    return Outfit(
        boot_id=boot_id(),
        random=secrets.token_bytes,
        restore_seconds=config.redundancy.restore_after_minutes * 60.0,
        journal=f"sqlite://{config.journal}" if is_file else str(config.journal),
        is_journal_here=is_file,
        vendor_keys={vendor: path.read_text() for vendor, path in config.vendor_keys.items()},
    )
