"""
Is the process that wrote its name into the journal still that process, and how is it ended for certain?

A process id alone proves nothing: numbers are used again. Start time and boot
id make it unmistakable. Everything here goes through a pidfd that is opened
*before* the start time is read: if the start time then is the expected one,
the descriptor stands for that very process, whatever happens to the number.
"""

import os
import select
import signal
from functools import cache
from pathlib import Path

from licserver.journal.interface import JournalError, Process

END_SECONDS = 5.0

_STATE_FIELD = 0
_START_FIELD = 19


def this_process() -> Process:
    """The process that calls."""
    return identify(os.getpid())


def identify(pid: int) -> Process:
    """The process that has the number `pid` now. Raises OSError if there is none."""
    return Process(pid=pid, started=int(_fields(pid)[_START_FIELD]), boot_id=boot_id())


@cache
def boot_id() -> str:
    """The kernel's name for this boot of this machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def is_alive(process: Process) -> bool:
    """Whether `process` may still run; False only when it is known to have ended altogether, with all its threads."""
    if process.boot_id != boot_id():
        return False
    try:
        descriptor = _open(process)
    except JournalError:
        return True
    if descriptor is None:
        return False
    try:
        return not _has_ended(descriptor, 0.0)
    finally:
        os.close(descriptor)


def is_stopped(pid: int) -> bool:
    """Whether process `pid` stands still: stopped by a signal or by a debugger."""
    try:
        return _fields(pid)[_STATE_FIELD] in ("T", "t")
    except OSError:
        return False


def command_name(pid: int) -> str:
    """What the kernel calls process `pid`, for people."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "unknown"


def end_process(process: Process, limit_seconds: float = END_SECONDS) -> None:
    """
    Kill `process` and wait until it has ended. Blocks, so it belongs in a thread.

    Nothing happens if it has ended already or is the calling process itself.
    Raises JournalError where it may not be killed or does not end in `limit_seconds`.
    """
    if process.boot_id != boot_id() or process.pid == os.getpid():
        return
    descriptor = _open(process)
    if descriptor is None:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        if not _has_ended(descriptor, limit_seconds):
            raise JournalError(
                f"process {process.pid} was killed and has not ended within {limit_seconds:g} s; "
                "it is stuck in the kernel, most likely on the disk"
            )
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise JournalError(
            f"process {process.pid} ({command_name(process.pid)}) may not be killed by this one; "
            "the license servers that share a journal run as one user"
        ) from error
    finally:
        os.close(descriptor)


def _open(process: Process) -> int | None:
    """A pidfd of `process`, None if it has ended. Raises JournalError where that cannot be known."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return None
    except OSError as error:
        raise JournalError(f"process {process.pid} cannot be looked at: {error.strerror}") from error
    try:
        if identify(process.pid) == process:
            return descriptor
    except OSError as error:
        if not _has_ended(descriptor, 0.0):
            os.close(descriptor)
            raise JournalError(f"process {process.pid} cannot be looked at: {error.strerror}") from error
    os.close(descriptor)
    return None


def _has_ended(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third (the state) on; the second may hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
