"""
The examples for several hosts run: their hosts are moved to ports of this one, and etcd has three members, by TLS. An
application's seat outlives the active server.
"""

import re

import pytest

from lsproxy.client import LicenseClient
from tests.conf.test_examples import PAIR_ON_HOSTS, TRIAD, Site, status_of, unpacked
from tests.faults.process import wait_for
from tests.faults.system import free_port
from tests.licserver.journal.etcd_cluster import EtcdCluster
from tests.licserver.journal.test_etcd_opening import certify

pytestmark = pytest.mark.etcd

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 it is replaced, never bound
ADDRESS = re.compile(r"\b(?:[a-z-]+\.example\.com|127\.0\.0\.1):27\d{3}\b")
ADVERTISED = re.compile(r'advertise: "([^"]*)"')
JOURNAL = re.compile(r"etcd://[^/]*/")


class SpreadSite(Site):
    """Each `host:port` of the examples is a port of this host, the same in all files; `cluster` has the journal."""

    def __init__(self, folder, commands, cluster):
        self._cluster = cluster
        super().__init__(folder, commands)

    def moved(self, text):
        advertised = ADVERTISED.search(text)
        if advertised:
            text = text.replace(f"{EVERYWHERE}:27101", advertised[1])
        text = ADDRESS.sub(self._place, text.replace(EVERYWHERE, LOOPBACK))
        return JOURNAL.sub(self._cluster.url(""), text)

    def _place(self, match):
        return f"{LOOPBACK}:{self.ports.setdefault(match[0], free_port())}"


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """The CA of all, and a certificate for etcd's members and the servers."""
    folder = tmp_path_factory.mktemp("papers")
    certify(folder, "server", certify(folder, "ca"))
    return folder


@pytest.fixture(scope="module")
def cluster(papers):
    options = {"--cert-file": "server.pem", "--key-file": "server.key", "--trusted-ca-file": "ca.pem"}
    words = [word for option, file in options.items() for word in (option, str(papers / file))]
    with EtcdCluster(3, [*words, "--client-cert-auth"], "https") as made:
        for member in made.members:
            wait_for(lambda member=member: "serving client requests" in member.log, "etcd serves")
        yield made


@pytest.fixture
def site(request, tmp_path, papers, cluster):
    """The files of one scheme, the journal made; nothing runs yet."""
    commands, license_example = request.param
    made = unpacked(SpreadSite(tmp_path, commands, cluster), license_example)
    for name in ("ca.pem", "server.pem", "server.key"):
        copy = made.folder / name
        copy.touch(0o600)
        copy.write_bytes((papers / name).read_bytes())
    made.run("lsproxy", "token", "add", "ops", "--role", "viewer", "-c", next(reversed(commands)))
    yield made
    made.stop()


def role(site, name):
    return (status_of(site, name) or {}).get("role")


def is_standby(site, name):
    """It stands by and could take over."""
    status = status_of(site, name)
    return status is not None and status["role"] == "standby" and not status["redundancy"].get("fault")


@pytest.mark.parametrize(
    ("site", "prefix"),
    [((PAIR_ON_HOSTS, "pair.lic.example"), "pair"), ((TRIAD, "triad.lic.example"), "triad")],
    indirect=["site"],
)
def test_a_seat_is_served(site, prefix):
    """The first server is active; when it is lost, the next one keeps the application's seat."""
    first, second, *_ = site.commands
    for name in site.commands:
        path = site.folder / name
        path.write_text(re.sub(r"(?<=\d/)acme\b", prefix, path.read_text()))
    site.run("licserver", "init", "-c", first)
    for name, command in site.commands.items():
        said = site.run(command, "check", "-c", name)
        assert "note:" not in said
        site.start(name)
        if name == first:
            wait_for(lambda: role(site, first) == "active", "the first one is active")
        elif command == "licserver":
            wait_for(lambda name=name: is_standby(site, name), f"{name} stands by")
    door = next(port for place, port in site.ports.items() if place.endswith(":27000"))
    with LicenseClient(f"{door}@127.0.0.1", user="alice") as client, client.checkout("cad") as seat:
        site.children[first].kill()
        client.checkout("mesh").checkin()
        assert role(site, second) == "active"
        site.start(first)
        wait_for(lambda: role(site, first) == "standby", "the first one is back")
        wait_for(lambda: seat.is_trusted, "the seat is vouched for again")
        seat.check()
    assert set(site.stop().values()) == {0}
