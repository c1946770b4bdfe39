"""
Were the promises kept while something was broken? A swarm of recording clients
works through it all; at the end its history is checked, and every seat its
clients held must stand in the servers' books.
"""

import random
import time
from types import TracebackType
from typing import Any, Self

from tests.faults.system import System
from tests.promises.checker import check
from tests.promises.history import History
from tests.promises.recorder import Swarm, now
from tests.promises.recording_client import Connection, RecordingClient, Session
from tests.promises.testimony import Testimony

LONGEST_SECONDS = 3600.0
SETTLING_SECONDS = 0.5


class _Client(RecordingClient):
    """A recording client that goes on after it superseded itself, ends when it is told, and leaves its `secrets`."""

    def __init__(self, number: int, system: System, **rest: Any) -> None:
        super().__init__(number, system.doors, features=list(system.features), clock=now, **rest)
        self._secrets = system.secrets

    async def _greet(self, session: Session, connection: Connection) -> bool:
        self._secrets.add(session.secret)
        # The event `superseded` that this hello causes on the client's older connection is not the session's end.
        session.connection = None
        return await super()._greet(session, connection)

    def finish(self) -> None:
        self._end = self.clock()


class Load(Swarm):
    """
    Clients at work on a system, as a context: broken things are mended inside it.
    At its end the promises are checked; `grants` counts what was granted.
    """

    def __init__(self, system: System, *, seed: int, clients: int = 20, think: float = 0.05) -> None:
        record_path = system.folder / "history.jsonl"
        super().__init__(system.doors, clients=0, seconds=0, features=[], seed=seed, record_path=record_path)
        self._system = system
        self._clients = [
            _Client(
                number,
                system,
                randomness=random.Random(f"{seed}.{number}"),
                history=self.history,
                end=now() + LONGEST_SECONDS,
                think=think,
            )
            for number in range(clients)
        ]

    def grants(self) -> int:
        """How many checkouts have been granted so far."""
        return sum(1 for record in self.history[:] if record.kind == "received" and "seat" in record.message)

    def wait_for_grants(self, more: int = 5, seconds: float = 30.0) -> None:
        """Return when that many more have been granted than now."""
        begun, end = self.grants(), time.monotonic() + seconds
        while self.grants() < begun + more:
            assert time.monotonic() < end, f"{self.grants() - begun} of {more} grants within {seconds:g} s"
            time.sleep(0.02)

    def stop(self) -> History:
        """Let the clients return everything and go; the whole history."""
        for client in self._clients:
            client.finish()
        return self.join()

    def __enter__(self) -> Self:
        self.start()
        self.wait_for_grants()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if problem is not None:
            self.stop()
            return
        self.wait_for_grants()
        time.sleep(SETTLING_SECONDS)
        asked, usage, answered = now(), self._system.usage(), now()
        history = self.stop()
        violations = check(history, self._system.features, limits=self._system.takeover_limits)
        assert violations == [], "\n".join(map(str, violations[:10]))
        live = [take for take in Testimony(history).takes if take.granted_at < asked and take.live_until > answered]
        held = {
            holder["seat"]
            for feature in usage.values()
            for holder in feature["holders"]
            if holder["state"] in {"held", "detached"}
        }
        missing = [str(take) for take in live if take.grant is not None and take.grant["seat"] not in held]
        assert not missing, f"live, but not in usage: {missing}"
        assert_within_license(self._system)


def assert_within_license(system: System) -> None:
    """The books say of no feature that more is in use than is licensed, and they count right."""
    for name, feature in system.usage().items():
        counts = [holder["count"] for holder in feature["holders"] if holder["state"] in {"held", "detached"}]
        assert feature["in_use"] == sum(counts) <= system.features[name], feature
