"""
A swarm of clients that ask at random, are cut off at random, and write down everything they say and hear.

Written from docs/protocol.md alone and apart from `lsproxy.client`, so that a
misreading in one does not hide in the other. What a swarm decides comes from
its seed; what happens to it, and so its history, also from the servers.
"""

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.promises.history import History, write_history
from tests.promises.recording_client import RecordingClient

Endpoint = tuple[str, int]


def now() -> float:
    """Seconds of CLOCK_BOOTTIME."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Swarm:
    """
    `clients` recording clients in a thread with an event loop of its own, so
    that a test can break things meanwhile. `think`: seconds a client pauses
    between two requests, on average.
    """

    def __init__(
        self,
        addresses: Sequence[Endpoint],
        *,
        clients: int,
        seconds: float,
        features: Sequence[str],
        seed: int,
        record_path: Path | None = None,
        think: float = 0.1,
    ) -> None:
        self.history: History = []
        self._record_path = record_path
        end = now() + seconds
        self._clients = [
            RecordingClient(
                number,
                addresses,
                features=features,
                randomness=random.Random(f"{seed}.{number}"),
                history=self.history,
                clock=now,
                end=end,
                think=think,
            )
            for number in range(clients)
        ]
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="swarm", daemon=True)

    def start(self) -> "Swarm":
        """Let them go."""
        self._thread.start()
        return self

    def join(self) -> History:
        """Wait for the end; the whole history, which is also written to `record_path`."""
        self._thread.join()
        if self._record_path is not None:
            write_history(self._record_path, self.history)
        if self._problem is not None:
            raise self._problem
        return self.history

    def _run(self) -> None:
        try:
            asyncio.run(self._gather())
        except BaseException as problem:  # noqa: BLE001 - it is raised again in the thread that joins
            self._problem = problem

    async def _gather(self) -> None:
        async with asyncio.TaskGroup() as group:
            for client in self._clients:
                group.create_task(client.run())


def run_swarm(
    addresses: Sequence[Endpoint],
    *,
    clients: int,
    seconds: float,
    features: Sequence[str],
    seed: int,
    record_path: Path | None = None,
    think: float = 0.1,
) -> History:
    """A swarm from its start to its end. `addresses`: (host, port), tried in turn."""
    return (
        Swarm(
            addresses,
            clients=clients,
            seconds=seconds,
            features=features,
            seed=seed,
            record_path=record_path,
            think=think,
        )
        .start()
        .join()
    )
