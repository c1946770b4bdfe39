"""Which addresses take each other's port, which can others reach."""

import socket

import pytest

from lsproxy.config.relations import do_collide, is_loopback, is_wildcard
from lsproxy.net.address import Address, parse_address


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("127.0.0.1:1", "127.0.0.1:1", True),
        ("127.0.0.1:1", "127.0.0.1:2", False),
        ("127.0.0.1:1", "127.0.0.2:1", False),
        ("0.0.0.0:1", "127.0.0.1:1", True),
        ("[::]:1", "[::1]:1", True),
        ("[::1]:1", "[0:0::1]:1", True),
        ("0.0.0.0:1", "[::]:1", False),
        ("localhost:1", "127.0.0.1:1", True),
        ("LIC.example.com:1", "lic.example.com.:1", True),
        ("lic.example.com:1", "127.0.0.1:1", False),
        ("lic.example.com:1", "0.0.0.0:1", True),
        ("lic.example.com:1", "[::]:1", True),
    ],
)
def test_listeners_collide_on_one_port_of_one_host_or_wildcard(one: str, other: str, expected: bool):
    """Either way round."""
    first, second = parse_address(one), parse_address(other)
    assert (do_collide(first, second), do_collide(second, first)) == (expected, expected)


@pytest.mark.parametrize(
    ("one", "other"),
    [("0.0.0.0:0", "127.0.0.1:0"), ("127.0.0.1:0", "127.0.0.2:0"), ("127.0.0.1:0", "127.0.0.1:0")],
)
def test_the_kernel_agrees_on_collisions(one: str, other: str):
    """Two listening sockets collide exactly when `do_collide` says so."""
    hosts = parse_address(one).host, parse_address(other).host
    with socket.socket() as first, socket.socket() as second:
        first.bind((hosts[0], 0))
        first.listen()
        port = first.getsockname()[1]
        try:
            second.bind((hosts[1], port))
            collided = False
        except OSError:
            collided = True
    assert collided is do_collide(Address(hosts[0], port), Address(hosts[1], port))


def test_loopback_is_what_stays_on_this_machine():
    """Names but localhost are not trusted to stay where they point."""
    loopback = ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "LOCALHOST.:1"]
    beyond = ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "lic.example.com:1", "localhost.example.com:1"]
    assert [is_loopback(parse_address(text)) for text in loopback + beyond] == [True] * 5 + [False] * 5


def test_a_wildcard_is_nobodys_address():
    """Of either family."""
    addresses = ["0.0.0.0:1", "[::]:1", "[0::0]:1", "127.0.0.1:1"]
    assert [is_wildcard(parse_address(text)) for text in addresses] == [True, True, True, False]
