"""What if it is the network that fails: a cable pulled out, packets dropped without a word?"""

import contextlib
import ctypes
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.faults.process import wait_for
from tests.relay.line import Line
from tests.relay.site import STANDIN

CLONE_NEWNET = 0x40000000
NEAR, FAR = "192.0.2.1", "192.0.2.2"
PORT = 27000
IP = "/usr/sbin/ip"
HEALTH = {"interval": 0.25, "timeout": 0.5}

pytestmark = pytest.mark.root


def ip(*words: str) -> None:
    subprocess.run([IP, *words], check=True, capture_output=True, timeout=10)


class Segment:
    """Two hosts and a cable between them: `near` has lsproxy and a server, `far` the other server."""

    def __init__(self) -> None:
        number = os.getpid()
        self.near, self.far = f"lsp-near-{number}", f"lsp-far-{number}"
        self.cable = f"lsp{number}"

    def build(self) -> None:
        for namespace in (self.near, self.far):
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", self.near, "link", "add", self.cable, "type", "veth", "peer", "name", self.cable, "netns", self.far)
        for namespace, address in ((self.near, NEAR), (self.far, FAR)):
            ip("-n", namespace, "address", "add", f"{address}/24", "dev", self.cable)
            ip("-n", namespace, "link", "set", self.cable, "up")

    def remove(self) -> None:
        for namespace in (self.near, self.far):
            with contextlib.suppress(subprocess.CalledProcessError):
                ip("netns", "delete", namespace)

    def pull_out(self) -> None:
        """The near end: lsproxy's host does not even get an error for what it sends."""
        ip("-n", self.far, "link", "set", self.cable, "down")

    def plug_in(self) -> None:
        ip("-n", self.far, "link", "set", self.cable, "up")

    def drop(self) -> None:
        """The far host drops what comes for the server's port."""
        rules = f"table inet cut {{ chain input {{ type filter hook input priority 0; tcp dport {PORT} drop; }}; }}"
        command = [IP, "netns", "exec", self.far, "nft", "-f", "-"]
        subprocess.run(command, input=rules.encode(), check=True, capture_output=True, timeout=10)

    def connected(self, port: int) -> socket.socket:
        """A connection of a client on the near host."""
        made = []

        def connect() -> None:  # in a thread of its own, as a namespace is a thread's
            with Path(f"/run/netns/{self.near}").open() as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                assert libc.setns(namespace.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            made.append(socket.create_connection(("127.0.0.1", port), timeout=15))

        thread = threading.Thread(target=connect)
        thread.start()
        thread.join()
        return made[0]


@pytest.fixture
def segment():
    made = Segment()
    try:
        made.build()
    except subprocess.CalledProcessError as refused:
        made.remove()
        pytest.skip(f"network namespaces cannot be made here: {refused.stderr.decode().strip()}")
    yield made
    made.remove()


@pytest.fixture
def site(make_site, segment):
    """The preferred server is across the cable."""
    site = make_site(before=[IP, "netns", "exec", segment.near])
    for name, host, where in (("a", FAR, segment.far), ("b", "127.0.0.1", segment.near)):
        command = [IP, "netns", "exec", where, sys.executable, "-I", str(STANDIN), name, str(PORT), "--host", host]
        site.run(name, command)
    site.pool(
        backends={"a": {"address": f"{FAR}:{PORT}"}, "b": {"address": f"127.0.0.1:{PORT}"}},
        health=HEALTH,
        failback="automatic",
        failback_after=0.5,
    )
    site.listen()
    site.start()
    site.wait_serving("a")
    wait_for(lambda: site.health("b") == "up", "b could follow")
    return site


@pytest.mark.parametrize("fault", ["pull_out", pytest.param("drop", marks=pytest.mark.nft)])
def test_the_way_to_the_server_is_cut(site, segment, fault):
    """Found by silence: a new client is answered by the other one, the old one is reset so that it comes again."""
    with Line(0, there=segment.connected(site.door)) as old:
        assert old.ask("who") == "a"
        getattr(segment, fault)()
        began = time.monotonic()
        with Line(0, there=segment.connected(site.door)) as line:
            assert line.ask("who") == "b"
        assert time.monotonic() - began < 2.5
        assert old.end() == "reset"


def test_the_cable_is_plugged_in_again(site, segment):
    """The server across it is used again once it has answered for a while, and what it still held is no matter."""
    with Line(0, there=segment.connected(site.door)) as old:
        assert old.ask("who") == "a"
        segment.pull_out()
        site.wait_serving("b")
        assert old.end() == "reset"
        segment.plug_in()
        site.wait_serving("a")
        with Line(0, there=segment.connected(site.door)) as line:
            assert line.ask("who") == "a"
