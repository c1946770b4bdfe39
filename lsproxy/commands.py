"""
How is a person's program run from a daemon, with a limit, and what came of it?

    running --ended--> Outcome
       |
       +--limit or cancelled--> SIGTERM to its process group --1 s--> SIGKILL --1 s--> Outcome, ended or not

The program leads a session of its own, so that a signal reaches all it started. It reads nothing, and the last of what
it prints is kept. Only its own end is waited for: a process that it leaves behind goes on, and needs an output of its
own, because the pipe is closed then.

A program that is being ended outlives what asked for it. It shall not outlive this process: see `all_ended`.

[Spawning] posix_spawn(3) stops the reactor until the program is loaded: 1 ms, whether the daemon has 20 or 200 MB and
ten or 9,000 descriptors. Twisted's spawnProcess took 2 to 12 ms, a fork of 200 MB 10 ms. Nothing has to be closed in
the child: all descriptors that Python and uvloop open end with the exec (PEP 446).
"""

import contextlib
import errno
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from lsproxy.errors import LsproxyError

OUTPUT_BYTES: Final = 4096
GRACE_SECONDS: Final = 1.0

_LONGEST_LINE: Final = 200  # characters of the output in a sentence
_PIPE_BYTES: Final = 65_536  # what Linux keeps of a pipe that is not read: one read empties it
_PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)\}")
_IGNORED_BY_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ)  # and by what it starts, unless told otherwise
_REASONS: Final = {
    errno.ENOENT: "it is not there, or its interpreter is not: write the path of a program or a name on the PATH",
    errno.EACCES: "this user may not execute it",
    errno.ENOEXEC: "it is no program, a script begins with #! and the path of its interpreter",
}


class CommandError(LsproxyError):
    """A program that cannot be started; `str()` names it and says why."""


class Outcome(msgspec.Struct, frozen=True):
    """
    How a program ended: `status` is its exit status, or minus the signal that ended it; `output` the end of
    what it printed and complained; `is_late`: it had not ended within `limit` seconds and was ended.
    """

    status: int
    output: str
    is_late: bool
    limit: float

    @property
    def problem(self) -> str | None:
        """What is wrong, to be read after the program's name; None if it ended with status 0 in time."""
        if self.is_late:
            what = f"did not end within {self.limit:g} s"
        elif self.status == 0:
            return None
        elif self.status < 0:
            what = f"was ended by {_signal_name(-self.status)}"
        else:
            what = f"ended with status {self.status}"
        return f"{what}: {self.last_line}" if self.last_line else what

    @property
    def last_line(self) -> str:
        """The last line of the output that is not empty, printable and cut to what fits a sentence."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        if not lines:
            return ""
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in lines[-1][:_LONGEST_LINE])
        return shown if len(lines[-1]) <= _LONGEST_LINE else f"{shown}…"


def placeholders(argv: Sequence[str]) -> frozenset[str]:
    """The names that stand in braces in `argv`, such as `backend` for `{backend}`."""
    return frozenset(name for argument in argv for name in _PLACEHOLDER.findall(argument))


def fill(argv: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """
    `argv` with `{name}` replaced by `values["name"]`; what stands in a value is not replaced again.

    Raises CommandError for a name that has no value.
    """
    unknown = placeholders(argv) - values.keys()
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in sorted(values)) or "nothing"
        raise CommandError(f"{argv[0]} is given {{{min(unknown)}}}, which stands for nothing here: known are {known}")
    return tuple(_PLACEHOLDER.sub(lambda found: values[found[1]], argument) for argument in argv)


def run(
    reactor: IReactorTime,
    argv: Sequence[str],
    timeout: float,
    *,
    environment: Mapping[str, str] | None = None,
    output_bytes: int = OUTPUT_BYTES,
) -> Deferred[Outcome]:
    """
    Run the program `argv[0]` (a path, or a name on the PATH), never by a shell, for at most `timeout` seconds; in
    `environment`, or else in this process's. Of its output the last `output_bytes` are kept.

    Fires within `timeout` + 2 * GRACE_SECONDS. Fails with CommandError for a program that cannot be started. Cancelled,
    it fails at once and the program is ended as at its limit.
    """
    try:
        started = _start(tuple(argv), os.environ if environment is None else environment)
    except CommandError:
        return fail(Failure())
    return _Running(reactor, started, timeout, output_bytes).ended


def all_ended() -> Deferred[None]:
    """Fires when no program that was `run` in this process is left."""
    ended: Deferred[None] = Deferred(_awaiting.remove)
    _awaiting.append(ended)
    _tell_if_all_ended()
    return ended


def end_all_now() -> None:
    """End those that are left by SIGKILL; this process is about to end."""
    for program in _running:
        program.end_now()


class _Started(msgspec.Struct, frozen=True):
    """A process, the descriptor that tells its end, and the end of the pipe where its output is read."""

    pid: int
    pidfd: int
    pipe: int


class _Running:
    """A program from its start to its end."""

    def __init__(self, reactor: IReactorTime, started: _Started, limit: float, output_bytes: int) -> None:
        self.ended: Deferred[Outcome] = Deferred(self._cancelled)
        self._reactor = reactor
        self._reading = IReactorFDSet(reactor)
        self._pid = started.pid
        self._limit = limit
        self._output_bytes = output_bytes
        self._output = bytearray()
        self._is_late = False
        self._is_ending = False
        self._pipe = _Readable(started.pipe, self._read)
        self._end = _Readable(started.pidfd, self._reap)
        self._reading.addReader(self._pipe)
        self._reading.addReader(self._end)
        self._timer = reactor.callLater(limit, self._late)
        _running.add(self)

    def end_now(self) -> None:
        self._is_ending = True
        self._signal(signal.SIGKILL)

    def _read(self) -> None:
        try:
            read = os.read(self._pipe.fileno(), _PIPE_BYTES)
        except BlockingIOError:
            return
        self._output += read
        del self._output[: -self._output_bytes]
        if not read:
            self._reading.removeReader(self._pipe)

    def _late(self) -> None:
        self._is_late = True
        self._terminate()

    def _cancelled(self, _ended: Deferred[Outcome]) -> None:
        self._timer.cancel()
        self._terminate()

    def _terminate(self) -> None:
        self._is_ending = True
        self._signal(signal.SIGTERM)
        self._timer = self._reactor.callLater(GRACE_SECONDS, self._kill)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._timer = self._reactor.callLater(GRACE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        """It hangs in the kernel, or is another user's: nobody is kept waiting, it is reaped when it ends."""
        self._tell(-signal.SIGKILL)

    def _reap(self) -> None:
        if self._is_ending:
            self._signal(signal.SIGKILL)  # what it started; until it is reaped, the group's number is nobody else's
        _, status = os.waitpid(self._pid, 0)
        self._close(self._end)
        if self._timer.active():
            self._timer.cancel()
        _running.discard(self)
        self._tell(os.waitstatus_to_exitcode(status))
        _tell_if_all_ended()

    def _tell(self, status: int) -> None:
        if self._pipe.is_open:
            self._read()
            self._close(self._pipe)
        if not self.ended.called:
            output = self._output.decode(errors="replace")
            self.ended.callback(Outcome(status, output, self._is_late, self._limit))

    def _close(self, readable: "_Readable") -> None:
        self._reading.removeReader(readable)
        readable.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, number)


_running: Final[set[_Running]] = set()  # whoever started them, they are this process's children
_awaiting: Final[list[Deferred[None]]] = []


def _tell_if_all_ended() -> None:
    while _awaiting and not _running:
        _awaiting.pop().callback(None)


@implementer(IReadDescriptor)
class _Readable:
    """A descriptor, and what is called when there is something to read."""

    def __init__(self, descriptor: int, read: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._read = read
        self.is_open = True

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> None:
        self._read()

    def logPrefix(self) -> str:
        return "command"

    def connectionLost(self, reason: Failure) -> None:
        """Twisted: the reactor has ended."""

    def close(self) -> None:
        self.is_open = False
        os.close(self._descriptor)


def _start(argv: tuple[str, ...], environment: Mapping[str, str]) -> _Started:
    with contextlib.ExitStack() as undoing:
        try:
            reading, writing = os.pipe()
            undoing.callback(os.close, reading)
            undoing.callback(os.close, writing)
            pid = _spawn(argv, environment, writing)
            undoing.callback(_end_now, pid)
            pidfd = os.pidfd_open(pid)
        except (OSError, ValueError) as error:
            raise CommandError(f"{argv[0]} cannot be started: {_reason(error)}") from None
        undoing.pop_all()
    os.close(writing)
    os.set_blocking(reading, False)
    return _Started(pid, pidfd, reading)


def _spawn(argv: tuple[str, ...], environment: Mapping[str, str], output: int) -> int:
    """See [Spawning]."""
    return os.posix_spawnp(
        argv[0],
        argv,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=_IGNORED_BY_PYTHON,
    )


def _end_now(pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return _REASONS.get(error.errno, os.strerror(error.errno))
    return "an argument holds what no argument can, such as a NUL character"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
