"""
What does an RLM license file say of hosts, ports and dates?

    HOST|SERVER name hostid [port]
    ISV name [binary [options [port]]] [binary=…] [options=…] [port=…] [password=…]
    LICENSE isv product version expiry count …

as in the vendor's License Administration manual, "The License File" and "RLM hostids". Names and ports of HOST and ISV
lines may be edited, hostids may not. A hostid of 12 hex digits is a network card, one of 8 is read from a machine's
board and opaque. Several hostids stand in quotes or behind `list:`; any one binds.

An ISV line may hold a password: it is never kept.
"""

import re
from collections.abc import Sequence
from typing import Final

from lsproxy.license.dates import Permanent
from lsproxy.license.model import Problem
from lsproxy.license.thirdparty import Daemon, Host, Term, ThirdPartyLicense
from lsproxy.proxy.kinds import fields
from lsproxy.proxy.kinds.text import logical_lines, words

_KINDS: Final = {
    "ether": "ether",
    "ip": "internet",
    "internet": "internet",
    "ipv6": "internet",
    "host": "hostname",
    "hostname": "hostname",
}
_BETWEEN: Final = re.compile(r"[\s,@]+")
_PLACES_OF_EXPIRY: Final = slice(3, 6)
_PLACE_OF_PORT: Final = 3  # behind the name, the binary and the options file


def read(text: str, file: str) -> ThirdPartyLicense:
    """The license file `text`, called `file` in sentences. Takes any text."""
    hosts: list[Host] = []
    daemons: list[Daemon] = []
    terms: list[Term] = []
    problems: list[Problem] = []
    for line, content in logical_lines(text):
        row = words(content)
        keyword = row[0].upper() if row else ""
        if keyword in {"HOST", "SERVER"}:
            host = _host(line, keyword, row)
            if isinstance(host, Host):
                hosts.append(host)
            else:
                problems.append(Problem(file, line, host))
        elif keyword == "ISV" and len(row) > 1:
            daemons.append(_isv(line, row[1:]))
        elif keyword == "LICENSE":
            terms += _term(line, row)
    return ThirdPartyLicense(file, tuple(hosts), tuple(daemons), tuple(terms), tuple(problems))


def _host(line: int, keyword: str, row: Sequence[str]) -> Host | str:
    text = row[2].removeprefix("list:") if len(row) > 2 else ""  # noqa: PLR2004 - HOST, name, hostid
    hostids = tuple(fields.hostid(word, _KINDS) for word in _BETWEEN.split(text) if word)
    if not hostids:
        return f"{keyword} is followed by a host name and a hostid, as in HOST rlm-a 02a1b2c3d4e5 5053"
    return Host(row[1], hostids, fields.port(row[3]) if len(row) > 3 else None, line, keyword)  # noqa: PLR2004 - port


def _isv(line: int, row: Sequence[str]) -> Daemon:
    keyed = {key.lower(): value for key, equals, value in (word.partition("=") for word in row[1:]) if equals}
    positional = row[_PLACE_OF_PORT] if len(row) > _PLACE_OF_PORT else ""
    return Daemon(row[0], fields.port(keyed.get("port", positional)), line, "ISV")


def _term(line: int, row: Sequence[str]) -> list[Term]:
    """The expiry is found by its form: files of other versions have the ISV's name at another place."""
    for place, word in enumerate(row[_PLACES_OF_EXPIRY], _PLACES_OF_EXPIRY.start):
        expires = fields.expiry(word)
        if expires is not None:
            return [Term(row[place - 2], None if isinstance(expires, Permanent) else expires, line)]
    return []
