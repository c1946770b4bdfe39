r"""
How does the text of a third party's license file come off the disk, and how does it fall into lines and words?

These files are written by many hands and generators, so nothing here is an error
but a file that cannot be read or is no text: bytes that are not UTF-8 are
Latin-1, a quote that is never closed ends with its line, a `\` at the end of a
line continues it.
"""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from lsproxy.license.model import LicenseError

MOST_BYTES: Final = 4 << 20
MOST_WORDS: Final = 64

_WORD: Final = re.compile(r'(?:[^\s"]|"[^"]*+(?:"|\Z))++')
_BYTE_ORDER_MARK: Final = "\ufeff"


def read_text(path: Path | str) -> str:
    """The text of the license file at `path`. Raises LicenseError: unreadable, more than 4 MiB, or no text."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as problem:
        raise LicenseError(f"{path}: the license file cannot be read: {problem.strerror}") from problem
    if len(content) > MOST_BYTES:
        raise LicenseError(f"{path}: a license file has at most 4 MiB, this one has more")
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise LicenseError(f"{path}:{line}: this is no text file: it holds a NUL byte")
    try:
        return content.decode().removeprefix(_BYTE_ORDER_MARK)
    except UnicodeDecodeError:
        return content.decode("latin-1")


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of `text` that say something, continued ones as one, each with the number of its first row, from 1."""
    pieces: list[str] = []
    first = 1
    for number, row in enumerate(text.split("\n"), 1):
        piece = row.strip(" \t\r")
        if not pieces:
            first = number
            if not piece or piece.startswith("#"):
                continue
        if piece.endswith("\\"):
            pieces.append(piece[:-1])
            continue
        yield first, " ".join([*pieces, piece])
        pieces = []
    if pieces:
        yield first, " ".join(pieces)


def words(line: str) -> list[str]:
    """The first MOST_WORDS words of `line` without their quotes; what a quote holds is of one word."""
    return [match[0].replace('"', "") for match in islice(_WORD.finditer(line), MOST_WORDS)]
