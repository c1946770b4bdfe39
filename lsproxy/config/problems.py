"""What is wrong in a configuration file, and where: the one form in which a person is told."""

from collections.abc import Sequence
from typing import Final

import msgspec

from lsproxy.errors import LsproxyError

MOST_TOLD: Final = 100
QUOTED: Final = 64

KeyPath = tuple[str | int, ...]
"""Where a value stands in the tree: keys, and positions in lists."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake. `str()` is `FILE:LINE: path: what is wrong, what would be right`; a whole file has no line."""

    file: str
    sentence: str
    line: int | None = None
    path: str = ""

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.path}: {self.sentence}" if self.path else f"{where}: {self.sentence}"


class ConfigError(LsproxyError):
    """A configuration that is not taken: all its problems, in the order of their lines, one to a line of `str()`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=_place))
        rows = [str(problem) for problem in self.problems[:MOST_TOLD]]
        if len(self.problems) > MOST_TOLD:
            rows.append(f"{self.problems[0].file}: {len(self.problems) - MOST_TOLD} more problems follow")
        super().__init__("\n".join(rows))


def spell(path: KeyPath) -> str:
    """The path as a person writes it: `pools.acme.backends.lic-a.hostids[0]`."""
    spelt = ""
    for step in path:
        if isinstance(step, int):
            spelt += f"[{step}]"
        else:
            shown = _printable(step)
            spelt += f".{shown}" if spelt else shown
    return spelt


def quote(text: str) -> str:
    """`text` in quotes for a sentence: one line, nothing unprintable, at most `QUOTED` characters of it."""
    return f'"{_printable(text)}"'


def _printable(text: str) -> str:
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:QUOTED])
    return shown if len(text) <= QUOTED else f"{shown}…"


def _place(problem: Problem) -> tuple[int, str]:
    return (problem.line or 0, problem.path)
