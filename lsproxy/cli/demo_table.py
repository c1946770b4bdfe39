"""How does the demo show what runs: a live table in a terminal, a line for each change elsewhere."""

import sys
from collections.abc import Mapping, Sequence
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lsproxy.cli.shown import Picture, duration, remarks

MOST_NEWS: Final = 6
_COLUMNS: Final = ("server", "process", "health", "role", "epoch", "sessions", "seats", "address")


class Board:
    """Shows on stdout. Used as a context; a table stays as it was last."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        self._live = Live(console=self._console, auto_refresh=False) if sys.stdout.isatty() else None
        self._news: list[str] = []
        self._said = ""

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, news: str) -> None:
        """Something happened."""
        self._news = [*self._news, news][-MOST_NEWS:]
        if self._live is None:
            print(news, flush=True)

    def show(
        self, pools: Sequence[Picture], processes: Mapping[str, int | None], waited: float | None, link: str
    ) -> None:
        """The pools as they are, the processes by name, how long the last failover was felt, a login link."""
        if self._live is not None:
            shown = [_pool(pool, processes) for pool in pools]
            below = [Text(_failover(waited)), Text(f"panel: {link}"), *(Text(f"  {line}") for line in self._news)]
            self._live.update(Group(*shown, *below), refresh=True)
            return
        line = "; ".join(_line(pool, processes) for pool in pools) + f"; {_failover(waited)}"
        if line != self._said:
            self._said = line
            print(line, flush=True)


def _pool(pool: Picture, processes: Mapping[str, int | None]) -> RenderableType:
    served = f"served by {pool['serving']} for {duration(pool['serving_for'])}" if pool["serving"] else "NOT SERVED"
    table = Table(title=f"{pool['pool']}: {served}, epoch {pool['epoch']}", title_justify="left")
    for column in _COLUMNS:
        table.add_column(column)
    for backend in pool["backends"]:
        style = "bold green" if backend["name"] == pool["serving"] else None
        table.add_row(*_cells(backend, processes), style=style)
    return Group(table, *(Text(f"! {remark}", style="yellow") for remark in remarks(pool)))


def _cells(backend: Picture, processes: Mapping[str, int | None]) -> list[str]:
    said = backend["said"]
    of_status = ["-" if said is None else str(said[key]) for key in ("role", "epoch", "sessions", "seats")]
    pid = processes.get(backend["name"])
    return [
        backend["name"],
        "down" if pid is None else str(pid),
        backend["health"],
        *of_status,
        backend["address"],
    ]


def _line(pool: Picture, processes: Mapping[str, int | None]) -> str:
    served = f"served by {pool['serving']}" if pool["serving"] else "not served"
    servers = []
    for backend in pool["backends"]:
        _name, pid, health, role, *_ = _cells(backend, processes)
        process = "down" if pid == "down" else f"process {pid}"
        servers.append(f"{backend['name']} {health} {role} ({process})")
    seats = max((b["said"]["seats"] for b in pool["backends"] if b["said"] and b["health"] == "up"), default=0)
    return f"{pool['pool']} {served}, epoch {pool['epoch']}, {seats} seats, {', '.join(servers)}"


def _failover(waited: float | None) -> str:
    if waited is None:
        return "no failover yet"
    return f"last failover: a client waited {waited * 1000:.0f} ms"
