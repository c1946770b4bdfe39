"""
What does a FlexNet license file say of hosts, ports and dates? Citrix's files are of the same make.

    SERVER host hostid [port] [PRIMARY_IS_MASTER] [HEARTBEAT_INTERVAL=n]
    VENDOR|DAEMON name [path] [[OPTIONS=]file] [[PORT=]port]
    FEATURE|INCREMENT feature vendor version expiry count …
    UPGRADE feature vendor from_version version expiry count …

as in the vendor's License Administration Guide, "License File Syntax". Hostids: "Hostids for Supported Platforms" and
"Special Hostids" there; which of them can be compared from outside is _KINDS, the others (disk serial numbers, UUIDs,
dongles, composites) are opaque. One SERVER line names the host; three are a triad, of which each may serve.

Every other line, and all that follows the fields above, is passed over.
"""

from collections.abc import Sequence
from typing import Final

from lsproxy.license.dates import Permanent
from lsproxy.license.model import Problem
from lsproxy.license.thirdparty import Daemon, Host, Term, ThirdPartyLicense
from lsproxy.proxy.kinds import fields
from lsproxy.proxy.kinds.text import logical_lines, words

_KINDS: Final = {
    "hostname": "hostname",
    "internet": "internet",
    "internet6": "internet",
    "ether": "ether",
    "id": "id",
}
_PLACE_OF_EXPIRY: Final = {"FEATURE": 4, "INCREMENT": 4, "UPGRADE": 5}
_MOST_POSITIONAL: Final = 4  # VENDOR, path, options file, port


def read(text: str, file: str) -> ThirdPartyLicense:
    """The license file `text`, called `file` in sentences. Takes any text."""
    hosts: list[Host] = []
    daemons: list[Daemon] = []
    terms: list[Term] = []
    problems: list[Problem] = []
    for line, content in logical_lines(text):
        row = words(content)
        keyword = row[0].upper() if row else ""
        if keyword == "SERVER":
            host = _server(line, row)
            if isinstance(host, Host):
                hosts.append(host)
            else:
                problems.append(Problem(file, line, host))
        elif keyword in {"VENDOR", "DAEMON"} and len(row) > 1:
            daemons.append(_daemon(line, keyword, row[1:]))
        elif keyword in _PLACE_OF_EXPIRY:
            terms += _term(line, row, _PLACE_OF_EXPIRY[keyword])
    return ThirdPartyLicense(file, tuple(hosts), tuple(daemons), tuple(terms), tuple(problems))


def _server(line: int, row: Sequence[str]) -> Host | str:
    if len(row) < 3 or not row[2].strip():  # noqa: PLR2004 - SERVER, host, hostid
        return "SERVER is followed by a host name and a hostid, as in SERVER fn-a 02a1b2c3d4e5 27000"
    hostids = tuple(fields.hostid(word, _KINDS) for word in row[2].split())
    return Host(row[1], hostids, fields.port(row[3]) if len(row) > 3 else None, line, "SERVER")  # noqa: PLR2004 - port


def _daemon(line: int, keyword: str, row: Sequence[str]) -> Daemon:
    """The port is the one after `PORT=`, or the last word without a key if that is a number."""
    keyed = {key.upper(): value for key, equals, value in (word.partition("=") for word in row[1:]) if equals}
    positional = [word for word in row[1:_MOST_POSITIONAL] if "=" not in word]
    text = keyed.get("PORT", positional[-1] if positional else "")
    return Daemon(row[0], fields.port(text), line, keyword)


def _term(line: int, row: Sequence[str], place: int) -> list[Term]:
    expires = fields.expiry(row[place]) if len(row) > place else None
    if expires is None:
        return []
    return [Term(row[1], None if isinstance(expires, Permanent) else expires, line)]
