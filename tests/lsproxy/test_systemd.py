"""sd_notify(3), spoken to a socket of the test's own."""

import contextlib
import socket
import time

import pytest
from twisted.internet.task import Clock

from lsproxy.systemd import Standing, Watchdog, notify, passed_descriptors, watchdog_seconds


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_the_service_manager_is_told(tmp_path, monkeypatch, kind):
    """Both kinds of NOTIFY_SOCKET get the state as one datagram."""
    name = str(tmp_path / "notify") if kind == "path" else f"@lsproxy-test-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name[1:]}" if kind == "abstract" else name)
        manager.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify("READY=1")
        assert manager.recv(100) == b"READY=1"


def test_without_a_service_manager_nothing_happens(tmp_path, monkeypatch):
    """No NOTIFY_SOCKET, or one nobody listens at, is no fault."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify("READY=1")


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """Hears what the service manager is told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        def heard():
            found = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    found.append(listening.recv(2000).decode())
            return found

        yield heard


@pytest.mark.parametrize(
    ("environment", "descriptors"),
    [
        ({"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"}, [3, 4]),
        ({"LISTEN_PID": "8", "LISTEN_FDS": "2"}, []),
        ({"LISTEN_PID": "7", "LISTEN_FDS": "many"}, []),
        ({}, []),
    ],
)
def test_what_is_passed_is_for_one_process(environment, descriptors):
    """And for no program that it starts: the variables are gone."""
    environment["HOME"] = "/root"
    assert list(passed_descriptors(environment, 7)) == descriptors
    assert environment == {"HOME": "/root"}


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "10000000"}, 10.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "7"}, 10.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_whether_the_service_manager_watches(environment, seconds):
    """This process, and no other."""
    assert watchdog_seconds(environment, 7) == seconds


def test_it_beats_twice_in_the_time(manager):
    """From the reactor, so that one that hangs does not; and not after its end."""
    clock = Clock()
    watchdog = Watchdog(clock, 10.0)
    watchdog.start()
    clock.pump([1.0] * 10)
    assert manager() == ["WATCHDOG=1"] * 3
    watchdog.stop()
    clock.pump([1.0] * 10)
    assert manager() == []
    assert clock.getDelayedCalls() == []
    Watchdog(clock, None).start()
    assert clock.getDelayedCalls() == []


def test_the_standing_is_told_when_it_changes(manager):
    """In one line."""
    clock, now = Clock(), ["acme: lic-a"]
    standing = Standing(clock, lambda: now[0])
    standing.start()
    clock.pump([1.0] * 3)
    now[0] = "acme:\nNOT SERVED"
    clock.pump([1.0] * 3)
    assert manager() == ["READY=1", "STATUS=acme: lic-a", "STATUS=acme: NOT SERVED"]
    standing.stop()
    assert clock.getDelayedCalls() == []


def test_a_reload_is_told(manager):
    """With the time it began at, and its end whatever came of it."""
    standing = Standing(Clock(), str)
    standing.start()
    manager()
    before = time.monotonic()
    with contextlib.suppress(ValueError), standing.reloading():
        [state] = manager()
        int("refused")
    assert state.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert before <= float(state.partition("USEC=")[2]) / 1e6 + 1e-6 <= time.monotonic() + 1e-6
    assert manager() == ["READY=1"]


def test_a_reload_makes_nothing_ready(manager):
    """One that comes while the process starts or stops says nothing; one that it is ready in the midst of, once."""
    standing = Standing(Clock(), str)
    with standing.reloading():
        pass
    assert manager() == []
    with standing.reloading():
        standing.start()
    assert manager() == ["READY=1"]
    with standing.reloading():
        standing.stop()
    assert [state.partition("=")[0] for state in manager()] == ["RELOADING"]
    with standing.reloading():
        pass
    assert manager() == []
