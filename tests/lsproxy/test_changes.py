"""What differs between two configurations, and what of it needs a restart."""

from pathlib import Path

import msgspec
import pytest

from lsproxy.changes import FixedError, describe, differences, refuse_fixed
from lsproxy.config import model
from lsproxy.net.address import Address


def a_pool(**changes):
    usual = {
        "kind": "licserver",
        "server_name": "acme-licenses",
        "license_file": Path("/acme.lic"),
        "vendor_keys": {"acme": Path("/acme.pub")},
        "backends": {name: model.SeatBackend(address=Address(name, 27101)) for name in ("lic-a", "lic-b")},
        "token_file": Path("/operator.token"),
    }
    return model.SeatPool(**{**usual, **changes})


def a_config(**changes):
    usual = {
        "listen": {"lic": model.Listener(address=Address("127.0.0.1", 27000), pool="acme")},
        "pools": {"acme": a_pool()},
    }
    return model.LsproxyConfig(**{**usual, **changes})


def test_the_same_has_no_differences():
    """Nothing is said of what stayed."""
    assert list(differences(a_config(), a_config())) == []


def test_a_difference_is_named_by_its_key():
    """As deep as it goes."""
    new = a_config(pools={"acme": a_pool(hold=3.0, health=model.Health(fall=5))})
    assert describe(a_config(), new) == ["pools.acme.hold: changed", "pools.acme.health.fall: changed"]


def test_what_came_and_went_is_said():
    """Of listeners, pools and backends."""
    backends = {name: model.SeatBackend(address=Address(name, 27101)) for name in ("lic-a", "lic-c")}
    new = a_config(pools={"acme": a_pool(backends=backends), "beta": a_pool()}, listen={})
    assert describe(a_config(), new) == [
        "listen.lic: removed",
        "pools.acme.backends.lic-b: removed",
        "pools.acme.backends.lic-c: added",
        "pools.beta: added",
    ]


def test_another_order_of_backends_is_a_change():
    """It is the order of preference."""
    backends = dict(reversed(a_pool().backends.items()))
    assert describe(a_config(), a_config(pools={"acme": a_pool(backends=backends)})) == ["pools.acme.backends: changed"]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"state": Path("/elsewhere")}, "state"),
        ({"pools": {"acme": a_pool(server_name="other")}}, "pools.acme.server_name"),
    ],
)
def test_what_needs_a_restart_is_refused_by_its_key(changes, key):
    """The sentence names the key and the two ways out."""
    with pytest.raises(FixedError) as refused:
        refuse_fixed(a_config(), a_config(**changes))
    assert str(refused.value) == f"{key} cannot change while lsproxy runs: restart lsproxy, or put the old value back"


@pytest.mark.parametrize(
    "changes",
    [
        {"admin": model.Admin(address=Address("127.0.0.1", 1), socket=Path("/s"), tokens_file=Path("/t"))},
        {"log": model.Log(format="json")},
        {"access_log": Path("/access.log")},
        {"notify": (("/bin/true",),)},
        {"pools": {"acme": a_pool(hold=1.0)}},
    ],
)
def test_everything_else_may_change(changes):
    """Nothing more is fixed than must be."""
    refuse_fixed(a_config(), a_config(**changes))


def test_a_new_pool_may_have_any_name():
    """Only a pool that runs keeps its server name."""
    refuse_fixed(a_config(), a_config(pools={"acme": a_pool(), "beta": a_pool(server_name="other")}))


def test_every_key_of_the_configuration_is_looked_at():
    """A key that a later release adds is not forgotten: it differs when it differs."""
    config = a_config()
    for field in msgspec.structs.fields(model.LsproxyConfig):
        changed = msgspec.structs.replace(config, **{field.name: object()})
        assert list(differences(config, changed)) == [(field.encode_name,)]
