"""Which two addresses does a client's connection have, as the client sees it?"""

import msgspec
from twisted.internet.address import IPv4Address, IPv6Address


class Ends(msgspec.Struct, frozen=True):
    """`client` is where it comes from, `host` what it dialled: the PROXY protocol may say both of another socket."""

    client: IPv4Address | IPv6Address
    host: IPv4Address | IPv6Address
