"""lsproxy.yaml as a whole: what it means, and what each typical mistake is told."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsproxy.config.check import check, load_config
from lsproxy.config.document import parse_document
from lsproxy.config.load import build
from lsproxy.config.model import Admin, Health, Listener, Log, LsproxyConfig, RelayPool, SeatBackend, SeatPool
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
            "acme": SeatPool(
                kind="licserver",
                server_name="acme-licenses",
                license_file=folder / "acme.lic",
                vendor_keys={"acme": folder / "acme.pub"},
                backends={
                    "lic-a": SeatBackend(address=Address("127.0.0.1", 27101), tls=None, license_file=None, hostids=()),
                    "lic-b": SeatBackend(address=Address("127.0.0.1", 27102), tls=None, license_file=None, hostids=()),
                },
                token_file=folder / "operator.token",
                health=Health(interval=0.25, timeout=0.5, rise=2, fall=2),
                failback=None,
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
                "l.yaml:13: pools.acme.healt: is an unknown key, did you mean health? Known here: kind, "
                "license_file, failback, failback_after, hold, binding, conflict, server_name, vendor_keys, backends, "
                "token_file, health"
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
            "kind: licensor",
            'l.yaml:5: pools.acme.kind: must be licserver or flexnet or rlm or citrix or lmx or tcp, not "licensor"',
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


LISTENERS = """listen:
  lmgrd: {address: "127.0.0.1:27000", pool: mcad, port: lmgrd}
  vendor: {address: "127.0.0.1:27001", pool: mcad, port: vendor}
"""
MCAD = """pools:
  mcad:
    kind: flexnet
    backends:
      fn-a: {ports: {lmgrd: "fn-a:27000", vendor: "fn-a:27001"}}
      fn-b: {ports: {lmgrd: "fn-b:27000", vendor: "fn-b:27001"}}
    probe: {send: "", expect: "", command: ["lmutil", "lmstat", "-c", "{port}@{host}"]}
    on_activate: [["start-standby", "{backend}"]]
"""
RELAYED = f"{LISTENERS}{MCAD}"


def test_a_third_partys_pool_has_its_own_defaults(folder: Path):
    """Slower checks, a shorter hold, no secrets."""
    (pool,) = load(folder, RELAYED).pools.values()
    assert isinstance(pool, RelayPool)
    assert (pool.health.interval, pool.health.timeout, pool.health.rise, pool.health.fall) == (2, 3, 2, 3)
    assert (pool.hold, pool.hook_timeout, pool.hook_retries) == (1, 30, 2)
    assert pool.ports == ("lmgrd", "vendor")
    assert pool.probe.command_interval == 30


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        (
            "port: lmgrd}",
            "port: lmgr}",
            "2: listen.lmgrd.port: there is no port lmgr in mcad, name one of: lmgrd, vendor",
        ),
        (
            ", port: vendor",
            "",
            "3: listen.vendor.port: is missing, the backends of mcad have ports, name one of: lmgrd, vendor",
        ),
        (
            'vendor: "fn-b:27001"',
            'vendr: "fn-b:27001"',
            (
                "9: pools.mcad.backends.fn-b.ports: must be those of fn-a: lmgrd, vendor; "
                "all ports of a server move together"
            ),
        ),
        (
            '"fn-b:27001"',
            '"fn-a:27001"',
            (
                "9: pools.mcad.backends.fn-b.ports.vendor: fn-a:27001 is the address of pools.mcad.backends.fn-a.ports "
                "too, two backends must be two servers"
            ),
        ),
        (
            'fn-b: {ports: {lmgrd: "fn-b:27000", vendor: "fn-b:27001"}}',
            'fn-b: {address: "fn-b:1", ports: {lmgrd: "fn-b:27000", vendor: "fn-b:27001"}}',
            "9: pools.mcad.backends.fn-b.address: stands beside ports, keep one of them",
        ),
        (
            "{port}@{host}",
            "{prt}@{host}",
            "10: pools.mcad.probe.command: {prt} stands for nothing here, known are: {host}, {port}",
        ),
        (
            'send: ""',
            r"send: '\q'",
            '10: pools.mcad.probe.send: "\\q" holds \\q, the escapes known here are \\r \\n \\t \\0 \\\\ \\xNN',
        ),
        (
            "{backend}",
            "{backnd}",
            (
                "11: pools.mcad.on_activate: {backnd} stands for nothing here, "
                "known are: {address}, {backend}, {host}, {pool}"
            ),
        ),
        (
            '[["start-standby", "{backend}"]]',
            "[[]]",
            "11: pools.mcad.on_activate: an empty list is no command, write [PROGRAM, ARGUMENT…]",
        ),
        (
            'lmgrd: "fn-a:27000"',
            'lmgrd: "127.0.0.1:27000"',
            (
                "8: pools.mcad.backends.fn-a: 127.0.0.1:27000 is listen.lmgrd itself, "
                "name the license server's own address"
            ),
        ),
        (
            "kind: flexnet",
            "kind: flexlm",
            '6: pools.mcad.kind: must be licserver or flexnet or rlm or citrix or lmx or tcp, not "flexlm"',
        ),
    ],
)
def test_a_mistake_in_a_third_partys_pool_is_told_in_one_line(folder: Path, right: str, wrong: str, told: str):
    """FILE:LINE: path: what is wrong, what would be right."""
    assert right in RELAYED
    assert refusals(folder, RELAYED.replace(right, wrong, 1)) == [f"DIR/l.yaml:{told}"]


def test_keys_of_one_sort_of_pool_are_unknown_to_the_other(folder: Path, good: str):
    """What is known to the kind is listed."""
    (told,) = refusals(folder, good.replace("    kind:", "    probe: {}\n    kind:"))
    assert told.startswith("DIR/l.yaml:5: pools.acme.probe: is an unknown key, known here: kind,")
    (told,) = refusals(folder, RELAYED.replace("    probe:", "    token_file: x\n    probe:"))
    assert told.startswith("DIR/l.yaml:10: pools.mcad.token_file: is an unknown key, did you mean license_file?")


def test_a_pool_without_a_kind(folder: Path):
    """It is asked for."""
    assert refusals(folder, RELAYED.replace("    kind: flexnet\n", "")) == [
        "DIR/l.yaml:5: pools.mcad.kind: is missing, it must be licserver or flexnet or rlm or citrix or lmx or tcp"
    ]


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
