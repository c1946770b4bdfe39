"""Which relations hold between addresses, tokens and TLS, in either daemon's configuration? Pure questions."""

import ipaddress
from typing import Final

from lsproxy.net.address import Address

_LOCAL_NAMES: Final = {"localhost": "127.0.0.1", "ip6-localhost": "::1"}


def is_loopback(address: Address) -> bool:
    """Whether only this machine can reach `address`. A name counts only when it is localhost: others may change."""
    host = _numeric(address.host)
    return not isinstance(host, str) and host.is_loopback


def is_wildcard(address: Address) -> bool:
    """Whether `address` stands for all addresses of this machine, so that nobody can dial it."""
    return _is_unspecified(_numeric(address.host))


def do_collide(one: Address, other: Address) -> bool:
    """Whether two listeners on these addresses take each other's port. A wildcard takes it on all of its family."""
    if one.port != other.port:
        return False
    first, second = _numeric(one.host), _numeric(other.host)
    if isinstance(first, str) or isinstance(second, str):
        # A name of this machine lies under the wildcards, of whichever family it is.
        return first == second or _is_unspecified(first) or _is_unspecified(second)
    if first.version != second.version:
        return False
    return first == second or first.is_unspecified or second.is_unspecified


_Host = ipaddress.IPv4Address | ipaddress.IPv6Address | str


def _numeric(host: str) -> _Host:
    name = host.lower().rstrip(".")
    try:
        return ipaddress.ip_address(_LOCAL_NAMES.get(name, name))
    except ValueError:
        return name


def _is_unspecified(host: _Host) -> bool:
    return not isinstance(host, str) and host.is_unspecified
