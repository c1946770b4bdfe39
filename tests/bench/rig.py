"""The system under measurement: two licservers on one journal at default settings, lsproxy and HAProxy before them."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.faults.process import Child, wait_for
from tests.faults.system import COMMANDS, System, free_port

FEATURE = "big"
SEATS = 900_000_000
SETTLED_SECONDS = 2.0


class Rig:
    """Starts and ends everything; a context. `system` is the pair with lsproxy, `peers` what else stands before it."""

    def __init__(self, redundancy: str = "duplicate") -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lsproxy-bench-")
        self.folder = Path(self._folder.name)
        self.system = System(
            self.folder, features={FEATURE: SEATS}, heartbeat=15, resume=45, has_proxy=True, redundancy=redundancy
        )
        self.peers: dict[str, Child] = {}

    def __enter__(self) -> Self:
        self.system.start()
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is not None:
            print("\n".join(f"{path.name}: {path.read_text()[-600:]}" for path in self.folder.glob("*.log")))
        for peer in self.peers.values():
            peer.kill()
        self.system.end()
        self._folder.cleanup()

    def port(self, name: str) -> int:
        """Where a licserver, `proxy` or a peer listens."""
        return self.system.addresses[name][1]

    def child(self, name: str) -> Child:
        """The process of a licserver, `proxy` or a peer."""
        if name == "proxy":
            assert self.system.proxy is not None
            return self.system.proxy
        return self.peers.get(name) or self.system.servers[name]

    def start_haproxy(self, name: str, server_options: str) -> None:
        """Start HAProxy with one thread, lic-a first and lic-b as its backup."""
        port = free_port()
        self.system.addresses[name] = ("127.0.0.1", port)
        config = self.folder / f"{len(self.peers)}.cfg"
        config.write_text(
            f"global\n  nbthread 1\n  maxconn 9000\ndefaults\n  mode tcp\n  timeout connect 5s\n"
            f"  timeout client 1h\n  timeout server 1h\n  option redispatch 1\n"
            f"listen pool\n  bind 127.0.0.1:{port}\n"
            f"  server lic-a 127.0.0.1:{self.port('lic-a')} {server_options}\n"
            f"  server lic-b 127.0.0.1:{self.port('lic-b')} {server_options} backup\n"
        )
        peer = self.peers[name] = Child(name, ["haproxy", "-db", "-f", str(config)], self.folder / f"{name}.log")
        peer.start()
        wait_for(lambda: self.system.status(name), f"{name} answers")

    def active(self) -> str:
        """The active licserver."""
        return self.system.wait_active()[0]

    def wait_redundant(self) -> str:
        """The active licserver, when lsproxy has seen it and a standby up for two seconds."""
        wait_for(self._is_redundant, "the pair is redundant", 60)
        return self.active()

    def _is_redundant(self) -> bool:
        admin = f"unix:{self.folder}/admin.sock"
        command = [str(COMMANDS / "lsproxy"), "status", "--json", "--admin", admin]
        done = subprocess.run(command, check=False, capture_output=True, timeout=10)
        if not done.stdout:
            return False
        backends: list[dict[str, Any]] = json.loads(done.stdout)["pools"][0]["backends"]
        roles = {backend["said"]["role"] for backend in backends if backend["said"] and backend["health"] == "up"}
        return roles == {"active", "standby"} and min(each["changed_for"] for each in backends) >= SETTLED_SECONDS


def compile_load(folder: Path) -> Path:
    """The load generator, compiled."""
    binary = folder / "load"
    source = Path(__file__).with_name("load.c")
    subprocess.run(["cc", "-O2", "-o", str(binary), str(source)], check=True, timeout=120)
    return binary


def pin(pid: int, processors: set[int]) -> None:
    """Let all threads of a process run on these processors only."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), processors)
