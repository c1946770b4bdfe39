"""
How do several license servers on one host share a journal in a SQLite file?

Each has a handle with two threads: one writes, one reads, each through its own
connection (write-ahead log, synchronous=FULL), so a read never waits for a
write. The promise is kept by single statements (`sqlite_statements`); this file
carries calls to the threads and answers back. The journal survives the death of
processes, not of the machine.
"""
# ruff: noqa: D102 - `interface.Journal` says what its methods do

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, ensureDeferred, fail, gatherResults, succeed
from twisted.logger import Logger

from licserver.journal import sqlite_statements as statements
from licserver.journal.interface import Claim, Entry, JournalError, JournalUnusable, Member, Snapshot
from licserver.journal.patience import relieve_log
from licserver.journal.process import end_process, is_alive
from licserver.journal.sqlite_connection import Connection
from licserver.journal.sqlite_file import JournalFile
from licserver.journal.sqlite_place import accept_copy, settle
from licserver.journal.sqlite_schema import create, examine
from licserver.journal.worker import ThreadReactor, Worker, do_once

__all__ = ["SqliteJournal", "accept_copy", "create", "open_journal"]

Result = TypeVar("Result")
Answer = TypeVar("Answer")

POLL_SECONDS = 0.02
LOOK_AT_LOG_SECONDS = 5.0
BITE = 1000

log = Logger()


def open_journal(reactor: ThreadReactor, path: Path, server_name: str) -> "Deferred[SqliteJournal]":
    """
    The journal of `server_name` in the file at `path`.

    Fails with JournalUnusable if the file is missing, another product's, of a
    newer schema or another name, read-only, a copy, used from another
    container, or on a file system that other machines may mount.
    """
    return ensureDeferred(_open_journal(reactor, path, server_name))


async def _open_journal(reactor: ThreadReactor, path: Path, server_name: str) -> "SqliteJournal":
    file = JournalFile(path)
    journal = SqliteJournal(reactor, file, server_name)
    try:
        await journal.examine()
    except JournalUnusable:
        await journal.close()
        raise
    except JournalError as error:
        await journal.close()
        raise JournalUnusable(str(error)) from error
    return journal


class SqliteJournal:
    """One server's handle on the journal; made by `open_journal`."""

    def __init__(self, reactor: ThreadReactor, file: JournalFile, server_name: str) -> None:
        self.journal_id = ""
        self.server_name = server_name
        self._reactor = reactor
        self._file = file
        self._known_members: Sequence[Member] = ()
        self._watches: list[_Watch] = []
        self._watched: statements.ClaimRow | None = None
        self._look_at_log = reactor.seconds() + LOOK_AT_LOG_SECONDS
        self._is_closed = False
        self._write_connection = self._connection()
        self._read_connection = self._connection()
        self._writer = Worker(reactor, "journal writer")
        self._reader = Worker(reactor, "journal reader", self._look_round, POLL_SECONDS)

    async def examine(self) -> None:
        """Open the file for the first time, or raise JournalUnusable."""
        self.journal_id = await self._writer.do(self._examine)
        await self.members()

    def _examine(self) -> str:
        self._file.check_usable()
        journal_id = examine(self._file, self.server_name, self._connection)
        settle(self._file, self._write_connection, self._reactor.seconds)
        return journal_id

    def claim(self) -> Deferred[Claim]:
        return self._read(lambda cursor: statements.claim_of(statements.claim_row(cursor)))

    def watch(self, listener: Callable[[Claim], None]) -> "_Watch":
        watch = _Watch(listener, self._watches)
        self._watches.append(watch)
        self._reader.do(self._forget_watched)
        return watch

    def holder_is_dead(self, claim: Claim) -> bool:
        return claim.holder is not None and not is_alive(claim.holder.process)

    def end_holder(self, claim: Claim) -> Deferred[None]:
        holder = claim.holder

        def end() -> None:
            if holder is not None:
                end_process(holder.process)

        return do_once(self._reactor, "journal end holder", end)

    def activate(self, judged: Claim, member: Member, hold_down: float) -> Deferred[Claim]:
        return self._write(lambda cursor: statements.activate(cursor, judged, member, hold_down))

    def append(self, epoch: int, slot: int, batch: bytes, active_seconds: float) -> Deferred[None]:
        return self._write(lambda cursor: statements.append(cursor, epoch, slot, batch, active_seconds))

    def confirm(self, epoch: int, active_seconds: float) -> Deferred[None]:
        return self._write(lambda cursor: statements.confirm(cursor, epoch, active_seconds))

    def release(self, epoch: int, heir: str | None, active_seconds: float) -> Deferred[None]:
        return self._write(lambda cursor: statements.release(cursor, epoch, heir, active_seconds))

    def read(self, after: int, limit: int) -> Deferred[list[Entry]]:
        return self._read(lambda cursor: statements.read(cursor, after, limit))

    def snapshot(self) -> Deferred[Snapshot | None]:
        return self._read(statements.snapshot)

    def write_part(self, epoch: int, slot: int, number: int, part: bytes) -> Deferred[None]:
        return self._write(lambda cursor: statements.write_part(cursor, epoch, slot, number, part))

    def publish(self, epoch: int, slot: int, parts: int) -> Deferred[None]:
        return ensureDeferred(self._publish(epoch, slot, parts))

    async def _publish(self, epoch: int, slot: int, parts: int) -> None:
        await self._write(lambda cursor: statements.publish(cursor, epoch, slot, parts))
        # One bite per job, so that an append waits for one bite at most.
        while await self._write(lambda cursor: statements.delete_needless(cursor, epoch, slot, parts, BITE)):
            pass

    def join(self, member: Member) -> Deferred[None]:
        return self._write(lambda cursor: statements.join(cursor, member), may_end_running=False)

    def leave(self, member: Member) -> Deferred[None]:
        return self._write(lambda cursor: statements.leave(cursor, member), may_end_running=False)

    def members(self) -> Deferred[Sequence[tuple[Member, bool]]]:
        def members(cursor: sqlite3.Cursor) -> Sequence[tuple[Member, bool]]:
            self._known_members = statements.members(cursor)
            return [(member, is_alive(member.process)) for member in self._known_members]

        return self._read(members)

    def close(self) -> Deferred[None]:
        if self._is_closed:
            return succeed(None)
        for watch in list(self._watches):
            watch.stop()
        ended = [self._writer.do(self._write_connection.drop), self._reader.do(self._read_connection.drop)]
        self._is_closed = True
        self._writer.stop()
        self._reader.stop()
        return gatherResults(ended).addCallback(lambda _: None)

    def _connection(self, mode: str = "rw") -> Connection:
        return Connection(
            self._file,
            self._reactor.seconds,
            members=lambda: self._known_members,
            tell=self._warn,
            mode=mode,
        )

    def _warn(self, sentence: str) -> None:
        """Log it; from any thread."""
        saying = partial(log.warn, "{log_sentence}", event="journal_waits", log_sentence=sentence)
        self._reactor.callFromThread(saying)

    def _write(self, job: Callable[[sqlite3.Cursor], Result], *, may_end_running: bool = True) -> Deferred[Result]:
        if self._is_closed:
            return self._closed()
        answer = self._writer.do(partial(self._write_connection.run, job, may_end_running=may_end_running))
        return answer.addBoth(self._if_unmoved)

    def _read(self, job: Callable[[sqlite3.Cursor], Result]) -> Deferred[Result]:
        if self._is_closed:
            return self._closed()
        return self._reader.do(partial(self._read_connection.run, job)).addBoth(self._if_unmoved)

    def _if_unmoved(self, answer: Answer) -> Answer:
        """
        `answer`, if it came from the file at the path; JournalUnusable otherwise.

        Looked up here and not in the thread, because it takes 4 µs and each
        system call in the thread may have to wait for Python's lock again.
        """
        self._file.check()
        return answer

    def _look_round(self) -> None:
        """What the reader thread does between reads."""
        if self._watches:
            self._poll()
        now = self._reactor.seconds()
        if now >= self._look_at_log:
            self._look_at_log = now + LOOK_AT_LOG_SECONDS
            with suppress(JournalError):
                relieve_log(self._file, lambda: self._read_connection.run(statements.members), self._warn)

    def _poll(self) -> None:
        """Tell the watchers what has changed."""
        try:
            row = self._read_connection.run(statements.claim_row)
            self._file.check()
            if row != self._watched:
                self._reactor.callFromThread(self._tell, statements.claim_of(row))
                self._watched = row
        except JournalError:
            return

    def _forget_watched(self) -> None:
        self._watched = None

    def _tell(self, claim: Claim) -> None:
        for watch in list(self._watches):
            if watch in self._watches:
                watch.listener(claim)

    def _closed(self) -> Deferred[Any]:
        return fail(JournalError(f"the journal {self._file.path} is closed"))


class _Watch:
    def __init__(self, listener: Callable[[Claim], None], watches: "list[_Watch]") -> None:
        self.listener = listener
        self._watches = watches

    def stop(self) -> None:
        if self in self._watches:
            self._watches.remove(self)
