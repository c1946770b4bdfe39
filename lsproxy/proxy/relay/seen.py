"""
What can be seen from here of the host behind a backend's address?

Its addresses and names by the system's resolver, forward and back, and the network card that answers there: out of the
kernel's neighbour table, where the host is on the same segment, or all cards of this machine, where the address is its
own. Nothing is sent but what the resolver sends.

The resolver blocks, for minutes if it likes. So the look is taken by a thread of its own, and what it has not found out
within the time given counts as not looked at. The thread dies with the process.

The neighbour table is IPv4's; a host that is reached by IPv6 only has cards that cannot be looked at.
"""

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol, TypeVar

import psutil
from twisted.internet.defer import Deferred

from lsproxy.core.outside import Seen, is_address
from lsproxy.license.hostid import HostidError, parse_hostid
from lsproxy.net.reactor import BoottimeReactor

LOOK_SECONDS: Final = 2.0
NEIGHBOURS: Final = Path("/proc/net/arp")

_NAMELESS: Final = (1, 4)  # HOST_NOT_FOUND and NO_DATA of <netdb.h>
_COMPLETE: Final = 0x2  # ATF_COM of <net/if_arp.h>: the entry has an answer
_FLAGS_COLUMN: Final = 2
_CARD_COLUMN: Final = 3
_NO_CARD: Final = "000000000000"


Found = TypeVar("Found")


class Surroundings(Protocol):
    """Whom to ask. Methods may block, and raise OSError or UnicodeError where nobody knows an answer in earnest."""

    def addresses(self, host: str) -> tuple[list[str], str]:
        """The addresses of `host`, a name or an address, and its canonical name, empty where there is none."""

    def names(self, address: str) -> list[str]:
        """The names that `address` has; none where there are none."""

    def own(self) -> tuple[list[str], list[str], list[str]]:
        """This machine's addresses, names and network cards."""

    def cards(self, address: str) -> list[str]:
        """The network cards that answer for `address` on this machine's segments."""


class System:
    """This machine's resolver, neighbour table and network cards."""

    def __init__(self, neighbours: Path = NEIGHBOURS) -> None:
        self._neighbours = neighbours

    def addresses(self, host: str) -> tuple[list[str], str]:
        """By getaddrinfo, so that /etc/hosts counts. Raises OSError."""
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
        canonical = next((name for *_, name, _ in found if name and not is_address(name)), "")
        return [str(address[0]) for *_, address in found], canonical

    def names(self, address: str) -> list[str]:
        """By gethostbyaddr. An address that has no name is an answer; raises OSError where none came."""
        try:
            name, aliases, _ = socket.gethostbyaddr(address)
        except socket.herror as problem:
            if problem.errno in _NAMELESS:
                return []
            raise
        return [name, *aliases]

    def own(self) -> tuple[list[str], list[str], list[str]]:
        """By the kernel's list of interfaces and the host name."""
        addresses, cards = [], []
        for interface in psutil.net_if_addrs().values():
            for found in interface:
                if found.family == psutil.AF_LINK:
                    cards.append(found.address)
                elif found.family in {socket.AF_INET, socket.AF_INET6}:
                    addresses.append(found.address)
        name = socket.gethostname()
        with contextlib.suppress(OSError, UnicodeError):
            return addresses, [name, self.addresses(name)[1] or name], cards
        return addresses, [name], cards

    def cards(self, address: str) -> list[str]:
        """Out of the neighbour table; raises OSError where there is none."""
        rows = (row.split() for row in self._neighbours.read_text(encoding="ascii").splitlines()[1:])
        return [row[_CARD_COLUMN] for row in rows if row[0] == address and int(row[_FLAGS_COLUMN], 16) & _COMPLETE]


def look(
    reactor: BoottimeReactor,
    host: str,
    certificate_names: frozenset[str] | None = None,
    *,
    surroundings: Surroundings | None = None,
    seconds: float = LOOK_SECONDS,
) -> Deferred[Seen]:
    """
    What is seen of `host`, a name or an address, within `seconds`; never fails.

    `certificate_names` are what its TLS certificate proved, None without one. Cancelling gives up the look.
    """
    glance = _Glance(host, surroundings or System())
    done: Deferred[Seen] = Deferred()

    def end() -> None:
        if not done.called:
            done.callback(glance.seen(certificate_names))

    limit = reactor.callLater(seconds, end)

    def over(result: Found) -> Found:
        if limit.active():
            limit.cancel()
        return result

    done.addBoth(over)

    def run() -> None:
        glance.take()
        # the reactor may have ended meanwhile
        with contextlib.suppress(RuntimeError):
            reactor.callFromThread(end)

    threading.Thread(target=run, name=f"look at {host}", daemon=True).start()
    return done


def look_at_once(host: str, certificate_names: frozenset[str] | None = None) -> Seen:
    """The same, for a command that may take its time."""
    glance = _Glance(host, System())
    glance.take()
    return glance.seen(certificate_names)


class _Glance:
    """One look; its fields are set one by one as a thread finds them out, and read by another at any time."""

    def __init__(self, host: str, surroundings: Surroundings) -> None:
        self._host = host
        self._surroundings = surroundings
        self._addresses: frozenset[str] | None = None
        self._names: frozenset[str] | None = None
        self._cards: frozenset[str] | None = None

    def seen(self, certificate_names: frozenset[str] | None) -> Seen:
        return Seen(self._addresses, self._names, self._cards, certificate_names)

    def take(self) -> None:
        with contextlib.suppress(OSError, UnicodeError):
            self._take()

    def _take(self) -> None:
        found, canonical = self._surroundings.addresses(self._host)
        addresses = _normalised(found)
        names = {name for name in (self._host, canonical) if name and not is_address(name)}
        own_addresses, own_names, own_cards = self._own()
        if any(ipaddress.ip_address(address).is_loopback for address in addresses) or addresses & _normalised(
            own_addresses
        ):
            self._addresses = addresses | _normalised(own_addresses)
            self._cards = _cards(own_cards)
            names |= set(own_names)
        else:
            self._addresses = addresses
            self._cards = _cards(card for address in addresses for card in self._neighbours(address))
        for address in sorted(addresses):
            names |= {name for name in self._surroundings.names(address) if not is_address(name)}
        self._names = frozenset(names)

    def _own(self) -> tuple[list[str], list[str], list[str]]:
        with contextlib.suppress(OSError):  # such as netlink, out of reach in a sandbox
            return self._surroundings.own()
        return [], [], []

    def _neighbours(self, address: str) -> list[str]:
        with contextlib.suppress(OSError):
            return self._surroundings.cards(address)
        return []


def _normalised(addresses: Iterable[str]) -> frozenset[str]:
    """As numbers in their usual form, without the interface that link-local ones are written with."""
    return frozenset(str(ipaddress.ip_address(address.partition("%")[0])) for address in addresses)


def _cards(written: Iterable[str]) -> frozenset[str] | None:
    """As 12 hex digits each; None where there is none."""
    cards = set()
    for text in written:
        with contextlib.suppress(HostidError):  # cards of another length, such as InfiniBand's
            cards.add(parse_hostid(f"ETHER={text}").value)
    return frozenset(cards - {_NO_CARD}) or None
