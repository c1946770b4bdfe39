"""
How versions compare: dotted integers, so 2026.10 is above 2026.9.

Trailing zeros say nothing: 2027, 2027.0 and 2027.0.0 are one version.
"""

import re
from typing import Final

Version = tuple[int, ...]
"""Comparable with < and ==; the empty tuple is version 0, below every other."""

_DOTTED: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,7}")


def parse_version(text: str) -> Version | None:
    """The version `text` names, or None where it is not one to eight numbers of up to nine digits, joined by dots."""
    if not _DOTTED.fullmatch(text):
        return None
    numbers = [int(number) for number in text.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
