"""
A whole system of real processes in one folder: license servers that share a
signed license and a journal, and lsproxy before them where it is wanted.

Readiness is asked for, never slept for. Ports lie below those the kernel gives
to outgoing connections, so that nobody takes the port of a killed server.
"""

import hashlib
import itertools
import json
import random
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lsproxy.client import LicenseClient
from lsproxy.license.signature import sign
from tests.faults.caller import Address, Caller, Hung, Keeper, Message
from tests.faults.process import Child, wait_for

COMMANDS = Path(sys.executable).parent
FEATURES = {"cad": 10, "mesh": 3}
SERVER_NAME = "acme-licenses"
FIRST_PORT, LAST_PORT = 20_000, 32_000
COMMAND_SECONDS = 60.0
UNSHARE = "/usr/bin/unshare"

_FAULT_MARKS = ("Traceback", "Unhandled", "Exception ignored", "never awaited", "never retrieved")
_ports = itertools.cycle(random.sample(range(FIRST_PORT, LAST_PORT), 2000))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    for port in _ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


class System:
    """
    See the module. `before` stands before every command of a server (to put it
    into a namespace), `environment` beside the test's own. Of a pair the first of
    `names` is the primary, and the second may serve for `takeover_hours` in its place;
    of a triad, three names, the first comes first.
    """

    def __init__(
        self,
        folder: Path,
        *,
        features: Mapping[str, int] = FEATURES,
        names: Sequence[str] = ("lic-a", "lic-b"),
        ttl: float = 2.0,
        heartbeat: float = 5.0,
        resume: float = 30.0,
        has_proxy: bool = False,
        redundancy: str = "duplicate",
        takeover_hours: float = 72.0,
        journal_folder: Path | None = None,
        before: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.features = dict(features)
        self.redundancy = redundancy
        self.names = list(names)
        self.takeover_hours = takeover_hours
        is_pair = redundancy == "pair"
        self.takeover_limits = {names[1]: takeover_hours * 3600.0} if is_pair else {}
        self.terms = {"ttl": ttl, "heartbeat": heartbeat, "resume": resume}
        self.journal = (journal_folder or folder) / "acme.db"
        self.token = secrets.token_urlsafe(24)
        self.secrets = {self.token}
        self.servers: dict[str, Child] = {}
        self.addresses: dict[str, Address] = {}
        self._before = before
        self._environment = environment
        self._children: list[Child] = []
        self._keepers: list[Keeper] = []
        self._vendor = Ed25519PrivateKey.generate()
        self._write_shared_files()
        for name in names:
            self.add_server(name)
        self.proxy = self._add_proxy() if has_proxy else None

    # --- files ---

    def license_text(self, features: Mapping[str, int], hostid: str = f"HOSTNAME={socket.gethostname()}") -> str:
        """A license for that host, signed by this system's vendor."""
        limit = f" TAKEOVER={self.takeover_hours:g}" if self.redundancy == "pair" else ""
        lines = [f"INCREMENT {feature} acme 2027.0 permanent {count}{limit}" for feature, count in features.items()]
        hosts = self.names if self.redundancy in {"pair", "triad"} else ["licenses"]
        servers = [f"SERVER {name} {hostid}" for name in hosts]
        text = "\n".join([*servers, "VENDOR acme", *lines, ""])
        return sign(text, "acme.lic", self._vendor)

    def vendor_pem(self) -> bytes:
        """The vendor's private key."""
        return self._vendor.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def license_file(self) -> Path:
        return self.folder / "acme.lic"

    def configure(self, name: str, **changes: Any) -> Path:
        """The configuration file of a server, written with `changes` to the usual; None leaves a key out."""
        host, port = self.addresses[name]
        usual = {
            "name": name,
            "server_name": SERVER_NAME,
            "listen": f"{host}:{port}",
            "license_file": str(self.license_file),
            "vendor_keys": {"acme": str(self.folder / "acme.pub")},
            "journal": f"sqlite://{self.journal}",
            "redundancy": self.redundancy,
            "token_file": str(self.folder / "operator.token"),
            "state": str(self.folder / f"{name}.state"),
            **self.terms,
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps({key: said for key, said in {**usual, **changes}.items() if said is not None}))
        return path

    def add_server(self, name: str, host_name: str = "") -> Child:
        """A license server of this system, not yet started; on a host of another name if one is given."""
        self.addresses[name] = ("127.0.0.1", free_port())
        self.configure(name)
        child = self.servers[name] = self._child(name, [*_on_host(host_name), *self._command("serve", name)])
        return child

    def again(self, name: str) -> Child:
        """A second process with the configuration of a server."""
        return self._child(f"{name} again", self._command("serve", name))

    def create_journal(self, name: str | None = None) -> None:
        done = self.licserver("init", name or next(iter(self.servers)))
        assert done.returncode == 0, done.stderr

    # --- running ---

    def start(self) -> "System":
        """Create the journal and start everything; the first server is active then, the others stand by."""
        self.create_journal()
        for name in self.servers:
            self.start_server(name)
        if self.proxy is not None:
            self.start_proxy()
        return self

    def start_server(self, name: str) -> Message:
        """Start it and wait until it is standby or active; its status."""
        self.servers[name].start()
        return self.ready(name)

    def ready(self, name: str) -> Message:
        """Its status as soon as it is active, or standby while another is active and could take over from that one."""

        def is_ready() -> Message | None:
            assert self.servers[name].is_running, f"{name} ended:\n{self.servers[name].log[-2000:]}"
            status = self.status(name)
            if status is None or status["role"] == "active":
                return status
            redundancy = status["redundancy"]
            is_unseen = redundancy["role"] == "redundant" and redundancy["fault"]
            return status if self.active() is not None and not is_unseen else None

        return wait_for(is_ready, f"{name} is ready")

    def start_proxy(self) -> None:
        """Start it and wait until it lets a client through."""
        assert self.proxy is not None
        self.proxy.start()
        wait_for(lambda: self._status_at(self.addresses["proxy"]), "lsproxy serves", 60)

    def licserver(self, command: str, name: str) -> subprocess.CompletedProcess[str]:
        """Run a command of licserver with the configuration of a server; command and arguments in one string."""
        argv = self._command(command, name)
        return subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)

    def licserver_without(self, command: str) -> str:
        """What a command of licserver prints that works on files alone."""
        argv = [str(COMMANDS / "licserver"), *command.split()]
        return subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True).stdout

    def end(self) -> None:
        """Kill everything that was started, close what was opened."""
        for keeper in self._keepers:
            keeper.hang_up()
        for child in self._children:
            child.signal(signal.SIGKILL)
        for child in self._children:
            if child.is_running:
                child.wait()

    # --- asking ---

    @property
    def doors(self) -> list[Address]:
        """Where clients connect."""
        if self.proxy is not None:
            return [self.addresses["proxy"]]
        return [self.addresses[name] for name in self.servers]

    def status(self, name: str) -> Message | None:
        """What a server says of itself; None if it says nothing within a second."""
        return self._status_at(self.addresses[name])

    def active(self, after_epoch: int = 0) -> str | None:
        """The server that is active in the highest epoch, if that is above `after_epoch`."""
        found = [(status["epoch"], name) for name, status in self._statuses() if status["role"] == "active"]
        epoch, name = max(found, default=(0, None))
        return name if epoch > after_epoch else None

    def wait_active(self, after_epoch: int = 0) -> tuple[str, int]:
        """The active server and its epoch, when there is one above `after_epoch`."""
        name = wait_for(lambda: self.active(after_epoch), f"a server is active after epoch {after_epoch}")
        status = self.status(name)
        return (name, status["epoch"]) if status is not None else self.wait_active(after_epoch)

    def keeper(self, user: str = "keeper") -> Keeper:
        """A session that goes on through every failover; its id must not turn up in a log."""
        keeper = Keeper(self.doors, user)
        self._keepers.append(keeper)
        self.secrets.add(keeper.secret)
        return keeper

    def application(self, user: str) -> LicenseClient:
        """A client of the library at every door."""
        servers = ";".join(f"{port}@{host}" for host, port in self.doors)
        return LicenseClient(servers, user=user, app="faults")

    def operator(self, name: str) -> Caller:
        """An operator's connection to a server."""
        caller = Caller(self.addresses[name])
        welcome = caller.ask("hello", token=self.token)
        assert welcome["ok"], welcome
        return caller

    def usage(self, feature: str | None = None) -> dict[str, Message]:
        """All features, with all their holders, as the active server says."""
        name, _ = self.wait_active()
        with Caller(self.addresses[name]) as caller:
            found: dict[str, Message] = {}
            after: int | None = 0
            while after is not None:
                only = {} if feature is None else {"feature": feature}
                reply = caller.ask("usage", after=after, limit=1000, **only)
                assert reply["ok"], reply
                for one in reply["features"]:
                    found.setdefault(one["feature"], {**one, "holders": []})["holders"] += one["holders"]
                after = reply["next"]
        return found

    def faults_in_logs(self) -> list[str]:
        """Tracebacks and secrets in any log, a sentence each."""
        digests = {hashlib.sha256(secret.encode()).hexdigest() for secret in self.secrets}
        secret = re.compile("|".join(map(re.escape, sorted(self.secrets | digests))))
        found = []
        for child in self._children:
            log = child.log
            found += [f"{child.name}: {mark} in the log:\n{log[-4000:]}" for mark in _FAULT_MARKS if mark in log]
            found += [f"{child.name}: the secret {one} is in the log" for one in set(secret.findall(log))]
        return found

    # --- private ---

    def _statuses(self) -> Iterator[tuple[str, Message]]:
        for name in self.servers:
            status = self.status(name) if self.servers[name].is_running else None
            if status is not None:
                yield name, status

    def _status_at(self, address: Address) -> Message | None:
        try:
            with Caller(address, seconds=1.0) as caller:
                reply = caller.ask("status")
        except (OSError, Hung):
            return None
        return reply if reply["ok"] else None

    def _command(self, command: str, name: str) -> list[str]:
        licserver = str(COMMANDS / "licserver")
        return [*self._before, licserver, *command.split(), "-c", str(self.folder / f"{name}.yaml")]

    def _child(self, name: str, command: Sequence[str]) -> Child:
        child = Child(name, command, self.folder / f"{name}.log", self._environment)
        self._children.append(child)
        return child

    def _write_shared_files(self) -> None:
        public = self._vendor.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.folder / "acme.pub").write_bytes(public)
        self.license_file.write_text(self.license_text(self.features))
        for name, content in (("operator.token", self.token), ("tokens.yaml", "tokens: []\n")):
            path = self.folder / name
            path.touch(0o600)
            path.write_text(content)

    def _add_proxy(self) -> Child:
        backends = {
            name: {"address": f"127.0.0.1:{port}"} for name, (_, port) in self.addresses.items() if name in self.servers
        }
        self.addresses["proxy"] = ("127.0.0.1", free_port())
        self.addresses["admin"] = ("127.0.0.1", free_port())
        pool = {
            "kind": "licserver",
            "server_name": SERVER_NAME,
            "license_file": str(self.license_file),
            "vendor_keys": {"acme": str(self.folder / "acme.pub")},
            "backends": backends,
            "token_file": str(self.folder / "operator.token"),
            "hold": min(10, self.terms["resume"] - self.terms["ttl"] - self.terms["heartbeat"] - 2),
        }
        configuration = {
            "listen": {"licenses": {"address": f"127.0.0.1:{self.addresses['proxy'][1]}", "pool": "acme"}},
            "pools": {"acme": pool},
            "state": f"sqlite://{self.folder / 'lsproxy.db'}",
            "admin": {
                "address": f"127.0.0.1:{self.addresses['admin'][1]}",
                "socket": str(self.folder / "admin.sock"),
                "tokens_file": str(self.folder / "tokens.yaml"),
            },
        }
        path = self.folder / "lsproxy.yaml"
        path.write_text(json.dumps(configuration))
        return self._child("lsproxy", [str(COMMANDS / "lsproxy"), "serve", "-c", str(path)])


def _on_host(name: str) -> list[str]:
    """What puts a command on a host of that name: a namespace of its own, gone with it."""
    return [UNSHARE, "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name] if name else []
