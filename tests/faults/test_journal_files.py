"""What becomes of a journal whose file is missing, foreign, damaged, copied, replaced or on a full disk: a sentence."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from licserver.journal.interface import JournalError, JournalUnusable
from licserver.journal.sqlite import accept_copy, create, open_journal
from tests.contract.journal import fill, take

NOBODY = 65534
as_root = pytest.mark.root  # to become nobody, or to mount a small disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create(tmp_path / "acme.db", "acme")
    return tmp_path / "acme.db"


async def refusal(path: Path, server_name: str = "acme") -> str:
    """Why the journal cannot be opened."""
    with pytest.raises(JournalUnusable) as refused:
        await open_journal(reactor, path, server_name)
    return str(refused.value)


def alter(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


# --- opening ------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_missing(tmp_path):
    """A journal that is not there is never made by opening it; the sentence says how it is made."""
    sentence = await refusal(tmp_path / "acme.db")
    assert sentence == f"{tmp_path}/acme.db does not exist; `licserver init` creates the journal"
    assert list(tmp_path.iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_folder(tmp_path):
    """A folder is no journal."""
    assert "is no file" in await refusal(tmp_path)


@pytest_twisted.ensureDeferred
async def test_empty_file(tmp_path):
    """A file of no bytes is no journal, and stays as it is."""
    path = tmp_path / "acme.db"
    path.touch()
    assert "is no journal of licserver" in await refusal(path)
    assert path.stat().st_size == 0


@pytest_twisted.ensureDeferred
async def test_garbage(tmp_path):
    """A file of anything is no journal, and stays as it is."""
    path = tmp_path / "acme.db"
    path.write_bytes(b"\x00license\xff" * 1000)
    before = path.read_bytes()
    assert "is no journal of licserver" in await refusal(path)
    assert path.read_bytes() == before


@pytest_twisted.ensureDeferred
async def test_other_products_file(tmp_path):
    """Another product's SQLite file is left as it is."""
    path = tmp_path / "acme.db"
    alter(path, "CREATE TABLE active_name (epoch)", "PRAGMA user_version = 1")
    before = path.read_bytes()
    assert "is no journal of licserver" in await refusal(path)
    accept_copy(path)
    assert path.read_bytes() == before


@pytest_twisted.ensureDeferred
async def test_newer_schema(path):
    """A journal written by a later release is refused, with both versions."""
    alter(path, "PRAGMA user_version = 2")
    assert "has schema 2, this release knows 1" in await refusal(path)


@pytest_twisted.ensureDeferred
async def test_other_name(path):
    """The journal of another server name is refused, with both names."""
    assert "is the journal of 'acme', not of 'other'" in await refusal(path, "other")


@pytest_twisted.ensureDeferred
async def test_truncated(path):
    """A file that lost its end is called damaged."""
    journal = await open_journal(reactor, path, "acme")
    await fill(journal, (await take(journal, "lic-a")).epoch, 300)
    await journal.close()
    os.truncate(path, path.stat().st_size // 2)
    assert "is damaged" in await refusal(path)


@pytest_twisted.ensureDeferred
async def test_second_name(path):
    """A file with two names is refused: SQLite would keep two logs for it."""
    path.with_name("other.db").hardlink_to(path)
    assert "has a second name" in await refusal(path)


@pytest_twisted.ensureDeferred
async def test_symbolic_link(path):
    """A journal may be reached through a symbolic link, and is the same one."""
    link = path.with_name("link.db")
    link.symlink_to(path)
    through = await open_journal(reactor, link, "acme")
    direct = await open_journal(reactor, path, "acme")
    await fill(through, (await take(through, "lic-a")).epoch, 1)
    assert (await direct.claim()).newest_slot == 1
    await through.close()
    await direct.close()


@pytest_twisted.ensureDeferred
async def test_copy(path, tmp_path):
    """A copy is refused until it is accepted; the original stays in use all the while."""
    journal = await open_journal(reactor, path, "acme")
    await fill(journal, (await take(journal, "lic-a")).epoch, 1)
    await journal.close()
    copy = Path(shutil.copy(path, tmp_path / "copy.db"))
    original = await open_journal(reactor, path, "acme")
    assert "is a copy of a journal" in await refusal(copy)
    with closing(sqlite3.connect(copy)) as user:
        user.execute("SELECT * FROM place").fetchall()
        with pytest.raises(JournalUnusable, match="is in use"):
            accept_copy(copy)
    accept_copy(copy)
    accept_copy(path)
    accepted = await open_journal(reactor, copy, "acme")
    assert accepted.journal_id == original.journal_id
    await accepted.close()
    await original.close()


@pytest_twisted.ensureDeferred
async def test_another_container(path):
    """A journal in use by processes that are counted otherwise is refused; unused, it moves over."""
    journal = await open_journal(reactor, path, "acme")
    alter(path, "UPDATE place SET pid_namespace = 1")
    assert "another container or namespace" in await refusal(path)
    await journal.close()
    journal = await open_journal(reactor, path, "acme")
    await journal.close()


@pytest_twisted.ensureDeferred
async def test_after_a_reboot(path):
    """Members of a former boot are dead, and two servers that start at once both get in."""
    journal = await open_journal(reactor, path, "acme")
    claim = await take(journal, "lic-a")
    await journal.join(claim.holder)
    await journal.close()
    boot_id = claim.holder.process.boot_id
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE place SET boot_id = 'before'")
        connection.execute("UPDATE members SET member = replace(member, ?, 'before')", (boot_id,))
        connection.execute("UPDATE active_name SET holder = replace(holder, ?, 'before')", (boot_id,))
    opening = [open_journal(reactor, path, "acme") for _ in range(3)]
    journals = [await opened for opened in opening]
    assert [alive for _, alive in await journals[0].members()] == [False]
    assert journals[0].holder_is_dead(await journals[0].claim())
    for journal in journals:
        await journal.close()


@as_root
@pytest.mark.parametrize(
    ("closed", "sentence"),
    [("folder", "may not be written by this user"), ("file", "may not be written by this user")],
)
def test_read_only(closed, sentence):
    """A journal whose file or folder this user may not write is refused, naming which."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "acme.db")
        create(path, "acme")
        path.chmod(0o644 if closed == "file" else 0o666)
        Path(folder).chmod(0o755 if closed == "folder" else 0o777)
        said = run_as_nobody(path)
        assert f"{folder if closed == 'folder' else path} {sentence}" in said


@as_root
def test_unreadable():
    """A journal in a folder this user may not enter is refused."""
    with tempfile.TemporaryDirectory() as folder:
        create(Path(folder, "acme.db"), "acme")
        assert "cannot be reached: Permission denied" in run_as_nobody(Path(folder, "acme.db"))


def run_as_nobody(path: Path) -> str:
    """What `open_journal` says to the user nobody."""
    program = f"""
import os
from pathlib import Path
from lsproxy.net import reactor as reactors
reactor = reactors.install()
from twisted.internet.task import react
from licserver.journal.sqlite import open_journal
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
def main(reactor):
    return open_journal(reactor, Path({str(path)!r}), "acme").addBoth(lambda answer: print(answer.getErrorMessage()))
react(main, _reactor=reactor)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=30)
    return done.stdout


# --- in use -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["acme.db", "acme.db-wal", "acme.db-shm"])
@pytest_twisted.ensureDeferred
async def test_deleted_in_use(path, name):
    """After the file, its log or its index was deleted, nothing succeeds; put back, all goes on."""
    journal = await open_journal(reactor, path, "acme")
    epoch = (await take(journal, "lic-a")).epoch
    await journal.append(epoch, 1, b"x", 0.0)
    away = path.with_name("away")
    path.with_name(name).rename(away)
    for answer in (journal.append(epoch, 2, b"x", 0.0), journal.confirm(epoch, 0.0), journal.claim()):
        with pytest.raises(JournalUnusable, match="was deleted or replaced while in use"):
            await answer
    away.rename(path.with_name(name))
    await journal.append(epoch, 2, b"x", 0.0)
    await journal.close()


@pytest_twisted.ensureDeferred
async def test_replaced_in_use(path, tmp_path):
    """After another journal was put in its place, the old one confirms nothing and the watchers hear nothing more."""
    journal = await open_journal(reactor, path, "acme")
    epoch = (await take(journal, "lic-a")).epoch
    seen = []
    create(tmp_path / "new.db", "acme")
    (tmp_path / "new.db").replace(path)
    journal.watch(seen.append)
    with pytest.raises(JournalUnusable, match="was deleted or replaced while in use"):
        await journal.append(epoch, 1, b"x", 0.0)
    with pytest.raises(JournalUnusable):
        await journal.members()
    assert seen == []
    await journal.close()


@pytest_twisted.ensureDeferred
async def test_foreign_log(path, tmp_path):
    """A journal put where another was in use is not mixed with the log that the other left behind."""
    journal = await open_journal(reactor, path, "acme")
    await fill(journal, (await take(journal, "lic-a")).epoch, 3)
    create(tmp_path / "new.db", "acme")
    (tmp_path / "new.db").replace(path)
    await journal.close()
    before = path.read_bytes()
    assert "acme.db-wal belongs to another journal" in await refusal(path)
    assert path.read_bytes() == before
    path.with_name("acme.db-wal").unlink()
    path.with_name("acme.db-shm").unlink()
    journal = await open_journal(reactor, path, "acme")
    assert (await journal.claim()).newest_slot == 0
    await journal.close()


@pytest_twisted.ensureDeferred
async def test_copy_over_a_left_log(path, tmp_path):
    """A copy that stands beside a log is not accepted before the log is gone."""
    copy = Path(shutil.copy(path, tmp_path / "copy.db"))
    copy.with_name("copy.db-wal").write_bytes(b"x" * 4096)
    with pytest.raises(JournalUnusable, match="-wal is left beside the copy"):
        accept_copy(copy)


@pytest_twisted.ensureDeferred
async def test_closed(path):
    """A closed journal says so to every call, and may be closed again."""
    journal = await open_journal(reactor, path, "acme")
    await journal.close()
    await journal.close()
    for answer in (journal.claim(), journal.confirm(1, 0.0)):
        with pytest.raises(JournalError, match="is closed"):
            await answer


@as_root
def test_full_disk(tmp_path):
    """On a full disk every write fails with a sentence, reads go on, and with room again the same write succeeds."""
    script = 'mount -t tmpfs -o size=600k none "$2" && exec "$0" "$1" "$2"'
    program = str(Path(__file__).with_name("journal_on_full_disk.py"))
    done = subprocess.run(
        ["/usr/bin/unshare", "-m", "/bin/sh", "-c", script, sys.executable, program, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    found = json.loads(done.stdout)
    *appends, creation = found["errors"]
    assert len(appends) == 4
    assert {kind for kind, _ in appends} == {"JournalError"}
    assert all("the disk is full" in sentence for _, sentence in appends)
    assert creation[0] == "JournalUnusable"
    assert "no journal can be created" in creation[1]
    assert found["leftovers"] == []
    assert found["while_full"] == found["kept"] > 0
    assert found["afterwards_whole"]


# --- creating -----------------------------------------------------------------


def test_creation(tmp_path):
    """A new journal is one file that only its owner may read, with an id of its own."""
    ids = {create(tmp_path / name, "acme") for name in ("a.db", "b.db")}
    assert {len(found) for found in ids} == {32}
    assert len(ids) == 2
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.db", "b.db"]
    assert (tmp_path / "a.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["acme.db", "acme.db-wal", "acme.db-journal"])
def test_never_over_an_old_one(tmp_path, name):
    """Nothing that stands where the journal or its log would be is touched."""
    (tmp_path / name).write_bytes(b"old")
    with pytest.raises(JournalUnusable, match="exists already"):
        create(tmp_path / "acme.db", "acme")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [(name, b"old")]


def test_no_folder(tmp_path):
    """A journal in a folder that is not there is refused."""
    with pytest.raises(JournalUnusable, match="does not exist; create it first"):
        create(tmp_path / "none" / "acme.db", "acme")


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        yield Path(folder)


@as_root
def test_folder_not_writable(read_only_folder):
    """A folder this user may not write gets no journal and no rest of one."""
    os.seteuid(NOBODY)
    try:
        with pytest.raises(JournalUnusable, match="Permission denied"):
            create(read_only_folder / "acme.db", "acme")
    finally:
        os.seteuid(0)
    assert list(read_only_folder.iterdir()) == []
