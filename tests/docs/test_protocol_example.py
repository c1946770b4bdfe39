"""The session and the client of docs/protocol.md are what a real license server answers and serves."""

import json
import re
import socket
import subprocess
import sys
import time
import types
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lsproxy.license.signature import sign

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
LICSERVER = (
    "import ctypes; ctypes.CDLL(None).prctl(1, 9); from licserver.cli import main; main()"  # dies with its parent
)
STEP = re.compile(r"^(?P<who>[a-z ]+)(?P<way>[<>]) (?P<line>\{.*\})$")

CONFIG = """\
name: lic-a
server_name: acme-licenses
listen: "127.0.0.1:{port}"
license_file: acme.lic
vendor_keys: {{acme: acme.pub}}
journal: "sqlite:acme.db"
state: lic-a.state
"""


class Licserver:
    """One license server with five seats of mesh, as a child process."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        key = Ed25519PrivateKey.generate()
        host = socket.gethostname()
        text = f"SERVER {host} HOSTNAME={host}\nVENDOR acme\nINCREMENT mesh acme 2027.0 permanent 5\n"
        (folder / "acme.lic").write_text(sign(text, "acme.lic", key))
        (folder / "acme.pub").write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        (folder / "a.yaml").write_text(CONFIG.format(port=self.port))
        subprocess.run(self._command("init"), check=True, capture_output=True, timeout=60)
        self.process = None

    def start(self):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command("serve"), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def until_active(self):
        give_up_at = time.monotonic() + 30
        while time.monotonic() < give_up_at:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as asking:
                    asking.sendall(b'{"id":1,"op":"status"}\n')
                    if json.loads(asking.makefile("rb").readline())["role"] == "active":
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text())

    def kill(self):
        self.process.kill()
        self.process.wait(30)

    def _command(self, verb):
        return [sys.executable, "-c", LICSERVER, verb, "-c", str(self.folder / "a.yaml")]


@pytest.fixture
def licserver(tmp_path):
    server = Licserver(tmp_path)
    server.start()
    try:
        server.until_active()
        yield server
    finally:
        server.kill()


def block(kind):
    """The page's first block of this kind."""
    return re.search(rf"^```{kind}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE).group(1)


def test_the_session_of_the_page_is_what_a_server_answers(licserver):
    """Each line that the page says is received comes, with these keys and values."""
    steps = block("session").replace("\n    ", "").splitlines()
    with ExitStack() as stack:
        connections, files = {}, {}
        for step in steps:
            if (match := STEP.match(step)) is None:
                broken = step.partition(":")[0]
                files.pop(broken).close()
                connections.pop(broken).close()
                continue
            who, way, line = match.group("who", "way", "line")
            if who not in files:
                connection = socket.create_connection(("127.0.0.1", licserver.port), timeout=10)
                connections[who] = stack.enter_context(connection)
                files[who] = stack.enter_context(connection.makefile("rb"))
            if way == ">":
                connections[who].sendall(line.encode() + b"\n")
            else:
                assert json.loads(files[who].readline()) == json.loads(line)
    assert len(steps) > 15


@pytest.fixture
def example():
    """The page's client as a module."""
    module = types.ModuleType("seat_client")
    exec(compile(block("python"), str(PAGE), "exec"), vars(module))  # noqa: S102 - that the page's text runs is the test
    return module


def test_the_client_of_the_page_keeps_its_seat_through_a_kill(licserver, example):
    """Its seat, session and queue of ids outlive a kill -9 of the server, and what the server refuses it says."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        client = example.SeatClient([closed.getsockname(), ("127.0.0.1", licserver.port)])
        handle = client.checkout("mesh", count=4, version="2026.1")
        assert client.held == {handle}
        assert client.trust == 42
        with pytest.raises(example.Refused) as refused:
            client.checkout("mesh", count=2)
        assert refused.value.args == ("no_seats", "mesh: 2 asked, 1 of 5 free")
        trusted_until = client.trusted_until
        licserver.kill()
        licserver.start()
        assert client.ask("heartbeat")["seats"] == 1
        assert client.held == {handle}
        assert client.trusted_until > trusted_until
        client.checkin(handle)
        other = client.checkout("mesh", count=5)
        assert client.held == {other}
        client.ask("bye")
        with pytest.raises(example.Refused) as refused:
            example.SeatClient([("127.0.0.1", licserver.port)]).checkout("cad")
        assert refused.value.args[0] == "unknown_feature"
