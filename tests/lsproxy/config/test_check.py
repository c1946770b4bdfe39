"""lsproxy.yaml as a whole: what it means, and what each typical mistake is told."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsproxy.config.check import check, load_config
from lsproxy.config.document import parse_document
from lsproxy.config.load import build
from lsproxy.config.model import Admin, Backend, Health, Listener, Log, LsproxyConfig, Pool
from lsproxy.config.problems import ConfigError, Problem
from lsproxy.license.hostid import Hostid
from lsproxy.net.address import Address, parse_address


def load(folder: Path, text: str) -> LsproxyConfig:
    (folder / "l.yaml").write_text(text)
    return load_config(folder / "l.yaml")


def refusals(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return str(caught.value).replace(str(folder), "DIR").splitlines()


def test_the_defaults_are_those_of_the_reference(folder: Path, good: str):
    """Every key that is not written has its documented value."""
    assert load(
        folder, good.replace("    health: {interval: 0.25}\nadmin: {socket: admin.sock}\n", "")
    ) == LsproxyConfig(
        listen={"licenses": Listener(address=parse_address("0.0.0.0:27000"), pool="acme", tls=None)},
        pools={
            "acme": Pool(
                kind="licserver",
                server_name="acme-licenses",
                license_file=folder / "acme.lic",
                vendor_keys={"acme": folder / "acme.pub"},
                backends={
                    "lic-a": Backend(address=Address("127.0.0.1", 27101), tls=None, license_file=None, hostids=()),
                    "lic-b": Backend(address=Address("127.0.0.1", 27102), tls=None, license_file=None, hostids=()),
                },
                token_file=folder / "operator.token",
                health=Health(interval=0.25, timeout=0.5, rise=2, fall=2),
                failback="sticky",
                failback_after=300,
                hold=10,
                binding="enforce",
                conflict="refuse",
            )
        },
        state=Path("/var/lib/lsproxy/state.db"),
        admin=Admin(
            address=Address("127.0.0.1", 27080),
            socket=Path("/run/lsproxy/admin.sock"),
            tokens_file=folder / "tokens.yaml",
            tls=None,
        ),
        log=Log(format="text"),
    )


def test_the_order_of_backends_is_the_files(folder: Path, good: str):
    """It is the order of preference."""
    turned = good.replace("lic-a:", "zzz:").replace("lic-b:", "aaa:")
    assert list(load(folder, turned).pools["acme"].backends) == ["zzz", "aaa"]


def test_everything_can_be_said(folder: Path, good: str):
    """TLS on every leg, hostids, a backend's own license file, every choice."""
    tls = "tls: {certificate: server.pem, key: server.key, client_ca: server.pem}"
    config = load(
        folder,
        good.replace("pool: acme}", f"pool: acme, {tls}}}")
        .replace('"127.0.0.1:27102"', 'lic-b.example.com:27102, license_file: server.pem, hostids: ["HOSTNAME=B", ANY]')
        .replace("27102, lic", "27102, tls: {ca: server.pem, name: lic-b}, lic")
        .replace(
            "    health: {interval: 0.25}", "    binding: off\n    conflict: warn\n    failback: manual\n    hold: 0"
        )
        .replace("admin: {socket: admin.sock}", f"admin: {{address: 0.0.0.0:27080, {tls}}}\nlog: {{format: json}}"),
    )
    pool = config.pools["acme"]
    assert pool.backends["lic-b"].hostids == (Hostid("hostname", "b"), Hostid("any", ""))
    assert pool.backends["lic-b"].tls is not None
    assert pool.backends["lic-b"].tls.ca == folder / "server.pem"
    assert (pool.binding, pool.conflict, pool.failback, pool.hold) == ("off", "warn", "manual", 0)
    assert config.listen["licenses"].tls == config.admin.tls
    assert config.log.format == "json"


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        (
            "health: {interval",
            "healt: {interval",
            (
                "l.yaml:13: pools.acme.healt: is an unknown key, did you mean health? Known here: kind, server_name, "
                "license_file, vendor_keys, backends, token_file, health, failback, failback_after, hold, binding, "
                "conflict"
            ),
        ),
        (
            "interval: 0.25",
            "interval: 250ms",
            (
                "l.yaml:13: pools.acme.health.interval: must be a number of more than 0 and at most 3600, "
                'not "250ms", durations are plain seconds'
            ),
        ),
        (
            "interval: 0.25",
            "interval: 0",
            "l.yaml:13: pools.acme.health.interval: must be a number of more than 0 and at most 3600, not 0",
        ),
        (
            "interval: 0.25",
            "fall: 0",
            "l.yaml:13: pools.acme.health.fall: must be a whole number of at least 1 and at most 1000, not 0",
        ),
        (
            "pool: acme}",
            "pool: acne}",
            "l.yaml:2: listen.licenses.pool: there is no pool acne, it must be one of: acme",
        ),
        (
            "    server_name: acme-licenses\n",
            "",
            "l.yaml:4: pools.acme.server_name: is missing, it must be a name",
        ),
        (
            "license_file: acme.lic",
            "license_file: acne.lic",
            "l.yaml:7: pools.acme.license_file: DIR/acne.lic does not exist, put the file there or correct the path",
        ),
        (
            "kind: licserver",
            "kind: flexnet",
            "l.yaml:5: pools.acme.kind: flexnet is not built in this release, it must be licserver",
        ),
        (
            '{address: "127.0.0.1:27101"}',
            '"127.0.0.1:27101"',
            'l.yaml:10: pools.acme.backends.lic-a: must be a mapping of keys and values, not "127.0.0.1:27101"',
        ),
        (
            '"127.0.0.1:27101"',
            '"127.0.0.1"',
            (
                'l.yaml:10: pools.acme.backends.lic-a.address: "127.0.0.1" is not an address: write host:port, such as '
                "127.0.0.1:27000 or [::1]:27000"
            ),
        ),
        (
            "127.0.0.1:27102",
            "127.0.0.1:27101",
            (
                "l.yaml:11: pools.acme.backends.lic-b.address: 127.0.0.1:27101 is the address of "
                "pools.acme.backends.lic-a too, two backends must be two servers"
            ),
        ),
        (
            "127.0.0.1:27102",
            "lic-b:27102",
            (
                "l.yaml:11: pools.acme.backends.lic-b.address: the operator token goes to lic-b:27102 on another host, "
                "where it needs TLS: add tls: {ca: FILE}"
            ),
        ),
        (
            "admin: {socket",
            "admin: {address: 127.0.0.1:27000, socket",
            (
                "l.yaml:14: admin.address: 127.0.0.1:27000 is taken by listen.licenses (0.0.0.0:27000), "
                "give each its own address"
            ),
        ),
        (
            "admin: {socket",
            "admin: {address: 0.0.0.0:27080, socket",
            (
                "l.yaml:14: admin.address: 0.0.0.0:27080 can be reached from other hosts, where a token needs TLS: "
                "add admin.tls or listen on 127.0.0.1"
            ),
        ),
        (
            "pool: acme}",
            "pool: acme}\n  again: {address: localhost:27000, pool: acme}",
            (
                "l.yaml:3: listen.again.address: localhost:27000 is taken by listen.licenses (0.0.0.0:27000), "
                "give each its own address"
            ),
        ),
        (
            "token_file: operator.token",
            "token_file: acme.pub",
            (
                "l.yaml:12: pools.acme.token_file: DIR/acme.pub is open to others (mode 0644), "
                "close it with: chmod 600 DIR/acme.pub"
            ),
        ),
        (
            "pool: acme}",
            "pool: acme, tls: {certificate: server.pem, key: acme.pub}}",
            (
                "l.yaml:2: listen.licenses.tls.key: DIR/acme.pub is open to others (mode 0644), "
                "close it with: chmod 600 DIR/acme.pub"
            ),
        ),
    ],
)
def test_a_typical_mistake_is_told_in_one_line(folder: Path, good: str, right: str, wrong: str, told: str):
    """FILE:LINE: path: what is wrong, what would be right."""
    (folder / "acme.pub").chmod(0o644)
    assert right in good
    assert refusals(folder, good.replace(right, wrong)) == [f"DIR/{told}"]


@pytest.mark.parametrize(
    ("place", "key"),
    [
        ("", "notify: []"),
        ("", "access_log: a.log"),
        ("pool: acme", "port: lmgrd"),
        ("pool: acme", "accept_proxy_protocol: [10.0.0.0/8]"),
        ("pool: acme", "allow: [10.0.0.0/8]"),
        ("pool: acme", "max_connections: 1"),
        ("pool: acme", "max_per_source: 1"),
        ('address: "127.0.0.1:27101"', "ports: {lmgrd: a}"),
        ('address: "127.0.0.1:27101"', "send_proxy_protocol: true"),
    ],
)
def test_keys_of_later_releases_are_known_and_refused(folder: Path, good: str, place: str, key: str):
    """They are not taken for misspelt ones."""
    text = good.replace(place, f"{place}, {key}") if place else f"{good}{key}\n"
    (told,) = refusals(folder, text)
    assert told.endswith(f"{key.partition(':')[0]}: is not built in this release, remove it")


@pytest.mark.parametrize(
    "key", ["probe: {}", "on_activate: []", "on_deactivate: []", "hook_timeout: 1", "hook_retries: 1"]
)
def test_a_pools_hooks_are_known_and_refused(folder: Path, good: str, key: str):
    """They come with other kinds."""
    (told,) = refusals(folder, good.replace("    kind:", f"    {key}\n    kind:"))
    assert told == f"DIR/l.yaml:5: pools.acme.{key.partition(':')[0]}: is not built in this release, remove it"


def test_all_mistakes_are_told_at_once_in_the_order_of_lines(folder: Path, good: str):
    """Shapes, files and relations together; a consequence of another mistake is not told."""
    text = (
        good.replace("pool: acme}", "pool: acne}\n  bad: {address: nowhere, pool: acme}")
        .replace("license_file: acme.lic", "license_file: none.lic")
        .replace('lic-b: {address: "127.0.0.1:27102"}', "lic-b: {address: far:27102}\n      lic-c: {tls: {nam: x}}")
        .replace("interval: 0.25", "interval: -1, rize: 2")
    )
    assert [row.split(": ")[:2] for row in refusals(folder, text)] == [
        ["DIR/l.yaml:2", "listen.licenses.pool"],
        ["DIR/l.yaml:3", "listen.bad.address"],
        ["DIR/l.yaml:8", "pools.acme.license_file"],
        ["DIR/l.yaml:12", "pools.acme.backends.lic-b.address"],
        ["DIR/l.yaml:13", "pools.acme.backends.lic-c.address"],
        ["DIR/l.yaml:13", "pools.acme.backends.lic-c.tls.nam"],
        ["DIR/l.yaml:15", "pools.acme.health.interval"],
        ["DIR/l.yaml:15", "pools.acme.health.rize"],
    ]


def test_a_missing_file_is_one_sentence(folder: Path):
    """The file itself is named, there is no line."""
    with pytest.raises(ConfigError, match=r"none\.yaml: there is no such file$"):
        load_config(folder / "none.yaml")


def test_relative_paths_start_at_the_files_folder(folder: Path, good: str, monkeypatch: pytest.MonkeyPatch):
    """Not at the working directory, also when the file is named relative to that."""
    (folder / "l.yaml").write_text(good)
    monkeypatch.chdir(folder.parent)
    config = load_config(Path(folder.name) / "l.yaml")
    assert config.pools["acme"].license_file == folder / "acme.lic"
    assert config.admin.socket == folder / "admin.sock"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(data=st.data())
def test_a_mutated_configuration_is_read_or_refused(folder: Path, good: str, data: st.DataObject):
    """Whatever is cut out of a good file or written into it, only `ConfigError` leaves."""
    start = data.draw(st.integers(0, len(good)))
    length = data.draw(st.integers(0, 40))
    put = data.draw(st.sampled_from([*"{}[]:,\n \t'\"#&*!?-0x~", "acme", "listen", "true", "1e9", "27000", "\0", "é"]))
    content = (good[:start] + put + good[start + length :]).encode()
    problems: tuple[Problem, ...] = ()
    try:
        build(parse_document(content, folder / "l.yaml"), LsproxyConfig, check)
    except ConfigError as error:
        problems = error.problems
    assert all(str(problem).startswith(f"{folder}/l.yaml") for problem in problems)


def test_a_file_of_many_listeners_is_judged_in_time(folder: Path, good: str):
    """The largest file there may be does not hold up a reload."""
    many = "".join(f'  l{n}: {{address: "127.0.0.1:{n + 1000}", pool: acme}}\n' for n in range(1200))
    assert len(load(folder, good.replace("pools:\n", f"{many}pools:\n")).listen) == 1201
