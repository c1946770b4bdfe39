"""How does a test work with lsproxy as an operator does: its commands, its configuration file?"""

import contextlib
import http.client
import json
import socket
import subprocess
from collections.abc import Callable
from typing import Any

from tests.faults.caller import Message
from tests.faults.process import wait_for
from tests.faults.system import COMMANDS, System

SECONDS = 30.0
POOL = "acme"


class Operator:
    """The operator of `system`, which has a proxy."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.admin = f"unix:{system.folder / 'admin.sock'}"

    def ask(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a command of lsproxy that asks the running one."""
        argv = [str(COMMANDS / "lsproxy"), *map(str, arguments), "--admin", self.admin]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def do(self, *arguments: object) -> str:
        """The same, and it must be done; what it printed."""
        done = self.ask(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def pool(self) -> Message:
        """The pool, as the admin API tells it."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(SECONDS)
            line.connect(self.admin.removeprefix("unix:"))
            line.sendall(b"GET /api/v1/pools HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            with http.client.HTTPResponse(line) as answer:
                answer.begin()
                pools: list[Message] = json.loads(answer.read())["pools"]
        return pools[0]

    def backend(self, name: str) -> Message:
        """One of its backends."""
        found: Message = next(backend for backend in self.pool()["backends"] if backend["name"] == name)
        return found

    def wait(self, is_so: Callable[[Message], Any], what: str) -> Message:
        """The pool as soon as `is_so` of it."""

        def look() -> Message | None:
            pool = self.pool()
            return pool if is_so(pool) else None

        return wait_for(look, what)

    def wait_serving(self, name: str) -> Message:
        """The pool as soon as clients are sent to that backend."""
        return self.wait(lambda pool: pool["serving"] == name, f"{name} is served")

    def wait_standby(self, name: str) -> Message:
        """The pool as soon as that backend could take over."""

        def stands_by(pool: Message) -> bool:
            backend = next(one for one in pool["backends"] if one["name"] == name)
            return backend["health"] == "up" and backend["said"] is not None and backend["said"]["role"] == "standby"

        return self.wait(stands_by, f"{name} stands by")

    def edit(self, **changes: Any) -> None:
        """Change the pool's part of lsproxy.yaml."""
        path = self.system.folder / "lsproxy.yaml"
        tree = json.loads(path.read_text())
        tree["pools"][POOL].update(changes)
        path.write_text(json.dumps(tree))

    def start(self) -> None:
        """Start lsproxy, and wait for its admin socket, whether or not clients can be served."""
        assert self.system.proxy is not None
        self.system.proxy.start()
        wait_for(self._is_there, "lsproxy runs")

    def _is_there(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.pool())
        return False
