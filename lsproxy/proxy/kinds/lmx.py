"""
What does an LM-X license file say of hosts and dates?

    FEATURE name
    {
      VENDOR=… VERSION=1.4 COUNT=6 END=2027-12-31 KEY=… SHARE=HOST …
    }

as in the vendor's manual, "License file examples" and "Feature descriptions": settings of the form NAME=value or
NAME = value in any order, several to a row, values with blanks in quotes, `#` comments. Dates are YYYY-MM-DD; the
manual's examples have DD-MM-YYYY too. With COUNT a feature is for a license server, without it for one machine.

There is no line for the server's host or port. The manual says that a license can be locked to hostids of the server
(ETHERNET, HOSTNAME, IPADDRESS and more, in "HostID values"), not how the text shows them; so a setting SERVER_HOSTID
whose value is TYPE=value, several of them with blanks or commas between, is what is read here. Without one the file
names no host.
"""

import re
from collections.abc import Iterator
from datetime import date
from typing import Final

from lsproxy.license.hostid import Hostid
from lsproxy.license.thirdparty import Host, Term, ThirdPartyLicense
from lsproxy.proxy.kinds import fields

_KINDS: Final = {"ethernet": "ether", "hostname": "hostname", "ipaddress": "internet"}
_TOKEN: Final = re.compile(
    r"""\s*+(?:
        (?P<comment>\#[^\n]*+)
      | (?P<brace>[{}])
      | (?P<key>[^\s={}"\#]++)[ \t]*+(?:(?P<equals>=)[ \t]*+(?P<value>"[^"]*+(?:"|\Z)|[^\s]*+))?+
      | (?P<other>.)
      | \Z
    )""",
    re.VERBOSE | re.DOTALL,
)
_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})|([0-9]{1,2})-([0-9]{1,2})-([0-9]{4})")
_BETWEEN: Final = re.compile(r"[\s,]+")

_Setting = tuple[int, str, str]
"""Offset, name in upper case, value without quotes; the name FEATURE has the feature's name as value."""


def read(text: str, file: str) -> ThirdPartyLicense:
    """The license file `text`, called `file` in sentences. Takes any text."""
    hosts: dict[tuple[Hostid, ...], Host] = {}
    terms: list[Term] = []
    lines = _Lines(text)
    for offset, feature, settings in _blocks(text):
        if "COUNT" in settings and (hostids := _hostids(settings.get("SERVER_HOSTID", ""))):
            hosts.setdefault(hostids, Host(None, hostids, None, lines.at(offset), "FEATURE"))
        if "END" not in settings:
            terms.append(Term(feature, None, lines.at(offset)))
        elif expires := _date(settings["END"]):
            terms.append(Term(feature, expires, lines.at(offset)))
    return ThirdPartyLicense(file, tuple(hosts.values()), (), tuple(terms))


class _Lines:
    """Turns offsets that only grow into line numbers, so that the whole text is counted once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._offset = 0
        self._line = 1

    def at(self, offset: int) -> int:
        self._line += self._text.count("\n", self._offset, offset)
        self._offset = offset
        return self._line


def _blocks(text: str) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Each feature's offset, name and settings; a block that is never closed ends where the next feature begins."""
    feature: tuple[int, str] | None = None
    settings: dict[str, str] = {}
    for offset, name, value in _settings(text):
        if name in {"FEATURE", "}"}:
            if feature:
                yield *feature, settings
            feature, settings = ((offset, value), {}) if name == "FEATURE" else (None, {})
        elif feature:
            settings.setdefault(name, value)
    if feature:
        yield *feature, settings


def _settings(text: str) -> Iterator[_Setting]:
    begun = -1  # the offset of a FEATURE whose name is still to come
    for token in _TOKEN.finditer(text):
        key = token["key"]
        if token["brace"] == "}":
            yield token.start("brace"), "}", ""
        elif key and begun >= 0 and not token["equals"]:
            yield begun, "FEATURE", key
        elif key and token["equals"]:
            yield token.start("key"), key.upper(), token["value"].strip('"')
        if not token["comment"]:
            begun = token.start("key") if key and key.upper() == "FEATURE" and not token["equals"] and begun < 0 else -1


def _hostids(value: str) -> tuple[Hostid, ...]:
    return tuple(fields.hostid(word, _KINDS) for word in _BETWEEN.split(value) if word)


def _date(text: str) -> date | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day = (match[1], match[2], match[3]) if match[1] else (match[6], match[5], match[4])
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None
