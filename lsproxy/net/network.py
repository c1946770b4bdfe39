"""Is this host within that network?"""

import ipaddress

from lsproxy.errors import LsproxyError


class NetworkError(LsproxyError):
    """A text that is no network; `str()` says what would be one."""


class Network:
    """A network of IP addresses, as `parse_network` reads it."""

    __slots__ = ("_prefix",)

    def __init__(self, prefix: ipaddress.IPv4Network | ipaddress.IPv6Network) -> None:
        self._prefix = prefix

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Network) and self._prefix == other._prefix

    def __hash__(self) -> int:
        return hash(self._prefix)

    def __str__(self) -> str:
        return str(self._prefix)

    def covers(self, host: str) -> bool:
        """Whether the IP address `host` is within; an IPv4 address is the same when it is written as IPv6."""
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return address in self._prefix


def parse_network(text: str) -> Network:
    """
    Read `192.0.2.0/24` or `2001:db8::/32`; an address alone is a network of one.

    Raises NetworkError: a sentence that quotes `text`.
    """
    try:
        return Network(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise NetworkError(f'"{text}" is no network, write one like 192.0.2.0/24 or 2001:db8::/32') from None
    raise NetworkError(f"{text} is an address within a network, the network itself is {meant}")
