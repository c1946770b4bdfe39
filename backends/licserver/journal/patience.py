"""
How long does a call wait for a lock that another process holds, and when is that process ended?

A server that was stopped (SIGSTOP) inside its write transaction would hold up
every other for ever, and stops often fall there. So a lock that is held for long is
looked into: a license server of this journal that holds it is ended at once if
it is stopped, and after three seconds if the waiting call belongs to the
holder of the name or to the one that takes it. Any other process is named and
waited for.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from enum import Enum

import msgspec

from licserver.journal import lockprobe
from licserver.journal.interface import JournalError, Member
from licserver.journal.process import command_name, end_process, is_stopped, this_process
from licserver.journal.sqlite_file import JournalFile

LOOK_AFTER_SECONDS = 0.1
LOOK_AGAIN_SECONDS = 0.25
END_AFTER_SECONDS = 3.0
GIVE_UP_SECONDS = 5.0

# wal-index locks, https://www.sqlite.org/walformat.html#wal_locks
WRITE_LOCK, CHECKPOINT_LOCK, RECOVER_LOCK = 120, 121, 122
READ_LOCKS = range(123, 128)


LOG_BYTES = 64 * 1024 * 1024


class Blocker(msgspec.Struct, frozen=True):
    """A process that holds a lock: its number, name, whether it is stopped, and which member of the journal it is."""

    pid: int
    command: str
    is_stopped: bool
    member: Member | None


class Verdict(Enum):
    """What is done about a blocker."""

    WAIT = "wait"
    END = "end"
    GIVE_UP = "give up"


def judge(blocker: Blocker | None, held_seconds: float, waited_seconds: float, *, may_end_running: bool) -> Verdict:
    """
    What to do about the process that has held the lock for `held_seconds` without getting anything written,
    while the call has waited `waited_seconds`.
    """
    if blocker is not None and blocker.member is not None:
        if blocker.is_stopped:
            return Verdict.END
        if may_end_running and held_seconds >= END_AFTER_SECONDS:
            return Verdict.END
    return Verdict.GIVE_UP if waited_seconds >= GIVE_UP_SECONDS else Verdict.WAIT


class Patience:
    """
    One call's waiting. `progress` is anything that changes when another
    process gets something written; `tell` takes the sentences for the log.
    """

    def __init__(
        self,
        file: JournalFile,
        seconds: Callable[[], float],
        members: Callable[[], Sequence[Member]],
        progress: Callable[[], object],
        tell: Callable[[str], None],
        *,
        may_end_running: bool,
    ) -> None:
        self._file = file
        self._seconds = seconds
        self._members = members
        self._progress = progress
        self._tell = tell
        self._may_end_running = may_end_running
        self._began = seconds()
        self._look_at = self._began + LOOK_AFTER_SECONDS
        self._held: tuple[int, object] | None = None
        self._held_since = self._began
        self._told: set[int] = set()

    def busy(self) -> None:
        """The lock was held just now. Ends the blocker if it is to be ended; raises JournalError to give up."""
        now = self._seconds()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_AGAIN_SECONDS
        blocker = find_blocker(self._file, [WRITE_LOCK, RECOVER_LOCK], self._members())
        held = (0 if blocker is None else blocker.pid, self._progress())
        if held != self._held:
            if self._held is not None:
                self._held_since = now
            self._held = held
        verdict = judge(blocker, now - self._held_since, now - self._began, may_end_running=self._may_end_running)
        if verdict is Verdict.GIVE_UP:
            raise JournalError(_sentence(self._file, blocker))
        if blocker is None:
            return
        if verdict is Verdict.END and blocker.member is not None:
            self._tell(f"{_sentence(self._file, blocker)}; it is ended")
            end_process(blocker.member.process)
        elif blocker.pid not in self._told:
            self._told.add(blocker.pid)
            self._tell(_sentence(self._file, blocker))


def relieve_log(
    file: JournalFile,
    members: Callable[[], Sequence[Member]],
    tell: Callable[[str], None],
    limit_bytes: int = LOG_BYTES,
) -> None:
    """
    If the write-ahead log has outgrown `limit_bytes`, end the license server that was stopped amid a read or
    a checkpoint and so keeps it from being used again; name any other process.
    """
    if file.log_bytes() <= limit_bytes:
        return
    blocker = find_blocker(file, [CHECKPOINT_LOCK, *READ_LOCKS], members())
    if blocker is None or not blocker.is_stopped:
        return
    if blocker.member is None:
        tell(f"{_sentence(file, blocker)}; until then {file.path}-wal grows")
        return
    tell(f"{_sentence(file, blocker)}; {file.path}-wal has grown, so it is ended")
    end_process(blocker.member.process)


def find_blocker(file: JournalFile, locks: Sequence[int], members: Sequence[Member]) -> Blocker | None:
    """The first other process that holds one of the wal-index `locks`, if there is one. Blocks some 20 ms."""
    arguments = [sys.executable, "-I", "-S", lockprobe.__file__, file.shm_path, *map(str, locks)]
    try:
        probe = subprocess.run(arguments, check=False, capture_output=True, text=True, timeout=2.0)
    except (OSError, subprocess.TimeoutExpired):
        return None
    own = this_process().pid
    for line in probe.stdout.split():
        pid = int(line)
        if pid > 0 and pid != own:
            member = next((member for member in members if member.process.pid == pid), None)
            return Blocker(pid, command_name(pid), is_stopped(pid), member)
    return None


def _sentence(file: JournalFile, blocker: Blocker | None) -> str:
    if blocker is None:
        return f"the journal {file.path} has been locked for long; whoever locks it could not be found"
    name = blocker.command if blocker.member is None else f"license server {blocker.member.name}"
    state = ", which is stopped" if blocker.is_stopped else ""
    return (
        f"the journal {file.path} is locked by process {blocker.pid} ({name}){state}; it has to finish or to be ended"
    )
