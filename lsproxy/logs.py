"""
How a daemon's log reaches standard error: text for people, JSON for machines, one line for each event.

A JSON line has `time`, `level`, `event` and `message`, and then every keyword of the log call as a field of its own,
but those that begin with `log_`, which serve the sentence alone. `event` is a stable name: what a call gives as
`event="…"`, `fault` for a failure that nobody foresaw, `note` for what has no name of its own.
"""

import json
import sys
from datetime import UTC, datetime
from typing import IO, Any, Final, Literal

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

from lsproxy.oneline import lines, one_line

Form = Literal["text", "json"]

FAULT: Final = "fault"
NOTE: Final = "note"

_LEVELS: Final = {LogLevel.warn: "warning: ", LogLevel.error: "error: ", LogLevel.critical: "error: "}
_TWISTEDS_OWN: Final = frozenset({"format", "isError", "message", "system", "time"})


def begin(form: Form, stream: IO[str] | None = None) -> "Lines":
    """Write the log of this process to `stream` (standard error) from now on; debug messages are left out."""
    written = Lines(sys.stderr if stream is None else stream, form)
    levels = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
    levels.setLogLevelForNamespace("twisted", LogLevel.warn)  # "Starting factory", "(TCP Port 27080 Closed)"
    levels.setLogLevelForNamespace("log_legacy", LogLevel.warn)  # the same said in Twisted's older way
    globalLogBeginner.beginLoggingTo([FilteringLogObserver(written, [levels])], redirectStandardIO=False)
    return written


def cannot_start(form: Form, sentence: str, stream: IO[str] | None = None) -> None:
    """The last line of a daemon that does not come to run, told before its log began; in text the sentence alone."""
    stream = sys.stderr if stream is None else stream
    if form == "text":
        _write(stream, sentence)
        return
    time = formatTime(datetime.now(UTC).timestamp())
    _write(stream, _encoded({"time": time, "level": "error", "event": "cannot_start", "message": one_line(sentence)}))


@implementer(ILogObserver)
class Lines:
    """Writes each event as a line of `form`, which may change while it runs."""

    def __init__(self, stream: IO[str], form: Form) -> None:
        self._stream = stream
        self.form = form

    def __call__(self, event: LogEvent) -> None:
        """Twisted: it was logged."""
        level = event.get("log_level", LogLevel.info)
        text = one_line(formatEvent(event))
        failure: Failure | None = event.get("log_failure")
        if self.form == "json":
            named = event.get("event", NOTE if failure is None else FAULT)
            line = {"time": formatTime(event["log_time"]), "level": level.name, "event": named, "message": text}
            if failure is not None:
                line["traceback"] = failure.getTraceback()
            if "event" in event:
                line |= {key: value for key, value in event.items() if key not in line and _is_field(key)}
            _write(self._stream, _encoded(line))
        else:
            time = formatTime(event["log_time"], timeFormat="%Y-%m-%dT%H:%M:%S%z")
            _write(self._stream, f"{time} {_LEVELS.get(level, '')}{text}")
            if failure is not None:
                _write(self._stream, lines(failure.getTraceback()))


def _is_field(key: str) -> bool:
    return not key.startswith("log_") and key not in _TWISTEDS_OWN


def _encoded(line: dict[str, Any]) -> str:
    return json.dumps(line, default=str)


def _write(stream: IO[str], text: str) -> None:
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except OSError:
        pass  # a full disk or a closed terminal must not stop the service
