"""
Whose bearer token is this?

tokens.yaml is read again when it has changed, so a token that was added or
taken out counts at once. Verifying is slow on purpose: it is done in a thread,
few at a time, and its outcome remembered by a digest under a key of this
process, never the token.
"""

import hashlib
import hmac
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from lsproxy.admin.exchange import TOO_MANY, RefusedError
from lsproxy.config.tokens import Token, find_token, load_tokens

AT_ONCE: Final = 2  # each takes 16 MiB and a core
MOST_WAITING: Final = 32
MOST_REMEMBERED: Final = 256
LONGEST_TOKEN: Final = 512

Version = tuple[int, int, int]
"""What tells one state of the file from another."""

_NO_FILE: Final = (0, 0, 0)


class TokenBook:
    """The tokens of the file `path`, which may become another. `key` is 32 random bytes, new with each process."""

    def __init__(self, reactor: IReactorFromThreads, pool: ThreadPool, path: Path, key: bytes) -> None:
        self._reactor = reactor
        self._pool = pool
        self.path = path
        self._key = key
        self._version: Version = _NO_FILE
        self._verified: dict[bytes, Token] = {}
        self._turns = DeferredSemaphore(AT_ONCE)

    @property
    def version(self) -> Version:
        """The state that the file is in now."""
        self._notice_change()
        return self._version

    def known(self, token: str) -> Token | None:
        """The entry of a token that was verified before and whose file is still the same."""
        self._notice_change()
        return self._verified.get(self._digest(token))

    async def find(self, token: str) -> Token | None:
        """
        The entry of this token. Raises RefusedError when too many wait to be verified, ConfigError and
        SecretFileError for what is wrong with the file.
        """
        if len(token) > LONGEST_TOKEN:
            return None
        known = self.known(token)
        if known is not None:
            return known
        if len(self._turns.waiting) >= MOST_WAITING:
            raise RefusedError(TOO_MANY, "overloaded", "too many tokens are being verified, try again", Retry_After="1")
        version = self._version
        verifying: Deferred[Token | None] = self._turns.run(self._in_thread, token)
        found = await verifying
        if found is not None and version == self._version:
            if len(self._verified) >= MOST_REMEMBERED:
                self._verified.clear()
            self._verified[self._digest(token)] = found
        return found

    def _in_thread(self, token: str) -> Deferred[Token | None]:
        return deferToThreadPool(self._reactor, self._pool, self._verify, token)

    def _verify(self, token: str) -> Token | None:
        return find_token(token, load_tokens(self.path))

    def _notice_change(self) -> None:
        version = _version(self.path)
        if version != self._version:
            self._version = version
            self._verified.clear()

    def _digest(self, token: str) -> bytes:
        return hmac.digest(self._key, token.encode("utf-8", "surrogatepass"), hashlib.sha256)


def _version(path: Path) -> Version:
    try:
        status = path.stat()
    except OSError:
        return _NO_FILE
    return (status.st_ino, status.st_mtime_ns, status.st_mode)
