"""
Several machines on one network: a namespace each, joined by a bridge in one more, the hub, where the clients are.

What a test does inside `Machines` is done in the hub; what a machine runs is started by `on(name)`.
"""

import contextlib
import ctypes
import itertools
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from tests.faults.etcd_system import EtcdSystem
from tests.faults.process import Child
from tests.faults.system import free_port
from tests.licserver.journal.etcd_cluster import EtcdCluster

IP = "/usr/sbin/ip"
CLONE_NEWNET = 0x40000000

_numbers = itertools.count()


class Machines:
    """See the module; a context. Raises CalledProcessError where namespaces cannot be made."""

    def __init__(self, names: Sequence[str]) -> None:
        self.addresses = {name: f"192.0.2.{number}" for number, name in enumerate(names, 1)}
        self._prefix = f"lsp{os.getpid()}x{next(_numbers)}"
        self._hub = f"{self._prefix}-hub"
        self._leaving = contextlib.ExitStack()

    def on(self, name: str) -> list[str]:
        """What puts a command on that machine."""
        return [IP, "netns", "exec", self._namespace(name)]

    @contextlib.contextmanager
    def seen_from(self, name: str) -> Iterator[None]:
        """What is asked within is asked on that machine itself."""
        with _inside(self._namespace(name)):
            yield

    def pull_out(self, name: str) -> None:
        """The cable of that machine."""
        _ip("-n", self._hub, "link", "set", name, "down")

    def plug_in(self, name: str) -> None:
        _ip("-n", self._hub, "link", "set", name, "up")

    def part(self, name: str) -> None:
        """That machine and the others do not reach each other any more; the clients reach them all."""
        others = ", ".join(address for other, address in self.addresses.items() if other != name)
        hooks = {"input": "saddr", "output": "daddr"}
        chains = [
            f"chain {hook} {{ type filter hook {hook} priority 0; ip {which} {{ {others} }} drop; }};"
            for hook, which in hooks.items()
        ]
        self._nft(name, f"table inet parted {{ {' '.join(chains)} }}")

    def part_from(self, name: str, ports: Sequence[int]) -> None:
        """That machine and the others do not reach each other any more at those ports of either."""
        set_of = f"{{ {', '.join(map(str, ports))} }}"
        chains = [
            f"chain {hook} {{ type filter hook {hook} priority 0; {ways} }};"
            for hook in ("input", "output")
            for ways in [f"tcp dport {set_of} drop; tcp sport {set_of} drop;"]
        ]
        self._nft(name, f"table inet parted {{ {' '.join(chains)} }}")

    def join(self, name: str) -> None:
        self._nft(name, "delete table inet parted")

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            self._add(self._hub, undo)
            _ip("-n", self._hub, "link", "add", "hub", "type", "bridge")
            _ip("-n", self._hub, "address", "add", "192.0.2.254/24", "dev", "hub")
            _ip("-n", self._hub, "link", "set", "hub", "up")
            for name, address in self.addresses.items():
                far = self._namespace(name)
                self._add(far, undo)
                _ip("-n", self._hub, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", far)
                _ip("-n", self._hub, "link", "set", name, "master", "hub", "up")
                _ip("-n", far, "address", "add", f"{address}/24", "dev", "eth0")
                _ip("-n", far, "link", "set", "eth0", "up")
            undo.enter_context(_inside(self._hub))
            self._leaving = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.close()

    def _add(self, namespace: str, undo: contextlib.ExitStack) -> None:
        _ip("netns", "add", namespace)
        undo.callback(_ip, "netns", "delete", namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")

    def _namespace(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _nft(self, name: str, rules: str) -> None:
        command = [*self.on(name), "nft", "-f", "-"]
        subprocess.run(command, input=rules.encode(), check=True, capture_output=True, timeout=10)


class SpreadSystem(EtcdSystem):
    """
    License servers on machines of their own, called as they are. They have no operators: that needs TLS between
    machines, which the recording clients do not speak.
    """

    def __init__(self, folder: Path, cluster: EtcdCluster, machines: Machines, **settings: Any) -> None:
        self._machines = machines
        self.cluster = cluster
        super().__init__(folder, cluster, names=list(machines.addresses), **settings)

    def configure(self, name: str, **changes: Any) -> Path:
        return super().configure(name, **{"token_file": None, **changes})

    def add_server(self, name: str, host_name: str = "") -> Child:
        assert not host_name
        self.addresses[name] = (self._machines.addresses[name], free_port())
        self.configure(name)
        child = self.servers[name] = self._child(name, [*self._machines.on(name), *self._command("serve", name)])
        return child


def _ip(*words: str) -> None:
    subprocess.run([IP, *words], check=True, capture_output=True, timeout=10)


@contextlib.contextmanager
def _inside(namespace: str) -> Iterator[None]:
    """This thread, and those it starts within, are in that network namespace."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        other = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
        try:
            _enter(other)
        finally:
            os.close(other)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.setns(descriptor, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
