"""Files that lsproxy keeps for itself."""

import os
import stat

import pytest
import pytest_twisted
from twisted.internet import reactor

from lsproxy import ownfile
from lsproxy.history.history import History
from lsproxy.proxy.state import SqliteMemory


@pytest.fixture(autouse=True)
def umask():
    """As a shell has it."""
    former = os.umask(0o022)
    yield
    os.umask(former)


def test_a_file_is_for_owner_and_group(tmp_path):
    """One that is there stays as it is; a folder that is missing is somebody else's business."""
    path = tmp_path / "file"
    ownfile.make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.write_text("mine")
    path.chmod(0o600)
    ownfile.make(path)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("mine", 0o600)
    ownfile.make(tmp_path / "none" / "file")


@pytest_twisted.ensureDeferred
async def test_state_and_history_are_not_for_everybody(tmp_path):
    """Whatever the umask is: who uses what stands in them."""
    SqliteMemory(tmp_path / "state.db").close()
    history = History(reactor, tmp_path / "history.db", lambda: 1e9)
    await history.open()
    await history.close()
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}
