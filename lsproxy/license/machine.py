"""
Which hostids this machine has: its name, its fully qualified name, its network cards and addresses, its machine id.

The fully qualified name is what `hostname -f` would say: the canonical name the
resolver gives for the host name, usually out of /etc/hosts. The question is put
from a thread and waited for one second, so that a dead name server costs a
second and the FQDN hostid, not the start. A host that finds no such name but is
itself named with dots has that name.
"""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from lsproxy.license.hostid import Hostid, HostidError, parse_hostid

FQDN_SECONDS: Final = 1.0

_MACHINE_ID_FILES: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_NO_CARD: Final = "000000000000"
_LOOPBACK_NAMES: Final = ("localhost", "ip6-localhost")


def machine_hostids() -> tuple[Hostid, ...]:
    """
    The hostids of this machine, each once: hostname, fqdn, ether, machine_id, internet.

    Blocks for up to FQDN_SECONDS; what cannot be found out is left out.
    """
    name = socket.gethostname().lower()
    found = [*_named("hostname", name), *_named("fqdn", fully_qualified_name(name))]
    found += [*_cards(), *_machine_id(), *_addresses()]
    return tuple(dict.fromkeys(found))


def fully_qualified_name(name: str, seconds: float = FQDN_SECONDS) -> str:
    """The canonical name of the host called `name` in lower case, or "" where nobody knows one in time."""
    answers: list[str] = []

    def ask() -> None:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
        except (OSError, UnicodeError):
            return
        answers.extend(canonical for *_, canonical, _ in found if canonical)

    asking = threading.Thread(target=ask, name="fqdn", daemon=True)
    asking.start()
    asking.join(seconds)
    for answer in answers:
        canonical = answer.rstrip(".").lower()
        if canonical.split(".")[0] not in _LOOPBACK_NAMES:
            return canonical
    return name.lower() if "." in name else ""


def _cards() -> Iterator[Hostid]:
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family == psutil.AF_LINK:
                yield from (card for card in _named("ether", address.address) if card.value != _NO_CARD)


def _addresses() -> Iterator[Hostid]:
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family in {socket.AF_INET, socket.AF_INET6}:
                yield from (found for found in _named("internet", address.address) if _is_of_one_host(found.value))


def _machine_id() -> list[Hostid]:
    for path in _MACHINE_ID_FILES:
        try:
            text = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if found := _named("machine_id", text):
            return found
    return []


def _is_of_one_host(address: str) -> bool:
    """Loopback and link-local addresses are the same on every host, so they name none."""
    return not address.startswith(("127.", "169.254.", "fe80:")) and address != "::1"


def _named(kind: str, value: str) -> list[Hostid]:
    try:
        return [parse_hostid(f"{kind}={value}")]
    except HostidError:  # an empty name, a card of another length, a machine id that says "uninitialized"
        return []
