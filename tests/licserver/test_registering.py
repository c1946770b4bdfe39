"""`licserver register`, `unregister`, `request-key` and `activate`, by real processes."""

import os
import re
import subprocess
import time

import pytest

from licserver.registering import NotRegistered, _told, register, with_settings
from licserver.remote import ask
from lsproxy.net.address import Address
from tests.faults.process import Child, wait_for
from tests.faults.system import COMMANDS, System, free_port

SOMEBODY = 4711  # a user without a name


@pytest.fixture
def system(tmp_path):
    """A primary that runs."""
    made = System(tmp_path, names=["lic-a"])
    made.configure("lic-a", redundancy="pair")
    made.create_journal()
    made.start_server("lic-a")
    made.wait_active()
    yield made
    made.end()
    assert not made.faults_in_logs()


@pytest.fixture
def site(tmp_path):
    """The folder of the redundant server's files."""
    folder = tmp_path / "b"
    folder.mkdir()
    return folder


def licserver(*arguments):
    done = subprocess.run(
        [str(COMMANDS / "licserver"), *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def do(*arguments):
    status, said, problem = licserver(*arguments)
    assert status == 0, problem
    return said


def registering(system, file, port=None):
    host, primary = system.addresses["lic-a"]
    return (
        "register", "--primary", f"{host}:{primary}", "--token-file", system.folder / "operator.token",
        "--listen", f"127.0.0.1:{port or free_port()}", "-c", file,
    )  # fmt: skip


def at(system, file, port):
    """A server started from a configuration outside of the system's."""
    child = Child(file.stem, [str(COMMANDS / "licserver"), "serve", "-c", str(file)], file.with_suffix(".log"))
    child.start()
    system.addresses[file.stem] = ("127.0.0.1", port)
    system.servers[file.stem] = child
    system._children.append(child)
    system.ready(file.stem)
    return child


def test_a_life(system, site):
    """A registered server takes over, is unblocked by the vendor's key, gives the name back, and leaves the pair."""
    file, port = site / "lic-b.yaml", free_port()
    assert "lic-b is the redundant server of lic-a at 127.0.0.1:" in do(*registering(system, file, port))
    assert do("check", "-c", file).endswith("can be started")
    at(system, file, port)
    assert "its primary server is lic-a at 127.0.0.1:" in do("status", "-c", file)
    assert f"its redundant server is lic-b at 127.0.0.1:{port}" in do("status", "-c", system.folder / "lic-a.yaml")
    assert "no takeover limit" in licserver("request-key", "-c", system.folder / "lic-a.yaml")[2]
    _, epoch = system.wait_active()
    system.servers["lic-a"].kill()
    assert system.wait_active(epoch)[0] == "lic-b"
    key = do("request-key", "-c", file)
    (site / "acme.key").touch(0o600)
    (site / "acme.key").write_bytes(system.vendor_pem())
    answer = do("issue-key", key, "--key", site / "acme.key", "--hours", 10)
    assert do("activate", answer, "-c", file).startswith("10 h more: 8")
    assert "was counted already" in licserver("activate", answer, "-c", file)[2]
    assert "no license server answers" in licserver("unregister", "-c", file)[2]
    system.servers["lic-a"].start()
    wait_for(lambda: system.active() == "lic-a", "the primary has the name again")
    assert "is not the redundant server of lic-a any more" in do("unregister", "-c", file)
    assert "registered" not in file.read_text()
    assert "redundant" not in do("status", "-c", system.folder / "lic-a.yaml")


def test_existing_file(system, site):
    """A file that is there is completed: what was written by hand stays, and the old one is kept."""
    file = site / "lic-b.yaml"
    do(*registering(system, file))
    do("unregister", "-c", file)
    before = file.read_text().replace("ttl: 2.0", "ttl: 3  # by hand") + "# a note\nlog: {format: json}\n"
    file.write_text(before)
    do(*registering(system, file))
    text = file.read_text()
    assert ("ttl: 2.0" in text, "ttl: 3" in text, "# a note\nlog: {format: json}" in text) == (True, False, True)
    assert file.with_name("lic-b.yaml.old").read_text() == before
    assert do("unregister", "-c", system.folder / "lic-a.yaml").startswith("lic-a has no registered")


def test_where_the_license_is_put(system, site):
    """Beside the journal, where a service may replace it: a license installed by its primary reaches its file."""
    file, port = site / "lic-b.yaml", free_port()
    do(*registering(system, file, port))
    placed = system.journal.with_name("acme-licenses.lic")
    assert (placed.exists(), [path.name for path in site.glob("*.lic")]) == (True, [])
    assert f'license_file: "{placed}"' in file.read_text()
    at(system, file, port)
    new = system.license_text({"cad": 11})
    ask(Address("127.0.0.1", port), {"op": "install", "license": new}, system.token, None)
    assert placed.read_text() == new


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_by_root(system, site):
    """What root places is its folder's owner's, and a token that the owner of the journal cannot read is refused."""
    for path in [system.folder, *system.folder.glob("acme.db*")]:
        os.chown(path, SOMEBODY, SOMEBODY)
    file = site / "lic-b.yaml"
    status, _, problem = licserver(*registering(system, file))
    assert status == 1
    assert f"operator.token belongs to root, and the server runs as {SOMEBODY}, the owner of {system.folder}" in problem
    assert list(site.iterdir()) == []
    os.chown(system.folder / "operator.token", SOMEBODY, SOMEBODY)
    do(*registering(system, file))
    placed = system.journal.with_name("acme-licenses.lic").stat()
    assert (placed.st_uid, placed.st_gid, placed.st_mode & 0o777) == (SOMEBODY, SOMEBODY, 0o644)
    assert file.stat().st_uid == 0


def test_another_one(system, site):
    """A second redundant server is refused, and its files are not written."""
    do(*registering(system, site / "lic-b.yaml"))
    status, _, problem = licserver(*registering(system, site / "lic-c.yaml"))
    assert (status, "lic-b at" in problem, (site / "lic-c.yaml").exists()) == (1, True, False)


def test_a_registration_that_stands(system, site):
    """Registering from another folder fails, leaves no file behind, and takes back nothing of what stood before."""
    do(*registering(system, site / "lic-b.yaml"))
    before = do("status", "-c", system.folder / "lic-a.yaml")
    other = site / "other"
    other.mkdir()
    (other / "acme.pub").write_text("another key\n")
    status, _, problem = licserver(*registering(system, other / "lic-b.yaml"))
    assert (status, "acme.pub is there with other contents" in problem) == (1, True)
    assert [path.name for path in other.iterdir()] == ["acme.pub"]
    assert "its redundant server is lic-b" in before
    assert do("status", "-c", system.folder / "lic-a.yaml") == before


@pytest.mark.parametrize(("change", "words"), [
    ({"vendor_keys": {"../../evil": "PEM"}}, "'../../evil' is no name"),
    ({"server": "/etc/passwd"}, "'/etc/passwd' is no name"),
    ({"ttl": "two"}, "Expected `float`"),
    ({"license": None}, "license"),
])  # fmt: skip
def test_what_is_no_registration(change, words):
    """What a primary answers is looked at before files are named after it."""
    told = {
        "id": 2, "server": "acme", "backend": "lic-a", "address": "h:1", "hostids": ["ANY"], "license": "", "ok": True,
        "vendor_keys": {"acme": "PEM"}, "journal": "sqlite:///a.db", "ttl": 2, "heartbeat": 15, "resume": 45,
    }  # fmt: skip
    assert _told(told, Address("h", 1)).server == "acme"
    with pytest.raises(NotRegistered, match=re.escape(words)):
        _told({**told, **change}, Address("h", 1))


def test_an_active_server(system, site):
    """An active server becomes nobody's redundant server, and the primary is not its own."""
    primary = system.folder / "lic-a.yaml"
    _, port = system.addresses["lic-a"]
    status, _, problem = licserver(*registering(system, primary, port))
    assert (status, "lic-a is an active license server" in problem) == (1, True)
    status, _, problem = licserver(*registering(system, site / "lic-b.yaml", port))
    assert (status, "lic-a serves at" in problem) == (1, True)


def test_no_primary(system, site):
    """A primary that is not there, and one that is redundant itself, are said to be that."""
    system.addresses["lic-a"], there = ("127.0.0.1", free_port()), system.addresses["lic-a"]
    assert "no license server answers" in licserver(*registering(system, site / "lic-b.yaml"))[2]
    system.addresses["lic-a"] = there
    port = free_port()
    do(*registering(system, site / "lic-b.yaml", port))
    at(system, site / "lic-b.yaml", port)
    system.addresses["lic-a"] = ("127.0.0.1", port)
    _, _, problem = licserver(*registering(system, site / "lic-c.yaml"))
    assert "lic-b is itself redundant, its primary is lic-a" in problem
    system.addresses["lic-a"] = there


def test_other_license(system, site):
    """A server with another license is refused; nothing is registered."""
    file = site / "lic-b.yaml"
    do(*registering(system, file))
    do("unregister", "-c", file)
    system.journal.with_name("acme-licenses.lic").write_text(system.license_text({"cad": 11}))
    assert "is another license" in licserver(*registering(system, file))[2]
    assert "redundant" not in do("status", "-c", system.folder / "lic-a.yaml")


def test_clocks(system, site):
    """Clocks that are more than a minute apart are refused."""
    address = Address(*system.addresses["lic-a"])
    token = system.folder / "operator.token"
    with pytest.raises(NotRegistered, match="s apart: set them right"):
        register(address, token, Address("127.0.0.1", free_port()), site / "lic-b.yaml", lambda: time.time() + 100)
    assert not (site / "lic-b.yaml").exists()


def test_beyond_loopback(system, site):
    """The operator token is sent to another host over TLS only."""
    with pytest.raises(NotRegistered, match="needs TLS"):
        register(Address("192.0.2.1", 27101), system.folder / "operator.token", None, site / "lic-b.yaml", time.time)


def test_no_journal_of_its_own(system, site):
    """A redundant server cannot make a journal, in which nothing would be spent."""
    file = site / "lic-b.yaml"
    do(*registering(system, file))
    system.servers["lic-a"].kill()
    for path in system.folder.glob("acme.db*"):
        path.unlink()
    status, _, problem = licserver("init", "-c", file)
    assert (status, "run `licserver init` on the primary's host" in problem) == (1, True)
    assert not system.journal.exists()


def test_settings():
    """Keys are replaced with all that is below them, others and comments stay."""
    text = "# one\nname: a\nlisten:\n  address: x\n  tls: y\n# two\nttl: 3\n"
    assert with_settings(text, {"listen": '"z"', "ttl": None}) == '# one\nname: a\n# two\nlisten: "z"\n'
