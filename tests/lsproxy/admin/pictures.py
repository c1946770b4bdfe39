"""Pools as the admin API shows them, for tests."""

from lsproxy.proxy.snapshot import BackendSnapshot, PoolSnapshot, Said


def backend(name, **changes):
    usual = {
        "name": name,
        "address": "127.0.0.1:27101",
        "health": "up",
        "changed_for": 75.0,
        "admin": "ready",
        "is_kept_out": False,
        "binding": "bound",
        "binding_reason": "SERVER line 1",
        "license_note": None,
        "said": Said("active" if name == "lic-a" else "standby", 3, "b1f0", "sha256:00", 12, 17, 60.0, "0.1.0"),
        "connections": 5,
        "last_error": None,
    }
    return BackendSnapshot(**{**usual, **changes})


def pool(name="acme", **changes):
    usual = {
        "pool": name,
        "kind": "licserver",
        "server_name": "acme-licenses",
        "serving": "lic-a",
        "address": "127.0.0.1:27101",
        "serving_for": 7300.0,
        "epoch": 3,
        "journal": "b1f0",
        "reason": None,
        "note": None,
        "conflicts": [],
        "switching_to": None,
        "clients": 5,
        "waiting": 0,
        "failback": "sticky",
        "hold": 10.0,
        "expiring": [],
        "backends": [backend("lic-a"), backend("lic-b")],
    }
    return PoolSnapshot(**{**usual, **changes})
