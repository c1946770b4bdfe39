"""Where is a journal in etcd, and what does this server show to be let in?"""

import re
from pathlib import Path
from typing import Final

import msgspec

from licserver.errors import LicserverError
from lsproxy.net.address import Address, parse_address

_SCHEME: Final = "etcd://"
_PREFIX: Final = re.compile(r"[A-Za-z0-9._-]+")  # no "/": one journal never lies within another
_RIGHT: Final = "must be etcd://HOST:PORT,HOST:PORT,HOST:PORT/PREFIX, such as etcd://a:2379,b:2379,c:2379/acme"


class PlaceError(LicserverError):
    """A text that says no place in etcd; `str()` says what would."""


class EtcdPlace(msgspec.Struct, frozen=True):
    """
    `etcd://HOST:PORT,HOST:PORT,…/PREFIX`: the members of the cluster in the
    order in which they are asked, and what all keys of the journal begin with.
    """

    members: tuple[Address, ...]
    prefix: str

    def __str__(self) -> str:
        return f"{_SCHEME}{','.join(map(str, self.members))}/{self.prefix}"


class Access(msgspec.Struct, frozen=True):
    """
    With `ca` the members are spoken to by TLS; `certificate` and `key` are
    shown to those that ask for one. `user` and `password` where etcd's own
    authentication is on. Files are PEM.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"<Access of {self.user or 'nobody'}>"  # the password stays out of logs and tracebacks


def parse_place(text: str) -> EtcdPlace:
    """
    Read `etcd://HOST:PORT,…/PREFIX`.

    Raises PlaceError, and AddressError for one of the addresses. The text is not repeated: a URL may hold a password.
    """
    members, slash, prefix = text.removeprefix(_SCHEME).partition("/")
    if not text.startswith(_SCHEME) or not slash or not _PREFIX.fullmatch(prefix) or "@" in members:
        raise PlaceError(f"{_RIGHT}; the prefix is of letters, digits, dots, dashes and underscores")
    addresses = tuple(parse_address(member) for member in members.split(","))
    if any(address.port == 0 for address in addresses):
        raise PlaceError(f"names port 0, {_RIGHT}")
    if len(set(addresses)) < len(addresses):
        raise PlaceError(f"names a member twice, {_RIGHT}")
    return EtcdPlace(addresses, prefix)
