"""licserver.yaml: what it means, and what each typical mistake is told."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from licserver.config import Etcd, LicserverConfig, Listen, Redundancy, check, load_config, shortcomings
from licserver.journal.etcd_place import EtcdPlace
from lsproxy.config.document import parse_document
from lsproxy.config.load import build
from lsproxy.config.model import Log
from lsproxy.config.problems import ConfigError, Problem
from lsproxy.license.hostid import Hostid
from lsproxy.net.address import Address

GOOD = """\
name: lic-a
server_name: acme-licenses
listen: "127.0.0.1:27101"
license_file: acme.lic
vendor_keys: {acme: acme.pub}
journal: "sqlite:///var/lib/licserver/acme.db"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("acme.lic", "acme.pub", "server.pem"):
        (tmp_path / name).write_text("something\n")
    for name in ("operator.token", "server.key"):
        (tmp_path / name).write_text("something\n")
        (tmp_path / name).chmod(0o600)
    return tmp_path


def load(folder: Path, text: str) -> LicserverConfig:
    (folder / "s.yaml").write_text(text)
    return load_config(folder / "s.yaml")


def refusals(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return str(caught.value).replace(str(folder), "DIR").splitlines()


def test_the_defaults_are_those_of_the_reference(folder: Path):
    """Every key that is not written has its documented value, or follows from another."""
    config = load(folder, GOOD)
    assert config == LicserverConfig(
        name="lic-a",
        server_name="acme-licenses",
        listen=Listen(address=Address("127.0.0.1", 27101), tls=None),
        license_file=folder / "acme.lic",
        vendor_keys={"acme": folder / "acme.pub"},
        journal=Path("/var/lib/licserver/acme.db"),
        advertise_given=None,
        redundancy=Redundancy(scheme="single"),
        ttl=2,
        heartbeat=15,
        resume=45,
        token_file=None,
        hostids=(),
        state_given=None,
        log=Log(format="text"),
    )
    assert config.advertise == Address("127.0.0.1", 27101)
    assert config.state == Path("/var/lib/licserver/lic-a.state")
    assert config.trust == 42


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("redundancy: duplicate\n", []),
        ("redundancy: triad\n", ["stands on one host and is lost with it"]),
        ("redundancy: {scheme: triad, priority: 2}\njournal: 'etcd://a:1/x'\n", ["names 1 of etcd's members"]),
        ("redundancy: triad\njournal: 'etcd://a:1,b:1,c:1/x'\n", []),
    ],
)
def test_shortcomings(folder: Path, lines: str, said: list[str]):
    """A triad is worth its name on three hosts, with three members of etcd."""
    base = GOOD if "journal" not in lines else "".join(x for x in GOOD.splitlines(True) if "journal" not in x)
    found = list(shortcomings(load(folder, base + lines)))
    assert len(found) == len(said)
    assert all(part in sentence for part, sentence in zip(said, found, strict=True))


def test_authority_of_the_servers(folder: Path):
    """Servers of one name believe each other's certificates by `ca`; without it they have one certificate."""
    for tls, trusted in (("", "server.pem"), (", ca: acme.pub", "acme.pub")):
        text = GOOD.replace(
            '"127.0.0.1:27101"',
            f"{{address: '127.0.0.1:27101', tls: {{certificate: server.pem, key: server.key{tls}}}}}",
        )
        listen = load(folder, text).listen
        assert listen.tls is not None
        assert listen.tls.trusted == folder / trusted


def test_everything_can_be_said(folder: Path):
    """The long forms of listen and redundancy among it."""
    config = load(
        folder,
        GOOD.replace(
            'listen: "127.0.0.1:27101"',
            'listen: {address: "0.0.0.0:27101", tls: {certificate: server.pem, key: server.key}, '
            "accept_proxy_protocol: [192.0.2.0/24, 2001:db8::1]}",
        ).replace("sqlite:///var/lib/licserver/acme.db", "sqlite:acme.db")
        + "advertise: lic-a.example.com:27101\nredundancy: {scheme: duplicate}\nttl: 1.5\nheartbeat: 5\nresume: 20\n"
        "token_file: operator.token\nhostids: [ID=A-1, ID=B-2]\nstate: a.state\nlog: {format: json}\n",
    )
    assert config.listen.tls is not None
    assert config.listen.tls.key == folder / "server.key"
    assert [str(network) for network in config.listen.accept_proxy_protocol] == ["192.0.2.0/24", "2001:db8::1/128"]
    assert config.advertise == Address("lic-a.example.com", 27101)
    assert config.redundancy == load(folder, GOOD + "redundancy: duplicate\n").redundancy
    assert (config.ttl, config.heartbeat, config.resume, config.trust) == (1.5, 5, 20, 17.5)
    assert config.token_file == folder / "operator.token"
    assert config.hostids == (Hostid("id", "A-1"), Hostid("id", "B-2"))
    assert (config.journal, config.state) == (folder / "acme.db", folder / "a.state")
    assert config.log.format == "json"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "hartbeat: 15",
            (
                "s.yaml:7: hartbeat: is an unknown key, did you mean heartbeat? Known here: name, server_name, listen, "
                "license_file, vendor_keys, journal, etcd, advertise, redundancy, registered, ttl, heartbeat, resume, "
                "token_file, hostids, state, log, debug_log, metrics"
            ),
        ),
        ("ttl: 0", "s.yaml:7: ttl: must be a number of more than 0 and at most 60, not 0"),
        (
            "ttl: 2s",
            's.yaml:7: ttl: must be a number of more than 0 and at most 60, not "2s", durations are plain seconds',
        ),
        (
            "resume: 18",
            (
                "s.yaml:7: resume: leaves a trust (resume - ttl - 1) of 15 s, less than a heartbeat of 15 s needs: "
                "raise resume to 19 or more, or lower heartbeat"
            ),
        ),
        (
            "heartbeat: 60",
            (
                "s.yaml:1: resume: leaves a trust (resume - ttl - 1) of 42 s, less than a heartbeat of 60 s needs: "
                "raise resume to 64 or more, or lower heartbeat"
            ),
        ),
        (
            "redundancy: {scheme: duplicate, takeover_limit_hours: 24}",
            (
                "s.yaml:7: redundancy.takeover_limit_hours: is for a pair, and the scheme is duplicate: "
                "set scheme to pair, or remove it"
            ),
        ),
        (
            "redundancy: {scheme: pair, restore_after_minutes: 1}",
            "s.yaml:7: redundancy.restore_after_minutes: must be a number of at least 15 and at most 10080, not 1",
        ),
        (
            "redundancy: {scheme: triad, priority: 4}",
            "s.yaml:7: redundancy.priority: must be a whole number of at least 1 and at most 3, not 4",
        ),
        (
            "redundancy: {scheme: duplicate, priority: 1}",
            (
                "s.yaml:7: redundancy.priority: is for a triad, and the scheme is duplicate: "
                "set scheme to triad, or remove it"
            ),
        ),
        ("options_file: acme.opt", "s.yaml:7: options_file: is not built in this release, remove it"),
        ("etcd: {ca: F}", "s.yaml:7: etcd.ca: DIR/F does not exist, put the file there or correct the path"),
        (
            "etcd: {user: a}",
            (
                "s.yaml:7: etcd: is for a journal in etcd, and this one is in SQLite: remove it|"
                "s.yaml:7: etcd.user: needs password_file beside it"
            ),
        ),
        (
            'registered: {primary: "a:1", name: a}',
            's.yaml:7: registered.hostids: is missing, it must be a list, each a hostid such as "ETHER=02a1b2c3d4e5"',
        ),
        ('advertise: "0.0.0.0:1"', 's.yaml:7: advertise: "0.0.0.0:1" is no address others can dial, name the host'),
        (
            "token_file: acme.pub",
            "s.yaml:7: token_file: DIR/acme.pub is open to others (mode 0644), close it with: chmod 600 DIR/acme.pub",
        ),
        (
            "hostids: [nonsense]",
            (
                "s.yaml:7: hostids[0]: 'nonsense' is no hostid; 12 hex digits, ANY or KIND=VALUE with a kind of "
                "ETHER, HOSTNAME, FQDN, INTERNET, MACHINE_ID, ID, USER or DISPLAY would be one"
            ),
        ),
        (
            "hostids: [ID=A-1, ETHER=02a1b2c3d4e5]",
            (
                "s.yaml:7: hostids[1]: ETHER=02a1b2c3d4e5 is found on the machine that has it, "
                "what is declared here is ID=…"
            ),
        ),
        ("log: {format: xml}", 's.yaml:7: log.format: must be json or text, not "xml"'),
    ],
)
def test_a_typical_mistake_is_told_in_one_line(folder: Path, line: str, told: str):
    """FILE:LINE: path: what is wrong, what would be right."""
    (folder / "acme.pub").chmod(0o644)
    assert refusals(folder, f"{GOOD}{line}\n") == [f"DIR/{row}" for row in told.split("|")]


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        (
            "sqlite:///var/lib/licserver/acme.db",
            "etcd://a:2379,a:2379/x",
            (
                "s.yaml:6: journal: names a member twice, must be etcd://HOST:PORT,HOST:PORT,HOST:PORT/PREFIX, "
                "such as etcd://a:2379,b:2379,c:2379/acme"
            ),
        ),
        (
            "name: lic-a",
            "name: lic a",
            's.yaml:1: name: "lic a" is no name, it must be 1 to 64 letters, digits, dots, dashes and underscores',
        ),
        (
            "acme: acme.pub",
            "acme: none.pub",
            "s.yaml:5: vendor_keys.acme: DIR/none.pub does not exist, put the file there or correct the path",
        ),
        ("{acme: acme.pub}", "{}", "s.yaml:5: vendor_keys: is empty, it must hold at least 1"),
        (
            '"127.0.0.1:27101"',
            "{address: 127.0.0.1:27101, accept_proxy_protocol: [192.0.2.7/24]}",
            (
                "s.yaml:3: listen.accept_proxy_protocol[0]: 192.0.2.7/24 is an address within a network, "
                "the network itself is 192.0.2.0/24"
            ),
        ),
        (
            '"127.0.0.1:27101"',
            "27101",
            (
                's.yaml:3: listen.address: "27101" is not an address: write host:port, such as '
                "127.0.0.1:27000 or [::1]:27000"
            ),
        ),
        (
            '"127.0.0.1:27101"',
            '"0.0.0.0:27101"',
            "s.yaml:1: advertise: is missing, clients cannot dial 0.0.0.0:27101: name this host",
        ),
    ],
)
def test_a_wrong_value_is_told_in_one_line(folder: Path, right: str, wrong: str, told: str):
    """In place of a good one."""
    assert right in GOOD
    assert refusals(folder, GOOD.replace(right, wrong)) == [f"DIR/{told}"]


ETCD = GOOD.replace("sqlite:///var/lib/licserver/acme.db", "etcd://a:2379,b:2379/acme")


def test_etcd(folder: Path):
    """The members and the prefix of a journal in etcd, and how this server is let in."""
    members = (Address("a", 2379), Address("b", 2379))
    assert load(folder, ETCD).journal == EtcdPlace(members, "acme")
    line = (
        "etcd: {ca: server.pem, certificate: server.pem, key: server.key, user: lic, password_file: operator.token}\n"
    )
    assert load(folder, ETCD + line).etcd == Etcd(
        ca=folder / "server.pem",
        certificate=folder / "server.pem",
        key=folder / "server.key",
        user="lic",
        password_file=folder / "operator.token",
    )
    alone = ETCD.replace("a:2379,b:2379", "127.0.0.1:2379")
    assert load(folder, f"{alone}etcd: {{user: lic, password_file: operator.token}}\n").etcd.user == "lic"


@pytest.mark.parametrize(
    ("etcd", "told"),
    [
        ("{certificate: server.pem}", "etcd.certificate: needs key beside it"),
        ("{ca: server.pem, key: server.key}", "etcd.key: needs certificate beside it"),
        (
            "{certificate: server.pem, key: server.key}",
            "etcd.certificate: is shown over TLS only: name the ca that signed the members' certificates",
        ),
        (
            "{user: lic, password_file: operator.token}",
            "etcd.user: would send its password in clear to a:2379: name the ca, and let etcd serve clients by TLS",
        ),
        ("{ca: server.pem, password_file: operator.token}", "etcd.password_file: needs user beside it"),
    ],
)
def test_etcd_is_reached_one_way(folder: Path, etcd: str, told: str):
    """What belongs together is there together, and a password is never sent in clear."""
    assert told in "".join(refusals(folder, f"{ETCD}etcd: {etcd}\n"))


def test_beyond_loopback_a_token_needs_tls(folder: Path):
    """Without a token there is nothing to protect, on loopback nobody to protect it from."""
    beyond = GOOD.replace("127.0.0.1", "lic-a.example.com")
    token = "token_file: operator.token\n"  # noqa: S105 - a file's name
    assert refusals(folder, beyond + token) == [
        (
            "DIR/s.yaml:3: listen: lic-a.example.com:27101 can be reached from other hosts, where the operator token "
            "needs TLS: write {address: …, tls: {certificate: FILE, key: FILE}}"
        )
    ]
    tls = '{address: "lic-a.example.com:27101", tls: {certificate: server.pem, key: server.key}}'
    assert load(folder, beyond)
    assert load(folder, GOOD + token)
    assert load(folder, beyond.replace('"lic-a.example.com:27101"', tls) + token)


@given(ttl=st.floats(0.1, 60), heartbeat=st.floats(0.1, 1000), resume=st.floats(0.1, 2000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_an_accepted_trust_outlasts_a_heartbeat(folder: Path, ttl: float, heartbeat: float, resume: float):
    """A client that keeps the beat never doubts its seats, and what is advised is accepted."""
    text = f"{GOOD}ttl: {ttl}\nheartbeat: {heartbeat}\nresume: "
    try:
        config = load(folder, f"{text}{resume}\n")
    except ConfigError as error:
        advised = str(error).partition("raise resume to ")[2].split()[0]
        config = load(folder, f"{text}{advised}\n")
    assert config.trust > config.heartbeat > 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(data=st.data())
def test_a_mutated_configuration_is_read_or_refused(folder: Path, data: st.DataObject):
    """Whatever is cut out of a good file or written into it, only `ConfigError` leaves."""
    start = data.draw(st.integers(0, len(GOOD)))
    put = data.draw(st.sampled_from([*"{}[]:,\n \t'\"#&*!?-0x~", "ttl", "acme", "true", "1e9", "\0", "é"]))
    content = (GOOD[:start] + put + GOOD[start + data.draw(st.integers(0, 40)) :]).encode()
    problems: tuple[Problem, ...] = ()
    try:
        build(parse_document(content, folder / "s.yaml"), LicserverConfig, check)
    except ConfigError as error:
        problems = error.problems
    assert all(str(problem).startswith(f"{folder}/s.yaml") for problem in problems)
