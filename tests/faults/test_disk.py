"""The journal's file deleted, replaced, or out of room under running servers."""

import errno
import itertools
import os
import time
from pathlib import Path

import pytest

from tests.faults.process import Child, wait_for
from tests.faults.system import UNSHARE, System
from tests.faults.witness import Load

NSENTER = "/usr/bin/nsenter"
ROOM = "3m"
SILENCE_SECONDS = 1.0


def test_a_journal_deleted_in_use(make_system):
    """
    Nobody serves from a deleted journal, no server ends, a log says why; put
    back, the same servers go on with all seats.
    """
    pair = make_system(ttl=1.0).start()
    keeper = pair.keeper()
    keeper.checkout("cad", count=2)
    with Load(pair, seed=60) as load:
        away = pair.journal.with_name("away.db")
        pair.journal.rename(away)
        _wait_for_nobody(pair)
        _assert_silence(pair, load)
        assert any("was deleted or replaced" in server.log for server in pair.servers.values())
        away.rename(pair.journal)
        pair.wait_active()
        load.wait_for_grants()
    keeper.assert_keeps()


def test_a_journal_replaced_in_use(make_system):
    """
    A new journal in place of the one in use is not served from, neither by the
    running servers nor after their restart, until the old one is back.
    """
    pair = make_system(ttl=1.0).start()
    keeper = pair.keeper()
    keeper.checkout("cad", count=2)
    with Load(pair, seed=61) as load:
        away = [(path, path.with_name(f"away-{path.name}")) for path in pair.folder.glob("acme.db*") if path.is_file()]
        for path, kept in away:
            path.rename(kept)
        pair.create_journal()
        _wait_for_nobody(pair)
        _assert_silence(pair, load)
        for server in pair.servers.values():
            server.kill()
            server.start()
            assert server.wait() == 2
            assert "is not the one this server has seen" in server.log
        for path in pair.folder.glob("acme.db*"):
            path.unlink()
        for path, kept in away:
            kept.rename(path)
        for name in pair.servers:
            pair.servers[name].start()
        load.wait_for_grants()
    keeper.assert_keeps()


@pytest.mark.root
def test_a_full_disk(make_system, tmp_path):
    """On a full disk nobody serves and nobody dies; with room again the same servers go on, all promises kept."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = f"mount -t tmpfs -o size={ROOM} tmpfs {folder} && exec sleep infinity"
    disk = Child("disk", [UNSHARE, "--mount", "sh", "-c", mount], tmp_path / "disk.log")
    disk.start()
    inside = f"/proc/{disk.pid}/root{folder}"
    try:
        wait_for(lambda: os.path.ismount(inside), "the disk is mounted")
        before = [NSENTER, f"--mount=/proc/{disk.pid}/ns/mnt"]
        _fill_and_empty(make_system(journal_folder=folder, before=before), Path(inside, "ballast"))
    finally:
        disk.kill()


def _fill_and_empty(system: System, ballast: Path) -> None:
    system.start()
    keeper = system.keeper()
    keeper.checkout("cad", count=2)
    with Load(system, seed=62) as load:
        _fill(ballast)
        _wait_for_nobody(system)
        wait_for(lambda: any("full" in server.log for server in system.servers.values()), "a log says why")
        _assert_silence(system, load)
        ballast.unlink()
        system.wait_active()
        load.wait_for_grants()
    keeper.assert_keeps()


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left") as problem:
        file.writelines(bytes(4096) for _ in itertools.count())
    assert problem.value.errno == errno.ENOSPC


def _wait_for_nobody(system: System) -> None:
    """Both servers answer, and none is active."""

    def is_nobody_active():
        roles = {name: system.status(name) for name in system.servers}
        return all(roles.values()) and all(status["role"] != "active" for status in roles.values())

    wait_for(is_nobody_active, "nobody serves")


def _assert_silence(system: System, load: Load) -> None:
    """For a while nothing is granted, and nobody dies."""
    before = load.grants()
    time.sleep(SILENCE_SECONDS)
    assert load.grants() == before
    assert all(server.is_running for server in system.servers.values())
