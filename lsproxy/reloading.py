"""
How does lsproxy.yaml, as it is now, come into force in a proxy that runs?

All of it or nothing: what can fail is prepared before any of it counts, and undone where something fails.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from twisted.internet.defer import Deferred, DeferredLock

from lsproxy import logs, systemd
from lsproxy.admin.doors import Doors
from lsproxy.admin.tokens import TokenBook
from lsproxy.changes import refuse_fixed
from lsproxy.config import model
from lsproxy.config.check import load_config
from lsproxy.config.tokens import load_tokens
from lsproxy.errors import LsproxyError
from lsproxy.net.reactor import BoottimeReactor
from lsproxy.proxy.accesslog import AccessLog
from lsproxy.services import Services


class Reloading:
    """
    See the module. `path` is the file that `services`, `doors`, `tokens` and `lines` were made from; how it went is
    told to `tell`, and to the service manager by `standing`. `access_log` is the one in use.
    """

    def __init__(
        self,
        reactor: BoottimeReactor,
        path: Path,
        services: Services,
        doors: Doors,
        tokens: TokenBook,
        lines: logs.Lines,
        access_log: AccessLog | None,
        standing: systemd.Standing,
        tell: Callable[[str, str | None, str, dict[str, object]], None],
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._services = services
        self._doors = doors
        self._tokens = tokens
        self._lines = lines
        self.access_log = access_log
        self._standing = standing
        self._tell = tell
        self._one_at_a_time = DeferredLock()
        self._is_open = False

    def start(self) -> None:
        """All that was made has started, and may change."""
        self._is_open = True

    def stop(self) -> None:
        """Change nothing from now on."""
        self._is_open = False

    def reload(self) -> Deferred[list[str]]:
        """Take the file as it is now; a sentence for each change. Fails with LsproxyError."""
        return self._one_at_a_time.run(lambda: Deferred.fromCoroutine(self._reload()))

    async def _reload(self) -> list[str]:
        if not self._is_open:
            raise LsproxyError("lsproxy is starting or stopping, nothing is reloaded")
        with self._standing.reloading():
            if self.access_log is not None:
                self.access_log.reopen()
            try:
                changes = await self._change(load_config(self._path))
            except LsproxyError as problem:
                message = f"{self._path} was not taken, the old configuration goes on: {problem}"
                self._tell("reload_refused", None, message, {})
                raise LsproxyError(message) from problem
        message = f"{self._path} was read again: {'; '.join(changes) or 'no changes'}"
        self._tell("reloaded", None, message, {"changes": changes})
        return changes

    async def _change(self, config: model.LsproxyConfig) -> list[str]:
        refuse_fixed(self._services.config, config)
        load_tokens(config.admin.tokens_file)
        move = await self._doors.prepare(config.admin)
        with ExitStack() as undo:
            undo.callback(move.undo)
            access_log = self._next_access_log(config)
            if access_log is not None and access_log is not self.access_log:
                undo.callback(access_log.close)
            changes = await self._services.change(config, access_log)
            undo.pop_all()
        move.done()
        self._tokens.path = config.admin.tokens_file
        self._lines.form = config.log.format
        former, self.access_log = self.access_log, access_log
        if former is not None and former is not access_log:
            former.close()
        if access_log is not None and config.access_log is not None:
            access_log.go_on(config.access_log, config.log.format)
        return changes

    def _next_access_log(self, config: model.LsproxyConfig) -> AccessLog | None:
        """The same one where it goes on, in whatever file. Raises LineFileError."""
        if config.access_log is None:
            return None
        if self.access_log is None:
            return AccessLog(self._reactor, config.access_log, config.log.format, time.time)
        self.access_log.check(config.access_log)
        return self.access_log
