"""What of licserver.yaml may change while the server runs, and what is said of the rest."""

import json

import pytest

from licserver.changes import describe, refuse_fixed
from licserver.config import LicserverConfig, load_config
from lsproxy.config.problems import ConfigError

GOOD = {
    "name": "lic-a",
    "server_name": "acme-licenses",
    "listen": "127.0.0.1:27101",
    "license_file": "acme.lic",
    "vendor_keys": {"acme": "acme.pub"},
    "journal": "sqlite:///var/lib/licserver/acme.db",
    "redundancy": {"scheme": "pair"},
}
FIXED = {
    "name": ("lic-b", "name"),
    "server_name": ("other", "server_name"),
    "listen": ("127.0.0.1:27102", "listen.address"),
    "advertise": ("lic-a.example.com:27101", "advertise"),
    "journal": ("etcd://127.0.0.1:2379/acme", "journal"),
    "redundancy": ("duplicate", "redundancy.scheme"),
    "registered": ({"primary": "h:1", "name": "lic-b", "hostids": ["ID=b"]}, "registered"),
    "ttl": (3, "ttl"),
    "heartbeat": (14, "heartbeat"),
    "resume": (60, "resume"),
    "hostids": (["ID=x"], "hostids"),
    "state": ("other.state", "state"),
}
FREE = {
    "license_file": "b.lic",
    "vendor_keys": {"acme": "acme.pub", "b": "b.pub"},
    "token_file": "operator.token",
    "log": {"format": "json"},
    "debug_log": "debug.log",
    "metrics": "127.0.0.1:27180",
    "redundancy": {"scheme": "pair", "takeover_limit_hours": 24, "restore_after_minutes": 20},
    "listen": {"address": "127.0.0.1:27101", "accept_proxy_protocol": ["127.0.0.0/8"]},
}
WITH_OTHERS = {"etcd"}  # it is for a journal in etcd, and `journal` is fixed


@pytest.fixture
def changed(tmp_path):
    """The configuration as it was, and as it is with some keys changed; its path."""
    for name in ("acme.lic", "b.lic", "acme.pub", "b.pub", "operator.token"):
        (tmp_path / name).write_text("something\n")
        (tmp_path / name).chmod(0o600)
    path = tmp_path / "s.yaml"

    def change(**keys):
        path.write_text("\n".join(f"{key}: {json.dumps(value)}" for key, value in GOOD.items()))
        before = load_config(path)
        path.write_text("\n".join(f"{key}: {json.dumps(value)}" for key, value in {**GOOD, **keys}.items()))
        return path, before, load_config(path)

    return change


@pytest.mark.parametrize("key", FIXED)
def test_fixed(changed, key):
    """What others rely on is refused, with file, line and key."""
    value, told = FIXED[key]
    path, before, after = changed(**{key: value, "log": {"format": "json"}})
    with pytest.raises(ConfigError) as caught:
        refuse_fixed(path, before, after)
    line = [*GOOD, key].index(key) + 1
    sentence = "cannot change while lic-a runs: put the old value back, or start the server again"
    assert f"{path}:{line}: {told}: {sentence}" in str(caught.value).splitlines()


@pytest.mark.parametrize("key", FREE)
def test_free(changed, key):
    """Everything else may change, and is named."""
    path, before, after = changed(**{key: FREE[key]})
    refuse_fixed(path, before, after)
    assert describe(before, after).startswith(key)


def test_nothing(changed):
    """Without a change there is nothing to say."""
    path, before, after = changed()
    refuse_fixed(path, before, after)
    assert describe(before, after) == ""


def test_every_key_is_decided():
    """No key is forgotten: each is either free or fixed."""
    assert {*FIXED, *FREE} | WITH_OTHERS >= set(LicserverConfig.__struct_encode_fields__)
