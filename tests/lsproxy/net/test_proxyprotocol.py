"""PROXY protocol headers: what is read of them, what is refused, what is written."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address

from lsproxy.net.crc32c import crc32c
from lsproxy.net.ends import Ends
from lsproxy.net.proxyprotocol import (
    LOCAL_HEADER,
    LONGEST_V1,
    LONGEST_V2,
    Announced,
    HeaderReader,
    Own,
    ProxyProtocolError,
    header_v1,
    header_v2,
)

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
FOUR = Ends(IPv4Address("TCP", "192.0.2.7", 51234), IPv4Address("TCP", "198.51.100.1", 27000))
SIX = Ends(IPv6Address("TCP", "2001:db8::7", 51234), IPv6Address("TCP", "2001:db8::1", 27000))
FOUR_BLOCK = bytes.fromhex("c0000207 c6336401 c822 6978")

ports = st.integers(0, 65_535)
ends = st.one_of(
    st.builds(Ends, *[st.builds(IPv4Address, st.just("TCP"), st.ip_addresses(v=4).map(str), ports)] * 2),
    st.builds(
        Ends,
        *[
            st.builds(
                IPv6Address,
                st.just("TCP"),
                st.ip_addresses(v=6).filter(lambda ip: ip.ipv4_mapped is None).map(str),
                ports,
            )
        ]
        * 2,
    ),
)
tlvs = st.lists(st.tuples(st.integers(0, 255).filter(lambda kind: kind != 3), st.binary(max_size=80)), max_size=5).map(
    lambda pairs: b"".join(tlv(*pair) for pair in pairs)
)


def v2(block=FOUR_BLOCK, command=0x21, family=0x11, length=None):
    return SIGNATURE + struct.pack("!BBH", command, family, len(block) if length is None else length) + block


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def summed(before=b"", after=b""):
    """A header with a right checksum among its TLVs."""
    head, tail = v2(FOUR_BLOCK + before + tlv(3, bytes(4)) + after), bytes(4) + after
    return head[: -len(tail)] + struct.pack("!I", crc32c(head)) + after


def read(octets):
    reader = HeaderReader()
    return reader.feed(octets), reader.rest


def refusal(octets):
    with pytest.raises(ProxyProtocolError) as caught:
        read(octets)
    return str(caught.value)


@pytest.mark.parametrize(
    ("octets", "header"),
    [
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 51234 27000\r\n", Announced(FOUR)),
        (b"PROXY TCP6 2001:db8::7 2001:DB8:0::1 51234 27000\r\n", Announced(SIX)),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 51234 27000\r\n", Announced(FOUR)),
        (b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 51234 27000\r\n", Announced(Ends(FOUR.client, SIX.host))),
        (b"PROXY UNKNOWN\r\n", Own()),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 \xe9\r\n", Own()),
        (v2(), Announced(FOUR)),
        (
            v2(bytes.fromhex("20010db8" + "00" * 11 + "07 20010db8" + "00" * 11 + "01 c822 6978"), family=0x21),
            Announced(SIX),
        ),
        (v2(FOUR_BLOCK + tlv(4, bytes(9)) + tlv(0xEE, b"")), Announced(FOUR)),
        (summed(), Announced(FOUR)),
        (summed(tlv(1, b"h2"), tlv(2, b"lic.example.com")), Announced(FOUR)),
        (v2(b"", command=0x20, family=0), Own()),
        (v2(b"anything", command=0x20, family=0x11), Own()),
        (v2(b"", family=0), Own()),
        (v2(bytes(216), family=0x31), Own()),
        (LOCAL_HEADER, Own()),
    ],
)
def test_read(octets, header):
    """Both versions say for whom a connection is made, or that it is the proxy's own; what follows is left alone."""
    assert read(octets + b"hello\n") == (header, b"hello\n")


@pytest.mark.parametrize(
    ("octets", "told"),
    [
        (b"GET", "the connection does not begin with a PROXY protocol header"),
        (b"\x16\x03\x01", "the connection does not begin with a PROXY protocol header"),
        (b"PROXX", "the connection does not begin with a PROXY protocol header"),
        (SIGNATURE[:11] + b"\r", "the connection does not begin with a PROXY protocol header"),
        (b"PROXY UNKNOWN\n", "the PROXY line ends with LF alone, it must end with CR LF"),
        (b"PROXY " + b"x" * 101, "the PROXY line has no end within 107 bytes"),
        (b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", "the PROXY line has no end within 107 bytes"),
        (v2(command=0x31), "the PROXY header has version and command 0x31, known are 0x20 and 0x21"),
        (v2(command=0x22), "the PROXY header has version and command 0x22, known are 0x20 and 0x21"),
        (v2(length=4081), "the PROXY header has 4097 bytes, more than the 4096 that are taken"),
        (v2(family=0x12), "the PROXY header is one of a UDP client, only TCP is relayed here"),
        (v2(family=0x41), "the PROXY header has the address family 0x41, which does not exist"),
        (v2(b"12345678901"), "the PROXY header ends within its addresses, after 11 of 12 bytes"),
        (v2(family=0x21), "the PROXY header ends within its addresses, after 12 of 36 bytes"),
        (v2(FOUR_BLOCK + b"\x04\x00"), "the PROXY header ends within a TLV"),
        (v2(FOUR_BLOCK + b"\x04\x00\x02x"), "the PROXY header ends within a TLV of type 0x04"),
        (v2(FOUR_BLOCK + tlv(3, b"abc")), "the PROXY header has a checksum of 3 bytes, CRC32C has 4"),
        (v2(FOUR_BLOCK + tlv(3, b"abcd")), "the PROXY header does not agree with its checksum"),
    ],
)
def test_refused(octets, told):
    """A header that breaks the format is refused, and the sentence says which part of it; none of it is repeated."""
    assert refusal(octets) == told


@pytest.mark.parametrize(
    "line",
    [
        "TCP4 192.0.2.7 198.51.100.1 51234",
        "TCP4 192.0.2.7 198.51.100.1 51234 27000 1",
        "TCP4  192.0.2.7 198.51.100.1 51234 27000",
        "TCP4 192.0.2.07 198.51.100.1 51234 27000",
        "TCP4 ::1 ::2 51234 27000",
        "TCP4 lic-a lic-b 51234 27000",
        "TCP6 192.0.2.7 198.51.100.1 51234 27000",
        "TCP6 fe80::1%eth0 ::2 51234 27000",
        "TCP4 192.0.2.7 198.51.100.1 051234 27000",
        "TCP4 192.0.2.7 198.51.100.1 65536 27000",
        "TCP4 192.0.2.7 198.51.100.1 -1 27000",
        "TCP4 192.0.2.7 198.51.100.1 \N{SUPERSCRIPT TWO} 27000",
        "UDP4 192.0.2.7 198.51.100.1 51234 27000",
        "UNKNOWNS",
        "tcp4 192.0.2.7 198.51.100.1 51234 27000",
        "",
    ],
)
def test_refused_lines(line):
    """A line of text says exactly two addresses of its family and two ports, or UNKNOWN."""
    assert refusal(f"PROXY {line}\r\n".encode()).startswith("the PROXY line ")


def test_longest():
    """The longest line of the format and a binary header of exactly the limit are read."""
    full = ":".join(["ffff"] * 8)
    line = f"PROXY TCP6 {full} {full} 65535 65535\r\n"
    header, _rest = read(line.encode())
    assert isinstance(header, Announced)
    assert header.ends.client.host == full
    padded = f"PROXY UNKNOWN {full} {full} 65535 65535\r\n".encode()
    assert len(padded) == LONGEST_V1
    assert read(padded) == (Own(), b"")
    block = FOUR_BLOCK + tlv(4, bytes(LONGEST_V2 - 16 - 12 - 3))
    assert read(v2(block)) == (Announced(FOUR), b"")


@given(ends=ends, extra=tlvs, has_sum=st.booleans(), rest=st.binary(max_size=40), data=st.data())
def test_any_split(ends, extra, has_sum, rest, data):
    """Cut anywhere and into any number of pieces, a header is read as when it comes whole, and not before its end."""
    written = data.draw(st.sampled_from([header_v1(ends), header_v2(ends)]))
    if written.startswith(SIGNATURE):
        body = written[16:] + extra + (tlv(3, bytes(4)) if has_sum else b"")
        written = SIGNATURE + written[12:14] + struct.pack("!H", len(body)) + body
        if has_sum:
            written = written[:-4] + struct.pack("!I", crc32c(written))
    stream = written + rest
    cuts = sorted({0, len(stream), *data.draw(st.lists(st.integers(0, len(stream)), max_size=12))})
    reader = HeaderReader()
    fed = 0
    for start, end in itertools.pairwise(cuts):
        header = reader.feed(stream[start:end])
        fed = end
        assert (header is None) == (end < len(written))
        if header is not None:
            break
    assert header == Announced(ends)
    assert reader.rest + stream[fed:] == rest


@given(
    start=st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]),
    garbage=st.binary(max_size=5000),
)
def test_garbage(start, garbage):
    """Whatever arrives is read, refused or waited for with an end: after 4 KiB there is an answer."""
    reader = HeaderReader()
    try:
        header = reader.feed(start + garbage)
    except ProxyProtocolError:
        return
    assert header is not None or len(start + garbage) < LONGEST_V2


@given(ends=ends)
def test_written_is_read(ends):
    """What is written is what is read, by both versions."""
    assert read(header_v1(ends)) == (Announced(ends), b"")
    assert read(header_v2(ends)) == (Announced(ends), b"")
    assert len(header_v1(ends)) <= LONGEST_V1


def test_written_bytes():
    """The bytes are those of the format's own description."""
    assert header_v1(FOUR) == b"PROXY TCP4 192.0.2.7 198.51.100.1 51234 27000\r\n"
    assert header_v2(FOUR) == v2()
    assert LOCAL_HEADER == SIGNATURE + b"\x20\x00\x00\x00"


def test_two_families():
    """A client in IPv4 that dialled an IPv6 address is written with both in IPv6, and read as it was."""
    mixed = Ends(FOUR.client, SIX.host)
    assert header_v1(mixed) == b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 51234 27000\r\n"
    assert read(header_v2(mixed)) == (Announced(mixed), b"")


def test_link_local():
    """The scope of an address means nothing on another machine and is left out."""
    local = Ends(IPv6Address("TCP", "fe80::1%2", 1), IPv6Address("TCP", "fe80::2%2", 2))
    assert header_v1(local) == b"PROXY TCP6 fe80::1 fe80::2 1 2\r\n"
