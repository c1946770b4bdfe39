"""
The metrics of a running pair behind lsproxy: read while all is well, and again after the primary was killed.

One story for all tests of this file: processes are started once.
"""

import contextlib
import json
import math
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from licserver.metrics import CATALOG as LICSERVER
from lsproxy.config.tokens import SALT_BYTES, add_token
from lsproxy.lmstat.text import RELEASE
from lsproxy.metrics.catalog import CATALOG as LSPROXY
from tests.faults.caller import Caller
from tests.faults.process import wait_for
from tests.faults.system import System, free_port

TOKEN = "of prometheus"  # noqa: S105 - for this test alone
HOUR = 3600


class Story:
    """The system, and what each daemon said: `calm`, then `after` the primary's death, by name of the daemon."""

    def __init__(self, system):
        self.system = system
        self.ports = {name: free_port() for name in system.names}
        self.closed = free_port()
        for name, port in self.ports.items():
            system.configure(name, metrics=f"127.0.0.1:{port}")
        path = system.folder / "lsproxy.yaml"
        tree = json.loads(path.read_text())
        address = f"127.0.0.1:{self.closed}"
        tree["listen"]["closed"] = {"address": address, "pool": "acme", "allow": ["192.0.2.0/24"]}
        path.write_text(json.dumps(tree))
        add_token(system.folder / "tokens.yaml", "prometheus", "viewer", TOKEN, bytes(SALT_BYTES))
        self.calm = {}
        self.after = {}

    def tell(self):
        system = self.system.start()
        keeper = system.keeper("alice")
        for _ in range(3):
            assert keeper.ask("checkout", feature="cad", count=2)["ok"]
        assert not keeper.ask("checkout", feature="cad", count=9)["ok"]
        with contextlib.suppress(ConnectionResetError), socket.create_connection(("127.0.0.1", self.closed), 5) as one:
            assert one.recv(1) == b""
        with Caller(system.addresses["proxy"]) as passing:
            passing.ask("status")
        self.wait_for("lsproxy", 'refused_total{listener="closed",reason="allow"} 1.0', 'ended_total{ended="client"')
        self.wait_for("lic-b", 'role{role="standby"} 1.0', "lag_slots 0.0")
        self.wait_for("lsproxy", 'seats{backend="lic-a",pool="acme"} 6.0', 'slots{backend="lic-a",pool="acme"} 0.0')
        self.calm = self.read("lsproxy", *self.ports)
        system.servers["lic-a"].kill()
        system.wait_active(1)
        assert keeper.ask("heartbeat")["ok"]
        self.wait_for("lsproxy", 'serving{backend="lic-b",pool="acme"} 1.0', 'up{backend="lic-a",pool="acme"} 0.0')
        self.after = self.read("lsproxy", "lic-b")

    def wait_for(self, name, *parts):
        """Until all of them are in what it says: checks and standbys are a moment behind."""
        wait_for(lambda: all(part in self.text(name) for part in parts), f"{name} says {parts}")

    def read(self, *names):
        return {name: self.text(name) for name in names}

    def text(self, name):
        return self.get(name).read().decode()

    def get(self, name, path="/metrics", token=TOKEN, method="GET"):
        headers = {"Authorization": f"Bearer {token}"} if name == "lsproxy" and token else {}
        port = self.system.addresses["admin"][1] if name == "lsproxy" else self.ports[name]
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers, method=method)
        return urllib.request.urlopen(request, timeout=10)  # noqa: S310 - the address above


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    system = System(tmp_path_factory.mktemp("metrics"), redundancy="pair", has_proxy=True)
    try:
        told = Story(system)
        told.tell()
        yield told
        faults = system.faults_in_logs()
    finally:
        system.end()
    assert not faults, faults


def samples(text):
    """Each number by its name and labels."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def names(text):
    return set(re.findall(r"^# HELP (\S+)", text, re.MULTILINE))


def has_samples(text):
    found = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    return {re.sub("_(bucket|count|sum)$", "", name) if name.endswith(("_bucket",)) else name for name in found}


def test_every_metric_of_the_catalogs_has_a_number(story):
    """No other is there, and each has had a number in this story."""
    for catalog, texts in (
        (LSPROXY, [story.calm["lsproxy"], story.after["lsproxy"]]),
        (LICSERVER, [story.calm["lic-a"], story.calm["lic-b"], story.after["lic-b"]]),
    ):
        wanted = {named.name for named in catalog}
        for text in texts:
            assert names(text) == wanted
        assert wanted <= set().union(*map(has_samples, texts))


@pytest.mark.promtool
@pytest.mark.parametrize("name", ["lsproxy", "lic-a", "lic-b"])
def test_promtool_has_nothing_to_say(story, name):
    """`promtool check metrics` on what each daemon answers."""
    done = subprocess.run(
        [shutil.which("promtool"), "check", "metrics"],
        input=story.calm[name],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_all_is_well(story):
    """Who serves, who stands by, what is in use: by lsproxy's word."""
    found = samples(story.calm["lsproxy"])
    for name, value in {
        ("lsproxy_pool_served", "acme"): 1,
        ("lsproxy_pool_serving", "acme", "lic-a"): 1,
        ("lsproxy_pool_serving", "acme", "lic-b"): 0,
        ("lsproxy_pool_clients", "acme"): 1,
        ("lsproxy_pool_waiting", "acme"): 0,
        ("lsproxy_pool_standbys", "acme"): 1,
        ("lsproxy_pool_conflicts", "acme"): 0,
        ("lsproxy_pool_epoch", "acme"): 1,
        ("lsproxy_backend_up", "acme", "lic-b"): 1,
        ("lsproxy_backend_role", "acme", "active", "lic-a"): 1,
        ("lsproxy_backend_role", "acme", "active", "lic-b"): 0,
        ("lsproxy_backend_role", "acme", "lic-b", "standby"): 1,
        ("lsproxy_backend_admin", "acme", "lic-a", "ready"): 1,
        ("lsproxy_backend_binding", "acme", "bound", "lic-a"): 1,
        ("lsproxy_backend_binding", "acme", "lic-a", "unbound"): 0,
        ("lsproxy_backend_seats", "acme", "lic-a"): 6,
        ("lsproxy_backend_replay_lag_slots", "acme", "lic-a"): 0,
        ("lsproxy_listener_accepted_total", "closed"): 1,
        ("lsproxy_listener_refused_total", "allow", "closed"): 1,
        ("lsproxy_listener_connections", "licenses"): 1,
        ("lsproxy_seats_issued", "acme", "cad"): 10,
        ("lsproxy_seats_in_use", "acme", "cad"): 6,
        ("lsproxy_seats_in_use", "acme", "mesh"): 0,
        ("lsproxy_license_expiry_timestamp_seconds", "acme", "cad"): math.inf,
        ("lsproxy_denials_total", "acme", "no_backend"): 0,
        ("lsproxy_denials_total", "acme", "no_seats"): 1,
        ("lsproxy_switch_seconds_count", "acme", "failover"): 0,
        ("lsproxy_history_lost_samples_total",): 0,
    }.items():
        assert found[name] == value, name
    assert found["lsproxy_probe_seconds_count", "acme", "lic-a"] > 0
    assert found["lsproxy_listener_ended_total", "client", "licenses"] >= 1
    assert ("lsproxy_backend_takeover_remaining_seconds", "acme", "lic-a") not in found


def test_as_flexnet_exporters_say_it(story):
    """Dashboards that exist draw these names with these labels."""
    text = story.calm["lsproxy"]
    port = {name: story.system.addresses[name][1] for name in story.system.names}
    licensed = 'index="1",licenses="10",name="cad",vendor="acme",version="2027.0"'
    for line in (
        f'server_status{{app="acme",fqdn="lic-a",master="true",port="{port["lic-a"]}",version="{RELEASE}"}} 1.0',
        f'server_status{{app="acme",fqdn="lic-b",master="false",port="{port["lic-b"]}",version="{RELEASE}"}} 1.0',
        f'vendor_status{{app="acme",name="acme",version="{RELEASE}"}} 1.0',
        'feature_issued{app="acme",name="cad",type="floating"} 10.0',
        'feature_used{app="acme",name="cad",type="floating"} 6.0',
        f'feature_expiration_seconds{{app="acme",{licensed}}} +Inf',
    ):
        assert f"\nflexlm_{line}\n" in text
    used = re.findall(r'flexlm_feature_used_users\{app="acme",name="cad",since="[^"]+Z",user="alice"\} (\S+)', text)
    assert sum(map(float, used)) == 6


def test_a_failover_is_counted_and_measured(story):
    """The primary's death is one failover, no switchover, and the redundant server's limit runs."""
    found = samples(story.after["lsproxy"])
    assert found["lsproxy_switch_seconds_count", "acme", "failover"] == 1
    assert found["lsproxy_switch_seconds_count", "acme", "switchover"] == 0
    lasted = found["lsproxy_switch_seconds_sum", "acme", "failover"]
    assert 0 < lasted < 10
    assert found["lsproxy_pool_unserved_seconds_total", "acme"] >= lasted
    assert found["lsproxy_pool_standbys", "acme"] == 0
    assert found["lsproxy_pool_epoch", "acme"] == 2
    assert found["lsproxy_backend_up", "acme", "lic-a"] == 0
    assert 71 * HOUR < found["lsproxy_backend_takeover_remaining_seconds", "acme", "lic-b"] <= 72 * HOUR
    assert found["lsproxy_events_total", "acme", "takeover"] == 1
    assert found["lsproxy_seats_in_use", "acme", "cad"] == 6


def test_a_license_server_speaks_for_itself(story):
    """The active one of its seats, its journal and whom it refused; the standby of how far it follows."""
    active, standby = samples(story.calm["lic-a"]), samples(story.calm["lic-b"])
    assert active["licserver_role", "active"] == standby["licserver_role", "standby"] == 1
    assert active["licserver_epoch",] == active["licserver_activations_total",] == 1
    assert active["licserver_seats_in_use", "cad"] == 6
    assert active["licserver_denials_total", "no_seats"] == 1
    assert active["licserver_journal_append_seconds_count",] >= 4
    assert active["licserver_bound",] == standby["licserver_bound",] == 1
    assert active["licserver_connections",] >= 2
    assert active["licserver_sessions",] >= 1
    assert active["licserver_name_conflict",] == standby["licserver_replay_lag_slots",] == 0
    assert ("licserver_seats_in_use", "cad") not in standby
    assert standby["licserver_journal_append_seconds_count",] == 0
    heir = samples(story.after["lic-b"])
    assert heir["licserver_activations_total",] == 1
    assert heir["licserver_seats_in_use", "cad"] == 6
    assert 71 * HOUR < heir["licserver_takeover_remaining_seconds",] <= 72 * HOUR


def test_who_may_read(story):
    """Who has a token those of lsproxy, which name users; anybody those of a license server, which name nobody."""
    with pytest.raises(urllib.error.HTTPError, match="401"):
        story.get("lsproxy", token="")
    for text in (story.calm["lic-a"], story.after["lic-b"]):
        assert "alice" not in text
    assert story.get("lic-b").headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert story.get("lic-b", method="HEAD").read() == b""
    with pytest.raises(urllib.error.HTTPError, match="404"):
        story.get("lic-b", "/")
    with pytest.raises(urllib.error.HTTPError, match="405"):
        story.get("lic-b", method="POST")


def test_the_history_stands_beside_the_state(story):
    """The daemon answers from `history.db` in the folder of `state`."""
    answer = json.loads(story.get("lsproxy", "/api/v1/history?since=0").read())
    assert answer["pools"] == {"acme": {"points": [], "seats": {}, "health": {}}}
    assert (story.system.folder / "history.db").exists()
