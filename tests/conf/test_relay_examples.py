"""
Every example of a third-party pool runs: its addresses moved to loopback, stand-ins for its servers, and a client that
is served by the second server once the first is killed.
"""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lsproxy.config.check import load_config
from lsproxy.license.machine import machine_hostids
from lsproxy.proxy.kinds.known import read_licenses
from tests.faults.process import Child, wait_for
from tests.faults.system import COMMANDS, free_port

CONF = Path(__file__).parents[2] / "conf"
STANDIN = Path(__file__).parents[1] / "relay" / "standin.py"
KINDS = ("flexnet", "rlm", "citrix", "lmx", "tcp")

HOSTS = ("127.0.0.2", "127.0.0.3")
_SECONDS = 20.0
_LETTERED = re.compile(r"\b[a-z]+-([ab])\.example\.com")
_NUMBERED = re.compile(r"\b192\.0\.2\.1([12])\b")


class Site:
    """A host on which one example was unpacked, and the hosts of its two servers."""

    def __init__(self, kind, folder):
        self.folder = folder / "etc"
        shutil.copytree(CONF, self.folder)
        self.config = self.folder / f"{kind}.yaml"
        self._ports = {}
        self._move(folder)
        for name in ("fence", "start-licensing"):
            hook = folder / name
            hook.write_text(f'#!/bin/sh\necho {name} "$1" >> {folder}/hooks\n')
            hook.chmod(0o755)
        tokens = self.folder / "tokens.yaml"
        tokens.touch(0o600)
        tokens.write_text("tokens: []\n")
        (self.pool,) = load_config(self.config).pools.values()
        self.listen = load_config(self.config).listen
        self.servers = {}
        for (name, backend), host in zip(self.pool.backends.items(), HOSTS, strict=True):
            ports = [f"{port}={address.port}" if port else str(address.port) for port, address in backend.doors.items()]
            command = [sys.executable, str(STANDIN), name, *ports, "--host", host]
            self.servers[name] = Child(name, command, folder / f"{name}.log")
        command = [str(COMMANDS / "lsproxy"), "serve", "-c", str(self.config)]
        self.proxy = Child("lsproxy", command, folder / "lsproxy.log")
        self._hooks = folder / "hooks"

    def _move(self, folder):
        """Addresses to loopback, numbers of ports to free ones in both files, hostids to this machine's own."""
        for place in ("var/lib/lsproxy", "run/lsproxy", "var/log/lsproxy"):
            (folder / place).mkdir(parents=True, exist_ok=True)
        text = self.config.read_text()
        text = re.sub(r"(?<=[ /])/(var/lib|run|var/log)/(?=lsproxy)", rf"{folder}/\1/", text)
        text = text.replace("/usr/local/sbin", str(folder))
        text = text.replace('"0.0.0.0:', '"127.0.0.1:')
        text = _LETTERED.sub(lambda match: HOSTS["ab".index(match[1])], text)
        text = _NUMBERED.sub(lambda match: HOSTS[int(match[1]) - 1], text)
        self.config.write_text(re.sub(r'(?<=:)\d{4,5}(?=")', self._port, text))
        own = next(hostid for hostid in machine_hostids() if hostid.kind == "hostname").describe()
        for path in self.folder.glob("*.lic.example"):
            text = re.sub(r"\b02[0-9a-f]{10}\b", own, path.read_text())
            ports = re.compile(r"(?<=PORT=)\d+|(?<=port=)\d+|(?<= )(?:27000|5053)$", re.MULTILINE)
            path.with_suffix("").write_text(ports.sub(self._port, text))

    def _port(self, match):
        return str(self._ports.setdefault(match[0], free_port()))

    def run(self, *command):
        done = subprocess.run(
            [str(COMMANDS / "lsproxy"), *command], capture_output=True, text=True, timeout=30, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def start(self, *names):
        for name in names:
            self.servers[name].start()
            wait_for(lambda name=name: self.servers[name].log.strip() or self._answers(name), f"{name} listens")
        self.proxy.start()

    def _answers(self, name):
        host = next(iter(self.pool.backends[name].doors.values()))
        with socket.socket() as asking:
            return asking.connect_ex((host.host, host.port)) == 0

    def who(self, listener):
        """Who answers there, or nothing."""
        address = self.listen[listener].address
        try:
            with socket.create_connection((address.host, address.port), _SECONDS) as client:
                client.settimeout(_SECONDS)
                client.sendall(b"who\n")
                return client.makefile().readline().strip()
        except OSError:
            return ""

    def hooks(self):
        return self._hooks.read_text().splitlines() if self._hooks.exists() else []

    def stop(self):
        self.proxy.signal(signal.SIGTERM)
        try:
            if self.proxy.is_running:
                self.proxy.wait(15)
        finally:
            for child in (self.proxy, *self.servers.values()):
                if child.is_running:
                    child.kill()


@pytest.fixture
def site(request, tmp_path):
    made = Site(request.param, tmp_path)
    yield made
    made.stop()


def answered(site, name):
    """All listeners lead to `name`, each to the port that it stands for."""
    wanted = {key: f"{name} {listener.port or ''}".strip() for key, listener in site.listen.items()}
    wait_for(lambda: {key: site.who(key) for key in site.listen} == wanted, f"{name} serves on all ports", _SECONDS)


@pytest.mark.parametrize("site", [kind for kind in KINDS if kind != "citrix"], indirect=True)
def test_the_second_server_takes_over(site):
    """The first serves on all ports, and once it is killed the second does."""
    first, second = site.servers
    site.start(first, second)
    answered(site, first)
    site.servers[first].kill()
    answered(site, second)


@pytest.mark.parametrize("site", ["citrix"], indirect=True)
def test_of_two_servers_with_one_name_one_runs(site):
    """The second is started once the first was fenced; until then clients wait."""
    first, second = site.servers
    site.start(first)
    answered(site, first)
    site.servers[first].kill()
    wait_for(lambda: f"start-licensing {second}" in site.hooks(), "the second is to be started", _SECONDS)
    site.servers[second].start()
    answered(site, second)
    hooks = site.hooks()
    assert hooks.index(f"fence {first}") < hooks.index(f"start-licensing {second}")


@pytest.mark.parametrize("site", KINDS, indirect=True)
def test_check_has_nothing_to_say(site):
    """An example that is filled in is sound."""
    status, said = site.run("check", "-c", str(site.config), "--json")
    assert json.loads(said)["problems"] == []
    assert status == 0


@pytest.mark.parametrize("site", [kind for kind in KINDS if kind != "tcp"], indirect=True)
def test_the_sample_licenses_are_read(site):
    """Each backend has one, and its dates are found."""
    licenses = read_licenses(site.pool)
    assert set(licenses) == set(site.pool.backends)
    assert all(license_file.terms and not license_file.problems for license_file in licenses.values())
