"""
How does licserver.yaml, as it is now, come into force in a server that runs?

Everything it names is read before any of it counts, so that a fault anywhere leaves the old configuration whole. Where
the server is isolated nothing can be kept, and nothing changes.
"""

import time
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from licserver.changes import describe, refuse_fixed
from licserver.config import LicserverConfig, load_config
from licserver.core.desk import Open, Shut
from licserver.debuglog import DebugLog
from licserver.dialing import Dialing
from licserver.entrance import Entrance
from licserver.errors import LicserverError
from licserver.licenses import LicenseRefused, Licenses
from licserver.metrics import MetricsPort
from licserver.peer import Peers
from licserver.redundancy import Outfit
from licserver.server import Server
from licserver.wanted import wanted_of
from lsproxy import logs, systemd
from lsproxy.errors import LsproxyError
from lsproxy.license.keys import load_public_key
from lsproxy.net.reactor import BoottimeReactor
from lsproxy.net.renewal import Lookout, Renewed
from lsproxy.secretfile import read_secret

log = Logger()


class Reloading:
    """
    See the module. `path` is the file, `config` what was read from it when the server started; `lines` write the log,
    the service manager hears of a reload by `standing`.

    Raises LsproxyError if the debug log cannot be opened or the token cannot be read.
    """

    def __init__(
        self,
        reactor: BoottimeReactor,
        path: Path,
        config: LicserverConfig,
        server: Server,
        peers: Peers,
        entrance: Entrance,
        dialing: Dialing,
        lines: logs.Lines,
        standing: systemd.Standing,
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._config = config
        self._server = server
        self._peers = peers
        self._entrance = entrance
        self._dialing = dialing
        self._lines = lines
        self._standing = standing
        self._token = _token(config)
        self._debug_log = self._open_debug_log(config)
        self._metrics: MetricsPort | None = None
        self._one_at_a_time = DeferredLock()
        self._lookout = Lookout(reactor, self._look)
        self._use(config)

    async def start(self) -> None:
        """Look after the token from now on, and answer who reads metrics. Raises LsproxyError."""
        self._metrics = await self._open_metrics(self._config)
        self._lookout.start()

    async def stop(self) -> None:
        """Look no more, answer no more, and write to the end of the debug log."""
        self._lookout.stop()
        if self._metrics is not None:
            await self._metrics.close()
        if self._debug_log is not None:
            await self._debug_log.close()

    def reload(self) -> Deferred[str]:
        """
        Take the file as it is now; fires with what stands against it, "" if it was taken. The debug log goes on in a
        file that is opened anew.
        """
        return self._one_at_a_time.run(lambda: Deferred.fromCoroutine(self._reload()))

    async def _reload(self) -> str:
        old = self._config
        with self._standing.reloading():
            if self._debug_log is not None:
                self._debug_log.reopen()
            try:
                config = load_config(self._path)
                refuse_fixed(self._path, old, config)
                await self._change(config)
            except (LicserverError, LsproxyError) as problem:
                sentence = f"{self._path} was not taken, the old configuration goes on: {problem}"
                log.error("{log_sentence}", event="reload_refused", log_sentence=sentence)
                return sentence
        changes = describe(old, config)
        log.info("{path} was read again: {changes}", event="reloaded", path=self._path, changes=changes or "no changes")
        return ""

    async def _change(self, config: LicserverConfig) -> None:
        old, former = self._config, [self._metrics, self._debug_log]
        metrics, debug_log = self._metrics, self._debug_log
        async with AsyncExitStack() as undo:
            if config.metrics != old.metrics:
                metrics = await self._open_metrics(config)
                _close_after(undo, metrics)
            if config.debug_log != old.debug_log:
                debug_log = self._open_debug_log(config)
                _close_after(undo, debug_log)
            outfit, token, dialing = self._new_outfit(config), _token(config), Dialing(self._reactor, config.listen)
            licenses = self._new_licenses(config)
            if config.listen.tls is not None or config.listen != old.listen:
                await self._entrance.change(config.listen)
            undo.pop_all()
        self._token, self._debug_log, self._metrics, self._config = token, debug_log, metrics, config
        self._dialing.become(dialing)
        self._use(config)
        self._use_licenses(licenses, outfit)
        for one in former:
            if one is not None and one not in {metrics, debug_log}:
                await one.close()

    def _new_licenses(self, config: LicserverConfig) -> Licenses:
        """What decides on licenses from now on, if this host may then still serve the text in force."""
        server = self._server
        keys = {vendor: load_public_key(path) for vendor, path in config.vendor_keys.items()}
        licenses = Licenses(config.license_file, keys, server.licenses.hostids, config.name, wanted_of(config))
        ledger, door = server.desk.ledger, server.desk.door
        if server.tenure is None:
            return licenses
        if isinstance(door, Shut):
            raise LicenseRefused(door.message)
        reason = licenses.why_not(ledger.license_text, ledger.license_file)
        if reason:
            raise LicenseRefused(f"with it the license in force could not be served: {reason}")
        return licenses

    def _new_outfit(self, config: LicserverConfig) -> Outfit:
        return msgspec.structs.replace(
            self._server.redundancy.outfit,
            restore_seconds=config.redundancy.restore_after_minutes * 60.0,
            vendor_keys={vendor: path.read_text() for vendor, path in config.vendor_keys.items()},
        )

    def _use_licenses(self, licenses: Licenses, outfit: Outfit) -> None:
        server = self._server
        server.licenses.become(licenses)
        redundancy, desk = server.redundancy, server.desk
        redundancy.outfit, redundancy.limit.restore_seconds = outfit, outfit.restore_seconds
        desk.ledger.read_pools_again()
        if server.tenure is not None and isinstance(desk.door, Open):
            moment = server.moment()
            redundancy.begin(moment)
            desk.serve_queues(moment)
        server.settle()

    def _use(self, config: LicserverConfig) -> None:
        self._use_token()
        self._server.desk.witness = self._debug_log
        self._lines.form = config.log.format

    def _use_token(self) -> None:
        self._server.desk.token = self._peers.token = None if self._token is None else self._token.value

    def _look(self) -> None:
        if self._token is not None and self._token.look():
            self._use_token()

    async def _open_metrics(self, config: LicserverConfig) -> MetricsPort | None:
        if config.metrics is None:
            return None
        port = MetricsPort(self._reactor, config.metrics, self._server)
        await port.open()
        return port

    def _open_debug_log(self, config: LicserverConfig) -> DebugLog | None:
        return None if config.debug_log is None else DebugLog(self._reactor, config.debug_log, time.time)


def _close_after(undo: AsyncExitStack, opened: MetricsPort | DebugLog | None) -> None:
    if opened is not None:
        undo.push_async_callback(opened.close)


def _token(config: LicserverConfig) -> Renewed[str] | None:
    file = config.token_file
    return None if file is None else Renewed(f"the operator token in {file}", [file], lambda: read_secret(file))
