"""
For whom does a proxy connect: how is that said in the first bytes of a connection, and what do these bytes say?

The PROXY protocol, versions 1 (a line of text) and 2 (binary), as HAProxy's proxy-protocol.txt defines it. Bytes in,
a header out; a header may arrive in pieces cut anywhere. The version is seen by the first bytes, whether there is a
header at all is never guessed: who reads one knows that there must be one.
"""

import ipaddress
import re
import struct
from typing import Final

import msgspec
from twisted.internet.address import IPv4Address, IPv6Address

from lsproxy.errors import LsproxyError
from lsproxy.net.crc32c import crc32c
from lsproxy.net.ends import Ends

LONGEST_V1: Final = 107  # bytes, line end included
LONGEST_V2: Final = 4096  # bytes; the format's own limit is 64 KiB, what is sent stays under 1

_V1_BEGINNING: Final = b"PROXY "
_V2_SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
_V2_HEAD: Final = struct.Struct("!12sBBH")  # signature, version and command, family and transport, length of the rest
_V2_LOCAL, _V2_PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21
_ADDRESSES: Final = {_TCP4: struct.Struct("!4s4sHH"), _TCP6: struct.Struct("!16s16sHH")}
_UNNAMED: Final = frozenset({0x00, 0x01, 0x02, 0x31, 0x32})  # unspecified, and Unix sockets: nothing that is used here
_UDP: Final = frozenset({0x12, 0x22})
_TLV: Final = struct.Struct("!BH")  # type, length
_CRC32C_TYPE: Final = 0x03
_CRC32C: Final = struct.Struct("!I")
_PORT: Final = re.compile(r"0|[1-9][0-9]{0,4}", re.ASCII)
_HIGHEST_PORT: Final = 65_535


_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class ProxyProtocolError(LsproxyError):
    """The first bytes of a connection are no PROXY protocol header; `str()` says why."""


class Announced(msgspec.Struct, frozen=True):
    """The connection is made for a client: these are the ends that the client sees."""

    ends: Ends


class Own(msgspec.Struct, frozen=True):
    """The proxy connects for itself (a health check), or cannot say for whom: its own address counts."""


Header = Announced | Own


class HeaderReader:
    """Reads the header of one connection. After it has been read, `rest` holds the bytes behind it."""

    __slots__ = ("_began", "rest")

    def __init__(self) -> None:
        self._began = b""
        self.rest = b""

    @property
    def has_begun(self) -> bool:
        """Whether a part of a header is there."""
        return bool(self._began)

    def feed(self, received: bytes) -> Header | None:
        """
        The header, once it is whole; until then None.

        Raises ProxyProtocolError at the first byte that cannot belong to a header.
        """
        self._began += received
        began = self._began
        if began.startswith(_V1_BEGINNING):
            found = _read_v1(began)
        elif began.startswith(_V2_SIGNATURE):
            found = _read_v2(began)
        elif _V1_BEGINNING.startswith(began) or _V2_SIGNATURE.startswith(began):
            found = None
        else:
            raise ProxyProtocolError("the connection does not begin with a PROXY protocol header")
        if found is None:
            return None
        header, length = found
        self._began, self.rest = b"", began[length:]
        return header


def header_v1(ends: Ends) -> bytes:
    """The line of text that says that a connection is made for a client with these `ends`."""
    client, host = _packable(ends)
    family = "TCP4" if isinstance(client, ipaddress.IPv4Address) else "TCP6"
    return f"PROXY {family} {_text(client)} {_text(host)} {ends.client.port} {ends.host.port}\r\n".encode("ascii")


def header_v2(ends: Ends) -> bytes:
    """The bytes that say that a connection is made for a client with these `ends`."""
    client, host = _packable(ends)
    family = _TCP4 if isinstance(client, ipaddress.IPv4Address) else _TCP6
    addresses = _ADDRESSES[family].pack(client.packed, host.packed, ends.client.port, ends.host.port)
    return _V2_HEAD.pack(_V2_SIGNATURE, _V2_PROXY, family, len(addresses)) + addresses


LOCAL_HEADER: Final = _V2_HEAD.pack(_V2_SIGNATURE, _V2_LOCAL, 0, 0)
"""What a connection begins with that the proxy makes for itself, such as a health check (version 2)."""

LOCAL_HEADER_V1: Final = b"PROXY UNKNOWN\r\n"
"""The same in version 1."""


def _read_v1(began: bytes) -> tuple[Header, int] | None:
    end = began.find(b"\n", 0, LONGEST_V1)
    if end < 0:
        if len(began) >= LONGEST_V1:
            raise ProxyProtocolError(f"the PROXY line has no end within {LONGEST_V1} bytes")
        return None
    if not began.endswith(b"\r", 0, end):
        raise ProxyProtocolError("the PROXY line ends with LF alone, it must end with CR LF")
    match began[len(_V1_BEGINNING) : end - 1].decode("ascii", "replace").split(" "):
        case ["UNKNOWN", *_]:
            return Own(), end + 1
        case ["TCP4" | "TCP6" as family, client, host, client_port, host_port]:
            ends = Ends(_end(family, client, client_port), _end(family, host, host_port))
            return Announced(ends), end + 1
    raise ProxyProtocolError("the PROXY line must be TCP4 or TCP6 with two addresses and two ports, or UNKNOWN")


def _end(family: str, host: str, port: str) -> IPv4Address | IPv6Address:
    if not _PORT.fullmatch(port) or int(port) > _HIGHEST_PORT:
        raise ProxyProtocolError(f"the PROXY line has a port that is not a number up to {_HIGHEST_PORT}")
    try:
        if family == "TCP4":
            return _twisted(ipaddress.IPv4Address(host), int(port))
        return _twisted(_without_scope(ipaddress.IPv6Address(host)), int(port))
    except ValueError:
        kind = "an IPv4" if family == "TCP4" else "an IPv6"
        raise ProxyProtocolError(f"the PROXY line says {family}, but one of its addresses is not {kind} one") from None


def _without_scope(address: ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    if address.scope_id is not None:
        raise ValueError(address)
    return address


def _read_v2(began: bytes) -> tuple[Header, int] | None:
    if len(began) < _V2_HEAD.size:
        return None
    _signature, command, family, length = _V2_HEAD.unpack_from(began)
    if command not in {_V2_LOCAL, _V2_PROXY}:
        raise ProxyProtocolError(f"the PROXY header has version and command {command:#04x}, known are 0x20 and 0x21")
    whole = _V2_HEAD.size + length
    if whole > LONGEST_V2:
        raise ProxyProtocolError(f"the PROXY header has {whole} bytes, more than the {LONGEST_V2} that are taken")
    if len(began) < whole:
        return None
    if command == _V2_LOCAL or family in _UNNAMED:
        return Own(), whole
    if family in _UDP:
        raise ProxyProtocolError("the PROXY header is one of a UDP client, only TCP is relayed here")
    if family not in _ADDRESSES:
        raise ProxyProtocolError(f"the PROXY header has the address family {family:#04x}, which does not exist")
    addresses = _ADDRESSES[family]
    if length < addresses.size:
        raise ProxyProtocolError(
            f"the PROXY header ends within its addresses, after {length} of {addresses.size} bytes"
        )
    _check_tlvs(began[:whole], _V2_HEAD.size + addresses.size)
    client, host, client_port, host_port = addresses.unpack_from(began, _V2_HEAD.size)
    ends = Ends(
        _twisted(ipaddress.ip_address(client), client_port),
        _twisted(ipaddress.ip_address(host), host_port),
    )
    return Announced(ends), whole


def _check_tlvs(header: bytes, at: int) -> None:
    """Go through the type-length-value triples from `at` on: they fill the header, and its checksum is right."""
    while at < len(header):
        value = at + _TLV.size
        if value > len(header):
            raise ProxyProtocolError("the PROXY header ends within a TLV")
        kind, length = _TLV.unpack_from(header, at)
        at = value + length
        if at > len(header):
            raise ProxyProtocolError(f"the PROXY header ends within a TLV of type {kind:#04x}")
        if kind == _CRC32C_TYPE:
            _check_sum(header, value, length)


def _check_sum(header: bytes, value: int, length: int) -> None:
    if length != _CRC32C.size:
        raise ProxyProtocolError(f"the PROXY header has a checksum of {length} bytes, CRC32C has {_CRC32C.size}")
    (stated,) = _CRC32C.unpack_from(header, value)
    if crc32c(header[:value] + bytes(length) + header[value + length :]) != stated:
        raise ProxyProtocolError("the PROXY header does not agree with its checksum")


def _twisted(address: _IPAddress, port: int) -> IPv4Address | IPv6Address:
    """A proxy that has one end in IPv4 and one in IPv6 writes both as IPv6; they are read as what they are."""
    address = _unmapped(address)
    kind = IPv4Address if isinstance(address, ipaddress.IPv4Address) else IPv6Address
    return kind("TCP", str(address), port)


def _packable(ends: Ends) -> tuple[_IPAddress, _IPAddress]:
    """Both addresses in one family, without the scope of one that is link-local."""
    client, host = (_unmapped(ipaddress.ip_address(end.host.partition("%")[0])) for end in (ends.client, ends.host))
    if client.version == host.version:
        return client, host
    return _mapped(client), _mapped(host)


def _unmapped(address: _IPAddress) -> _IPAddress:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _mapped(address: _IPAddress) -> ipaddress.IPv6Address:
    if isinstance(address, ipaddress.IPv6Address):
        return address
    return ipaddress.IPv6Address(f"::ffff:{address}")


def _text(address: _IPAddress) -> str:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return f"::ffff:{address.ipv4_mapped}"
    return str(address)
