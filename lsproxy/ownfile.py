"""Who may read a file that lsproxy keeps for itself, such as its state?"""

import contextlib
import os
from pathlib import Path
from typing import Final

MODE: Final = 0o640


def make(path: Path) -> None:
    """
    Make an empty file at `path` that is for its owner and group, where there is none. One that cannot be made is left
    to whoever opens it, who says why.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE))
