"""What of lsproxy.yaml is taken while lsproxy runs, and that a fault leaves everything as it was. Real processes."""

import http.client
import json
import socket
import ssl
import struct
import subprocess
import time

import pytest

from lsproxy.config.tokens import SALT_BYTES, add_token
from tests.faults.process import wait_for
from tests.faults.system import COMMANDS, System, free_port
from tests.lsproxy.net.conftest import Authority

OPERATOR = "of an operator"


class Running:
    """A proxy that runs, whose license servers do not, and its configuration as it is edited."""

    def __init__(self, folder):
        self.system = System(folder, has_proxy=True)
        self.folder = folder
        self.path = folder / "lsproxy.yaml"
        self.socket = folder / "admin.sock"
        add_token(folder / "tokens.yaml", "ops", "operator", OPERATOR, bytes(SALT_BYTES))
        self.system.proxy.start()
        wait_for(lambda: "panel and API at" in self.system.proxy.log, f"lsproxy runs: {self.system.proxy.log}", 20)

    def edit(self, change):
        tree = json.loads(self.path.read_text())
        change(tree)
        self.path.write_text(json.dumps(tree))

    def reload(self):
        """By the command: its exit status, and what it says."""
        command = [str(COMMANDS / "lsproxy"), "reload", "--admin", f"unix:{self.socket}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        return done.returncode, (done.stdout + done.stderr).strip()

    def change(self, change):
        """Taken, and what was said of it."""
        self.edit(change)
        status, said = self.reload()
        assert status == 0, said
        return said.splitlines()

    def ask(self, address, token=OPERATOR, context=None):
        """The status of `GET /api/v1/pools` there."""
        kind = http.client.HTTPConnection if context is None else http.client.HTTPSConnection
        options = {} if context is None else {"context": context}
        connection = kind(*address, timeout=10, **options)
        try:
            connection.request("GET", "/api/v1/pools", headers={"Authorization": f"Bearer {token}"})
            return connection.getresponse().status
        finally:
            connection.close()

    @property
    def admin(self):
        return self.system.addresses["admin"]

    def client(self):
        """A connection of a client that comes and is reset."""
        with socket.create_connection(self.system.addresses["proxy"], 5) as client:
            client.sendall(b'{"id":1,"op":"status"}\n')
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.fixture
def running(tmp_path):
    made = Running(tmp_path)
    yield made
    faults = made.system.faults_in_logs()
    made.system.end()
    assert not faults, faults


def test_the_admin_api_moves(running):
    """It answers at the new address and no more at the old one; who follows the events there goes on."""
    port = free_port()
    with socket.create_connection(running.admin, 5) as listener:
        listener.sendall(
            b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n\r\n" % OPERATOR.encode()
        )
        listener.settimeout(10)
        assert listener.recv(65536).startswith(b"HTTP/1.1 200")
        said = running.change(lambda tree: tree["admin"].update(address=f"127.0.0.1:{port}"))
        assert said == ["admin.address: changed"]
        assert running.ask(("127.0.0.1", port)) == 200
        with pytest.raises(ConnectionRefusedError):
            running.ask(running.admin)
        heard = b""
        while b'"event":"reloaded"' not in heard:
            heard += listener.recv(65536)


def test_the_unix_socket_moves(running):
    """Commands find it where the configuration says."""
    before, running.socket = running.socket, running.folder / "other.sock"
    running.edit(lambda tree: tree["admin"].update(socket=str(running.socket)))
    done, running.socket = running.socket, before
    status, said = running.reload()
    assert (status, said) == (0, "admin.socket: changed")
    assert not before.exists()
    running.socket = done
    assert running.reload()[0] == 0


def test_the_admin_api_takes_to_tls_at_the_same_address(running, tmp_path):
    """From one moment to the next, and back; nobody is refused meanwhile."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    running.change(lambda tree: tree["admin"].update(tls={"certificate": str(certificate), "key": str(key)}))
    context = ssl.create_default_context(cafile=authority.file)
    assert running.ask(running.admin, context=context) == 200
    running.change(lambda tree: tree["admin"].pop("tls"))
    assert running.ask(running.admin) == 200


def test_other_tokens(running):
    """Those of the new file count, those of the old one no more."""
    add_token(running.folder / "new.yaml", "eve", "viewer", "of eve", bytes(SALT_BYTES))
    assert running.ask(running.admin) == 200
    running.change(lambda tree: tree["admin"].update(tokens_file=str(running.folder / "new.yaml")))
    assert running.ask(running.admin, "of eve") == 200
    assert running.ask(running.admin) == 401


def test_the_form_of_the_log(running):
    """From the next line on, in both logs."""
    path = running.folder / "access.log"
    said = running.change(lambda tree: tree.update(log={"format": "json"}, access_log=str(path)))
    assert set(said) == {"log.format: changed", "access_log: changed"}
    line = json.loads(running.system.proxy.log.splitlines()[-1])
    wait_for(lambda: '"audit"' in running.system.proxy.log, "the reload is audited")
    assert (line["event"] in {"reloaded", "audit"}, line["level"]) == (True, "info")
    running.client()
    ended = wait_for(path.read_text, "a line of the access log")
    assert json.loads(ended.splitlines()[0])["listener"] == "licenses"


def test_the_access_log_comes_moves_and_goes(running):
    """Lines of those who connect from then on are in the file that is named at that time."""
    first, second = running.folder / "first.log", running.folder / "second.log"
    running.client()
    running.change(lambda tree: tree.update(access_log=str(first)))
    running.client()
    wait_for(lambda: first.read_text().count("\n") == 1, "one line in the first")
    running.change(lambda tree: tree.update(access_log=str(second)))
    running.client()
    wait_for(lambda: second.exists() and second.read_text().count("\n") == 1, "one line in the second")
    running.change(lambda tree: tree.pop("access_log"))
    running.client()
    time.sleep(0.4)
    assert (first.read_text().count("\n"), second.read_text().count("\n")) == (1, 1)


def test_a_fault_leaves_everything_as_it_was(running):
    """Whatever it is in: nothing of the new configuration is taken, and the sentence says what is wrong."""
    port, taken = free_port(), socket.create_server(("127.0.0.1", 0))

    def spoil(tree):
        tree["admin"].update(address=f"127.0.0.1:{port}", socket=str(running.folder / "other.sock"))
        tree.update(log={"format": "json"}, access_log=str(running.folder / "access.log"))

    good = running.path.read_text()
    faults = {
        "in use": lambda tree: tree["listen"].update(
            more={"address": f"127.0.0.1:{taken.getsockname()[1]}", "pool": "acme"}
        ),
        "state cannot change while lsproxy runs: restart lsproxy, or put the old value back": lambda tree: tree.update(
            state="sqlite:///elsewhere"
        ),
        "tokens_file": lambda tree: tree["admin"].update(tokens_file=str(running.folder)),
        "the access log": lambda tree: tree.update(access_log=str(running.folder / "none" / "access.log")),
        "pools.acme.hodl: is an unknown key": lambda tree: tree["pools"]["acme"].update(hodl=1),
    }
    for sentence, fault in faults.items():
        running.path.write_text(good)
        running.edit(spoil)
        running.edit(fault)
        status, said = running.reload()
        assert (status, sentence in said) == (1, True), (sentence, said)
        assert "the old configuration goes on" in said
        assert running.ask(running.admin) == 200
        assert not (running.folder / "other.sock").exists()
        with pytest.raises(ConnectionRefusedError):
            running.ask(("127.0.0.1", port))
    taken.close()
    assert not any(line.startswith("{") for line in running.system.proxy.log.splitlines())


def test_an_overlapping_address_is_named(running):
    """Under two names it is one address, which could be listened on only after it was closed."""
    running.edit(lambda tree: tree["admin"].update(address=f"localhost:{running.admin[1]}"))
    status, said = running.reload()
    assert status == 1
    assert "admin.address: localhost" in said
    assert "name another port, or restart" in said
