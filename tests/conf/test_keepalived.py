"""
The example for two lsproxy machines behind one address: keepalived, its check script and lsproxy run on each of two
machines, the license servers on a third one, where the clients are.
"""

import http.client
import json
import signal
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.caller import Caller, Hung, Keeper
from tests.faults.machines import Machines
from tests.faults.process import wait_for
from tests.faults.system import COMMANDS, System, free_port
from tests.lsproxy.net.conftest import Authority

pytestmark = [pytest.mark.keepalived, pytest.mark.root]

CONF = Path(__file__).parents[2] / "conf" / "keepalived"
VIRTUAL = ("192.0.2.100", 27000)
HUB = "192.0.2.254"
MACHINES = ("one", "two")


class Site(System):
    """License servers in the hub, by TLS, and on each machine an lsproxy and a keepalived."""

    def __init__(self, folder, machines):
        self.machines = machines
        self.authority = Authority(folder)
        self.certificate, self.key = self.authority.issue("licenses", names=(HUB,))
        super().__init__(folder)
        self.proxies = {name: self._add_machine(name) for name in MACHINES}
        self.keepalived = {name: self._add_keepalived(name) for name in MACHINES}

    def configure(self, name, **changes):
        port = self.addresses[name][1]
        self.addresses[name] = (HUB, port)
        files = {"certificate": self.certificate, "key": self.key, "ca": self.authority.file}
        tls = {key: str(path) for key, path in files.items()}
        return super().configure(name, **{"listen": {"address": f"{HUB}:{port}", "tls": tls}, **changes})

    def admin_socket(self, machine):
        return self.folder / machine / "admin.sock"

    def pool(self, machine):
        """What the lsproxy of a machine says of its pool; None if it says nothing."""
        with closing(http.client.HTTPConnection("localhost", timeout=5)) as connection:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(5)
            try:
                connection.sock.connect(str(self.admin_socket(machine)))
                connection.request("GET", "/api/v1/pools")
                return json.loads(connection.getresponse().read())["pools"][0]
            except OSError:
                return None

    def holder(self):
        """The machine that has the address, if just one has."""
        found = [name for name in MACHINES if VIRTUAL[0] in self._shown(name)]
        return found[0] if len(found) == 1 else None

    def _shown(self, machine):
        argv = [*self.machines.on(machine), "ip", "-4", "address", "show", "eth0"]
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=10).stdout

    def _add_machine(self, machine):
        folder = self.folder / machine
        folder.mkdir()
        backends = {
            name: {"address": f"{HUB}:{self.addresses[name][1]}", "tls": {"ca": str(self.authority.file)}}
            for name in self.servers
        }
        path = folder / "lsproxy.yaml"
        pool = {
            "kind": "licserver",
            "server_name": "acme-licenses",
            "license_file": str(self.license_file),
            "vendor_keys": {"acme": str(self.folder / "acme.pub")},
            "backends": backends,
            "token_file": str(self.folder / "operator.token"),
            "hold": 1,
        }
        tree = {
            "listen": {"licenses": {"address": "0.0.0.0:27000", "pool": "acme"}},
            "pools": {"acme": pool},
            "state": f"sqlite://{folder}/state.db",
            "admin": {
                "address": f"127.0.0.1:{free_port()}",
                "socket": str(folder / "admin.sock"),
                "tokens_file": str(self.folder / "tokens.yaml"),
            },
        }
        path.write_text(json.dumps(tree))
        return self._child(machine, [*self.machines.on(machine), str(COMMANDS / "lsproxy"), "serve", "-c", str(path)])

    def _add_keepalived(self, machine):
        folder = self.folder / machine
        text = (CONF / "keepalived.conf").read_text().replace("script_user lsproxy", "script_user root")
        text = text.replace("    enable_script_security\n", "")  # the tests' folders are not root's alone
        for question in ("answers", "serves"):
            ours = f"{CONF / 'check-lsproxy'} {question} {folder / 'admin.sock'}"
            text = text.replace(f"/etc/keepalived/check-lsproxy {question}", ours)
        (folder / "keepalived.conf").write_text(text)
        files = [f"--use-file={folder}/keepalived.conf", f"--pid={folder}/pid", f"--vrrp_pid={folder}/vrrp.pid"]
        command = [*self.machines.on(machine), "keepalived", "--dont-fork", "--log-console", "--vrrp", *files]
        return self._child(f"{machine}-keepalived", command)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """All runs, and one of the machines has the address."""
    with Machines(MACHINES) as machines:
        made = Site(tmp_path_factory.mktemp("site"), machines)
        try:
            made.create_journal()
            for child in (*made.servers.values(), *made.proxies.values()):
                child.start()
            for name in MACHINES:
                wait_for(lambda name=name: (made.pool(name) or {}).get("serving"), f"lsproxy on {name} serves")
            for child in made.keepalived.values():
                child.start()
            wait_for(made.holder, "one has the address")
            wait_for(is_served, "clients are served")
            yield made
        finally:
            for child in made.keepalived.values():
                child.signal(signal.SIGTERM)
            for child in made.keepalived.values():
                if child.is_running:
                    child.wait()
            made.end()
        assert not made.faults_in_logs()


def is_served():
    """Whether a client is, at the address that both share."""
    try:
        with Caller(VIRTUAL, seconds=0.5) as caller:
            return caller.ask("status").get("ok", False)
    except (OSError, Hung):
        return False


def other(machine):
    return next(name for name in MACHINES if name != machine)


def lose(site, number):
    """The lsproxy that has the address is sent a signal; who has it then, and after how many seconds it serves."""
    holder = site.holder()
    begun = time.monotonic()
    site.proxies[holder].signal(number)
    wait_for(is_served, "clients are served again")
    seconds = time.monotonic() - begun
    wait_for(lambda: site.holder() == other(holder), "the address has moved")
    return holder, seconds


def settled(site, holder, seconds):
    """That machine has the address all the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert site.holder() == holder
        time.sleep(0.2)


def test_clients_go_on_at_the_same_address(site):
    """Whether one is killed or hangs: the other machine takes the address, and keeps it when the first one is back."""
    keeper = Keeper([VIRTUAL])
    keeper.checkout("cad")
    for number in (signal.SIGKILL, signal.SIGSTOP):
        holder, seconds = lose(site, number)
        assert seconds < 15
        keeper.assert_keeps()
        site.proxies[holder].kill()
        site.proxies[holder].start()
        wait_for(lambda holder=holder: (site.pool(holder) or {}).get("serving"), "it serves again")
    settled(site, other(holder), 3)  # by now it would have taken the address back
    keeper.hang_up()


def test_one_that_serves_less_gives_the_address_up(site):
    """Its license servers are out of its reach, or in maint, and the other machine serves."""
    holder = site.holder()
    operate(site, holder, "maint")
    wait_for(lambda: site.holder() == other(holder), "the other one has the address")
    wait_for(is_served, "clients are served")
    operate(site, holder, "ready")
    wait_for(lambda: site.pool(holder)["serving"], "it serves again")


def operate(site, machine, state):
    for name in site.servers:
        argv = [str(COMMANDS / "lsproxy"), state, "acme", name, "--admin", f"unix:{site.admin_socket(machine)}"]
        subprocess.run(argv, check=True, capture_output=True, timeout=20)


def test_an_address_stays_where_nobody_serves(site):
    """Both machines have no license server: the address does not move, and clients are told."""
    holder = site.holder()
    for child in site.servers.values():
        child.kill()
    for name in MACHINES:
        wait_for(lambda name=name: site.pool(name)["serving"] is None, f"{name} has nobody")
    settled(site, holder, 4)
    with Caller(VIRTUAL, seconds=5) as caller:
        assert caller.ask("status")["error"] == "no_backend"
