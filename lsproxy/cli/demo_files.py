"""
What does the demo keep in its folder?

A vendor's keys, a license signed with them, operator tokens, the journal and
the configurations of one lsproxy and two license servers. What is there from
the last time is used again; ports and configurations are written anew.
"""

import contextlib
import fcntl
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lsproxy.cli import Misused
from lsproxy.license.keys import load_private_key
from lsproxy.license.signature import sign
from lsproxy.net.address import HIGHEST_PORT
from lsproxy.secretfile import write_secret

SERVERS: Final = ("lic-a", "lic-b")
SERVER_NAME: Final = "demo-licenses"
POOL: Final = "demo"
_DISTANCE: Final = 101
_LONGEST_SOCKET: Final = 107  # sockaddr_un, without its final zero


class Demo(msgspec.Struct, frozen=True):
    """The folder of a demo and the ports it uses on 127.0.0.1; `server_ports` by the server's name."""

    folder: Path
    port: int
    panel_port: int
    server_ports: dict[str, int]

    @property
    def socket(self) -> Path:
        """The admin socket."""
        return self.folder / "admin.sock"

    @property
    def proxy_config(self) -> Path:
        """The proxy's configuration."""
        return self.folder / "lsproxy.yaml"

    def server_config(self, name: str) -> Path:
        """The configuration of a license server."""
        return self.folder / f"{name}.yaml"


@contextlib.contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other demos out of it. Raises Misused where one runs there, or it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "demo.lock").open("w")
    except OSError as error:
        raise _unwritable(folder, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Misused(f"another demo runs in {folder}: stop it, or choose another --dir") from error
        yield


def prepare(folder: Path, port: int, panel_port: int) -> Demo:
    """Make the folder, which exists, ready. Raises Misused where a port is taken or it cannot be written."""
    for wanted, option in ((port, "--port"), (panel_port, "--panel-port")):
        _refuse_if_taken(wanted, option)
    demo = Demo(folder.absolute(), port, panel_port, _server_ports(port, panel_port))
    if len(str(demo.socket).encode()) > _LONGEST_SOCKET:
        raise Misused(f"the path {demo.folder} is too long for a socket in it: choose another --dir")
    try:
        _license(demo.folder)
        _configure(demo)
    except OSError as error:
        raise _unwritable(folder, error) from error
    if not (demo.folder / "journal.db").exists():
        _make_journal(demo)
    return demo


def _unwritable(folder: Path, error: OSError) -> Misused:
    return Misused(f"{error.filename or folder} cannot be written: {error.strerror}; choose another --dir")


def _license(folder: Path) -> None:
    """For this machine as it is called now, so that a renamed one is no puzzle."""
    key_path = folder / "vendor.key"
    if not key_path.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_secret(key_path, pem.decode())
    key = load_private_key(key_path)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "vendor.pub").write_bytes(public)
    host = socket.gethostname()
    text = (
        "# A license for trying lsproxy out, signed with vendor.key of this folder\n"
        f"SERVER {host} HOSTNAME={host}\n"
        "VENDOR demo\n"
        "INCREMENT cad demo 2027.0 permanent 25 SN=DEMO-1\n"
        "INCREMENT mesh demo 2027.0 permanent 5 SN=DEMO-2\n"
    )
    (folder / "demo.lic").write_text(sign(text, "demo.lic", key), encoding="utf-8")


def _configure(demo: Demo) -> None:
    token = demo.folder / "operator.token"
    if not token.exists():
        write_secret(token, secrets.token_urlsafe(32))
    shared = {"license_file": "demo.lic", "vendor_keys": {"demo": "vendor.pub"}, "token_file": "operator.token"}
    for name, port in demo.server_ports.items():
        server = {
            "name": name,
            "server_name": SERVER_NAME,
            "listen": f"127.0.0.1:{port}",
            **shared,
            "journal": "sqlite:journal.db",
            "redundancy": "duplicate",
            "state": f"{name}.state",
        }
        _write(demo.server_config(name), server)
    backends = {name: {"address": f"127.0.0.1:{port}"} for name, port in demo.server_ports.items()}
    proxy = {
        "listen": {"licenses": {"address": f"127.0.0.1:{demo.port}", "pool": POOL}},
        "pools": {POOL: {"kind": "licserver", "server_name": SERVER_NAME, **shared, "backends": backends}},
        "state": "sqlite:state.db",
        "admin": {"address": f"127.0.0.1:{demo.panel_port}", "socket": "admin.sock", "tokens_file": "tokens.yaml"},
    }
    _write(demo.proxy_config, proxy)


def _write(path: Path, content: object) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False, width=120), encoding="utf-8")


def _make_journal(demo: Demo) -> None:
    command = licserver("init", "-c", str(demo.server_config(SERVERS[0])))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise Misused(f"no journal could be made in {demo.folder}: {done.stderr.strip()}")


def licserver(*arguments: str) -> list[str]:
    """The command line of `licserver`, of the same installation as this program."""
    return [sys.executable, "-c", "from licserver.cli import main; main()", *arguments]


def _refuse_if_taken(port: int, option: str) -> None:
    try:
        _bind(port)
    except OSError as error:
        why = f"127.0.0.1:{port} cannot be used ({error.strerror})"
        raise Misused(f"{why}: stop what listens there, or choose another {option}") from error


def _server_ports(port: int, panel_port: int) -> dict[str, int]:
    """The first free ones above, which no outgoing connection takes while a killed server is down."""
    found: list[int] = []
    for candidate in range(port + _DISTANCE, HIGHEST_PORT):
        if len(found) == len(SERVERS):
            break
        if candidate != panel_port and _is_free(candidate):
            found.append(candidate)
    else:
        raise Misused(f"no two ports above {port} are free: choose another --port")
    return dict(zip(SERVERS, found, strict=True))


def _is_free(port: int) -> bool:
    try:
        _bind(port)
    except OSError:
        return False
    return True


def _bind(port: int) -> None:
    with socket.socket() as trying:
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trying.bind(("127.0.0.1", port))
        trying.listen(1)
