"""Where commands on this host find the daemon."""

import socket
import stat
import subprocess
import sys

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.protocol import ServerFactory

from lsproxy.admin.socketfile import SocketFileError, listen


def left_behind(path):
    """A socket file of a process that was killed."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


@pytest_twisted.ensureDeferred
async def test_the_socket_is_for_owner_and_group(tmp_path):
    """Mode 0660, whatever the umask."""
    path = tmp_path / "admin.sock"
    port = listen(reactor, path, ServerFactory())
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    await port.stopListening()
    assert not path.exists()


@pytest_twisted.ensureDeferred
async def test_a_socket_left_behind_is_replaced(tmp_path):
    """A daemon that was killed does not keep the next from starting."""
    path = tmp_path / "admin.sock"
    left_behind(path)
    port = listen(reactor, path, ServerFactory())
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_running_daemon_is_not_pushed_aside(tmp_path):
    """Its socket stays, and the second is told."""
    path = tmp_path / "admin.sock"
    port = listen(reactor, path, ServerFactory())
    with pytest.raises(SocketFileError, match="another lsproxy runs there"):
        listen(reactor, path, ServerFactory())
    assert path.exists()
    await port.stopListening()


def test_a_file_is_not_removed(tmp_path):
    """What is no socket is somebody's."""
    path = tmp_path / "admin.sock"
    path.write_text("mine")
    with pytest.raises(SocketFileError, match="it is no socket"):
        listen(reactor, path, ServerFactory())
    assert path.read_text() == "mine"


def test_a_missing_folder_is_named(tmp_path):
    """The sentence says which."""
    with pytest.raises(SocketFileError, match=f"the folder {tmp_path}/none does not exist"):
        listen(reactor, tmp_path / "none" / "admin.sock", ServerFactory())


def test_a_path_too_long_for_a_socket_is_said(tmp_path):
    """The kernel's limit is 107 bytes."""
    with pytest.raises(SocketFileError, match="at most 107 bytes"):
        listen(reactor, tmp_path / ("x" * 120), ServerFactory())


@pytest.mark.root
def test_a_folder_that_may_not_be_written_is_said(tmp_path):
    """As user nobody, in a folder of root's."""
    script = (
        "import os, pathlib, sys\n"
        "from lsproxy.net.reactor import install; reactor = install()\n"
        "from twisted.internet.protocol import ServerFactory\n"
        "from lsproxy.admin.socketfile import SocketFileError, listen\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: listen(reactor, pathlib.Path(sys.argv[1]) / 'admin.sock', ServerFactory())\n"
        "except SocketFileError as problem: print(problem)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert "Permission denied" in done.stdout, done.stderr


@pytest.mark.parametrize("mode", [0o666, 0o662, 0o777])
def test_a_passed_socket_that_is_open_to_everybody_is_refused(tmp_path, mode):
    """Whoever may connect is an operator, and 0666 is what a service manager makes where nothing is said."""
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(path))
        passed.listen()
        path.chmod(mode)
        copy = passed.dup()
        with pytest.raises(SocketFileError, match=f"mode {mode:04o}.*SocketMode=0660 and SocketGroup=lsproxy"):
            listen(reactor, path, ServerFactory(), copy)
        assert copy.fileno() == -1


@pytest_twisted.ensureDeferred
async def test_a_passed_socket_of_a_group_is_used(tmp_path):
    """And one whose file is gone is not."""
    path = tmp_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(path))
        passed.listen()
        path.chmod(0o660)
        port = listen(reactor, path, ServerFactory(), passed.dup())
        await port.stopListening()
        path.unlink()
        with pytest.raises(SocketFileError):
            listen(reactor, path, ServerFactory(), passed.dup())
