"""
Any three servers, any order of calls: does a journal do what a few lines of Python say it does?

The model keeps a claim, a dict of batches and a dict of parts. Hypothesis picks the calls,
those with an old epoch, a wrong slot or a claim judged long ago among them;
after each one journal and model agree on the answer and on what is kept.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from licserver.journal.interface import (
    Claim,
    ClaimMoved,
    Compacted,
    Journal,
    JournalError,
    SlotRefused,
    StaleEpoch,
)
from tests.contract.journal import Opener, member

SERVERS = ("lic-a", "lic-b", "lic-c")
servers = st.integers(0, len(SERVERS) - 1)
batches = st.sampled_from([b"", b"x", b"y"])
lags = st.sampled_from([0, 0, 0, 0, 1, -1])


class Model:
    """What is promised, for one store."""

    def __init__(self) -> None:
        self.epoch = 0
        self.holder: str | None = None
        self.heir: str | None = None
        self.entries: dict[int, tuple[int, bytes]] = {0: (0, b"")}
        self.parts: dict[tuple[int, int], tuple[int, bytes]] = {}
        self.snapshot: tuple[int, int] | None = None
        self.active_seconds = 0.0

    @property
    def newest(self) -> int:
        return max(self.entries)

    @property
    def snapshot_slot(self) -> int:
        return self.snapshot[0] if self.snapshot else -1

    def fence(self, epoch: int) -> None:
        if epoch != self.epoch or self.holder is None:
            raise StaleEpoch

    def activate(self, judged: Claim, name: str) -> int:
        holder = judged.holder.name if judged.holder else None
        if (self.epoch, self.holder) == (judged.epoch + 1, name):
            return self.epoch
        if (self.epoch, self.holder) != (judged.epoch, holder):
            raise ClaimMoved
        self.epoch, self.holder, self.heir = self.epoch + 1, name, None
        return self.epoch

    def append(self, epoch: int, slot: int, batch: bytes, active_seconds: float) -> None:
        self.fence(epoch)
        if slot == self.newest + 1:
            self.entries[slot] = (epoch, batch)
        elif self.entries.get(slot) != (epoch, batch):
            raise SlotRefused
        self.active_seconds = max(self.active_seconds, active_seconds)

    def confirm(self, epoch: int, active_seconds: float) -> None:
        self.fence(epoch)
        self.active_seconds = max(self.active_seconds, active_seconds)

    def release(self, epoch: int, heir: str | None) -> None:
        if (self.epoch, self.holder, self.heir) != (epoch, None, heir):
            self.fence(epoch)
        self.holder, self.heir = None, heir

    def read(self, after: int) -> list[int]:
        if after < self.newest and after + 1 not in self.entries:
            raise Compacted
        return [slot for slot in sorted(self.entries) if slot > after]

    def write_part(self, epoch: int, slot: int, number: int, part: bytes) -> None:
        self.fence(epoch)
        if self.parts.get((slot, number)) == (epoch, part):
            return
        if slot > self.newest or slot <= self.snapshot_slot:
            raise SlotRefused
        self.parts[slot, number] = (epoch, part)

    def publish(self, epoch: int, slot: int, parts: int) -> None:
        self.fence(epoch)
        if self.snapshot != (slot, parts):
            is_whole = all(self.parts.get((slot, number), (None,))[0] == epoch for number in range(parts))
            if not is_whole or slot > self.newest or slot <= self.snapshot_slot:
                raise SlotRefused
            self.snapshot = (slot, parts)
        self.entries = {at: kept for at, kept in self.entries.items() if at > slot or at == self.newest}
        self.parts = {at: kept for at, kept in self.parts.items() if at[0] > slot or (at[0] == slot and at[1] < parts)}


class JournalMachine(RuleBasedStateMachine):
    """Three handles on one store, beside the model."""

    def __init__(self, opener: Opener) -> None:
        super().__init__()
        self.journals: list[Journal] = [_wait(opener) for _ in SERVERS]
        self.model = Model()
        self.judged = [_wait(journal.claim) for journal in self.journals]

    def teardown(self) -> None:
        for journal in self.journals:
            _wait(journal.close)

    def both(self, model: Callable[[], Any], journal: Callable[[], Awaitable[Any]]) -> None:
        """The journal's answer is the model's answer or its refusal."""
        expected, refused = _attempt(model)
        found, refusal = _attempt(lambda: _wait(journal))
        assert type(refusal) is type(refused), f"{refusal!r}, the model says {refused!r}"
        assert found == expected

    @initialize(server=servers)
    def begin(self, server: int) -> None:
        self.activate(server)

    @rule(server=servers)
    def judge(self, server: int) -> None:
        self.judged[server] = _wait(self.journals[server].claim)

    @rule(server=servers)
    def activate(self, server: int) -> None:
        judged, name = self.judged[server], SERVERS[server]

        async def activated() -> int:
            self.judged[server] = claim = await self.journals[server].activate(judged, member(name), 5.0)
            assert (claim.holder, claim.newest_slot) == (member(name), self.model.newest)
            return claim.epoch

        self.both(lambda: self.model.activate(judged, name), activated)

    @rule(server=servers, batch=batches, lag=lags, ahead=lags, seconds=st.integers(0, 50))
    def append(self, server: int, batch: bytes, lag: int, ahead: int, seconds: int) -> None:
        call = (self.model.epoch - lag, self.model.newest + 1 + ahead, batch, float(seconds))
        self.both(lambda: self.model.append(*call), lambda: self.journals[server].append(*call))

    @rule(server=servers, lag=lags, seconds=st.integers(0, 50))
    def confirm(self, server: int, lag: int, seconds: int) -> None:
        call = (self.model.epoch - lag, float(seconds))
        self.both(lambda: self.model.confirm(*call), lambda: self.journals[server].confirm(*call))

    @rule(server=servers, lag=lags, heir=st.sampled_from([None, *SERVERS]))
    def release(self, server: int, lag: int, heir: str | None) -> None:
        epoch = self.model.epoch - lag
        self.both(lambda: self.model.release(epoch, heir), lambda: self.journals[server].release(epoch, heir, 0.0))

    @rule(server=servers, lag=lags, back=st.integers(-1, 2), number=st.integers(0, 2), part=batches)
    def write_part(self, server: int, lag: int, back: int, number: int, part: bytes) -> None:
        call = (self.model.epoch - lag, self.model.newest - back, number, part)
        self.both(lambda: self.model.write_part(*call), lambda: self.journals[server].write_part(*call))

    @rule(server=servers, lag=lags, back=st.integers(-1, 2), parts=st.integers(0, 2))
    def publish(self, server: int, lag: int, back: int, parts: int) -> None:
        call = (self.model.epoch - lag, self.model.newest - back, parts)
        self.both(lambda: self.model.publish(*call), lambda: self.journals[server].publish(*call))

    @rule(server=servers, back=st.integers(0, 5))
    def read(self, server: int, back: int) -> None:
        after = self.model.newest - back

        async def read() -> list[int]:
            return [entry.slot for entry in await self.journals[server].read(after, 10)]

        self.both(lambda: self.model.read(after), read)

    @invariant()
    def is_as_modelled(self) -> None:
        """Claim, entries and snapshot, as another server reads them, are the model's."""
        model, journal = self.model, self.journals[-1]
        claim = _wait(journal.claim)
        assert (claim.epoch, claim.holder and claim.holder.name, claim.heir) == (model.epoch, model.holder, model.heir)
        assert (claim.newest_slot, claim.active_seconds) == (model.newest, model.active_seconds)
        oldest = min(model.entries)
        found = {entry.slot: (entry.epoch, entry.batch) for entry in _wait(lambda: journal.read(oldest - 1, 1000))}
        assert found == model.entries
        snapshot = _wait(journal.snapshot)
        assert (snapshot and (snapshot.slot, len(snapshot.parts))) == model.snapshot
        if snapshot:
            assert snapshot.parts == [model.parts[snapshot.slot, at][1] for at in range(len(snapshot.parts))]


def check_against_model(new_store: Callable[[], Opener], examples: int, steps: int) -> Deferred[None]:
    """Let Hypothesis try, in a thread; `new_store` makes an empty store and says how to open it."""
    return deferToThread(
        run_state_machine_as_test,
        lambda: JournalMachine(new_store()),
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def _attempt(call: Callable[[], Any]) -> tuple[Any, JournalError | None]:
    """What `call` returns, and what it refuses with."""
    try:
        return call(), None
    except JournalError as error:
        return None, error


def _wait(call: Callable[[], Awaitable[Any]]) -> Any:
    """What the answer to `call`, made in the reactor thread, is."""

    async def called() -> Any:
        return await call()

    return blockingCallFromThread(reactor, lambda: Deferred.fromCoroutine(called()))
