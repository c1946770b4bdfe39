"""The load and the backend of the relay benchmark, compiled and run against each other."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.process import Child, wait_for
from tests.faults.system import free_port
from tests.relay.site import listens

pytestmark = pytest.mark.cc


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made: Path = tmp_path_factory.mktemp("relay")
    for name in ("relay_echo", "relay_load"):
        source = Path(__file__).with_name(f"{name}.c")
        warnings = ["-Wall", "-Wextra", "-Werror"]
        subprocess.run(["gcc", "-O2", *warnings, "-o", str(made / name), str(source)], check=True)
    return made


@pytest.fixture
def port(folder) -> Iterator[int]:
    port = free_port()
    server = Child("echo", [str(folder / "relay_echo"), str(port)], folder / "echo.log")
    server.start()
    wait_for(lambda: listens(port), "the echo server listens")
    yield port
    server.kill()


def load(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(folder / "relay_load"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize("rest", [("connect", 0.2, 8), ("echo", 0.2, 8), ("roundtrip", 100), ("stream", 0.2)])
def test_modes(folder, port, rest):
    """Each prints one number above zero."""
    done = load(folder, port, *rest)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0


def test_what_comes_back(port):
    """All that was sent, in its order, also when it is not read for a while."""
    sent = bytes(range(256)) * 40_000
    with socket.create_connection(("127.0.0.1", port), 10) as line:
        line.setblocking(False)
        done = 0
        while done < len(sent):
            try:
                done += line.send(sent[done : done + 500_000])
            except BlockingIOError:
                break
        line.settimeout(10)
        received = b""
        while len(received) < done:
            received += line.recv(1 << 20)
        line.shutdown(socket.SHUT_WR)
        assert line.recv(1) == b""
    assert received == sent[:done]


def test_nobody_there(folder):
    """A sentence and status 1, not a hang and not a number."""
    done = load(folder, free_port(), "roundtrip", 10)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "relay_load: connect: Connection refused\n"


def test_one_that_closes(folder):
    """A server that ends a connection is no answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = subprocess.Popen(
            [str(folder / "relay_load"), str(listening.getsockname()[1]), "echo", "1", "1"],
            stderr=subprocess.PIPE,
            text=True,
        )
        connection, _ = listening.accept()
        connection.recv(64)
        connection.close()
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (1, "relay_load: receive: the connection was closed\n")
