"""One line for each event, for people or for machines."""

import io
import json
from pathlib import Path

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from lsproxy.logs import Lines, cannot_start


def written(form, **event):
    stream = io.StringIO()
    Lines(stream, form)({"log_time": 0.0, "log_level": LogLevel.info, "log_format": "{what}\nmore", **event})
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

    log = Logger(observer=Lines(Full(), "text"))
    log.info("lost")


def test_json_has_the_name_and_the_fields_of_an_event():
    """What serves the sentence alone is left out, and nothing of Twisted's own machinery is in it."""
    line = json.loads(
        written("json", what="down", event="backend_down", pool="acme", hours=3, log_text="x", system="-")
    )
    del line["time"]
    assert line == {
        "level": "info",
        "event": "backend_down",
        "message": "down more",
        "what": "down",
        "pool": "acme",
        "hours": 3,
    }


def test_what_is_no_json_is_said_as_text():
    """A path, an address, an error."""
    line = json.loads(written("json", what=Path("/acme.lic"), event="advice", other={Path("/x")}))
    assert line["what"] == "/acme.lic"


def test_a_detail_does_not_take_the_place_of_what_every_line_has():
    """Whatever it is called."""
    line = json.loads(written("json", what="x", event="serving", level="high", time="noon"))
    assert (line["level"], line["event"], line["time"] != "noon") == ("info", "serving", True)


def test_what_has_no_name_is_a_note_or_a_fault():
    """So every line has an event."""
    assert json.loads(written("json", what="x"))["event"] == "note"
    assert json.loads(written("json", what="x", log_failure=Failure(ValueError("broken"))))["event"] == "fault"


def test_the_form_may_change():
    """From one line to the next."""
    stream = io.StringIO()
    lines = Lines(stream, "text")
    log = Logger(observer=lines)
    log.info("one")
    lines.form = "json"
    log.info("two")
    first, second = stream.getvalue().splitlines()
    assert (first.endswith(" one"), json.loads(second)["message"]) == (True, "two")


def test_a_daemon_that_does_not_start_says_so_in_its_form():
    """A sentence for people, an object for machines, one line."""
    stream = io.StringIO()
    cannot_start("text", "the port is taken", stream)
    cannot_start("json", "the port\nis taken", stream)
    first, second = stream.getvalue().splitlines()
    assert first == "the port is taken"
    said = json.loads(second)
    assert (said["level"], said["event"], said["message"]) == ("error", "cannot_start", "the port is taken")


def test_what_cannot_be_printed_does_not_reach_a_terminal():
    """A server may call itself anything."""
    name = "lic\x1b[31m\x00\u2028\u202e\x9b"
    for text in (written("text", what=name), written("text", what="x", log_failure=Failure(ValueError(name)))):
        assert all(line.isprintable() for line in text.split("\n"))
    assert written("text", what=name).endswith("lic\ufffd[31m\ufffd\ufffd\ufffd\ufffd more\n")
    assert json.loads(written("json", what=name))["message"] == "lic\ufffd[31m\ufffd\ufffd\ufffd\ufffd more"
