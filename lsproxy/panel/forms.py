"""
What was filled in in a form: its fields by name, an uploaded file's content among them.

Whoever asks this has to be known already: see `Panel`. A form with a file is split at its boundary by hand. The parsers
of mail that Python brings take seconds for a megabyte that is made for it, and recurse.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import parse_qsl

from lsproxy.admin.exchange import BAD_REQUEST, Asked, RefusedError

_PLAIN: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"
_MOST_FIELDS: Final = 20
_MOST_PLAIN_BYTES: Final = 64 * 1024
_MOST_HEAD_BYTES: Final = 1024
_BOUNDARY: Final = re.compile(r";[ \t]*boundary=(\"?)([0-9A-Za-z'()+_,./:=? -]{1,70})\1[ \t]*(?:;|$)")
_NAME: Final = re.compile(
    rb'^content-disposition:[ \t]*form-data;(?:[^\r\n"]*;)?[ \t]*name="([^"\r\n]*)"', re.IGNORECASE | re.MULTILINE
)


def filled_in(asked: Asked, *, has_file: bool = False) -> dict[str, str]:
    """
    The fields of the form in the body; of several with one name the last. One that `has_file` comes in parts, any other
    does not. Raises RefusedError, 400.
    """
    said = asked.headers.get("content-type", _PLAIN)
    kind = said.partition(";")[0].strip().lower()
    read = _parts if has_file and kind == _MULTIPART else _pairs
    try:
        return dict(read(said, asked.body))
    except UnicodeDecodeError:
        raise RefusedError(BAD_REQUEST, "bad_request", "what was sent is not UTF-8 text") from None
    except ValueError as problem:
        raise RefusedError(BAD_REQUEST, "bad_request", f"the form cannot be read: {problem}") from problem


def _pairs(said: str, body: bytes) -> Iterable[tuple[str, str]]:
    if said.partition(";")[0].strip().lower() != _PLAIN:
        raise ValueError(f"it is sent as {_PLAIN}, not as {said[:64]!r}")
    if len(body) > _MOST_PLAIN_BYTES:
        raise ValueError(f"without a file it is at most {_MOST_PLAIN_BYTES} bytes")
    return parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")


def _parts(said: str, body: bytes) -> Iterator[tuple[str, str]]:
    found = _BOUNDARY.search(said)
    if found is None:
        raise ValueError("it does not say what is between its parts")
    # One more than there may be, and the text before the first.
    before, *pieces = (b"\r\n" + body).split(b"\r\n--" + found[2].encode(), _MOST_FIELDS + 2)
    if not pieces:
        raise ValueError("it has no parts")
    if before.strip():
        raise ValueError("it does not begin with a part")
    *parts, end = pieces
    if len(parts) > _MOST_FIELDS:
        raise ValueError(f"it has more than {_MOST_FIELDS} fields")
    if not end.startswith(b"--"):
        raise ValueError("its end is missing")
    for part in parts:
        length = part.find(b"\r\n\r\n", 0, _MOST_HEAD_BYTES)
        name = _NAME.search(part, 0, max(length, 0))
        if length < 0 or name is None:
            raise ValueError("a part of it has no name")
        yield name[1].decode(), part[length + 4 :].decode()
