"""
A real `lsproxy serve` before stand-ins of license servers, all in one folder, all ended with it.

Servers are added, then pools of them, then listeners; `start` writes the
configuration and waits until lsproxy runs and has looked at every backend.
"""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults.process import Child, wait_for
from tests.faults.system import COMMANDS, free_port
from tests.relay.line import ask, outcome

STANDIN = Path(__file__).with_name("standin.py")
QUICK = {"interval": 0.1, "timeout": 0.3, "rise": 1, "fall": 2}
POOL = "lic"
SECONDS = 60.0

_FAULT_MARKS = ("Traceback", "Unhandled", "Exception ignored", "never awaited", "never retrieved")

Message = dict[str, Any]


class Site:
    """See the module. `before` stands before the command of lsproxy."""

    def __init__(self, folder: Path, *, before: Sequence[str] = ()) -> None:
        self.folder = folder
        self.addresses: dict[str, dict[str, int]] = {}
        self.servers: dict[str, Child] = {}
        self.others: list[Child] = []
        self.ports: dict[str, int] = {}
        self.tree: dict[str, Any] = {
            "listen": {},
            "pools": {},
            "state": f"sqlite://{folder / 'lsproxy.db'}",
            "admin": {
                "address": f"127.0.0.1:{free_port()}",
                "socket": str(folder / "admin.sock"),
                "tokens_file": str(folder / "tokens.yaml"),
            },
            "access_log": str(folder / "access.log"),
            "log": {"format": "json"},
        }
        self.config = folder / "lsproxy.yaml"
        tokens = folder / "tokens.yaml"
        tokens.touch(0o600)
        tokens.write_text("tokens: []\n")
        command = [*before, str(COMMANDS / "lsproxy"), "serve", "-c", str(self.config)]
        self.proxy = Child("lsproxy", command, folder / "lsproxy.log")

    # --- what there is ------------------------------------------------------------

    def server(self, name: str, *port_names: str, options: Sequence[str] = (), is_started: bool = True) -> Child:
        """A stand-in with one port, or with ports of these names."""
        numbers = self.addresses[name] = {port: free_port() for port in port_names or ("",)}
        places = [f"{port}={number}" for port, number in numbers.items()]
        command = [sys.executable, "-I", str(STANDIN), name, *places, *options]
        child = self.servers[name] = Child(name, command, self.folder / f"{name}.log")
        if is_started:
            self.start_server(name)
        return child

    def start_server(self, name: str) -> None:
        """Start it and wait until it listens."""
        self.servers[name].start()
        for number in self.addresses[name].values():
            wait_for(lambda number=number: listens(number), f"{name} listens")

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Child:
        """Another program, ended with the site."""
        child = Child(name, command, self.folder / f"{name}.log", environment)
        self.others.append(child)
        child.start()
        return child

    def backend(self, name: str, **settings: Any) -> Message:
        """A server's part of a pool."""
        places = {port: f"127.0.0.1:{number}" for port, number in self.addresses[name].items()}
        where = {"address": places[""]} if "" in places else {"ports": places}
        return {**where, **settings}

    def pool(self, name: str = POOL, /, *, backends: Mapping[str, Message] | None = None, **settings: Any) -> None:
        """A pool, by default of all servers in their order, checked often."""
        chosen = backends if backends is not None else {one: self.backend(one) for one in self.servers}
        self.tree["pools"][name] = {"kind": "tcp", "backends": dict(chosen), "health": QUICK, **settings}

    def listen(self, name: str = "door", /, *, pool: str = POOL, host: str = "127.0.0.1", **settings: Any) -> int:
        """A listener; its port."""
        port = self.ports[name] = free_port()
        self.tree["listen"][name] = {"address": f"{host}:{port}", "pool": pool, **settings}
        return port

    # --- running ------------------------------------------------------------------

    def start(self) -> "Site":
        """Start lsproxy, and wait until it has looked at every backend."""
        self.write()
        self.proxy.start()
        wait_for(self._is_settled, "lsproxy has looked at every backend", SECONDS)
        return self

    def write(self) -> None:
        """Write the configuration as it is now."""
        self.config.write_text(json.dumps(self.tree))

    def end(self) -> None:
        """Kill everything."""
        children = [self.proxy, *self.servers.values(), *self.others]
        for child in children:
            child.signal(signal.SIGKILL)
        for child in children:
            if child.is_running:
                child.wait()

    def faults_in_log(self) -> list[str]:
        """What may not stand in the log of lsproxy, a sentence each."""
        log = self.proxy.log
        return [f"{mark} in the log of lsproxy:\n{log[-4000:]}" for mark in _FAULT_MARKS if mark in log]

    # --- asking -------------------------------------------------------------------

    @property
    def door(self) -> int:
        """The port of the first listener."""
        return next(iter(self.ports.values()))

    def who(self, door: str = "door") -> str:
        """The server that answers a new client, or how it was turned away."""
        return outcome(self.ports[door])

    def count(self, name: str) -> int:
        """How many clients a server has that said something."""
        number = next(iter(self.addresses[name].values()))
        return int(ask(number, "count")) - 1

    def argv(self, *arguments: object) -> list[str]:
        """A command of lsproxy that asks the running one."""
        admin = f"unix:{self.folder / 'admin.sock'}"
        return [str(COMMANDS / "lsproxy"), *map(str, arguments), "--admin", admin]

    def command(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a command of lsproxy that asks the running one."""
        done = subprocess.run(self.argv(*arguments), capture_output=True, text=True, timeout=SECONDS, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def do(self, *arguments: object) -> str:
        """The same, and it must be done; what it printed."""
        done = self.command(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def picture(self, pool: str = POOL) -> Message:
        """A pool, as the admin API tells it."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(SECONDS)
            line.connect(str(self.folder / "admin.sock"))
            line.sendall(b"GET /api/v1/pools HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            with http.client.HTTPResponse(line) as answer:
                answer.begin()
                pools: list[Message] = json.loads(answer.read())["pools"]
        return next(one for one in pools if one["pool"] == pool)

    def health(self, name: str) -> str:
        """Up, down or unchecked."""
        return str(self.seen(name)["health"])

    def seen(self, name: str) -> Message:
        """A backend, as the admin API tells it."""
        found: Message = next(one for one in self.picture()["backends"] if one["name"] == name)
        return found

    def serving(self) -> str | None:
        """The backend clients are sent to."""
        found: str | None = self.picture()["serving"]
        return found

    def wait(self, is_so: Callable[[Message], Any], what: str, seconds: float = SECONDS) -> Message:
        """The pool as soon as `is_so` of it."""

        def look() -> Message | None:
            picture = self.picture()
            return picture if is_so(picture) else None

        return wait_for(look, what, seconds)

    def wait_serving(self, name: str | None) -> Message:
        """The pool as soon as clients are sent to that backend, or to nobody."""
        return self.wait(lambda pool: pool["serving"] == name, f"{name} is served")

    def wait_health(self, name: str, health: str) -> None:
        wait_for(lambda: self.health(name) == health, f"{name} is {health}")

    def accesses(self) -> list[str]:
        """The lines of the access log."""
        path = self.folder / "access.log"
        return path.read_text().splitlines() if path.exists() else []

    def _is_settled(self) -> bool:
        assert self.proxy.is_running, f"lsproxy ended:\n{self.proxy.log[-3000:]}"
        with contextlib.suppress(OSError):
            pools = [self.picture(name) for name in self.tree["pools"]]
            return all(one["health"] != "unchecked" for pool in pools for one in pool["backends"]) and all(
                pool["serving"] is not None or pool["reason"] for pool in pools
            )
        return False


def listens(port: int) -> bool:
    """Whether somebody accepts connections at a port of 127.0.0.1."""
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False
