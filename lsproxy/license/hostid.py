"""
What a hostid is, how it is spelt, and when a host has the one a license asks for.

A hostid has a kind and a value, both normalised: the kind in lower case, names
in lower case, a network card as 12 hex digits, an address as the address family
writes it. `ID`, `USER` and `DISPLAY` are opaque and keep their case.
"""

import ipaddress
import re
from collections.abc import Collection
from typing import Final

import msgspec

from lsproxy.errors import LsproxyError
from lsproxy.license.shown import shown

ANY_KIND: Final = "any"

_NAMES: Final = frozenset({"hostname", "fqdn"})
_OPAQUE: Final = frozenset({"id", "user", "display"})
_GRAPHIC: Final = re.compile(r"[!#-~]{1,255}")  # ASCII that can be seen, but the double quote
_ETHER: Final = re.compile(r"[0-9a-f]{12}|[0-9a-f]{2}([:-])[0-9a-f]{2}(?:\1[0-9a-f]{2}){4}")
_MACHINE_ID: Final = re.compile(r"[0-9a-f]{32}")
_OCTET: Final = re.compile(r"\*|0|[1-9][0-9]{0,2}")
_OCTETS: Final = 4
_LARGEST_OCTET: Final = 255


class HostidError(LsproxyError):
    """A text that is no hostid."""


class Hostid(msgspec.Struct, frozen=True, order=True):
    """
    One hostid, normalised. `kind` is any, hostname, fqdn, internet, ether, machine_id, id, user or display;
    `value` is empty for `any`. `str()` gives the protocol's and the signature's spelling, `ether=02a1b2c3d4e5`.
    """

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind}={self.value}" if self.value else self.kind

    def describe(self) -> str:
        """The spelling of a SERVER line: `ETHER=02a1b2c3d4e5`."""
        return f"{self.kind.upper()}={self.value}" if self.value else self.kind.upper()


ANY: Final = Hostid(ANY_KIND, "")


def parse_hostid(text: str) -> Hostid:
    """
    The hostid a license file, a configuration or a `status` reply spells as `text`, kinds in any case.

    Raises HostidError.
    """
    kind, equals, value = text.partition("=")
    kind = kind.lower()
    if not equals:
        if kind == ANY_KIND:
            return ANY
        if _ETHER.fullmatch(kind):
            return Hostid("ether", re.sub("[:-]", "", kind))
        raise HostidError(
            f"{shown(text)} is no hostid; 12 hex digits, ANY or KIND=VALUE with a kind of "
            "ETHER, HOSTNAME, FQDN, INTERNET, MACHINE_ID, ID, USER or DISPLAY would be one"
        )
    return Hostid(kind, _normalise(kind, value, text))


def matches(wanted: Hostid, own: Collection[Hostid]) -> bool:
    """Whether a host whose hostids are `own` has the one that is `wanted`."""
    if wanted.kind == ANY_KIND:
        return True
    if wanted.kind == "internet" and "*" in wanted.value:
        return any(hostid.kind == "internet" and _address_fits(wanted.value, hostid.value) for hostid in own)
    return wanted in own


def _normalise(kind: str, value: str, text: str) -> str:
    lower = value.lower()
    if kind == "ether":
        return (
            re.sub("[:-]", "", lower) if _ETHER.fullmatch(lower) else _refuse(text, "a network card has 12 hex digits")
        )
    if kind == "machine_id":
        return lower if _MACHINE_ID.fullmatch(lower) else _refuse(text, "a machine id has 32 hex digits")
    if kind == "internet":
        return _normalise_address(lower, text)
    if kind not in _NAMES and kind not in _OPAQUE:
        return _refuse(text, "its kind is none of ETHER, HOSTNAME, FQDN, INTERNET, MACHINE_ID, ID, USER, DISPLAY")
    if not _GRAPHIC.fullmatch(value):
        return _refuse(text, "its value is 1 to 255 ASCII characters without blanks and quotes")
    return lower if kind in _NAMES else value


def _normalise_address(value: str, text: str) -> str:
    octets = value.split(".")
    if "*" in value:
        fits = len(octets) == _OCTETS and all(_OCTET.fullmatch(octet) for octet in octets)
        if fits and all(octet == "*" or int(octet) <= _LARGEST_OCTET for octet in octets):
            return value
        return _refuse(text, "an address with * has four parts, each a number up to 255 or *")
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        return _refuse(text, "an address is written 192.0.2.10, 192.0.2.* or 2001:db8::10")


def _address_fits(pattern: str, address: str) -> bool:
    wanted, given = pattern.split("."), address.split(".")
    return len(wanted) == len(given) and all(w in {"*", g} for w, g in zip(wanted, given, strict=True))


def _refuse(text: str, reason: str) -> str:
    raise HostidError(f"{shown(text)} is no hostid: {reason}")
