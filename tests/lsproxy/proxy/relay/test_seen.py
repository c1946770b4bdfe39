"""Tests of looking at a backend's host; asks nobody but /etc/hosts and the kernel."""

import socket
import threading

import psutil
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from lsproxy.core.outside import Seen
from lsproxy.proxy.relay.seen import System, look


class Island:
    """Surroundings with one host, fn-a, a neighbour, and this machine, me."""

    def addresses(self, host):
        if host in {"fn-a", "192.0.2.10"}:
            return ["192.0.2.10"], "fn-a.example.com" if host == "fn-a" else ""
        if host == "me":
            return ["192.0.2.1"], ""
        raise socket.gaierror(host)

    def names(self, address):
        return ["License-A.example.com"] if address == "192.0.2.10" else []

    def own(self):
        return (
            ["127.0.0.1", "192.0.2.1", "fe80::1%eth0"],
            ["me", "me.example.com"],
            ["00:00:00:00:00:00", "02-AA-00-00-00-01"],
        )

    def cards(self, address):
        return ["02:a1:b2:c3:d4:e5"] if address == "192.0.2.10" else []


class Cut(Island):
    """Surroundings whose name servers do not answer, and that have no neighbour table."""

    def names(self, address):  # noqa: ARG002 - nobody answers, whatever is asked
        raise socket.herror(2, "Host name lookup failure")

    def cards(self, address):
        raise FileNotFoundError(address)


class Sandboxed(Island):
    """Surroundings where this machine's own interfaces are out of reach."""

    def own(self):
        raise OSError(97, "Address family not supported by protocol")


class Silent(Island):
    """A resolver that knows the way there, and never comes back from the way back."""

    def __init__(self):
        self.released = threading.Event()

    def names(self, address):
        self.released.wait(10)
        return super().names(address)


@pytest_twisted.inlineCallbacks
def test_a_neighbour():
    """Names come forward and back as they are spelt, the card out of the neighbour table."""
    found = yield look(reactor, "fn-a", frozenset({"*.example.com"}), surroundings=Island())
    assert found == Seen(
        frozenset({"192.0.2.10"}),
        frozenset({"fn-a", "fn-a.example.com", "License-A.example.com"}),
        frozenset({"02a1b2c3d4e5"}),
        frozenset({"*.example.com"}),
    )


@pytest_twisted.inlineCallbacks
def test_an_address_is_no_name():
    """An address in the configuration has the names that DNS gives it, and no other."""
    found = yield look(reactor, "192.0.2.10", surroundings=Island())
    assert found.names == {"License-A.example.com"}


@pytest_twisted.inlineCallbacks
def test_this_machine_has_all_its_cards_and_names():
    """Its own address or loopback: what this machine has, all of it."""
    found = yield look(reactor, "me", surroundings=Island())
    assert found.names == {"me", "me.example.com"}
    assert found.cards == {"02aa00000001"}
    assert found.addresses == {"127.0.0.1", "192.0.2.1", "fe80::1"}


@pytest_twisted.inlineCallbacks
def test_a_name_that_nobody_knows():
    """Nothing could be looked at, and nothing fails."""
    assert (yield look(reactor, "nowhere", surroundings=Island())) == Seen()


@pytest_twisted.inlineCallbacks
def test_what_cannot_be_looked_at_is_not_told():
    """No answer to the way back: the names are not known, and none is guessed."""
    assert (yield look(reactor, "fn-a", surroundings=Cut())) == Seen(frozenset({"192.0.2.10"}))


@pytest_twisted.inlineCallbacks
def test_a_machine_that_cannot_see_itself_sees_others():
    """Names and addresses need no interfaces."""
    found = yield look(reactor, "fn-a", surroundings=Sandboxed())
    assert found.addresses == {"192.0.2.10"}
    assert "fn-a" in found.names


@pytest_twisted.inlineCallbacks
def test_a_look_that_is_given_up():
    """Cancelled, it leaves no timer behind, and its thread tells nobody."""
    silent = Silent()
    looking = look(reactor, "fn-a", surroundings=silent)
    looking.addErrback(lambda failure: failure.trap(CancelledError))
    looking.cancel()
    silent.released.set()
    yield looking
    yield deferLater(reactor, 0.05)


@pytest_twisted.inlineCallbacks
def test_a_look_ends_in_time():
    """What was found out by then is told; names that are not complete are not."""
    silent = Silent()
    begun = reactor.seconds()
    found = yield look(reactor, "fn-a", surroundings=silent, seconds=0.1)
    assert reactor.seconds() - begun < 1
    silent.released.set()
    assert found == Seen(frozenset({"192.0.2.10"}), None, frozenset({"02a1b2c3d4e5"}))


@pytest_twisted.inlineCallbacks
def test_loopback_is_this_machine():
    """By the system's own means: its host name and its cards."""
    found = yield look(reactor, "127.0.0.1")
    assert socket.gethostname() in found.names
    own = {
        address.address.replace(":", "").lower()
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family == psutil.AF_LINK
    }
    assert (found.cards or set()) == {card for card in own if len(card) == 12} - {"0" * 12}


def test_the_neighbour_table_is_read(tmp_path):
    """Entries that have no answer yet, or belong to other addresses, are passed over."""
    table = tmp_path / "arp"
    table.write_text(
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        "192.0.2.10       0x1         0x2         02:a1:b2:c3:d4:e5     *        eth0\n"
        "192.0.2.11       0x1         0x0         00:00:00:00:00:00     *        eth0\n"
        "192.0.2.100      0x1         0x6         02:a1:b2:c3:d4:e6     *        eth0\n"
    )
    assert System(table).cards("192.0.2.10") == ["02:a1:b2:c3:d4:e5"]
    assert System(table).cards("192.0.2.11") == []
    assert System(table).cards("192.0.2.100") == ["02:a1:b2:c3:d4:e6"]
