"""docs/third-party.md: what it says of `notify` is what is done."""

import re
from pathlib import Path

from lsproxy.notify import EVENTS

PAGE = (Path(__file__).parents[2] / "docs" / "third-party.md").read_text(encoding="utf-8")


def test_every_event_of_notify_is_told():
    """And no other."""
    rows = re.findall(r"^\| (`.*?) \|", PAGE.partition("\n## Notify\n")[2], re.MULTILINE)
    assert {name for row in rows for name in re.findall("`(.*?)`", row)} == EVENTS
