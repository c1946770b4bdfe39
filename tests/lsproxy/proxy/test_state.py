"""Tests of the file that a pool's memory survives in."""

import sqlite3

import pytest

from lsproxy.proxy.memory import InMemory, Remembered, StateFileError
from lsproxy.proxy.state import SqliteMemory

KNOWN = Remembered("lic-b", {"lic-a": "maint"}, ("lic-a",), "j1", 7)


@pytest.fixture
def opened(tmp_path):
    """Opens memories on one file, and closes them all."""
    made = []

    def another():
        made.append(SqliteMemory(tmp_path / "state.db"))
        return made[-1]

    yield another
    for memory in made:
        memory.close()


def test_what_was_saved_is_there_after_a_restart(opened):
    """Each pool finds what was saved last under its name; another finds nothing."""
    memory = opened()
    memory.save("acme", Remembered())
    memory.save("acme", KNOWN)
    again = opened()
    assert again.load("acme") == KNOWN
    assert again.load("other") == Remembered()


def test_memory_of_tests_keeps_the_same_promise():
    """The memory without a file answers as the one with a file does."""
    memory = InMemory()
    memory.save("acme", KNOWN)
    assert (memory.load("acme"), memory.load("other")) == (KNOWN, Remembered())


def test_file_of_another_program_is_refused(tmp_path, opened):
    """Another program's database, and what is no database, is named and left alone."""
    other = sqlite3.connect(tmp_path / "state.db")
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StateFileError, match="a file of another program"):
        opened()
    (tmp_path / "state.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StateFileError, match="cannot be used as lsproxy's state"):
        opened()


def test_newer_schema_is_refused(tmp_path, opened):
    """A file of a newer release is not read by guessing."""
    opened().close()
    newer = sqlite3.connect(tmp_path / "state.db")
    newer.execute("PRAGMA user_version = 2")
    newer.close()
    with pytest.raises(StateFileError, match="newer lsproxy"):
        opened()


def test_missing_folder_is_named(tmp_path):
    """A folder that does not exist is named, and is not made."""
    with pytest.raises(StateFileError, match="does not exist"):
        SqliteMemory(tmp_path / "none" / "state.db")


def test_file_that_cannot_be_written_is_a_sentence(tmp_path, opened):
    """A database that another process keeps locked is an error of ours, not of sqlite."""
    memory = opened()
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StateFileError, match="locked"):
        memory.save("acme", KNOWN)
    other.close()
