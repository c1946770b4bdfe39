"""How is the state of the pools shown in a terminal, as plain lines?"""

from collections.abc import Iterable, Iterator
from itertools import compress
from typing import Any, Final

import msgspec

from lsproxy.proxy.snapshot import PoolSnapshot

_COLUMNS: Final = ("BACKEND", "HEALTH", "ROLE", "EPOCH", "ADMIN", "BINDING", "SESSIONS", "SEATS", "CLIENTS", "ADDRESS")
_OF_EVERY_KIND: Final = tuple(column not in {"ROLE", "EPOCH", "SESSIONS", "SEATS"} for column in _COLUMNS)

Picture = dict[str, Any]
"""A pool as the admin API tells it (`lsproxy.proxy.snapshot.PoolSnapshot`)."""


def is_well(pool: Picture) -> bool:
    """Whether clients are served and nobody else claims the name."""
    return pool["serving"] is not None and not pool["conflicts"]


def describe(pools: list[Picture], troubles: Iterable[str] = ()) -> Iterator[str]:
    """The pools, one after the other, and sentences on lsproxy itself."""
    for number, pool in enumerate(pools):
        if number:
            yield ""
        yield headline(pool)
        rows = [_COLUMNS, *(cells(backend, pool) for backend in pool["backends"])]
        if pool["kind"] != "licserver":
            rows = [tuple(compress(row, _OF_EVERY_KIND)) for row in rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for remark in remarks(pool):
            yield f"  ! {remark}"
    for trouble in troubles:
        yield f"! {trouble}"


def headline(pool: Picture) -> str:
    """One line on the pool itself."""
    barren = barrenness(pool)
    served = f"served by {pool['serving']}" if pool["serving"] else "NOT SERVED"
    served += f", {barren.upper()}: no seats are granted," if barren else ""
    clients = "1 client" if pool["clients"] == 1 else f"{pool['clients']} clients"
    clients += f" ({pool['waiting']} waiting)" if pool["waiting"] else ""
    since = duration(pool["serving_for"])
    name = pool["server_name"] or pool["kind"]
    epoch = f", epoch {pool['epoch']}" if pool["journal"] else ""
    return f"{pool['pool']} ({name}): {served} for {since}{epoch}, {clients}"


def barrenness(pool: Picture) -> str | None:
    """As `PoolSnapshot.barrenness`."""
    return msgspec.convert(pool, PoolSnapshot).barrenness


def cells(backend: Picture, pool: Picture) -> tuple[str, ...]:
    """One backend; the one that is served has a star."""
    said = backend["said"]
    of_status = ["-"] * 4 if said is None else [str(said[key]) for key in ("role", "epoch", "sessions", "seats")]
    role, epoch, sessions, seats = of_status
    name = f"{backend['name']}*" if backend["name"] == pool["serving"] else backend["name"]
    admin = "kept out" if backend["is_kept_out"] else backend["admin"]
    connections = str(backend["connections"])
    return (
        name,
        backend["health"],
        role,
        epoch,
        admin,
        backend["binding"],
        sessions,
        seats,
        connections,
        backend["address"],
    )


def remarks(pool: Picture) -> Iterator[str]:
    """What is not as it should be, a sentence each."""
    yield from pool["conflicts"]
    if pool["serving"] is None and pool["reason"] and pool["reason"] not in pool["conflicts"]:
        yield pool["reason"]
    if pool["note"]:
        yield pool["note"]
    if pool["switching_to"]:
        yield f"{pool['switching_to']} is to take over"
    for backend in pool["backends"]:
        yield from _of_isolation(backend)
        if backend["binding"] == "unbound" or (backend["binding"] == "unknown" and backend["health"] == "up"):
            yield f"{backend['name']}: {backend['binding']}, {backend['binding_reason']}"
        if backend["fencing"] not in {None, "fenced"}:
            yield f"{backend['name']}, fencing: {backend['fencing']}"
        if backend["activation"] not in {None, "activated"}:
            yield f"{backend['name']}, activation: {backend['activation']}"
        if backend.get("takeover_note"):
            yield backend["takeover_note"]
        if backend["license_note"]:
            yield backend["license_note"]
        if backend["last_error"]:
            yield backend["last_error"]
    yield from pool.get("expiring", ())
    if pool.get("unsaved"):
        yield pool["unsaved"]


def _of_isolation(backend: Picture) -> Iterator[str]:
    if backend["said"] and backend["said"]["role"] == "isolated":
        yield f"{backend['name']} is isolated, it cannot reach the journal: its log says why"


def duration(seconds: float) -> str:
    """A time span as people say it."""
    whole = int(seconds)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if whole >= 2 * size:
            return f"{whole // size} {unit}"
    return f"{whole} s"
