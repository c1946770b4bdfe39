"""
A history on a disk that fills up, as a program to be run where FOLDER is a small file system of its own.

Says a line of JSON: the error met, how many points could be read meanwhile, and after there was room again.
"""

import json
import sys
from pathlib import Path

from lsproxy.history.file import HistoryFile, HistoryTroubleError
from lsproxy.history.grid import Slots
from tests.lsproxy.history.samples import NOW, sample

WIDE = Slots(NOW, NOW + 1_000_000, 100_000, NOW)


def main(folder):
    file = HistoryFile(folder / "history.db")
    file.add(sample(NOW))
    ballast, room = folder / "ballast", 1 << 20
    with ballast.open("wb", buffering=0) as opened:
        while room:
            try:
                opened.write(bytes(room))
            except OSError:
                room //= 2
    error, taken = None, 1
    while error is None:
        try:
            file.add(sample(NOW + 60 * taken))
            taken += 1
        except HistoryTroubleError as trouble:
            error = str(trouble)
    while_full = len(file.pools("acme", WIDE))
    ballast.unlink()
    file.add(sample(NOW + 60 * taken))
    print(json.dumps([error, taken, while_full, len(file.pools("acme", WIDE))]))  # noqa: T201 - what the test reads


main(Path(sys.argv[1]))
