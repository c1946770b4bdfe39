"""licserver.yaml is changed under a running server: what comes into force, and what keeps the old one."""

import io
import json
import signal
import socket
import ssl
import time

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.logger import formatEvent, globalLogPublisher

from licserver.config import load_config
from licserver.core.desk import Shut
from licserver.dialing import Dialing
from licserver.entrance import Entrance
from licserver.peer import Peers
from licserver.reloading import Reloading
from lsproxy.logs import Lines
from lsproxy.net.passed import PassedSockets
from lsproxy.systemd import Standing
from tests.faults.caller import Caller
from tests.faults.process import wait_for
from tests.faults.system import System, free_port
from tests.licserver.house import HOUR, license_text
from tests.licserver.pairs import LINES, Pair
from tests.lsproxy.license.texts import KEY, OTHER_KEY
from tests.lsproxy.net.conftest import Authority


class Configured:
    """A server in one process with a configuration file, which `write` changes."""

    def __init__(self, house, host, folder):
        self.house, self.host, self.folder = house, host, folder
        self.path = folder / f"{host.name}.yaml"
        for name, key in (("acme.pub", KEY), ("other.pub", OTHER_KEY)):
            public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            (folder / name).write_bytes(public)
        token = folder / "operator.token"
        token.touch(0o600)
        token.write_text("the first token")
        self.write()
        config = load_config(self.path)
        self.peers = Peers(host.machine, house.endpoint_from(host), None, house.ttl)
        self.lines = Lines(io.StringIO(), "text")
        self.reloading = Reloading(
            host.machine,
            self.path,
            config,
            host.server,
            self.peers,
            Entrance(host.machine, PassedSockets({}), host.connections),
            Dialing(host.machine, config.listen),
            self.lines,
            Standing(host.machine, lambda: ""),
        )

    def write(self, **changes):
        """The file with the usual and `changes`."""
        usual = {
            "name": self.host.name,
            "server_name": "acme-licenses",
            "listen": "127.0.0.1:27101",
            "license_file": f"{self.host.name}.lic",
            "vendor_keys": {"acme": "acme.pub"},
            "journal": "sqlite:///nowhere/acme.db",
            "redundancy": "pair",
            "token_file": "operator.token",
        }
        self.path.write_text(json.dumps({**usual, **changes}))

    def reload(self, **changes):
        """What stands against the file with `changes`."""
        self.write(**changes)
        outcome = []
        self.reloading.reload().addCallback(outcome.append)
        self.house.pass_until(lambda: outcome)
        return outcome[0]


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path, is_slow=True)


@pytest.fixture
def said():
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: {event["event"]: formatEvent(event) for event in events if "event" in event}
    globalLogPublisher.removeObserver(events.append)


@pytest.fixture
def primary(pair, tmp_path):
    a = pair.start("lic-a")
    pair.until_role(a, "active")
    return Configured(pair, a, tmp_path)


@pytest.fixture
def redundant(pair, tmp_path):
    """The redundant server with the name, 10 of its 72 hours spent."""
    a, b = pair.both()
    a.kill()
    pair.until_role(b, "active", 20_000)
    pair.pass_hours(10)
    return Configured(pair, b, tmp_path)


def hours_left(configured):
    return configured.host.server.redundancy.limit.remaining_seconds(configured.host.server.moment()) / HOUR


def limit(hours):
    return {"redundancy": {"scheme": "pair", "takeover_limit_hours": hours}}


def test_takeover_limit_is_lowered(redundant):
    """A lower takeover limit holds at once, for the takeover that runs."""
    assert hours_left(redundant) == pytest.approx(62, abs=0.5)
    assert redundant.reload(**limit(24)) == ""
    assert hours_left(redundant) == pytest.approx(14, abs=0.5)
    assert redundant.reload(**limit(5)) == ""
    redundant.house.pass_hours(1)
    assert redundant.host.role == "blocked"


def test_takeover_gains_no_hours(redundant):
    """No configuration gives the takeover that runs an hour: not a higher limit, and not a limit taken away."""
    redundant.reload(**limit(24))
    before = hours_left(redundant)
    for change in (limit(72), limit(1000), {}):
        assert redundant.reload(**change) == ""
        assert hours_left(redundant) <= before


def test_restoring(primary):
    """The time after which a primary restores the limit is that of the new file."""
    redundancy = {"scheme": "pair", "restore_after_minutes": 20}
    assert primary.reload(redundancy=redundancy) == ""
    server = primary.host.server
    assert server.redundancy.limit.restore_seconds == server.redundancy.outfit.restore_seconds == 1200.0


def test_fixed_key(primary, said):
    """A key that cannot change is named with its line, and nothing of the file counts."""
    problem = primary.reload(ttl=3, license_file="other.lic", log={"format": "json"})
    assert problem.startswith(f"{primary.path} was not taken, the old configuration goes on: {primary.path}:1: ")
    (primary.folder / "other.lic").write_text("")
    problem = primary.reload(ttl=3, license_file="other.lic", log={"format": "json"})
    assert "ttl: cannot change while lic-a runs" in problem
    assert said()["reload_refused"] == problem
    assert primary.host.server.licenses.path.name == "lic-a.lic"
    assert primary.lines.form == "text"


def test_license_file_and_log(primary, said):
    """Another license file is the own one, and comes into force with the next reread; the log has the new form."""
    (primary.folder / "new.lic").write_text(license_text(20, LINES))
    assert primary.reload(license_file="new.lic", log={"format": "json"}) == ""
    assert primary.lines.form == "json"
    assert said()["reloaded"] == f"{primary.path} was read again: license_file, log.format"
    primary.host.server.reread()
    primary.house.pass_seconds(0.1)
    assert primary.host.state.pools["cad"][0].issued == 20


def test_vendor_keys(primary):
    """A further vendor's key is taken; keys by which the license in force is not signed are not."""
    assert primary.reload(vendor_keys={"acme": "acme.pub", "other": "other.pub"}) == ""
    problem = primary.reload(vendor_keys={"acme": "other.pub"})
    assert "with it the license in force could not be served" in problem
    assert primary.host.state.pools["cad"][0].issued == 10
    assert set(primary.host.server.redundancy.outfit.vendor_keys) == {"acme", "other"}


def test_vendor_keys_at_a_standby(pair, tmp_path):
    """A standby takes keys by which it could not serve, and then does not take the name."""
    a, b = pair.both()
    standby = Configured(pair, b, tmp_path)
    assert standby.reload(vendor_keys={"acme": "other.pub"}) == ""
    assert b.state.pools == {}
    a.kill()
    pair.pass_seconds(5 * pair.ttl)
    assert b.role == "standby"
    assert standby.reload() == ""
    pair.until_role(b, "active", 20_000)


def test_token(primary):
    """The token is that of the file, also when only the file has changed; none of it stands in a sentence."""
    desk = primary.host.server.desk
    assert {desk.token, primary.peers.token} == {"the first token"}
    (primary.folder / "operator.token").write_text("the second token")
    assert primary.reload() == ""
    assert {desk.token, primary.peers.token} == {"the second token"}
    (primary.folder / "operator.token").chmod(0o644)
    problem = primary.reload()
    assert "is open to others" in problem
    assert "second" not in problem
    assert {desk.token} == {"the second token"}


def test_token_without_a_signal(primary, said):
    """A renewed token counts within seconds, with nobody asking for it."""
    primary.house.wait(primary.reloading.start())
    desk = primary.host.server.desk
    third = "a third token, longer"
    (primary.folder / "operator.token").write_text(third)
    primary.house.pass_until(lambda: desk.token == third, 10)
    assert said()["renewed"] == f"the operator token in {primary.folder}/operator.token was renewed"
    primary.reloading._lookout.stop()


def test_isolated(primary):
    """A server that cannot keep anything takes no new configuration."""
    primary.host.server.desk.door = Shut("isolated", "lic-a could not confirm its claim", closes=False)
    assert "could not confirm its claim" in primary.reload(vendor_keys={"acme": "acme.pub", "other": "other.pub"})
    assert set(primary.host.server.licenses.vendor_keys) == {"acme"}


# --- the real process ---


@pytest.fixture
def system(tmp_path):
    made = System(tmp_path, names=["lic-a"])
    made.start()
    yield made
    faults = made.faults_in_logs()
    made.end()
    assert not faults, faults


def checkout(system, number=2, **more):
    with Caller(system.addresses["lic-a"]) as caller:
        caller.ask("hello", protocol="seat/1", session=f"{number:032x}", attempt=1, user="alice", host="ws1")
        reply = caller.ask("checkout", feature="cad", **more)
        caller.ask("bye")
    return reply


def test_logs(system):
    """The debug log comes, moves, is opened anew and goes; the log becomes JSON, and says what was read."""
    child, debug = system.servers["lic-a"], system.folder / "debug.log"
    system.configure("lic-a", debug_log=str(debug), log={"format": "json"})
    child.signal(signal.SIGHUP)
    wait_for(lambda: '"event": "reloaded"' in child.log, "the configuration was taken")
    assert checkout(system)["ok"]
    wait_for(lambda: "IN:" in debug.read_text(), "it is written")
    stamp, out, back = debug.read_text().splitlines()
    assert "(lmgrd) TIMESTAMP" in stamp
    assert out.endswith('(acme) OUT: "cad" alice@ws1  [127.0.0.1]')
    assert back.endswith('(acme) IN: "cad" alice@ws1  [127.0.0.1]')
    debug.rename(debug.with_suffix(".1"))
    child.signal(signal.SIGHUP)
    wait_for(debug.exists, "the log is opened anew")
    assert not checkout(system, 3, count=11)["ok"]
    wait_for(lambda: "DENIED:" in debug.read_text(), "it is written")
    assert debug.read_text().endswith("(Request for more licenses than this feature supports. (-26)) [127.0.0.1]\n")
    system.configure("lic-a", debug_log=str(system.folder / "no" / "where"))
    done = system.licserver("reread", "lic-a")
    assert done.returncode == 1
    assert f"the folder {system.folder}/no does not exist" in done.stderr
    system.configure("lic-a")
    done = system.licserver("reread", "lic-a")
    assert (done.returncode, done.stderr) == (0, "")
    size = debug.stat().st_size
    checkout(system, 4)
    time.sleep(0.3)
    assert debug.stat().st_size == size


def test_metrics(system):
    """Metrics come, move and go; an address that is taken changes nothing."""

    def page(port):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as asking:
            asking.sendall(b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            return asking.makefile("rb").read()

    first, second = free_port(), free_port()
    for port in (first, second):
        system.configure("lic-a", metrics=f"127.0.0.1:{port}")
        done = system.licserver("reread", "lic-a")
        assert (done.returncode, done.stderr) == (0, "")
        assert b"licserver_role" in page(port)
    with pytest.raises(ConnectionRefusedError):
        page(first)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        system.configure("lic-a", metrics=f"127.0.0.1:{taken.getsockname()[1]}", log={"format": "json"})
        assert "the address is in use" in system.licserver("reread", "lic-a").stderr
    assert b"licserver_role" in page(second)
    system.configure("lic-a")
    assert system.licserver("reread", "lic-a").returncode == 0
    with pytest.raises(ConnectionRefusedError):
        page(second)


def test_reread_with_a_faulty_configuration(system):
    """`licserver reread` says what is wrong by line, and the license file is read all the same."""
    path = system.configure("lic-a", hartbeat=3)
    system.license_file.write_text(system.license_text({"cad": 20}))
    with system.operator("lic-a") as operator:
        reply = operator.ask("reread")
    assert reply["error"] == "not_permitted"
    assert f"{path}:1: hartbeat: is an unknown key, did you mean heartbeat?" in reply["message"]
    assert system.usage()["cad"]["issued"] == 20


def test_tls_comes_and_goes(system):
    """TLS is turned on under a connected client, its certificate renewed, and turned off; nobody is cut off."""
    address = system.addresses["lic-a"]
    authority = Authority(system.folder)
    certificate, key = authority.issue("127.0.0.1", names=("127.0.0.1",))
    old = Caller(address)
    old.ask("hello", protocol="seat/1", session="c" * 32, attempt=1, user="u", host="h")
    tls = {"certificate": str(certificate), "key": str(key), "ca": str(authority.file)}
    system.configure("lic-a", listen={"address": f"{address[0]}:{address[1]}", "tls": tls})
    child = system.servers["lic-a"]
    child.signal(signal.SIGHUP)
    wait_for(lambda: "was read again: listen.tls" in child.log, "TLS is on")
    context = ssl.create_default_context(cafile=str(authority.file))

    def serial():
        with socket.create_connection(address) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as tls:
            return tls.getpeercert()["serialNumber"]

    first = serial()
    assert old.ask("heartbeat")["ok"]
    assert system.licserver("status", "lic-a").returncode == 0
    renewed = authority.issue("renewed", names=("127.0.0.1",))
    for new, file in zip(renewed, (certificate, key), strict=True):
        file.write_bytes(new.read_bytes())
    assert system.licserver("reread", "lic-a").returncode == 0
    assert serial() != first
    key.write_bytes(b"half of a ")
    refused = system.licserver("reread", "lic-a")
    assert refused.returncode != 0
    assert serial() != first
    system.configure("lic-a")
    child.signal(signal.SIGHUP)
    wait_for(lambda: system.status("lic-a"), "TLS is off")
    assert old.ask("heartbeat")["ok"]
    old.reset()
