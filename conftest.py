"""
What every test runs on: the daemons' reactor, installed before pytest-twisted
looks for one, and the programs that some tests need.

Two workers share the tests: one has those of whole systems, which mostly wait, the
other one the rest.

A test that needs a program is marked with its name. Where the program is
missing the test is skipped by name; in continuous integration it fails.
"""

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from lsproxy.net import reactor

PROGRAMS = {
    "cc": lambda: shutil.which("cc"),
    "chromium": lambda: shutil.which("chromium"),
    "etcd": lambda: shutil.which("etcd"),
    "faketime": lambda: Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1").exists(),
    "haproxy": lambda: shutil.which("haproxy"),
    "keepalived": lambda: shutil.which("keepalived") and shutil.which("curl"),
    "nginx": lambda: shutil.which("nginx") and Path("/usr/lib/nginx/modules/ngx_stream_module.so").exists(),
    "nft": lambda: shutil.which("nft"),
    "openssl": lambda: shutil.which("openssl"),
    "postgres": lambda: list(Path("/usr/lib/postgresql").glob("*/bin/pgbench")),
    "promtool": lambda: shutil.which("promtool"),
    "root": lambda: os.geteuid() == 0,
    "systemd": lambda: shutil.which("systemd-analyze"),
    "wrk": lambda: shutil.which("wrk"),
}

HERE = Path(__file__).parent
SYSTEMS = frozenset({"bench", "conf", "faults", "relay", "systemd", "web"})

reactor.install()
# However slow the machine is, no test fails for it.
settings.register_profile("lsproxy", deadline=None)
settings.load_profile("lsproxy")
# Whoever starts a test run in the background may have it ignore SIGINT, and what it starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """One mark for each program."""
    for name in PROGRAMS:
        config.addinivalue_line("markers", f"{name}: needs {name}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole systems are tested one after the other, whatever runs beside them: two at once would be too slow."""
    for item in items:
        if item.path.relative_to(HERE).parts[1] in SYSTEMS:
            item.add_marker(pytest.mark.xdist_group("systems"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, or fail, what cannot be tested here."""
    for name, is_there in PROGRAMS.items():
        if item.get_closest_marker(name) is not None and not is_there():
            if os.environ.get("CI") == "true":
                pytest.fail(f"{name} is missing, and nothing may be left untested here")
            pytest.skip(f"needs {name}")
