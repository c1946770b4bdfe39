"""
When is a snapshot taken, and how without stopping the service?

An image is taken at the very moment a batch is cut, so it is the state after
that batch's slot. Nothing of it is written before the slot is kept. Its parts
are then encoded one per turn of the reactor and written one after the other;
the record that points to them is written last.

How many events no snapshot holds is counted from one tenure to the next, a
standby doing as the server it follows does. Otherwise a server that restarts often
would never reach the number, and leave an ever longer tail to read.
"""

from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from licserver.core.ledger import Image, Ledger
from licserver.core.snapshot import to_parts
from licserver.journal.interface import Journal, JournalError

log = Logger()

EVENTS_BETWEEN: Final = 50_000


def is_due(events: int, entries: int) -> bool:
    """Whether a snapshot of so many entries is worth its while after so many events without one."""
    return events >= max(EVENTS_BETWEEN, 2 * entries)


class Snapshots:
    """The snapshots of one tenure; `unsnapped_events` happened before it and since the last snapshot."""

    def __init__(self, reactor: IReactorTime, journal: Journal, epoch: int, unsnapped_events: int) -> None:
        self._reactor = reactor
        self._journal = journal
        self._epoch = epoch
        self._events = unsnapped_events
        self._image: tuple[int, Image] | None = None
        self._is_writing = False
        self._is_over = False

    def cut(self, slot: int, events: int, ledger: Ledger) -> None:
        """A batch of so many events is about to be appended as `slot`; the ledger is the state after it."""
        self._events += events
        if self._is_writing or self._image is not None:
            return
        if is_due(self._events, len(ledger.entries)):
            self._events = 0
            self._image = slot, ledger.image()

    def kept(self, slot: int) -> None:
        """The batch of `slot` is durable."""
        if self._image is not None and self._image[0] == slot:
            image, self._image = self._image[1], None
            self._is_writing = True
            Deferred.fromCoroutine(self._write(slot, image)).addErrback(
                lambda failure: log.failure("the snapshot of slot {slot} failed", failure, slot=slot)
            )

    @property
    def unsnapped_events(self) -> int:
        """How many events no snapshot holds, as far as this tenure knows."""
        return self._events

    def stop(self) -> None:
        """The tenure is over; an unfinished snapshot stays unpublished."""
        self._is_over = True

    async def _write(self, slot: int, image: Image) -> None:
        number = 0
        try:
            for part in to_parts(image):
                await self._journal.write_part(self._epoch, slot, number, part)
                number += 1
                await deferLater(self._reactor, 0)
                if self._is_over:
                    return
            await self._journal.publish(self._epoch, slot, number)
            log.debug("snapshot of slot {slot}: {parts} parts", slot=slot, parts=number)
        except JournalError as problem:
            log.warn("no snapshot of slot {slot}: {problem}", slot=slot, problem=problem)
        finally:
            self._is_writing = False
