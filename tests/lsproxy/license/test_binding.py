"""Which SERVER line is a host's."""

import pytest

from lsproxy.license.binding import Bound, Unbound, bind
from lsproxy.license.grammar import parse
from lsproxy.license.hostid import parse_hostid

OWN = [parse_hostid(text) for text in ("HOSTNAME=lic-a", "FQDN=lic-a.example.com", "02a1b2c3d4e5")]


def bound(text, name="lic-a"):
    return bind(parse(text, "acme.lic"), OWN, name)


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("SERVER x HOSTNAME=lic-a", 0),
        ("SERVER this_host ANY", 0),
        ('SERVER x "HOSTNAME=other ETHER=02:a1:b2:c3:d4:e5"', 0),
        ("SERVER x HOSTNAME=lic-b\nSERVER y FQDN=LIC-A.example.com", 1),
    ],
)
def test_only_match(text, index):
    """The one line that asks for a hostid of this host is its line, whatever host name it carries."""
    found = bound(text, name="another")
    assert isinstance(found, Bound)
    assert found.index == index
    assert found.server == parse(text, "acme.lic").servers[index]


@pytest.mark.parametrize(
    ("hosts", "index"),
    [
        (("lic-b", "LIC-A"), 1),
        (("lic-b.example.com", "lic-a.example.com"), 1),
        (("lic-a.example.com", "lic-a"), 1),
        (("lic-b", "this_host"), 1),
        (("this_host", "lic-a"), 1),
        (("this_host", "lic-a.example.com"), 1),
    ],
)
def test_name_tells_apart(hosts, index):
    """Of several matching lines it is the one whose host is the server's name: whole, up to the dot, or this_host."""
    found = bound("".join(f"SERVER {host} ANY\n" for host in hosts))
    assert isinstance(found, Bound)
    assert found.index == index


@pytest.mark.parametrize(
    "hosts", [("x", "y"), ("lic-a", "LIC-A"), ("lic-a.one", "lic-a.two"), ("this_host", "this_host")]
)
def test_ambiguous(hosts):
    """Several matching lines that the name does not tell apart bind nothing, and the lines are named."""
    found = bound("".join(f"SERVER {host} ANY\n" for host in hosts))
    assert isinstance(found, Unbound)
    assert "SERVER lines 1, 2 all match this host, and its name lic-a picks none" in found.reason


def test_another_host():
    """A file of another host names what each line wants and what this host has."""
    found = bound("SERVER x HOSTNAME=lic-c\nSERVER y VM_UUID=7\n")
    assert found == Unbound(
        "acme.lic: it is bound to another host: line 1 wants HOSTNAME=lic-c; line 2 wants a hostid of an unknown kind; "
        "this host has HOSTNAME=lic-a, FQDN=lic-a.example.com, ETHER=02a1b2c3d4e5"
    )


def test_no_server_line():
    """A file without SERVER line is bound to no host."""
    assert bound("VENDOR acme\n") == Unbound("acme.lic: it has no SERVER line, so it is bound to no host")
