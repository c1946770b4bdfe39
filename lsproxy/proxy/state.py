"""
Where does a pool's memory survive a restart: a small SQLite file.

One row for each pool, written when something changed, which is rare: after a
failover, an operator's word, a new epoch. So it is written in the reactor's
thread, durably, and no thread is kept for it.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from lsproxy import ownfile
from lsproxy.fullness import advised
from lsproxy.proxy.memory import Remembered, StateFileError

APPLICATION_ID = 0x6C737078  # "lspx"
SCHEMA = 1

_decode = msgspec.json.Decoder(Remembered).decode


class SqliteMemory:
    """
    The memory of all pools in the file at `path`, made where there is none.

    Raises StateFileError: a file of another program, of a newer release, or one that cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.parent.is_dir():
            raise StateFileError(f"{path}: the folder {path.parent} does not exist; make it, or set `state` elsewhere")
        try:
            ownfile.make(path)
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            self._open()
        except sqlite3.Error as error:
            self._connection.close()
            raise self._unusable(error) from error
        except StateFileError:
            self._connection.close()
            raise

    def load(self, pool: str) -> Remembered:
        """What was saved last under this name, or an empty `Remembered`."""
        try:
            with closing(self._connection.execute("SELECT remembered FROM pools WHERE pool = ?", (pool,))) as found:
                row = found.fetchone()
            return Remembered() if row is None else _decode(row[0])
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise self._unusable(error) from error

    def save(self, pool: str, remembered: Remembered) -> None:
        """Keep it; when this returns it is on the disk."""
        try:
            self._connection.execute(
                "INSERT INTO pools (pool, remembered) VALUES (?, ?)"
                " ON CONFLICT (pool) DO UPDATE SET remembered = excluded.remembered",
                (pool, msgspec.json.encode(remembered)),
            )
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _open(self) -> None:
        connection = self._connection
        connection.execute("PRAGMA synchronous = FULL")
        (product,) = connection.execute("PRAGMA application_id").fetchone()
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if product != APPLICATION_ID and tables:
            raise StateFileError(f"{self._path} is a file of another program; set `state` to a path of lsproxy's own")
        if schema > SCHEMA:
            raise StateFileError(f"{self._path} was written by a newer lsproxy; run that one, or set `state` elsewhere")
        if not tables:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
            connection.execute("CREATE TABLE IF NOT EXISTS pools (pool TEXT PRIMARY KEY, remembered BLOB NOT NULL)")
            connection.execute("COMMIT")

    def _unusable(self, error: Exception) -> StateFileError:
        return StateFileError(f"{self._path} cannot be used as lsproxy's state: {advised(error)}")
