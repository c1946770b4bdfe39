"""
Real sockets before the reference server: addresses that are active, standby, dead or silent, as a test says.

`Cluster` runs in a thread of its own; its methods may be called from any other.
"""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from tests.promises.reference import Message, Out, Reference


class _Link(asyncio.Protocol):
    def __init__(self, cluster: "Cluster", member: int) -> None:
        self._cluster = cluster
        self.member = member
        self._rest = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._cluster.links.add(self)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._cluster.heard(self, json.loads(line))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it ended makes no difference
        self._cluster.links.discard(self)
        self._cluster.reference.closed(self, self._cluster.clock())


class Cluster:
    """`members` addresses on loopback sharing one reference server; the first is active."""

    def __init__(self, reference: Reference, *, members: int = 1, tls: ssl.SSLContext | None = None) -> None:
        self.reference = reference
        self.links: set[_Link] = set()
        self.active = 0
        self.is_silent = False
        self.heard_requests: list[Message] = []
        self.answer: Callable[[Message], Message | None] = lambda _: None
        self._members = members
        self._tls = tls
        self._servers: list[asyncio.Server | None] = []
        self.ports: list[int] = []
        self._loop = asyncio.new_event_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="small-server", daemon=True)

    def clock(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def __enter__(self) -> Self:
        self._thread.start()
        for member in range(self._members):
            self._call(self._listen(member))
        return self

    def __exit__(self, *problem: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def server_list(self) -> str:
        return ";".join(f"{port}@127.0.0.1" for port in self.ports)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [("127.0.0.1", port) for port in self.ports]

    # --- faults, from any thread ---

    def kill(self, member: int) -> None:
        """Its connections and its port are gone."""
        self._call(self._kill(member))

    def revive(self, member: int) -> None:
        """It listens again, on the same port."""
        self._call(self._listen(member))

    def take_over(self, member: int) -> None:
        """`member` becomes the active one."""
        self._call(self._take_over(member))

    def cut(self) -> None:
        """All connections are reset, nobody dies."""
        self._call(self._cut())

    def send_all(self, message: Message) -> None:
        """An event to everybody."""
        self._call(self._send_all(message))

    def remove(self, seat: int) -> None:
        """An operator takes this seat back."""
        self._call(self._remove(seat))

    # --- in the loop ---

    def heard(self, link: _Link, message: Message) -> None:
        self.heard_requests.append(message)
        if self.is_silent:
            return
        scripted = self.answer(message)
        if scripted is not None:
            self._perform([(link, {"id": message["id"], **scripted})])
        elif link.member != self.active:
            active = f"127.0.0.1:{self.ports[self.active]}"
            refusal = {"ok": False, "error": "not_active", "message": f"{active} is active", "active": active}
            self._perform([(link, {"id": message["id"], **refusal}), (link, None)])
        else:
            self._perform(self.reference.said(link, message, self.clock()))

    def _perform(self, out: Out) -> None:
        for link, message in out:
            if message is None:
                link.transport.close()
            else:
                link.transport.write(json.dumps(message).encode() + b"\n")
        if self._alarm is not None:
            self._alarm.cancel()
        wake = self.reference.next_wake()
        if wake < float("inf"):
            self._alarm = self._loop.call_later(max(0.001, wake - self.clock()), self._wake)

    def _wake(self) -> None:
        self._perform(self.reference.passed(self.clock()))

    async def _listen(self, member: int) -> None:
        port = self.ports[member] if member < len(self.ports) else 0
        server = await self._loop.create_server(
            lambda: _Link(self, member), "127.0.0.1", port, ssl=self._tls, backlog=1000
        )
        if member < len(self.ports):
            self._servers[member] = server
        else:
            self._servers.append(server)
            self.ports.append(server.sockets[0].getsockname()[1])

    async def _kill(self, member: int) -> None:
        server, self._servers[member] = self._servers[member], None
        if server is not None:
            server.close()
        for link in [link for link in self.links if link.member == member]:
            link.transport.abort()
        await asyncio.sleep(0)

    async def _take_over(self, member: int) -> None:
        self.active = member
        self._perform(self.reference.takeover(self.clock()))

    async def _cut(self) -> None:
        for link in list(self.links):
            link.transport.abort()
        await asyncio.sleep(0)

    async def _send_all(self, message: Message) -> None:
        self._perform([(link, message) for link in self.links])

    async def _remove(self, seat: int) -> None:
        self._perform(self.reference.remove(seat))

    async def _stop(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        for member in range(len(self._servers)):
            await self._kill(member)
        await asyncio.sleep(0.01)

    def _call(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)
