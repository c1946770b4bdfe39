"""Many sessions at once, each on one connection all the time; an event loop in a thread of its own carries them."""

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Self

from tests.faults.caller import Address, Message

PATIENCE_SECONDS = 60.0


class Herd:
    """A session for each of `sessions` at one address, as a context. `seats`: the number of each one's seat."""

    def __init__(self, address: Address, sessions: Sequence[str]) -> None:
        self._members = [_Member(address, session) for session in sessions]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="herd", daemon=True)

    @property
    def seats(self) -> list[int]:
        return [member.seat for member in self._members]

    def join(self) -> None:
        """All say hello and check a seat of cad out."""
        self._run(member.join() for member in self._members)

    def beat(self) -> None:
        """All ask at once whether their seat is held, and it is, on the connection they always had."""
        self._run(member.beat() for member in self._members)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._run(member.leave() for member in self._members)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, tasks: Iterable[Coroutine[Any, Any, None]]) -> None:
        async def gather() -> None:
            await asyncio.gather(*tasks)

        asyncio.run_coroutine_threadsafe(gather(), self._loop).result(2 * PATIENCE_SECONDS)


class _Member:
    def __init__(self, address: Address, session: str) -> None:
        self._address = address
        self._session = session
        self._writer: asyncio.StreamWriter | None = None
        self.seat = 0

    async def join(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        hello = {"protocol": "seat/1", "session": self._session, "attempt": 1, "user": "herd", "host": "h"}
        assert (await self._ask(1, "hello", **hello))["ok"]
        self.seat = (await self._ask(2, "checkout", feature="cad"))["seat"]

    async def beat(self) -> None:
        reply = await self._ask(3, "heartbeat")
        assert (reply["ok"], reply.get("seats")) == (True, 1), reply

    async def leave(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
            await asyncio.sleep(0)

    async def _ask(self, number: int, op: str, **fields: Any) -> Message:
        assert self._writer is not None
        self._writer.write(json.dumps({"id": number, "op": op, **fields}).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while line := await self._reader.readline():
                message: Message = json.loads(line)
                if message.get("id") == number:
                    return message
        raise AssertionError(f"{op}: the connection was closed")
