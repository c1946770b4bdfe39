"""
How is the address of a server written, and what is wrong with this one?

`host:port` in configuration (`[::1]:27000` for IPv6), `port@host[;port@host…]` in a client's server list. Nothing here
looks a name up, and nothing here needs Twisted: the client library uses this file too.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

from lsproxy.errors import LsproxyError

HIGHEST_PORT = 65_535
LONGEST_HOST = 253  # RFC 1035, without the root's dot

_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?\.?")
_DIGITS = re.compile(r"[0-9]{1,5}")


class AddressError(LsproxyError):
    """A text that is no address; `str()` says what would be one."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """A host (name, IPv4 or IPv6 without brackets) and a port, 0 to 65535 (0: the system picks one to listen on)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def is_host(text: str) -> bool:
    """Whether `text` is a host name or an IP address, without brackets."""
    try:
        _host(text, text)
    except AddressError:
        return False
    return True


def parse_address(text: str) -> Address:
    """
    Read `host:port` or `[IPv6]:port`.

    Raises AddressError: a sentence that quotes `text`.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise AddressError(f'"{text}" is not an address: write host:port, such as 127.0.0.1:27000 or [::1]:27000')
    if host.startswith("[") and host.endswith("]"):
        if ":" not in host:
            raise AddressError(f'"{text}" is not an address: brackets are for IPv6 only, such as [::1]:27000')
        host = host[1:-1]
    elif ":" in host:
        raise AddressError(f'"{text}" is not an address: an IPv6 host stands in brackets, such as [::1]:27000')
    return Address(_host(host, text), _port(port, text))


def parse_server_list(text: str) -> tuple[Address, ...]:
    """
    Read a client's server list, `port@host[;port@host…]`, first choice first; an IPv6 host may stand in brackets.

    Raises AddressError: a sentence that names the entry.
    """
    return tuple(_parse_entry(entry.strip(), text) for entry in text.split(";"))


def format_server_list(servers: tuple[Address, ...]) -> str:
    """Write what `parse_server_list` reads."""
    return ";".join(f"{server.port}@{server.host}" for server in servers)


def _parse_entry(entry: str, text: str) -> Address:
    port, at, host = entry.partition("@")
    if not at:
        what = f'"{entry}" in "{text}"' if entry else f'an entry of "{text}"'
        empty = "" if entry else "empty, "
        raise AddressError(f"{what} is {empty}not port@host: write a server list as 27000@host;27000@other")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    server = Address(_host(host, entry), _port(port, entry))
    if server.port == 0:
        raise AddressError(f'"{entry}": no server has port 0, write 1 to {HIGHEST_PORT}')
    return server


def _host(host: str, text: str) -> str:
    if ":" in host:
        try:
            IPv6Address(host)
        except AddressValueError as error:
            raise AddressError(f'"{text}": "{host}" is not an IPv6 address ({error})') from None
        return host
    if len(host) > LONGEST_HOST or not _NAME.fullmatch(host):
        raise AddressError(
            f'"{text}": "{host}" is not a host name: '
            f"letters, digits, dots, hyphens and underscores, at most {LONGEST_HOST} of them",
        )
    return host


def _port(port: str, text: str) -> int:
    if not _DIGITS.fullmatch(port) or int(port) > HIGHEST_PORT:
        raise AddressError(f'"{text}": "{port}" is not a port, write a number up to {HIGHEST_PORT}')
    return int(port)
