"""
Which license text does this server serve: the one in force, or its own file?

The text in force stands in the journal. A server's own file comes into force by
`reread` or `install` on the active server, or when it takes a name that nobody
has confirmed since it started. Every text must give this host a role.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from twisted.logger import Logger

from licserver.core.scheme import Misfit, Role, Wanted, role_of
from licserver.errors import LicserverError
from lsproxy.errors import LsproxyError
from lsproxy.license.file import read_license_text
from lsproxy.license.grammar import parse
from lsproxy.license.hostid import Hostid
from lsproxy.license.offer import Pool, pools
from lsproxy.license.signature import VerifiedLicense, verify

log = Logger()

_MOST_REMEMBERED: Final = 4
_SINGLE: Final = Wanted()


class LicenseRefused(LicserverError):
    """A license text that this server may not serve; the sentence says why."""


class Licenses:
    """The license file of one server: `hostids` are the host's, `name` the server's; `wanted` is configured."""

    def __init__(
        self,
        path: Path,
        vendor_keys: Mapping[str, Ed25519PublicKey],
        hostids: tuple[Hostid, ...],
        name: str,
        wanted: Wanted = _SINGLE,
    ) -> None:
        self.path = path
        self.hostids = hostids
        self.vendor_keys = vendor_keys
        self.wanted = wanted
        self._name = name
        self._verified: dict[tuple[str, str], VerifiedLicense] = {}

    def become(self, other: "Licenses") -> None:
        """Go on with the file, the keys and the wishes of `other`."""
        self.path, self.vendor_keys, self.wanted = other.path, other.vendor_keys, other.wanted
        self._verified = {}

    def read_pools(self, text: str, file: str) -> dict[str, tuple[Pool, ...]]:
        """What a text grants by its validly signed lines."""
        return pools(self.verify(text, file))

    def verify(self, text: str, file: str) -> VerifiedLicense:
        """The text with its signatures checked; the last few are remembered."""
        known = self._verified.pop((text, file), None) or verify(parse(text, file), self.vendor_keys)
        self._verified[text, file] = known
        if len(self._verified) > _MOST_REMEMBERED:
            del self._verified[next(iter(self._verified))]
        return known

    def role(self, text: str, file: str) -> Role | Misfit:
        """What this server is by a text."""
        return role_of(self.verify(text, file), self.vendor_keys, self.hostids, self._name, self.wanted)

    def digest(self, text: str) -> str:
        """The digest of a text; that of no lines for an empty one."""
        return self.verify(text, "license").digest

    def why_not(self, text: str, file: str) -> str:
        """Why this host may not serve a text; "" if it may."""
        verified = self.verify(text, file)
        if not verified.good:
            problems = "; ".join(map(str, verified.problems[:3])) or f"{file}: it has no FEATURE or INCREMENT line"
            return f"no line of the license can be served: {problems}"
        role = self.role(text, file)
        return role.reason if isinstance(role, Misfit) else ""

    def read(self) -> str:
        """The text of the own file. Raises LicenseRefused."""
        try:
            return read_license_text(self.path)
        except LsproxyError as problem:
            raise LicenseRefused(str(problem)) from problem

    def read_servable(self) -> str:
        """The text of the own file, if this host may serve any line of it. Raises LicenseRefused."""
        text = self.read()
        reason = self.why_not(text, str(self.path))
        if reason:
            raise LicenseRefused(reason)
        return text

    def text_to_bring(self, in_force: str, file: str, is_unconfirmed: bool) -> str | None:
        """
        The own file's text if it comes into force with a takeover, None if `in_force`
        (from `file`, "" for none yet) stays; `is_unconfirmed`: nobody confirmed the name
        since this server started. A text that this host may serve gives way to a faultless one only.

        Raises LicenseRefused if this host may serve neither.
        """
        against = self.why_not(in_force, file) if in_force else "there is none"
        if not in_force or is_unconfirmed:
            try:
                own = self.read_servable() if against else self._read_new()
            except LicenseRefused as refused:
                if not in_force:
                    raise
                log.warn("the own license file is not used: {reason}", event="license_refused", reason=refused)
            else:
                return None if own == in_force else own
        if against:
            raise LicenseRefused(f"the license in force: {against}")
        return None

    def _read_new(self) -> str:
        text = self.read()
        self.check_new(text, str(self.path))
        return text

    def check_new(self, text: str, file: str) -> None:
        """
        Raise LicenseRefused unless a text may replace the one in force: this host
        may serve it and not one line of it is broken. Validly signed lines
        that this release does not serve are let pass.
        """
        verified = self.verify(text, file)
        unserved = {line.line for line in verified.signed} - {line.line for line in verified.good}
        broken = [problem for problem in verified.problems if problem.line not in unserved]
        if broken:
            raise LicenseRefused("the license in force stays: " + "; ".join(map(str, broken[:5])))
        reason = self.why_not(text, file)
        if reason:
            raise LicenseRefused(f"the license in force stays: {reason}")

    def install(self, text: str) -> None:
        """
        Make `text` the own file, with the old one kept beside it as `FILE.old`. Raises LicenseRefused.

        A file that has this text already stays, and so does the old one: servers may share the file.
        """
        if self._has(text):
            return
        folder = self.path.parent
        try:
            descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{self.path.name}.")
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            old = self.path.with_name(f"{self.path.name}.old")
            old.unlink(missing_ok=True)
            if self.path.exists():
                os.link(self.path, old)
            Path(temporary).replace(self.path)
        except OSError as problem:
            raise LicenseRefused(f"{self.path}: the license file cannot be written: {problem.strerror}") from problem

    def _has(self, text: str) -> bool:
        try:
            return self.read() == text
        except LicenseRefused:
            return False
