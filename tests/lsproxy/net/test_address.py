"""How addresses are written, and what is said about those that are not."""

import contextlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.net.address import Address, AddressError, format_server_list, parse_address, parse_server_list

HOSTS = st.one_of(
    st.from_regex(r"[a-z0-9_]([a-z0-9._-]{0,20}[a-z0-9_])?", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
ADDRESSES = st.builds(Address, HOSTS, st.integers(1, 65_535))


@given(ADDRESSES)
def test_address_is_read_as_written(address):
    """What is written is read again."""
    assert parse_address(str(address)) == address


@given(st.lists(ADDRESSES, min_size=1, max_size=4).map(tuple))
def test_server_list_is_read_as_written(servers):
    """A server list is read again in its order."""
    assert parse_server_list(format_server_list(servers)) == servers


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_sentence(text):
    """No text makes anything but an address or an AddressError."""
    for parse in (parse_address, parse_server_list):
        with contextlib.suppress(AddressError):
            assert parse(text)


def test_forms():
    """IPv6 stands in brackets; a server list takes them too, and blanks around its entries."""
    assert parse_address("[::1]:27000") == Address("::1", 27000)
    assert parse_address("lic-a.example.com:0") == Address("lic-a.example.com", 0)
    assert parse_server_list("27000@a; 27001@[::1];27002@::2") == (
        Address("a", 27000),
        Address("::1", 27001),
        Address("::2", 27002),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "write host:port"),
        ("27000", "write host:port"),
        (":27000", "write host:port"),
        ("host:", '"" is not a port'),
        ("host:65536", '"65536" is not a port'),
        ("host:-1", '"-1" is not a port'),
        ("host:٣", '"٣" is not a port'),
        ("::1:27000", "stands in brackets"),
        ("[::g]:27000", "is not an IPv6 address"),
        ("[host]:27000", "brackets are for IPv6"),
        ("ho st:27000", "is not a host name"),
        ("-host:27000", "is not a host name"),
        ("a" * 254 + ":1", "is not a host name"),
    ],
)
def test_what_is_wrong_with_an_address(text, says):
    """Each wrong address is quoted and told apart."""
    with pytest.raises(AddressError) as error:
        parse_address(text)
    assert says in str(error.value)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty, not port@host"),
        ("27000@a;", 'an entry of "27000@a;" is empty'),
        ("host:27000", "is not port@host"),
        ("x@host", '"x" is not a port'),
        ("0@host", "no server has port 0"),
        ("27000@", "is not a host name"),
        ("27000@a@b", "is not a host name"),
    ],
)
def test_what_is_wrong_with_a_server_list(text, says):
    """Each wrong entry is named."""
    with pytest.raises(AddressError) as error:
        parse_server_list(text)
    assert says in str(error.value)


def test_needs_no_twisted():
    """The client library can import addresses where Twisted is not installed."""
    code = "import sys; sys.modules['twisted'] = sys.modules['uvloop'] = None; import lsproxy.net.address"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
