"""
A license server reduced to its journal, as a process of its own to be killed and stopped.

    journal_server.py PATH NAME append          take the name, append until fenced
    journal_server.py PATH NAME hold            join, then stop inside a write transaction
    journal_server.py PATH NAME hold-running    join, then sleep inside a write transaction
    journal_server.py PATH NAME read            join, then stop inside a read
    journal_server.py PATH NAME lock BYTE…      join, then stop with these bytes of -shm locked
    journal_server.py PATH - foreign SECONDS    no license server: hold the write lock for so long

Says what it did on stdout, a line each: `epoch E`, `kept SLOT` after each answer, `stale`, `ready`.
"""

import ctypes
import fcntl
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

from lsproxy.net import reactor as reactors

reactor = reactors.install()

from twisted.internet.defer import Deferred  # noqa: E402 - as above
from twisted.internet.task import react  # noqa: E402 - as above

from licserver.journal.interface import Member, StaleEpoch  # noqa: E402 - the reactor comes first
from licserver.journal.process import this_process  # noqa: E402 - as above
from licserver.journal.sqlite import SqliteJournal, open_journal  # noqa: E402 - as above

PR_SET_PDEATHSIG = 1


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def append_until_fenced(journal: SqliteJournal, me: Member) -> None:
    claim = await journal.activate(await journal.claim(), me, 5.0)
    say(f"epoch {claim.epoch}")
    slot = claim.newest_slot
    try:
        while True:
            slot += 1
            await journal.append(claim.epoch, slot, batch(claim.epoch, slot), 0.0)
            say(f"kept {slot}")
    except StaleEpoch:
        say("stale")


def batch(epoch: int, slot: int) -> bytes:
    return f"{epoch}:{slot}:".encode() + b"x" * (slot % 7 * 900)


def stop_holding(path: str, begin: str, *, is_stopped: bool) -> None:
    # A connection of its own in the process that has the journal open: SQLite knows both and keeps their locks apart.
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(begin)
    connection.execute("SELECT count(*) FROM members").fetchone()
    say("ready")
    if is_stopped:
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)


def stop_locking(path: str, offsets: list[int]) -> None:
    descriptor = os.open(f"{path}-shm", os.O_RDWR)
    for offset in offsets:
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, offset)
    say("ready")
    os.kill(os.getpid(), signal.SIGSTOP)


async def main(_reactor: object, path: str, name: str, task: str, *arguments: str) -> None:
    journal = await open_journal(reactor, Path(path), "acme")
    me = Member(name, os.urandom(16).hex(), "h:1", this_process())
    await journal.join(me)
    match task:
        case "append":
            await append_until_fenced(journal, me)
        case "hold":
            stop_holding(path, "BEGIN IMMEDIATE", is_stopped=True)
        case "hold-running":
            stop_holding(path, "BEGIN IMMEDIATE", is_stopped=False)
        case "read":
            stop_holding(path, "BEGIN", is_stopped=True)
        case "lock":
            stop_locking(path, [int(argument) for argument in arguments])
    await journal.close()


def foreign(path: str, seconds: float) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    say("ready")
    time.sleep(seconds)
    connection.execute("ROLLBACK")


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if sys.argv[3] == "foreign":
        foreign(sys.argv[1], float(sys.argv[4]))
    else:
        react(lambda *given: Deferred.fromCoroutine(main(*given)), sys.argv[1:], _reactor=reactor)
