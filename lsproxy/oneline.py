"""How does text that others wrote become one line that harms no terminal, log or command?"""

from typing import Final

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def one_line(text: str) -> str:
    """`text` with a space for every newline and tab, and U+FFFD for whatever else cannot be printed."""
    return text if text.isprintable() else "".join(map(_printable, text))


def lines(text: str) -> str:
    """The same of each of the lines of `text`, which stay lines."""
    return "\n".join(map(one_line, text.split("\n")))


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character in "\n\t" else _REPLACEMENT
