"""
How does a server hear of every change of the claim, and of every new entry?

    look (read the claim) --> stream (changes from the next revision on) --> look …

A stream says nothing when it is over: it stays open after it was cancelled
because the revision it began at was compacted, and a member that is stopped or cut off
keeps it open too. So a stream that is silent is doubted: the claim is read, and
if it changed without the stream saying so, the next one goes to the next member.
"""

from collections.abc import Callable
from typing import Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from licserver.journal.etcd_gateway import Gateway
from licserver.journal.etcd_keys import ClaimState, Keys, Record, claim_state, end_of
from licserver.journal.etcd_messages import KeyValue, TxnReply, WatchCreate, WatchMessage, WatchRequest, decode
from licserver.journal.etcd_recent import Recent
from licserver.journal.etcd_statements import claim_seen, look
from licserver.journal.interface import Claim, Entry, JournalError

SILENT_SECONDS: Final = 0.5
AGAIN_SECONDS: Final = 0.05

log = Logger()


class ClaimWatch:
    """
    See the module. `seen` is called with each state of the claim, before the
    listeners are; entries go to `recent`. Runs while there are listeners.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        gateway: Gateway,
        keys: Keys,
        recent: Recent,
        seen: Callable[[ClaimState], None],
    ) -> None:
        self._reactor = reactor
        self._gateway = gateway
        self._keys = keys
        self._recent = recent
        self._seen = seen
        self._listeners: list[Listening] = []
        self._kept: dict[bytes, KeyValue] = {}
        self._claim: Claim | None = None
        self._heard_at = 0.0
        self._is_running = False
        self._stream: Deferred[None] | None = None

    def listen(self, listener: Callable[[Claim], None]) -> "Listening":
        """One more listener; it is told the claim soon."""
        listening = Listening(self, listener)
        self._listeners.append(listening)
        if not self._is_running:
            self._is_running = True
            Deferred.fromCoroutine(self._run()).addErrback(
                lambda failure: log.failure("the journal is not watched any more", failure)
            )
        elif self._claim is not None:
            self._reactor.callLater(0, listening.tell, self._claim)
        return listening

    def leave(self, listening: "Listening") -> None:
        """One listener less."""
        if listening in self._listeners:
            self._listeners.remove(listening)
        if not self._listeners and self._stream is not None:
            self._stream.cancel()

    def stop(self) -> None:
        """All listeners leave."""
        for listening in list(self._listeners):
            listening.stop()

    async def _run(self) -> None:
        while self._listeners:
            turn = self._gateway.turn
            try:
                revision = await self._look()
                await self._follow(revision + 1)
            except JournalError as problem:
                log.debug("watching the journal: {problem}", problem=problem)
            if self._listeners:
                self._gateway.turn_from(turn)
                await deferLater(self._reactor, AGAIN_SECONDS)
        self._is_running = False
        self._claim = None
        self._recent.forget()

    async def _look(self) -> int:
        """Read the claim, and tell it; the revision at which it is so."""
        reply = await self._read_claim()
        self._recent.forget()
        self._kept = {kv.key: kv for kv in claim_seen(reply)}
        self._tell()
        return reply.header.revision

    async def _follow(self, revision: int) -> None:
        if not self._listeners:
            return
        keys = self._keys
        request = WatchRequest(WatchCreate(keys.claim, end_of(keys.logs), revision, ["NODELETE"]))
        self._heard_at = self._reactor.seconds()
        stream = Deferred.fromCoroutine(self._gateway.stream("/v3/watch", request, self._line_received))
        self._stream = stream
        doubting = LoopingCall(self._doubt)
        doubting.clock = self._reactor
        doubting.start(SILENT_SECONDS, now=False)
        try:
            await stream
        finally:
            self._stream = None
            doubting.stop()

    def _line_received(self, line: bytes) -> None:
        self._heard_at = self._reactor.seconds()
        try:
            answer = decode(line, WatchMessage).result
            if answer is None or answer.canceled:
                self._end_stream()
                return
            for event in answer.events:
                self._changed(event.kv)
            if answer.events:
                self._tell()
        except (msgspec.DecodeError, JournalError) as problem:
            log.error("watching the journal: {problem}", event="journal_failed", problem=problem)
            self._end_stream()

    def _changed(self, kv: KeyValue) -> None:
        if kv.key.startswith(self._keys.claim):
            self._kept[kv.key] = kv
            return
        record = Record.decode(kv.value)
        if record.pieces:
            self._recent.forget()
        else:
            self._recent.add(Entry(self._keys.slot(kv.key), record.epoch, record.body))

    async def _doubt(self) -> None:
        asked_at = self._reactor.seconds()
        if asked_at - self._heard_at < SILENT_SECONDS:
            return
        try:
            reply = await self._read_claim()
        except JournalError:
            return
        heard = max((kv.mod_revision for kv in self._kept.values()), default=0)
        if self._heard_at < asked_at and max((kv.mod_revision for kv in claim_seen(reply)), default=0) > heard:
            log.warn("a watch of the journal has gone deaf; it begins anew", event="journal_failed")
            self._end_stream()

    def _end_stream(self) -> None:
        if self._stream is not None:
            self._stream.cancel()

    def _tell(self) -> None:
        state = claim_state(self._keys, self._kept.values())
        self._seen(state)
        self._claim = state.claim
        for listening in list(self._listeners):
            listening.tell(state.claim)

    async def _read_claim(self) -> TxnReply:
        return await self._gateway.ask("/v3/kv/txn", look(self._keys), TxnReply)


class Listening:
    """One listener's watch."""

    def __init__(self, watch: ClaimWatch, listener: Callable[[Claim], None]) -> None:
        self._watch = watch
        self._listener = listener
        self._is_stopped = False

    def tell(self, claim: Claim) -> None:
        """Tell the claim as it is, unless this was stopped."""
        if not self._is_stopped:
            self._listener(claim)

    def stop(self) -> None:
        """The listener is not called any more."""
        self._is_stopped = True
        self._watch.leave(self)
