"""
How do samples lie in a SQLite file, and how are they read back?

    names   a number for every name of a pool, feature or backend
    seats, health, pools   one row for each cell of a grid, pool and subject

The rows of one pool and grid lie together in the order of time: a query reads
what it tells and no more. See [One row].

[One row] Each step of a query lets go of Python's lock, and beside a busy reactor the thread gets it
back only milliseconds later. So an answer is made one JSON text by SQLite itself.
"""

import sqlite3
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Final, TypeVar, get_args

import msgspec

from lsproxy import ownfile
from lsproxy.errors import LsproxyError
from lsproxy.fullness import advised
from lsproxy.history.grid import MINUTE, TEN_MINUTES, Slots, cell, forget_before
from lsproxy.history.samples import Health, HealthSpan, PoolPoint, PoolSample, Sample, SeatPoint

APPLICATION_ID: Final = 0x6C736869  # "lshi"
SCHEMA: Final = 2
MOST_BYTES: Final = 256 << 20
WAIT_SECONDS: Final = 2.0

_GRIDS: Final = (MINUTE, TEN_MINUTES)
_HEALTH: Final[tuple[Health, ...]] = get_args(Health)
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_TABLES: Final = ("seats", "health", "pools")

_SCHEMA: Final = """
    CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
    CREATE TABLE seats (
        grid INTEGER, pool INTEGER, time INTEGER, feature INTEGER,
        used_max INTEGER NOT NULL, used_min INTEGER NOT NULL, queued_max INTEGER NOT NULL, issued INTEGER,
        PRIMARY KEY (grid, pool, time, feature)
    ) WITHOUT ROWID;
    CREATE TABLE health (
        grid INTEGER, pool INTEGER, time INTEGER, backend INTEGER, health INTEGER NOT NULL,
        down REAL NOT NULL,
        PRIMARY KEY (grid, pool, time, backend)
    ) WITHOUT ROWID;
    CREATE TABLE pools (
        grid INTEGER, pool INTEGER, time INTEGER,
        serving INTEGER NOT NULL, clients INTEGER NOT NULL, waiting INTEGER NOT NULL,
        unserved REAL NOT NULL,
        PRIMARY KEY (grid, pool, time)
    ) WITHOUT ROWID;
"""
_ADD_SEATS: Final = """
    INSERT INTO seats VALUES (:grid, :pool, :time, :feature, :used, :used, :queued, :issued) ON CONFLICT DO UPDATE SET
        used_max = max(used_max, excluded.used_max), used_min = min(used_min, excluded.used_min),
        queued_max = max(queued_max, excluded.queued_max), issued = max(issued, excluded.issued)
"""
_ADD_HEALTH: Final = """
    INSERT INTO health VALUES (:grid, :pool, :time, :backend, :health, min(:down, :grid))
    ON CONFLICT DO UPDATE SET health = max(health, excluded.health), down = min(down + excluded.down, :grid)
"""
# 0 is nobody, so the least of several is nobody where one of them is
_ADD_POOL: Final = """
    INSERT INTO pools VALUES (:grid, :pool, :time, :serving, :clients, :waiting, min(:unserved, :grid))
    ON CONFLICT DO UPDATE SET
        serving = CASE WHEN excluded.serving THEN min(serving, 1) * excluded.serving ELSE 0 END,
        clients = max(clients, excluded.clients), waiting = max(waiting, excluded.waiting),
        unserved = min(unserved + excluded.unserved, :grid)
"""
_IN_SLOTS: Final = """
    grid = :grid AND time >= :since AND time < :until AND pool = (SELECT id FROM names WHERE name = :pool)
"""
_SEATS: Final = f"""
    SELECT json_group_array(json_array(name, slot, used_max, used_min, queued_max, issued)) FROM (
        SELECT feature, time - time % :seconds AS slot, max(used_max) AS used_max, min(used_min) AS used_min,
               max(queued_max) AS queued_max, max(issued) AS issued
        FROM seats WHERE {_IN_SLOTS} GROUP BY feature, slot
    ) JOIN names ON id = feature
"""  # noqa: S608 - the parts stand above
_HEALTHS: Final = f"""
    SELECT json_group_array(json_array(name, slot, health, down)) FROM (
        SELECT backend, time - time % :seconds AS slot, max(health) AS health, round(total(down), 3) AS down
        FROM health WHERE {_IN_SLOTS} GROUP BY backend, slot
    ) JOIN names ON id = backend
"""  # noqa: S608 - the parts stand above
_POOLS: Final = f"""
    SELECT json_group_array(json_array(slot, name, clients, waiting, unserved)) FROM (
        SELECT time - time % :seconds AS slot, min(serving > 0) * max(serving) AS serving,
               max(clients) AS clients, max(waiting) AS waiting, round(total(unserved), 3) AS unserved
        FROM pools WHERE {_IN_SLOTS} GROUP BY slot
    ) LEFT JOIN names ON id = serving
"""  # noqa: S608 - the parts stand above

_seats = msgspec.json.Decoder(list[tuple[str, int, int, int, int, int | None]]).decode
_healths = msgspec.json.Decoder(list[tuple[str, int, int, float]]).decode
_pools = msgspec.json.Decoder(list[tuple[int, str | None, int, int, float]]).decode

Result = TypeVar("Result")


class HistoryTroubleError(LsproxyError):
    """The file cannot be used now."""


class HistoryDamagedError(LsproxyError):
    """The file was damaged and is set aside; the next use begins a new one."""


class HistoryFile:
    """
    The file at `path`, opened and made when it is needed, of at most about `most_bytes`: the oldest cells go first.

    For one thread. Every call raises HistoryTroubleError or HistoryDamagedError.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._ids: dict[str, int] = {}

    def add(self, sample: Sample) -> int:
        """Keep `sample`, and forget what is too old. How many bytes the file's content has."""
        return self._use(lambda connection: self._add(connection, sample))

    def seats(self, pool: str, slots: Slots) -> dict[str, list[SeatPoint]]:
        """The seats of each feature, in the order of time."""
        found: dict[str, list[SeatPoint]] = {}
        for feature, slot, used_max, used_min, queued_max, issued in _seats(self._ask(_SEATS, pool, slots)):
            found.setdefault(feature, []).append(SeatPoint(slot, used_max, used_min, queued_max, issued))
        return {feature: sorted(points, key=_time) for feature, points in sorted(found.items())}

    def health(self, pool: str, slots: Slots) -> dict[str, list[HealthSpan]]:
        """The health of each backend, in the order of time; equal neighbours are one span."""
        rows = sorted(_healths(self._ask(_HEALTHS, pool, slots)))
        return {
            backend: _spans([(slot, _HEALTH[health], down) for _, slot, health, down in of_it], slots.seconds)
            for backend, of_it in groupby(rows, key=lambda row: row[0])
        }

    def pools(self, pool: str, slots: Slots) -> list[PoolPoint]:
        """The pool itself, in the order of time."""
        return sorted((PoolPoint(*row) for row in _pools(self._ask(_POOLS, pool, slots))), key=_time)

    def close(self) -> None:
        """Let go of the file."""
        connection, self._connection = self._connection, None
        self._ids = {}
        if connection is not None:
            connection.close()

    # --- writing --------------------------------------------------------------------

    def _add(self, connection: sqlite3.Connection, sample: Sample) -> int:
        connection.execute("BEGIN IMMEDIATE")
        for grid in _GRIDS:
            self._forget(connection, grid, sample.time)
        if self._bytes(connection) > self._most_bytes:
            self._make_room(connection)
        for pool in sample.pools:
            for grid in _GRIDS:
                self._add_pool(connection, pool, {"grid": grid, "time": cell(sample.time, grid)})
        connection.execute("COMMIT")
        return self._bytes(connection)

    def _add_pool(self, connection: sqlite3.Connection, sample: PoolSample, where: dict[str, int]) -> None:
        name = self._id
        where = {**where, "pool": name(connection, sample.pool)}
        serving = 0 if sample.serving is None else name(connection, sample.serving)
        connection.execute(
            _ADD_POOL,
            {**where, "serving": serving, "clients": sample.clients, "waiting": sample.waiting}
            | {"unserved": sample.unserved},
        )
        connection.executemany(
            _ADD_HEALTH,
            [
                {**where, "backend": name(connection, backend), "health": _HEALTH.index(health)}
                | {"down": sample.down.get(backend, 0.0)}
                for backend, health in sample.backends.items()
            ],
        )
        connection.executemany(
            _ADD_SEATS,
            [
                {**where, "feature": name(connection, one.name), "used": one.used, "queued": one.queued}
                | {"issued": one.issued}
                for one in sample.features
            ],
        )

    def _id(self, connection: sqlite3.Connection, name: str) -> int:
        if name not in self._ids:
            connection.execute("INSERT INTO names (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
            (self._ids[name],) = connection.execute("SELECT id FROM names WHERE name = ?", (name,)).fetchone()
        return self._ids[name]

    def _forget(self, connection: sqlite3.Connection, grid: int, now: float) -> None:
        oldest = _oldest(connection, grid)
        if oldest is not None:
            _delete(connection, grid, forget_before(now, oldest, grid))

    def _make_room(self, connection: sqlite3.Connection) -> None:
        there = [found for grid in _GRIDS if (found := _oldest(connection, grid)) is not None]
        for grid in _GRIDS if there else ():
            _delete(connection, grid, min(there) + TEN_MINUTES)

    def _bytes(self, connection: sqlite3.Connection) -> int:
        count, free, size = (
            connection.execute(f"PRAGMA {about}").fetchone()[0]
            for about in ("page_count", "freelist_count", "page_size")
        )
        return int((count - free) * size)

    # --- the file -------------------------------------------------------------------

    def _ask(self, query: str, pool: str, slots: Slots) -> str:
        """See [One row]."""
        values = {"grid": slots.grid, "since": slots.since, "until": slots.until, "seconds": slots.seconds}
        answer: str = self._use(lambda connection: connection.execute(query, {**values, "pool": pool}).fetchone()[0])
        return answer

    def _use(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        try:
            return job(self._opened())
        except (sqlite3.Error, OSError) as error:
            self.close()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGE:
                raise HistoryTroubleError(f"{self._path}: {advised(error)}") from error
            aside = self._set_aside()
            raise HistoryDamagedError(f"{self._path} was damaged ({error}) and is kept as {aside}") from error
        except LsproxyError:
            self.close()
            raise

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and self._identity != _identity(self._path):
            self.close()  # it was taken away, or another one put in its place
        if self._connection is None:
            ownfile.make(self._path)
            self._connection = sqlite3.connect(
                self._path, isolation_level=None, timeout=WAIT_SECONDS, check_same_thread=False
            )
            self._prepare(self._connection)
            self._identity = _identity(self._path)
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (product,) = connection.execute("PRAGMA application_id").fetchone()
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables and product != APPLICATION_ID:
            raise HistoryTroubleError(f"{self._path} is a file of another program, move it away")
        if tables and schema != SCHEMA:
            raise HistoryTroubleError(f"{self._path} was written by another release of lsproxy, move it away")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {16 << 20}")
        if not tables:
            identity = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA};"
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {identity} COMMIT;")

    def _set_aside(self) -> Path:
        """One damaged file is kept, not one for each time."""
        aside = self._path.with_name(f"{self._path.name}.damaged")
        try:
            self._path.replace(aside)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            raise HistoryTroubleError(f"{self._path} is damaged and cannot be set aside: {error.strerror}") from error
        return aside


def _oldest(connection: sqlite3.Connection, grid: int) -> int | None:
    query = "SELECT min((SELECT min(time) FROM pools WHERE grid = ? AND pool = id)) FROM names"
    found: int | None = connection.execute(query, (grid,)).fetchone()[0]
    return found


def _delete(connection: sqlite3.Connection, grid: int, before: int) -> None:
    for table in _TABLES:
        connection.execute(
            f"DELETE FROM {table} WHERE grid = ? AND pool IN (SELECT id FROM names) AND time < ?",  # noqa: S608 - ours
            (grid, before),
        )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _spans(cells: list[tuple[int, Health, float]], seconds: int) -> list[HealthSpan]:
    spans: list[HealthSpan] = []
    for since, health, down in cells:
        if spans and spans[-1].until == since and spans[-1].health == health:
            spans[-1] = HealthSpan(spans[-1].since, since + seconds, health, round(spans[-1].down + down, 3))
        else:
            spans.append(HealthSpan(since, since + seconds, health, down))
    return spans


def _time(point: SeatPoint | PoolPoint) -> float:
    return point.time
