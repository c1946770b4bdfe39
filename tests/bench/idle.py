"""What 9,000 idle sessions cost one lsproxy, and how long until a kill has moved all of them."""

import asyncio
import json
import os
import signal
import time

from tests.bench.rig import Rig

SESSIONS = 9_000
AT_ONCE = 200
PATIENCE_SECONDS = 60.0


def idle(rig: Rig) -> tuple[float, float]:
    """Bytes of lsproxy's memory for each idle session, and seconds from a kill until all are resumed on the backup."""
    return asyncio.run(_idle(rig))


async def _idle(rig: Rig) -> tuple[float, float]:
    victim = rig.wait_redundant()
    lsproxy = rig.child("proxy")
    before = lsproxy.resident_bytes()
    limit = asyncio.Semaphore(AT_ONCE)
    clients = await asyncio.gather(*(_hello(rig.port("proxy"), limit) for _ in range(SESSIONS)))
    await asyncio.sleep(2)
    each = (lsproxy.resident_bytes() - before) / SESSIONS
    began = time.monotonic()
    rig.child(victim).signal(signal.SIGKILL)
    await asyncio.wait_for(asyncio.gather(*(_resumed(reader) for reader, _ in clients)), PATIENCE_SECONDS)
    taken = time.monotonic() - began
    for _, writer in clients:
        writer.transport.abort()
    return each, taken


async def _hello(port: int, limit: asyncio.Semaphore) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with limit:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**14)
        hello = {"id": 1, "op": "hello", "protocol": "seat/1", "session": os.urandom(16).hex(), "attempt": 1}
        writer.write(json.dumps({**hello, "user": "idle", "host": "idle"}).encode() + b"\n")
        reply = json.loads(await reader.readline())
        if not reply["ok"]:
            raise SystemExit(f"expected a welcome, not {reply}")
        return reader, writer


async def _resumed(reader: asyncio.StreamReader) -> None:
    event = json.loads(await reader.readline())
    if event.get("event") != "resumed" or not event["resumed"]:
        raise SystemExit(f"expected a resumed session, not {event}")
