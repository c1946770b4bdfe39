"""How a daemon's log reaches standard error: text for people, JSON for machines, one line for each event."""

import json
import sys
from typing import IO, Literal

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    formatTime,
    globalLogBeginner,
)
from twisted.python.failure import Failure
from zope.interface import implementer

_LEVELS = {LogLevel.warn: "warning: ", LogLevel.error: "error: ", LogLevel.critical: "error: "}


def begin(form: Literal["text", "json"], stream: IO[str] | None = None) -> None:
    """Write the log of this process to `stream` (standard error) from now on; debug messages are left out."""
    observer = _Lines(sys.stderr if stream is None else stream, form)
    levels = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
    globalLogBeginner.beginLoggingTo([FilteringLogObserver(observer, [levels])], redirectStandardIO=False)


@implementer(ILogObserver)
class _Lines:
    def __init__(self, stream: IO[str], form: Literal["text", "json"]) -> None:
        self._stream = stream
        self._form = form

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        text = " ".join(formatEvent(event).split("\n"))
        failure: Failure | None = event.get("log_failure")
        if self._form == "json":
            line = {"time": formatTime(event["log_time"]), "level": level.name, "message": text}
            if failure is not None:
                line["traceback"] = failure.getTraceback()
            self._write(json.dumps(line))
        else:
            time = formatTime(event["log_time"], timeFormat="%Y-%m-%dT%H:%M:%S%z")
            self._write(f"{time} {_LEVELS.get(level, '')}{text}")
            if failure is not None:
                self._write(failure.getTraceback())

    def _write(self, text: str) -> None:
        try:
            self._stream.write(f"{text}\n")
            self._stream.flush()
        except OSError:
            pass  # a full disk or a closed terminal must not stop the service
