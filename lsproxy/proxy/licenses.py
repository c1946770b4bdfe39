"""
Which license files does the proxy hold against a pool's backends, and how is one replaced?

The files are read at the start and at a reload. A file that cannot be read is
an error of the configuration; a line that is not genuine is a finding.
"""

import contextlib
import os
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lsproxy.config import model
from lsproxy.errors import LsproxyError
from lsproxy.license.file import read_license
from lsproxy.license.grammar import parse
from lsproxy.license.keys import load_public_key
from lsproxy.license.signature import VerifiedLicense, verify

MOST_PROBLEMS: Final = 10


class LicenseRefusedError(LsproxyError):
    """A new license that may not be put in force."""


class Licenses:
    """The pool's license file, and its backends' own. Raises LicenseError for what cannot be read."""

    def __init__(self, config: model.SeatPool) -> None:
        self._keys: Mapping[str, Ed25519PublicKey] = {
            vendor: load_public_key(path) for vendor, path in config.vendor_keys.items()
        }
        self._default = config.license_file
        self._replacing = threading.Lock()
        self._own = {name: backend.license_file for name, backend in config.backends.items() if backend.license_file}
        self._verified = {path: verify(read_license(path), self._keys) for path in {self._default, *self._own.values()}}

    def of(self, backend: str) -> VerifiedLicense:
        """The file that `backend` is checked against."""
        return self._verified[self._own.get(backend, self._default)]

    def examine(self, text: str) -> VerifiedLicense:
        """A new text, verified. Raises LicenseRefusedError where a line of it, or all of it, is not genuine."""
        verified = verify(parse(text, "the new license"), self._keys)
        if not verified.good or verified.broken:
            told = [str(problem) for problem in verified.problems[:MOST_PROBLEMS]]
            if len(verified.problems) > MOST_PROBLEMS:
                told.append(f"and {len(verified.problems) - MOST_PROBLEMS} more")
            raise LicenseRefusedError("\n".join(told) or "the new license: it has no signed line to serve")
        return verified

    def replace(self, text: str) -> None:
        """
        Put `text` in place of every file; what was there stays beside it as FILE.old. May be called in a thread. Raises
        LsproxyError.
        """
        with self._replacing:
            for path in self._verified:
                try:
                    _replace(path, text)
                except OSError as error:
                    why = f"{path} cannot be replaced: {error.strerror}; put the new license there"
                    raise LsproxyError(why) from error
                self._verified[path] = verify(parse(text, str(path)), self._keys)


def _replace(path: Path, text: str) -> None:
    former = path.read_bytes()
    if former == text.encode():
        return
    mode = path.stat().st_mode & 0o777
    _write(path.with_name(f"{path.name}.old"), former, mode)
    _write(path, text.encode(), mode)


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
