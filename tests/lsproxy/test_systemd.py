"""sd_notify(3), spoken to a socket of the test's own."""

import socket

import pytest

from lsproxy.systemd import notify


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
