"""The system under measurement: two licservers on one journal, lsproxy and HAProxy before them, real processes."""

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lsproxy.license.signature import sign

SEATS = 900_000_000
READY_SECONDS = 20.0
SETTLED_SECONDS = 2.0
_DIE_WITH_PARENT = 1
_libc = ctypes.CDLL(None)


class Rig:
    """
    Starts and ends everything. `options` are lines for licserver.yaml. Use as a context.

    Ports: `ports["lsproxy"]`, `ports["lic-a"]`, `ports["lic-b"]`, and those of the peers.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lsproxy-bench-"))
        self.ports: dict[str, int] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self._write_files()
        run("licserver", "init", "-c", str(self.folder / "lic-a.yaml"))
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.processes):
            self.kill(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_server(self, name: str) -> None:
        """Start a licserver and wait until it answers."""
        self.start(name, [program("licserver"), "serve", "-c", str(self.folder / f"{name}.yaml")])
        until(lambda: self.status(name) is not None, f"{name} answers")

    def start_lsproxy(self) -> None:
        """Start lsproxy and wait until it serves."""
        self.start("lsproxy", [program("lsproxy"), "serve", "-c", str(self.folder / "lsproxy.yaml")])
        until(lambda: (self.status("lsproxy") or {}).get("role") == "active", "lsproxy serves")

    def start_haproxy(self, name: str, server_options: str) -> None:
        """Start HAProxy with one thread, lic-a first and lic-b as its backup."""
        self.ports[name] = free_port()
        config = self.folder / f"{name}.cfg"
        config.write_text(
            f"global\n  nbthread 1\n  maxconn 9000\ndefaults\n  mode tcp\n  timeout connect 5s\n"
            f"  timeout client 1h\n  timeout server 1h\n  option redispatch 1\n"
            f"listen pool\n  bind 127.0.0.1:{self.ports[name]}\n"
            f"  server lic-a 127.0.0.1:{self.ports['lic-a']} {server_options}\n"
            f"  server lic-b 127.0.0.1:{self.ports['lic-b']} {server_options} backup\n"
        )
        self.start(name, ["haproxy", "-db", "-f", str(config)])
        until(lambda: self.status(name) is not None, f"{name} answers")

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a process that dies with this one."""
        log = (self.folder / f"{name}.log").open("ab")
        with log:
            self.processes[name] = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 no lock is held in it
            )

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal; a killed process is waited for, at most 10 s."""
        process = self.processes[name]
        process.send_signal(number)
        if number == signal.SIGKILL:
            process.wait(10)
            del self.processes[name]

    def status(self, name: str) -> dict[str, Any] | None:
        """The reply to `status` at a port, None if there is none."""
        try:
            with socket.create_connection(("127.0.0.1", self.ports[name]), timeout=1) as connection:
                connection.sendall(b'{"id":1,"op":"status"}\n')
                reply: dict[str, Any] = json.loads(connection.makefile("rb").readline())
        except (OSError, ValueError):
            return None
        return reply if reply.get("ok") else None

    def active(self) -> str:
        """The name of the active licserver."""
        for name in ("lic-a", "lic-b"):
            if name in self.processes and (self.status(name) or {}).get("role") == "active":
                return name
        raise SystemExit("no licserver is active; logs: " + self.logs())

    def is_redundant(self) -> bool:
        """Whether lsproxy sees one server active and the other one standing by, both up, for two seconds."""
        command = [program("lsproxy"), "status", "--json", "--admin", f"unix:{self.folder}/admin.sock"]
        done = subprocess.run(command, check=False, capture_output=True, timeout=10)
        if not done.stdout:
            return False
        backends = json.loads(done.stdout)["pools"][0]["backends"]
        roles = {backend["said"]["role"] for backend in backends if backend["said"] and backend["health"] == "up"}
        return roles == {"active", "standby"} and min(backend["changed_for"] for backend in backends) >= SETTLED_SECONDS

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"{path.name}: {path.read_text()[-600:]}" for path in self.folder.glob("*.log"))

    def _write_files(self) -> None:
        folder = self.folder
        for name in ("lsproxy", "panel", "lic-a", "lic-b"):
            self.ports[name] = free_port()
        key = Ed25519PrivateKey.generate()
        (folder / "acme.pub").write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        license_text = f"SERVER this_host HOSTNAME={socket.gethostname()}\nVENDOR acme\n"
        license_text += f"INCREMENT big acme 2027.0 permanent {SEATS}\n"
        (folder / "acme.lic").write_text(sign(license_text, "acme.lic", key))
        token = folder / "operator.token"
        token.touch(0o600)
        token.write_text(os.urandom(16).hex())
        for name in ("lic-a", "lic-b"):
            (folder / f"{name}.yaml").write_text(
                f'name: {name}\nserver_name: bench\nlisten: "127.0.0.1:{self.ports[name]}"\nlicense_file: acme.lic\n'
                f"vendor_keys: {{acme: acme.pub}}\njournal: sqlite:journal.db\nredundancy: duplicate\n"
                f"token_file: operator.token\nstate: {name}.state\n"
            )
        (folder / "lsproxy.yaml").write_text(
            f'listen:\n  licenses: {{address: "127.0.0.1:{self.ports["lsproxy"]}", pool: acme}}\n'
            f"pools:\n  acme:\n    kind: licserver\n    server_name: bench\n    license_file: acme.lic\n"
            f"    vendor_keys: {{acme: acme.pub}}\n    backends:\n"
            f'      lic-a: {{address: "127.0.0.1:{self.ports["lic-a"]}"}}\n'
            f'      lic-b: {{address: "127.0.0.1:{self.ports["lic-b"]}"}}\n'
            f"    token_file: operator.token\nstate: sqlite:state.db\n"
            f'admin: {{address: "127.0.0.1:{self.ports["panel"]}", socket: admin.sock}}\n'
        )


def program(name: str) -> str:
    """The path of one of our commands."""
    return str(Path(sys.executable).with_name(name))


def run(name: str, *arguments: str) -> None:
    """Run one of our commands to its end."""
    subprocess.run([program(name), *arguments], check=True, capture_output=True, timeout=60)


def compile_load(folder: Path) -> Path:
    """The load generator, compiled."""
    binary = folder / "load"
    source = Path(__file__).with_name("load.c")
    subprocess.run(["cc", "-O2", "-o", str(binary), str(source)], check=True, timeout=120)
    return binary


def until(is_so: Callable[[], bool], what: str, seconds: float = READY_SECONDS) -> None:
    """Wait until something is so; the program ends if it does not become so."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise SystemExit(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> None:
    _libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
