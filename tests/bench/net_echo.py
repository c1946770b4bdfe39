"""
How fast is a line echo over `lsproxy.net`, beside Twisted's epoll transports, and what does an idle connection weigh?

    python tests/bench/net_echo.py

Server and load are processes of their own, each run anew; the load is the same for both: plain sockets of 32
connections with one 100-byte line in flight each, then one connection alone.
"""

import ctypes
import gc
import multiprocessing
import os
import resource
import selectors
import signal
import socket
import sys
import time
from pathlib import Path

SECONDS = 3.0
CONNECTIONS = 32
IDLE = 5_000
LINE = b"x" * 99 + b"\n"
PR_SET_PDEATHSIG = 1


def serve(kind: str, told: "multiprocessing.connection.Connection") -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if kind == "twisted":
        from twisted.internet import epollreactor  # noqa: PLC0415 - a reactor is chosen first

        epollreactor.install()
    else:
        from lsproxy.net import reactor as net_reactor  # noqa: PLC0415 - a reactor is chosen first

        net_reactor.install()
    from twisted.internet import reactor  # noqa: PLC0415 - a reactor is chosen first
    from twisted.internet.endpoints import TCP4ServerEndpoint  # noqa: PLC0415 - a reactor is chosen first
    from twisted.internet.protocol import Factory, Protocol  # noqa: PLC0415 - a reactor is chosen first

    class Echo(Protocol):
        __slots__ = ("transport",)

        def dataReceived(self, received: bytes) -> None:
            self.transport.write(received)

    if kind == "twisted":
        endpoint = TCP4ServerEndpoint(reactor, 0, 4096, "127.0.0.1")
    else:
        from lsproxy.net.endpoints import server_endpoint  # noqa: PLC0415 - a reactor is chosen first

        endpoint = server_endpoint(reactor, "127.0.0.1", 0)
    gc.collect()
    endpoint.listen(Factory.forProtocol(Echo)).addCallback(lambda port: told.send(port.getHost().port))
    reactor.run()


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def echo(port: int, connections: int) -> int:
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ)
        connection.send(LINE)
    answered = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for key, _ in selector.select():
            if key.fileobj.recv(4096):
                answered += 1
                key.fileobj.send(LINE)
    for key in list(selector.get_map().values()):
        key.fileobj.close()
    return answered


def measure(kind: str) -> tuple[str, ...]:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("fork").Process(target=serve, args=(kind, theirs), daemon=True)
    server.start()
    port = ours.recv()
    before = cpu(server.pid)
    answered = echo(port, CONNECTIONS)
    spent = cpu(server.pid) - before
    alone = echo(port, 1)
    before_bytes = resident(server.pid)
    started = time.monotonic()
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(IDLE)]
    for connection in idle:
        connection.send(LINE)
    for connection in idle:
        connection.recv(4096)
    accepted = time.monotonic() - started
    weight = (resident(server.pid) - before_bytes) / IDLE
    server.kill()
    server.join()
    return (
        kind,
        f"{answered / SECONDS:,.0f}",
        f"{spent / answered * 1e6:.1f}",
        f"{SECONDS / alone * 1e6:.0f}",
        f"{weight / 1024:.2f}",
        f"{accepted:.2f}",
    )


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    heads = ("transports", "lines/s", "CPU µs/line", "round trip µs", "KiB/idle", f"s for {IDLE} dials")
    rows = [heads, *(measure(kind) for kind in (sys.argv[1:] or ("twisted", "lsproxy")))]
    for row in rows:
        sys.stdout.write("  ".join(f"{cell:>16}" for cell in row) + "\n")
