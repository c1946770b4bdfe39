"""
What the lines of a license file mean, and everything that is wrong with them.

Text is never refused as a whole for what one line holds: a faulty line becomes
a Problem and the others are read. Normative for the form: docs/license-file.md.

See [One text, one line] for what values of FEATURE and INCREMENT may hold.

[One text, one line]
A signature is over rows, and a value may hold newlines. A value that went on
with a row of its own like `SN=A-2` would have the signature of a line with that
serial number. So a value's later rows must not read like a row that begins
something: an attribute (`KEY` or `KEY=…`, the key in upper case) or a canonical
text. With that every canonical text can be taken apart in one way only.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from lsproxy.license.dates import parse_expiry
from lsproxy.license.hostid import Hostid, HostidError, parse_hostid
from lsproxy.license.model import Attribute, FeatureLine, LicenseFile, Problem, ServerLine, VendorLine
from lsproxy.license.shown import shown
from lsproxy.license.version import parse_version
from lsproxy.license.words import Unreadable, Word, WordLine, split

CANONICAL_HEADER: Final = "lsproxy-license 1"
MOST_BYTES: Final = 1 << 20
MOST_SERVERS: Final = 3
MOST_PROBLEMS: Final = 200
UNCOUNTED: Final = "uncounted"

_NAME: Final = re.compile(r"[!#-<>-\[\]-~]{1,256}")  # ASCII that can be seen, but " = and \
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ROW_THAT_BEGINS: Final = re.compile(rf"[A-Z_][A-Z0-9_]*(=.*)?|{CANONICAL_HEADER}")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_PORT: Final = re.compile(r"(?:tcp:)?([0-9]+)", re.IGNORECASE)
_MOST_PORT: Final = 65535
_FIELDS: Final = ("feature", "vendor", "version", "expiry", "count")

_Parsed = ServerLine | VendorLine | FeatureLine | None


def parse(text: str, file: str) -> LicenseFile:
    """
    The license file `text`, called `file` in sentences. Never raises.

    Text of more than 1 MiB in UTF-8, and text no text file holds, is one problem on line 1 and no lines.
    """
    if sentence := _no_text(text):
        return LicenseFile(file, text, (), (), False, (), (Problem(file, 1, sentence),))
    servers: list[ServerLine] = []
    vendors: list[VendorLine] = []
    features: list[FeatureLine] = []
    problems: list[Problem] = []
    use_server = False
    for line in split(text):
        parsed = line.sentence if isinstance(line, Unreadable) else _parse_line(line)
        match parsed:
            case ServerLine() if len(servers) == MOST_SERVERS:
                problems.append(
                    Problem(file, line.line, "a license file has at most three SERVER lines; take this one out")
                )
            case ServerLine():
                servers.append(parsed)
                problems += [Problem(file, line.line, sentence) for sentence in _hostid_problems(parsed)]
            case VendorLine():
                vendors.append(parsed)
            case FeatureLine():
                features.append(parsed)
            case None:
                use_server = True
            case sentence:
                problems.append(Problem(file, line.line, sentence))
    return LicenseFile(
        file, text, tuple(servers), tuple(vendors), use_server, tuple(features), _bounded(problems, file)
    )


def _no_text(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "the text holds half a UTF-16 character; save the file as UTF-8"
    if size > MOST_BYTES:
        return "a license file has at most 1 MiB, this one has more"
    if "\0" in text:
        return "this is no text file in UTF-8: it holds a NUL character"
    return ""


def _bounded(problems: list[Problem], file: str) -> tuple[Problem, ...]:
    if len(problems) <= MOST_PROBLEMS:
        return tuple(problems)
    left = len(problems) - MOST_PROBLEMS
    cut = Problem(file, problems[MOST_PROBLEMS].line, f"and {left} more problems from this line on")
    return (*problems[:MOST_PROBLEMS], cut)


def _parse_line(line: WordLine) -> _Parsed | str:
    """The line's struct, None for USE_SERVER, or the sentence that says what is wrong with it."""
    written = line.words[0].text
    keyword = written.upper() if written.isascii() else ""  # the upper case of a long s is an S, too
    if keyword == "USE_SERVER":
        return None if len(line.words) == 1 else "USE_SERVER stands alone on its line"
    parse_rest = _LINES.get(keyword)
    if parse_rest is None:
        return (
            f"{shown(written)} begins no line of a license file; "
            "SERVER, VENDOR, USE_SERVER, FEATURE, INCREMENT or # would"
        )
    return parse_rest(line.line, line.words)


def _parse_server(line: int, words: Sequence[Word]) -> ServerLine | str:
    if len(words) < 3 or not _NAME.fullmatch(words[1].text):  # noqa: PLR2004  SERVER, host, hostid
        return "SERVER is followed by a host name and a hostid, as in SERVER lic-a HOSTNAME=lic-a 27101"
    hostid_text, rest = words[2].text, words[3:]
    port: int | str | None = None
    if rest and rest[0].key is None and _PORT.fullmatch(rest[0].value):
        port, rest = _parse_port(rest[0].value), rest[1:]
    attributes = _parse_attributes(rest)
    if isinstance(port, str):
        return port
    if isinstance(attributes, str):
        return attributes
    return ServerLine(line, words[1].text, _known_hostids(hostid_text), hostid_text, port, attributes)


def _known_hostids(text: str) -> tuple[Hostid, ...]:
    """All hostids of the set, none where one of them is unknown: what binds must be understood as a whole."""
    try:
        return tuple(parse_hostid(word) for word in text.split())
    except HostidError:
        return ()


def _hostid_problems(server: ServerLine) -> list[str]:
    if not server.hostid_text.split():
        return ["the hostid of this SERVER line is empty; one as `licserver hostid` prints it would do"]
    problems = []
    for word in server.hostid_text.split():
        try:
            parse_hostid(word)
        except HostidError as malformed:
            problems.append(str(malformed))
    return problems


def _parse_vendor(line: int, words: Sequence[Word]) -> VendorLine | str:
    if len(words) < 2 or not _NAME.fullmatch(words[1].text):  # noqa: PLR2004  VENDOR, name
        return "VENDOR is followed by the vendor's name, as in VENDOR acme PORT=27102"
    places = {"PATH": "", "OPTIONS": "", "PORT": ""}
    keyless = [word for word in words[2:] if word.key is None]
    if len(keyless) > len(places):
        return f"{shown(keyless[-1].value)}: VENDOR has at most a path, an options file and a port behind its name"
    places.update(zip(places, (word.value for word in keyless), strict=False))
    attributes = _parse_attributes([word for word in words[2:] if word.key is not None])
    if isinstance(attributes, str):
        return attributes
    places.update({key: value for key, value in attributes if key in {"OPTIONS", "PORT"} and value is not None})
    port = _parse_port(places["PORT"]) if places["PORT"] else None
    if isinstance(port, str):
        return port
    return VendorLine(line, words[1].text, places["PATH"] or None, places["OPTIONS"] or None, port, attributes)


def _parse_feature(line: int, words: Sequence[Word]) -> FeatureLine | str:
    keyword, fields = words[0].text.upper(), words[1:6]
    for name, word in zip(_FIELDS, fields, strict=False):
        if word.key is not None or not _NAME.fullmatch(word.value):
            return f"{shown(word.text)} is no {name}: {keyword} is followed by {', '.join(_FIELDS)}, without quotes"
    if len(fields) < len(_FIELDS):
        return f"the {_FIELDS[len(fields)]} is missing: {keyword} is followed by {', '.join(_FIELDS)}"
    feature, vendor, version, expiry, count = (word.value for word in fields)
    attributes = _parse_attributes(words[6:])
    if isinstance(attributes, str):
        return attributes
    if wrong := _wrong_field(version, expiry.lower(), count.lower()) or _forging_value(attributes):
        return wrong
    end = words[-1].end
    sign_span = next(((w.start, w.end) for w in words[6:] if (w.key or w.value).upper() == "SIGN"), (end, end))
    return FeatureLine(line, keyword, feature, vendor, version, expiry.lower(), count.lower(), attributes, sign_span)


def _wrong_field(version: str, expiry: str, count: str) -> str:
    if parse_version(version) is None:
        return f"{shown(version)} is no version; dotted numbers such as 2027.0 would be one"
    if parse_expiry(expiry) is None:
        return f"{shown(expiry)} is no expiry; permanent or a date of the calendar such as 31-dec-2027 would be one"
    if count != UNCOUNTED and not _NUMBER.fullmatch(count):
        return f"{shown(count)} is no count; a number of at most nine digits, or uncounted, would be one"
    return ""


def _forging_value(attributes: tuple[Attribute, ...]) -> str:
    """See [One text, one line]. SIGN is not signed, so it may hold anything."""
    for key, value in attributes:
        for row in (value or "").split("\n")[1:]:
            if key != "SIGN" and _ROW_THAT_BEGINS.fullmatch(row):
                return (
                    f"within {key} the row {shown(row)} reads like an attribute of its own; begin that row with a blank"
                )
    return ""


def _parse_attributes(words: Sequence[Word]) -> tuple[Attribute, ...] | str:
    attributes: dict[str, str | None] = {}
    for word in words:
        written = word.value if word.key is None else word.key
        key = written.upper()
        if not _KEY.fullmatch(written):
            return f'{shown(word.text)} is no attribute; KEY=value would be one, KEY="value" where it holds blanks'
        if key in attributes:
            return f"{key} stands on this line twice; take one out"
        attributes[key] = None if word.key is None else word.value
    return tuple(attributes.items())


def _parse_port(text: str) -> int | str:
    match = _PORT.fullmatch(text)
    if match is None or len(match[1]) > len(str(_MOST_PORT)) or not 1 <= int(match[1]) <= _MOST_PORT:
        return f"{shown(text)} is no port; a number from 1 to 65535 would be one"
    return int(match[1])


_LINES: Final[dict[str, Callable[[int, Sequence[Word]], _Parsed | str]]] = {
    "SERVER": _parse_server,
    "VENDOR": _parse_vendor,
    "DAEMON": _parse_vendor,
    "FEATURE": _parse_feature,
    "INCREMENT": _parse_feature,
}
