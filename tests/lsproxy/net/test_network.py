"""Networks: how they are written, and what they cover."""

import pytest

from lsproxy.net.network import NetworkError, parse_network


@pytest.mark.parametrize(
    ("network", "within", "outside"),
    [
        ("192.0.2.0/24", ["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.7"], ["192.0.3.0", "2001:db8::1", "::c000:207"]),
        ("192.0.2.7", ["192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
        ("2001:db8::/32", ["2001:db8::1", "2001:db8:ffff::"], ["2001:db9::", "32.1.13.184"]),
        ("fe80::/10", ["fe80::1%eth0"], ["fec0::"]),
        ("0.0.0.0/0", ["127.0.0.1", "::ffff:127.0.0.1"], ["::1"]),
    ],
)
def test_covers(network, within, outside):
    """An IPv4 address is the same one when it is written as IPv6; a scope is no part of an address."""
    parsed = parse_network(network)
    assert [host for host in within + outside if parsed.covers(host)] == within


def test_equal():
    """Two that cover the same are one; both show as they are written in short."""
    assert {parse_network("192.0.2.7"), parse_network("192.0.2.7/32")} == {parse_network("192.0.2.7/32")}
    assert str(parse_network("2001:0db8::/32")) == "2001:db8::/32"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("192.0.2.7/24", "192.0.2.7/24 is an address within a network, the network itself is 192.0.2.0/24"),
        ("2001:db8::1/32", "2001:db8::1/32 is an address within a network, the network itself is 2001:db8::/32"),
        ("lic-a/24", '"lic-a/24" is no network, write one like 192.0.2.0/24 or 2001:db8::/32'),
        ("192.0.2.0/33", '"192.0.2.0/33" is no network, write one like 192.0.2.0/24 or 2001:db8::/32'),
        ("", '"" is no network, write one like 192.0.2.0/24 or 2001:db8::/32'),
    ],
)
def test_refused(text, told):
    """What is no network is told so, with the network that was probably meant."""
    with pytest.raises(NetworkError) as caught:
        parse_network(text)
    assert str(caught.value) == told
