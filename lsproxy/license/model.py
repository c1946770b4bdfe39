"""
What a license file says, as far as its grammar goes: its lines, typed, with where they stand.

Whether a line is signed is `signature`'s question, what it grants `offer`'s,
and which host it is for `binding`'s.
"""

import msgspec

from lsproxy.errors import LsproxyError
from lsproxy.license.hostid import Hostid

Attribute = tuple[str, str | None]
"""A key in upper case and its value without quotes; None for a key that stands alone."""


class LicenseError(LsproxyError):
    """A license or key file that cannot be used for what was asked."""


class Problem(msgspec.Struct, frozen=True, order=True):
    """One thing wrong in a license file; `line` counts from 1. `str()` is `FILE:LINE: sentence`."""

    file: str
    line: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.sentence}"


class ServerLine(msgspec.Struct, frozen=True):
    """
    `SERVER host hostid [port] [KEY=value…]`. Any one of `hostids` binds it.

    `hostids` is empty where `hostid_text`, which is the field as written, holds a kind this program does not know.
    """

    line: int
    host: str
    hostids: tuple[Hostid, ...]
    hostid_text: str
    port: int | None
    attributes: tuple[Attribute, ...]


class VendorLine(msgspec.Struct, frozen=True):
    """`VENDOR name [path] [OPTIONS=path] [PORT=n]`, also by its old word DAEMON."""

    line: int
    vendor: str
    path: str | None
    options: str | None
    port: int | None
    attributes: tuple[Attribute, ...]


class FeatureLine(msgspec.Struct, frozen=True):
    """
    `FEATURE|INCREMENT feature vendor version expiry count [KEY=value…]`.

    `keyword` is in upper case, `expiry` and `count` in lower case, the rest as written.
    `sign_span` is where SIGN stands in the text, as offsets; both are the line's end where there is none.
    """

    line: int
    keyword: str
    feature: str
    vendor: str
    version: str
    expiry: str
    count: str
    attributes: tuple[Attribute, ...]
    sign_span: tuple[int, int]

    def get(self, key: str) -> str | None:
        """The value of `key`, None where it is absent or stands alone."""
        return next((value for name, value in self.attributes if name == key), None)


class LicenseFile(msgspec.Struct, frozen=True):
    """A parsed license file. Lines with a problem are in `problems` and nowhere else."""

    file: str
    text: str
    servers: tuple[ServerLine, ...]
    vendors: tuple[VendorLine, ...]
    use_server: bool
    features: tuple[FeatureLine, ...]
    problems: tuple[Problem, ...]
