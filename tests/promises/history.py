"""
What is written down of what clients said and were told?

Times are seconds of CLOCK_BOOTTIME. A `sent` is stamped before the bytes are
handed to the kernel, a `received` after they came from it, so a server decided
between the two stamps of a request and its reply, whatever the delays.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Kind = Literal["opened", "closed", "sent", "received"]


@dataclass(frozen=True, slots=True)
class Record:
    """
    One thing that happened at `time` on `connection` (unique in the history)
    of `session` (a label; the secret id is not written down). `message` is the
    request, reply or event, for `opened` the address dialed.
    """

    time: float
    session: str
    connection: int
    kind: Kind
    message: dict[str, Any]


History = list[Record]


def write_history(path: Path, history: Iterable[Record]) -> None:
    """One JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        for record in history:
            file.write(json.dumps(asdict(record), separators=(",", ":")) + "\n")


def read_history(path: Path) -> History:
    """What `write_history` wrote."""
    with path.open(encoding="utf-8") as file:
        return [Record(**json.loads(line)) for line in file]
