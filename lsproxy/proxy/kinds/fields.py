"""What do single words of a third party's license file mean: a port, a date, a hostid?"""

import ipaddress
import re
from collections.abc import Mapping
from datetime import date
from typing import Final

from lsproxy.license.dates import Permanent, parse_expiry
from lsproxy.license.hostid import ANY, Hostid, HostidError, parse_hostid
from lsproxy.license.thirdparty import OPAQUE_KIND
from lsproxy.net.address import HIGHEST_PORT

_PORT: Final = re.compile(r"(?:tcp:)?([0-9]{1,5})", re.IGNORECASE)
_CARD: Final = re.compile(r"[0-9a-fA-F]{12}|[0-9a-fA-F]{2}([:-])[0-9a-fA-F]{2}(?:\1[0-9a-fA-F]{2}){4}")
_SHORT_YEAR: Final = re.compile(r"([0-9]{1,2}-[A-Za-z]{3}-)([0-9]{2})")
_SHORT_YEARS_TURN: Final = 70  # 70 to 99 are of the last century, as in POSIX's strptime (there from 69)


def port(text: str) -> int | None:
    """The port that `text` is: `27000`, or `TCP:27000` of old files; None where it is none."""
    match = _PORT.fullmatch(text)
    return int(match[1]) if match and 0 < int(match[1]) <= HIGHEST_PORT else None


def expiry(text: str) -> date | Permanent | None:
    """The last day that `text`, such as `31-dec-2027`, `permanent` or `1-jan-0`, stands for; None where it is none."""
    short = _SHORT_YEAR.fullmatch(text)
    if short and int(short[2]):
        century = 1900 if int(short[2]) >= _SHORT_YEARS_TURN else 2000
        return parse_expiry(f"{short[1]}{century + int(short[2])}")
    return parse_expiry(text)


def hostid(text: str, kinds: Mapping[str, str]) -> Hostid:
    """
    The hostid that one word spells; of the words before `=`, `kinds` says in lower case which is which of ours.

    What it does not list is opaque. Names keep their case.
    """
    if text.lower() in {"any", "demo"}:
        return ANY
    if _CARD.fullmatch(text):
        return parse_hostid(text)
    make, equals, value = text.partition("=")
    kind = kinds.get(make.lower(), OPAQUE_KIND) if equals else OPAQUE_KIND
    if kind == OPAQUE_KIND or not value:
        return Hostid(OPAQUE_KIND, text)
    if kind in {"hostname", "fqdn"}:
        return Hostid(kind, value)
    if kind == "internet" and "*" not in value:
        return _address(value, text)
    try:
        return parse_hostid(f"{kind}={value}")
    except HostidError:
        return Hostid(OPAQUE_KIND, text)


def _address(value: str, text: str) -> Hostid:
    try:
        return Hostid("internet", str(ipaddress.ip_address(value)))
    except ValueError:
        return Hostid(OPAQUE_KIND, text)
