"""
The kinds of single value that configurations share: names, addresses, files, secrets, hostids, database URLs.

Each is an annotated type for the fields of a tree. Files are looked at while
they are read, so that a missing one is told with the line that names it.
"""

import contextlib
import os
import re
import stat
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from lsproxy.config.problems import quote
from lsproxy.config.relations import is_wildcard
from lsproxy.config.scalars import Leaf, UnfitValueError
from lsproxy.license.hostid import Hostid, parse_hostid
from lsproxy.net.address import Address, parse_address
from lsproxy.net.network import Network, parse_network
from lsproxy.secretfile import SecretMissingError, read_secret

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9._:-]{1,253}", re.ASCII)
_LONGEST_ADDRESS: Final = 300
_CREDENTIAL: Final = "$CREDENTIALS_DIRECTORY/"  # systemd.exec(5), LoadCredential=
_ESCAPE: Final = re.compile(r"(\\x[0-9A-Fa-f]{2}|\\.|\\$)", re.DOTALL)
_HEX_ESCAPE: Final = 4  # characters
_ESCAPED: Final = {r"\r": b"\r", r"\n": b"\n", r"\t": b"\t", r"\0": b"\0", "\\\\": b"\\"}


def parse_name(text: str) -> str:
    """`text`, when it may name a server, pool, listener, vendor or token. Raises `UnfitValueError`."""
    if _NAME.fullmatch(text) is None:
        raise UnfitValueError(
            f"{quote(text)} is no name, it must be 1 to 64 letters, digits, dots, dashes and underscores"
        )
    return text


def _read_name(text: str, _folder: Path) -> str:
    return parse_name(text)


def _read_host_name(text: str, _folder: Path) -> str:
    if _HOST_NAME.fullmatch(text) is None:
        raise UnfitValueError(f"{quote(text)} is no host name, it must be letters, digits, dots and dashes")
    return text


def _read_address(text: str, _folder: Path) -> Address:
    if not text.isprintable() or len(text) > _LONGEST_ADDRESS:
        raise UnfitValueError(f"{quote(text)} is not an address, it must be host:port, such as 127.0.0.1:27000")
    address = parse_address(text)
    if address.port == 0:
        raise UnfitValueError(f"{quote(text)} has port 0, name the port that others will find")
    return address


def _read_destination(text: str, folder: Path) -> Address:
    address = _read_address(text, folder)
    if is_wildcard(address):
        raise UnfitValueError(f"{quote(text)} is no address others can dial, name the host")
    return address


def _read_path(text: str, folder: Path) -> Path:
    if not text or not text.isprintable():
        raise UnfitValueError(f"{quote(text)} is no path")
    if text.startswith(_CREDENTIAL):
        raise UnfitValueError(f"{quote(text)} is a credential, and this file is none: only what is secret may be one")
    return folder / text


def _read_file(text: str, folder: Path) -> Path:
    path = _read_path(text, folder)
    try:
        # looked at before it is opened: opening a pipe would wait for a writer
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnfitValueError(f"{path} is not a file, name one")
        path.open("rb").close()
    except FileNotFoundError:
        raise UnfitValueError(f"{path} does not exist, put the file there or correct the path") from None
    except OSError as error:
        raise UnfitValueError(f"{path} cannot be read: {error.strerror}") from None
    return path


def _read_secret_path(text: str, folder: Path) -> Path:
    path = _read_credential_path(text) if text.startswith(_CREDENTIAL) else _read_path(text, folder)
    read_secret(path)
    return path


def _read_credential_path(text: str) -> Path:
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    if not credentials:
        raise UnfitValueError(
            f"{quote(text)}: CREDENTIALS_DIRECTORY is not set; systemd sets it for a unit with LoadCredential=, for a "
            "check by hand set it to the folder where the secrets are"
        )
    return _read_path(text.removeprefix(_CREDENTIAL), Path(credentials))


def _read_kept_secret_path(text: str, folder: Path) -> Path:
    path = _read_path(text, folder)
    with contextlib.suppress(SecretMissingError):
        read_secret(path)
    return path


def _read_database(text: str, folder: Path) -> Path:
    scheme, colon, rest = text.partition(":")
    # The scheme alone is repeated: a URL may hold a password.
    if scheme != "sqlite" or not colon or rest.startswith("//") != rest.startswith("///"):
        raise UnfitValueError("must be sqlite:///ABSOLUTE/PATH, or sqlite:PATH from this file's folder")
    path = rest.removeprefix("//")
    if not path or path.endswith("/") or not path.isprintable():
        raise UnfitValueError("names no file, it must be sqlite:///ABSOLUTE/PATH/OF.db")
    return folder / (f"/{path.lstrip('/')}" if path.startswith("/") else path)


def _read_hostid(text: str, _folder: Path) -> Hostid:
    return parse_hostid(text)


def _read_network(text: str, _folder: Path) -> Network:
    if not text.isprintable() or len(text) > _LONGEST_ADDRESS:
        raise UnfitValueError(f"{quote(text)} is no network")
    return parse_network(text)


def _read_header_version(text: str, _folder: Path) -> str:
    versions = {"false": "", "true": "v2", "v2": "v2", "v1": "v1"}
    if text not in versions:
        raise UnfitValueError(f"must be true, false, v1 or v2, not {quote(text)}")
    return versions[text]


def _read_bytes(text: str, _folder: Path) -> bytes:
    """Escapes name bytes, all other characters stand for their UTF-8."""
    return b"".join(_unescape(piece, text) for piece in _ESCAPE.split(text))


def _unescape(piece: str, text: str) -> bytes:
    if not piece.startswith("\\"):
        return piece.encode()
    if len(piece) == _HEX_ESCAPE:
        return bytes.fromhex(piece[2:])
    if piece not in _ESCAPED:
        known = r"\r \n \t \0 \\ \xNN"
        raise UnfitValueError(f"{quote(text)} holds {piece}, the escapes known here are {known}")
    return _ESCAPED[piece]


def _read_pattern(text: str, _folder: Path) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise UnfitValueError(f"{quote(text)} is no regular expression: {error}") from None
    return text


Name = Annotated[str, Meta(extra={"leaf": Leaf("a name", _read_name)})]
"""1 to 64 of A-Z a-z 0-9 . _ -"""

HostName = Annotated[str, Meta(extra={"leaf": Leaf("a host name", _read_host_name)})]
"""The name or address that a certificate proves."""

ListenAddress = Annotated[Address, Meta(extra={"leaf": Leaf('an address such as "0.0.0.0:27000"', _read_address)})]
"""Where to listen; a wildcard host is fine."""

Destination = Annotated[
    Address, Meta(extra={"leaf": Leaf('an address such as "lic-a.example.com:27101"', _read_destination)})
]
"""Where others dial."""

ReadableFile = Annotated[Path, Meta(extra={"leaf": Leaf("the path of a file", _read_file)})]
"""A file that exists and opens. Absolute, as all paths of a tree."""

SecretFile = Annotated[Path, Meta(extra={"leaf": Leaf("the path of a secret file", _read_secret_path)})]
"""A file for `read_secret`: there, not empty, closed to others. `$CREDENTIALS_DIRECTORY/` may stand before its name."""

KeptSecretFile = Annotated[Path, Meta(extra={"leaf": Leaf("the path of a secret file", _read_kept_secret_path)})]
"""As `SecretFile`, but it may be absent: the program writes it."""

OutputPath = Annotated[Path, Meta(extra={"leaf": Leaf("a path", _read_path)})]
"""A path the program makes itself."""

Database = Annotated[Path, Meta(extra={"leaf": Leaf("sqlite:///PATH", _read_database)})]
"""The file of a `sqlite:///ABSOLUTE/PATH` or `sqlite:PATH` URL, the latter from the folder of the configuration."""

DeclaredHostid = Annotated[Hostid, Meta(extra={"leaf": Leaf('a hostid such as "ETHER=02a1b2c3d4e5"', _read_hostid)})]
"""A hostid that is stated, not found."""

AddressRange = Annotated[
    Network,
    Meta(extra={"leaf": Leaf('a network such as "192.0.2.0/24"', _read_network)}),
]
"""A network, or a single address for one of that size."""

HeaderVersion = Annotated[str, Meta(extra={"leaf": Leaf("true, false, v1 or v2", _read_header_version)})]
"""Which PROXY protocol header is sent, v1 or v2, which is meant by true; empty for none."""

Bytes = Annotated[bytes, Meta(extra={"leaf": Leaf(r"text, with escapes such as \n or \xNN", _read_bytes)})]
r"""Bytes, written as UTF-8 text with the escapes \r \n \t \0 \\ and \xNN."""

Pattern = Annotated[str, Meta(extra={"leaf": Leaf("a regular expression", _read_pattern)})]
"""A regular expression of Python's."""
