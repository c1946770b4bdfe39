"""The names of a license server's log lines: all of them are listed and documented, and a line has its fields."""

import json
import re
from pathlib import Path

from licserver.core import takeover_news
from licserver.core.takeover_news import event_name
from licserver.eventnames import LOGGED
from tests.faults.system import System

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r'event="(\w+)"(?: if \w+ else "(\w+)")?')
SHARED = ["lsproxy/net", "lsproxy/linefile.py"]  # what both daemons run


def sources():
    folders = [ROOT / "backends", *(ROOT / name for name in SHARED)]
    return [file for folder in folders for file in ([folder] if folder.is_file() else sorted(folder.rglob("*.py")))]


def test_all_are_listed():
    """Every name that is logged is listed, and no other."""
    news = [takeover_news.Announce(1, 1.0), takeover_news.Warn(1, 1.0), takeover_news.Block(1.0)]
    news += [takeover_news.Extend(1, 1.0), takeover_news.Unblock(1), takeover_news.Restore(1)]
    named = {name for file in sources() for found in NAMED.findall(file.read_text()) for name in found if name}
    named |= set(map(event_name, news)) | {"fault", "note", "debug_log_failed", "debug_log_restored"}
    assert named == set(LOGGED)


def test_all_are_documented():
    """Every name stands in docs/licserver.md."""
    page = (ROOT / "docs" / "licserver.md").read_text()
    assert [name for name in LOGGED if f"| `{name}` |" not in page] == []


def test_lines(tmp_path):
    """With `format: json` every line is an object with a name, also one that says why there is no start."""
    system = System(tmp_path, names=["lic-a"])
    child = system.servers["lic-a"]
    try:
        system.create_journal()
        system.configure("lic-a", log={"format": "json"}, hartbeat=1)
        child.start()
        assert child.wait() == 2
        system.configure("lic-a", log={"format": "json"})
        state = system.folder / "lic-a.state"
        state.write_text("{")
        child.start()
        assert child.wait() == 2
        state.unlink()
        system.start_server("lic-a")
        system.wait_active()
        assert system.licserver("stop", "lic-a").returncode == 0
        assert child.wait() == 0
    finally:
        system.end()
    lines = [json.loads(line) for line in child.log.splitlines()]
    assert {line["event"] for line in lines} <= set(LOGGED)
    by_name = {line["event"]: line for line in lines}
    assert "hartbeat: is an unknown key" in lines[0]["message"]
    assert [line["event"] for line in lines].count("cannot_start") == 2
    assert by_name["active"]["epoch"] == 1
    assert by_name["active"]["server_name"] == "acme-licenses"
    assert by_name["stood_down"]["level"] == "warn"
    assert "stop_asked" in by_name
