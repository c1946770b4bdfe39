"""One line for each event, for people or for machines."""

import io
import json

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from lsproxy.logs import _Lines


def written(form, **event):
    stream = io.StringIO()
    _Lines(stream, form)({"log_time": 0.0, "log_level": LogLevel.info, "log_format": "{what}\nmore", **event})
    return stream.getvalue()


def test_text_is_one_line():
    """A newline in an event does not make two lines of it, and the level is said where it matters."""
    assert written("text", what="serving").endswith("serving more\n")
    assert "warning: serving more" in written("text", what="serving", log_level=LogLevel.warn)


def test_json_is_one_object():
    """A machine reads time, level and message."""
    line = json.loads(written("json", what="serving", log_level=LogLevel.error))
    assert (line["level"], line["message"]) == ("error", "serving more")


def test_a_failure_brings_its_traceback():
    """A fault of ours is logged with its kind and traceback."""
    failure = Failure(ValueError("broken"))
    assert "ValueError: broken" in written("text", what="x", log_failure=failure)
    assert "ValueError: broken" in json.loads(written("json", what="x", log_failure=failure))["traceback"]


def test_a_closed_stream_stops_nothing():
    """A full disk or a terminal that went away is no reason to stop serving."""

    class Full(io.StringIO):
        def write(self, _text):
            raise OSError(28, "No space left on device")

    log = Logger(observer=_Lines(Full(), "text"))
    log.info("lost")
