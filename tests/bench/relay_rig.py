"""The proxies under measurement: lsproxy, HAProxy and nginx with one thread each, all before the same two servers."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.bench.rig import pin
from tests.faults.process import Child, wait_for
from tests.faults.system import free_port
from tests.relay.line import outcome
from tests.relay.site import POOL, Site

SERVERS = ("a", "b")
TUNED = {"interval": 0.25, "timeout": 0.5}
HAPROXY = """
global
  nbthread 1
  maxconn 9000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  option redispatch 1
listen pool
  bind 127.0.0.1:{port}
  server a 127.0.0.1:{a} check
  server b 127.0.0.1:{b} check backup
"""
NGINX = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
master_process off;
worker_rlimit_nofile 20000;
error_log stderr error;
pid {folder}/nginx.pid;
events {{ worker_connections 18000; }}
stream {{
  upstream pool {{ server 127.0.0.1:{a}; server 127.0.0.1:{b} backup; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; proxy_pass pool; }}
}}
"""


class RelayRig:
    """Starts and ends everything; a context. A proxy is known by its name: lsproxy, lsproxy tuned, HAProxy, nginx."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lsproxy-bench-")
        self.folder = Path(self._folder.name)
        self.programs = {name: _compile(name, self.folder) for name in ("relay_echo", "relay_load")}
        self.places = {name: free_port() for name in SERVERS}
        self.servers = {name: self._server(name, port) for name, port in self.places.items()}
        self.sites = {"lsproxy": self._site({}), "lsproxy tuned": self._site({"health": TUNED})}
        self.ports = {name: site.door for name, site in self.sites.items()}
        self._peers: dict[str, Child] = {}

    def __enter__(self) -> Self:
        for name in SERVERS:
            self.start_server(name)
        for site in self.sites.values():
            site.start()
        for peer in ("HAProxy", "nginx"):
            self.start_peer(peer)
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if error is not None:
            print("\n".join(f"{path}: {path.read_text()[-600:]}" for path in self.folder.glob("**/*.log")))
        for peer in self._peers.values():
            peer.kill()
        for site in self.sites.values():
            site.end()
        self._folder.cleanup()

    def start_server(self, name: str) -> None:
        """Start a backend and wait until it listens."""
        self.sites["lsproxy"].start_server(name)

    def start_peer(self, name: str) -> None:
        """Start HAProxy or nginx, anew if it runs, and wait until it serves."""
        if name in self._peers:
            self._peers.pop(name).kill()
        port = self.ports[name] = free_port()
        text = HAPROXY if name == "HAProxy" else NGINX
        path = self.folder / f"{name}.conf"
        path.write_text(text.format(port=port, folder=self.folder, **self.places).lstrip())
        command = ["haproxy", "-db", "-f"] if name == "HAProxy" else ["nginx", "-c"]
        peer = self._peers[name] = Child(name, [*command, str(path)], self.folder / f"{name}.log")
        peer.start()
        wait_for(lambda: outcome(port, "e") == "e", f"{name} serves")

    def pid(self, name: str) -> int:
        """The process of a proxy."""
        if name in self.sites:
            return self.sites[name].proxy.pid
        return self._peers[name].pid

    def resident_bytes(self, name: str) -> int:
        """The memory of that process."""
        status = Path(f"/proc/{self.pid(name)}/status").read_text()
        return 1024 * int(status.partition("VmRSS:")[2].split()[0])

    def wait_redundant(self, name: str) -> str:
        """The server that an lsproxy uses, when it knows another that could follow."""

        def is_redundant(pool: dict[str, Any]) -> bool:
            return pool["serving"] is not None and all(one["health"] == "up" for one in pool["backends"])

        return str(self.sites[name].wait(is_redundant, f"{name} knows two servers")["serving"])

    @contextmanager
    def on_one_processor(self) -> Iterator[list[str]]:
        """All processes on the first one; what to put before the command of the load."""
        pids = [server.pid for server in self.servers.values()] + [self.pid(name) for name in self.ports]
        for pid in pids:
            pin(pid, {0})
        yield ["taskset", "-c", "0"]
        for pid in pids:
            pin(pid, {0, 1})

    def load(self, proxy: str | None, *arguments: object, before: tuple[str, ...] | list[str] = ()) -> float:
        """The figure that `relay_load` prints; without a proxy, of the first server itself."""
        port = self.ports[proxy] if proxy is not None else self.places["a"]
        mode, *rest = map(str, arguments)
        command = [*before, str(self.programs["relay_load"]), str(port), mode, *rest]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise SystemExit(f"{proxy}: {' '.join(command)}: {done.stderr}")
        return float(done.stdout)

    def _server(self, name: str, port: int) -> Child:
        return Child(name, [str(self.programs["relay_echo"]), str(port)], self.folder / f"{name}.log")

    def _site(self, settings: dict[str, Any]) -> Site:
        folder = self.folder / ("tuned" if settings else "usual")
        folder.mkdir()
        site = Site(folder)
        for name, port in self.places.items():
            site.addresses[name] = {"": port}
            site.servers[name] = self.servers[name]
        site.pool(POOL, **({"health": {}} | settings))
        site.listen()
        del site.tree["access_log"]  # the others write none either
        return site


def _compile(name: str, folder: Path) -> Path:
    binary = folder / name
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run(["cc", "-O2", "-o", str(binary), str(source)], check=True, timeout=120)
    return binary
