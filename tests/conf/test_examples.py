"""
Every file of conf/ runs: a copy is changed as its comments tell an
administrator to, started, and an application checks out a seat through it.
"""

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from lsproxy.client import LicenseClient
from tests.conf.test_relay_examples import KINDS as RELAY_KINDS
from tests.faults.process import Child, wait_for
from tests.faults.system import COMMANDS, free_port

CONF = Path(__file__).parents[2] / "conf"

# One name, one command: licservers first, the proxy before them last.
COMMAND_OF = {"licserver-a.yaml": "licserver", "licserver-b.yaml": "licserver", "lsproxy.yaml": "lsproxy"}
PAIR = {"pair-primary.yaml": "licserver", "pair-redundant.yaml": "licserver"}
PAIR_PROXY = {"pair-lsproxy.yaml": "lsproxy"}
SINGLE = {"single.yaml": "licserver"}
PAIR_ON_HOSTS = {
    "pair-primary-etcd.yaml": "licserver",
    "pair-redundant-etcd.yaml": "licserver",
    "pair-lsproxy-etcd.yaml": "lsproxy",
}
TRIAD = {
    "triad-1.yaml": "licserver",
    "triad-2.yaml": "licserver",
    "triad-3.yaml": "licserver",
    "triad-lsproxy.yaml": "lsproxy",
}


class Site:
    """A host on which the examples were unpacked: its files under `folder`, its own ports for those in `commands`."""

    def __init__(self, folder, commands):
        self.commands = commands
        self.folder = folder / "etc"
        shutil.copytree(CONF, self.folder)
        self.ports = {}
        for place in ("/var/lib/licserver", "/var/lib/lsproxy", "/run/lsproxy"):
            (folder / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for name in commands:
            path = self.folder / name
            text = path.read_text()
            text = re.sub(r"(?<=[ /])/?(var/lib|run)/(?=licserver|lsproxy)", rf"{folder}/\1/", text)
            path.write_text(self.moved(text))
        self.children = {}

    def moved(self, text):
        """A configuration with this site's ports."""
        return re.sub(r'(?<=:)27\d{3}(?=")', self._port, text)

    def _port(self, match):
        return str(self.ports.setdefault(match[0], free_port()))

    def run(self, *command):
        done = subprocess.run(
            [str(COMMANDS / command[0]), *command[1:]],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, name):
        command = [str(COMMANDS / self.commands[name]), "serve", "-c", str(self.folder / name)]
        child = self.children[name] = Child(name, command, self.folder / f"{name}.log")
        child.start()

    def stop(self):
        for child in self.children.values():
            child.signal(signal.SIGTERM)
        try:
            return {name: child.wait(15) for name, child in self.children.items()}
        finally:
            for child in self.children.values():
                child.signal(signal.SIGKILL)


def unpacked(made, license_example):
    """The site `made` with the files that the comments ask for, made by the commands that they name."""
    example = made.folder / license_example
    hostid = next(line for line in made.run("licserver", "hostid").split() if line.lower().startswith("hostname="))
    example.write_text(example.read_text().replace("HOSTNAME=license-host", hostid))
    for path in made.folder.glob("*.yaml"):  # a seat is vouched for again with the next heartbeat
        path.write_text(path.read_text().replace("heartbeat: 15", "heartbeat: 1"))
    (made.folder / "operator.token").touch(0o600)
    (made.folder / "operator.token").write_text("2f61" * 16)
    for command in re.findall(r"^#   (licserver .*)$", example.read_text(), re.MULTILINE):
        made.run(*command.split())
    return made


@pytest.fixture
def site(tmp_path):
    """Two servers and lsproxy before them."""
    made = unpacked(Site(tmp_path, COMMAND_OF), "acme.lic.example")
    made.run("lsproxy", "token", "add", "ops", "--role", "viewer", "-c", "lsproxy.yaml")
    made.run("licserver", "init", "-c", "licserver-a.yaml")
    yield made
    made.stop()


def test_the_examples_serve_a_seat(site):
    """Two servers, lsproxy before them; a seat outlives the death of the server that granted it."""
    for name, command in COMMAND_OF.items():
        site.run(command, "check", "-c", name)
        site.start(name)
    admin = f"unix:{site.folder.parent}/run/lsproxy/admin.sock"
    port = site.ports["27000"]

    def status():
        command = [str(COMMANDS / "lsproxy"), "status", "--admin", admin]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        return done.stdout if done.returncode == 0 and "standby" in done.stdout else None

    shown = wait_for(status, "lsproxy serves and a server stands by")
    assert [line.split()[1] for line in shown.splitlines()[2:4]] == ["up", "up"]
    with LicenseClient(f"{port}@127.0.0.1", user="alice") as client, client.checkout("cad") as seat:
        active = "a" if "lic-a*" in shown else "b"
        site.children[f"licserver-{active}.yaml"].kill()
        client.checkout("mesh").checkin()
        wait_for(lambda: seat.is_trusted, "the seat is vouched for again")
        seat.check()
    site.children.pop(f"licserver-{active}.yaml")
    assert set(site.stop().values()) == {0}


def test_the_single_server_serves_a_seat(tmp_path):
    """One server by itself; a seat outlives its restart."""
    site = unpacked(Site(tmp_path, SINGLE), "acme.lic.example")
    site.run("licserver", "init", "-c", "single.yaml")
    site.run("licserver", "check", "-c", "single.yaml")
    try:
        site.start("single.yaml")
        wait_for(lambda: status_of(site, "single.yaml"), "it runs")
        with LicenseClient(f"{site.ports['27101']}@127.0.0.1", user="alice") as client, client.checkout("cad") as seat:
            site.children["single.yaml"].kill()
            site.start("single.yaml")
            client.checkout("mesh").checkin()
            wait_for(lambda: seat.is_trusted, "the seat is vouched for again")
            seat.check()
    finally:
        ended = site.stop()
    assert set(ended.values()) == {0}


def test_the_pair_serves_a_seat(tmp_path):
    """A primary and its redundant server: a seat outlives the primary, which gets its name back."""
    site = unpacked(Site(tmp_path, PAIR), "pair.lic.example")
    site.run("licserver", "init", "-c", "pair-primary.yaml")
    try:
        for name in PAIR:
            site.run("licserver", "check", "-c", name)
            site.start(name)
            wait_for(lambda name=name: status_of(site, name), f"{name} runs")
        wait_for(lambda: status_of(site, "pair-primary.yaml")["role"] == "active", "the primary is active")
        wait_for(lambda: not status_of(site, "pair-redundant.yaml")["redundancy"]["fault"], "the other could take over")
        servers = ";".join(f"{site.ports[port]}@127.0.0.1" for port in ("27101", "27102"))
        with LicenseClient(servers, user="alice") as client, client.checkout("cad") as seat:
            site.children["pair-primary.yaml"].kill()
            wait_for(lambda: status_of(site, "pair-redundant.yaml")["takeover"], "the redundant server serves")
            client.checkout("mesh").checkin()
            site.start("pair-primary.yaml")
            wait_for(lambda: (status_of(site, "pair-primary.yaml") or {}).get("role") == "active", "it is back")
            wait_for(lambda: seat.is_trusted, "the seat is vouched for again")
            seat.check()
    finally:
        ended = site.stop()
    assert set(ended.values()) == {0}


def test_a_proxy_before_the_pair(tmp_path):
    """It leads to the primary, and to the redundant server in its place; the primary gets its clients back."""
    site = unpacked(Site(tmp_path, PAIR | PAIR_PROXY), "pair.lic.example")
    site.run("licserver", "init", "-c", "pair-primary.yaml")
    site.run("lsproxy", "token", "add", "ops", "--role", "viewer", "-c", "pair-lsproxy.yaml")
    path = site.folder / "pair-lsproxy.yaml"
    path.write_text(path.read_text().replace("failback_after: 300", "failback_after: 1"))
    try:
        for name, command in site.commands.items():
            site.run(command, "check", "-c", name)
            site.start(name)
            if command == "licserver":
                wait_for(lambda name=name: status_of(site, name), f"{name} runs")
        wait_for(lambda: served_by(site) == "lic-a", "the primary is served")
        wait_for(lambda: not status_of(site, "pair-redundant.yaml")["redundancy"]["fault"], "the other could take over")
        with LicenseClient(f"{site.ports['27000']}@127.0.0.1", user="alice") as client, client.checkout("cad") as seat:
            site.children["pair-primary.yaml"].kill()
            wait_for(lambda: served_by(site) == "lic-b", "the redundant server is served")
            site.start("pair-primary.yaml")
            wait_for(lambda: served_by(site) == "lic-a", "the primary has its clients back")
            client.checkout("mesh").checkin()
            wait_for(lambda: seat.is_trusted, "the seat is vouched for again")
            seat.check()
    finally:
        ended = site.stop()
    assert set(ended.values()) == {0}


def served_by(site):
    """The backend that lsproxy sends clients to, None if none."""
    admin = f"unix:{site.folder.parent}/run/lsproxy/admin.sock"
    command = [str(COMMANDS / "lsproxy"), "status", "--json", "--admin", admin]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return json.loads(done.stdout)["pools"][0]["serving"] if done.stdout else None


def status_of(site, name):
    """What a server says of itself, None if nothing."""
    command = [str(COMMANDS / "licserver"), "status", "--json", "-c", str(site.folder / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def test_no_example_is_left_unrun():
    """A new file of conf/ needs its run, here or among the third-party pools."""
    assert {path.name for path in CONF.glob("*.yaml")} == {
        "alerts.yaml",  # Prometheus', see test_monitoring
        *COMMAND_OF,
        *PAIR,
        *PAIR_PROXY,
        *SINGLE,
        *PAIR_ON_HOSTS,
        *TRIAD,
        *(f"{kind}.yaml" for kind in RELAY_KINDS),
    }
