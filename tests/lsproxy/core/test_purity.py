"""Test of what decisions may not import."""

import ast
from pathlib import Path

import pytest

from lsproxy import core

FOLDER = Path(core.__file__).parent
IMPURE = {
    "asyncio",
    "logging",
    "os",
    "random",
    "secrets",
    "socket",
    "sqlite3",
    "threading",
    "time",
    "twisted",
    "uvloop",
}


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.stem)
def test_decisions_import_no_io_clock_or_randomness(file):
    """No module of `core` imports I/O, a clock, randomness, or a shell of this package."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    assert not {name.split(".")[0] for name in names} & IMPURE
    assert not {name for name in names if name.startswith(("lsproxy.proxy", "lsproxy.net", "lsproxy.config"))}
