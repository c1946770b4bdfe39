r"""
How the text of a license file falls into lines and words.

A `\` at the end of a line (blanks after it do no harm) continues it: between
words it counts as a blank, within quotes it vanishes. A quote opens at the start
of a word or right after `KEY=`; what it holds may go over several lines. `#` as
the first character of a line makes it a comment, which never continues.

A line with something wrong in it becomes Unreadable and reading goes on behind
the fault, so one missing quote does not hide the lines around it.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

import msgspec

from lsproxy.license.shown import shown

BYTE_ORDER_MARK: Final = "\ufeff"

_BLANKS: Final = re.compile(r"(?:[ \t]++|\\[ \t]*+(?:\r?\n|\Z))*+")
_PLAIN: Final = re.compile(r'(?:[^ \t\r\n"\\]|\r(?!\n)|\\(?![ \t]*+(?:\r?\n|\Z)))*+')
_CONTINUATION: Final = re.compile(r"\\[ \t]*+\r?\n")
_LINE_END: Final = re.compile(r"\r?\n")
_WORD_ENDS: Final = re.compile(r"[ \t]|\r?\n|\\[ \t]*+(?:\r?\n|\Z)|\Z")
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Word(msgspec.Struct, frozen=True):
    """One word without its quotes: `key` is what stands before its first unquoted `=`, else None."""

    key: str | None
    value: str
    start: int
    end: int

    @property
    def text(self) -> str:
        """Key and value as one text."""
        return self.value if self.key is None else f"{self.key}={self.value}"


class WordLine(msgspec.Struct, frozen=True):
    """A line that is not blank and no comment; `line` is the number of its first word's line, from 1."""

    line: int
    words: tuple[Word, ...]


class Unreadable(msgspec.Struct, frozen=True):
    """A line that is not made of words, and why, or the end of a file that was cut off."""

    line: int
    sentence: str


class _Fault(msgspec.Struct, frozen=True):
    """What is wrong, and the offset behind which reading goes on."""

    at: int
    sentence: str


def split(text: str) -> Iterator[WordLine | Unreadable]:
    """The lines of `text` in their order. Takes time proportional to the length of `text`, whatever it holds."""
    newlines = [match.start() for match in re.finditer("\n", text)]
    position = len(BYTE_ORDER_MARK) if text.startswith(BYTE_ORDER_MARK) else 0
    while position < len(text):
        words, fault, position = _read_line(text, position)
        if fault is not None:
            yield Unreadable(bisect_left(newlines, fault.at) + 1, fault.sentence)
        elif words:
            yield WordLine(bisect_left(newlines, words[0].start) + 1, tuple(words))
    last_row = text[newlines[-1] + 1 if newlines else 0 :].rstrip(" \t")
    if last_row.endswith("\\") and not last_row.lstrip(" \t").startswith("#"):
        yield Unreadable(len(newlines) + 1, "the file ends behind a \\ that continues the line; its end may be missing")


def _read_line(text: str, position: int) -> tuple[list[Word], _Fault | None, int]:
    """The words from `position` to the end of their line, the first fault, and where the next line begins."""
    words: list[Word] = []
    while True:
        position = _end_of(_BLANKS, text, position)
        if position == len(text):
            return words, None, position
        if end := _LINE_END.match(text, position):
            return words, None, end.end()
        if not words and text[position] == "#":
            return words, None, _end_of_row(text, position)
        word = _read_word(text, position)
        if isinstance(word, _Fault):
            return words, word, _end_of_continued_row(text, word.at)
        words.append(word)
        position = word.end


def _read_word(text: str, start: int) -> Word | _Fault:
    plain_end = _end_of(_PLAIN, text, start)
    plain = text[start:plain_end]
    key, equals, value = plain.partition("=")
    end = plain_end
    if text.startswith('"', plain_end):
        if plain and (not equals or value):
            return _Fault(plain_end, f"the quote within {shown(plain)} opens neither a word nor the value of KEY=")
        closing = text.find('"', plain_end + 1)
        if closing < 0:
            return _Fault(plain_end, "the quote that opens on this line is never closed")
        end = closing + 1
        if not _WORD_ENDS.match(text, end):
            return _Fault(
                plain_end, "the quote that opens on this line closes in the middle of a word; a quote may be missing"
            )
        value = _CONTINUATION.sub("", text[plain_end + 1 : closing]).replace("\r\n", "\n")
    word = Word(key, value, start, end) if equals else Word(None, value if end > plain_end else plain, start, end)
    return _foreign_character(word) or word


def _foreign_character(word: Word) -> _Fault | None:
    if control := _CONTROL.search(word.text):
        return _Fault(word.end - 1, f"{shown(word.text)} holds the control character {control[0]!r}; take it out")
    if "\ufffd" in word.text:
        return _Fault(word.end - 1, f"{shown(word.text)} holds bytes that are not UTF-8; save the file as UTF-8")
    return None


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _end_of_row(text: str, position: int) -> int:
    newline = text.find("\n", position)
    return len(text) if newline < 0 else newline + 1


def _end_of_continued_row(text: str, position: int) -> int:
    while True:
        end = _end_of_row(text, position)
        if end == len(text) or not text[position:end].rstrip(" \t\r\n").endswith("\\"):
            return end
        position = end
