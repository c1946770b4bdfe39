"""Tests of what is said of a pool before it starts."""

from datetime import date
from pathlib import Path

import pytest

from lsproxy.config.model import Listener, RelayBackend, RelayPool
from lsproxy.license.hostid import parse_hostid
from lsproxy.net.address import parse_address
from lsproxy.proxy.kinds.advice import findings
from lsproxy.proxy.kinds.known import KINDS, read_licenses

TODAY = date(2026, 11, 22)
FILE = """\
SERVER fn-a 02a1b2c3d4e5 27000
VENDOR mcad PORT=27001
FEATURE draw mcad 1.0 permanent 5 KEY
"""


def listener(address, port=None, pool="mcad"):
    return Listener(address=parse_address(address), pool=pool, port=port)


LISTEN = {"lmgrd": listener("0.0.0.0:27000", "lmgrd"), "vendor": listener("0.0.0.0:27001", "vendor")}


def backend(host="fn-a", lmgrd=27000, vendor=27001, **more):
    ports = {"lmgrd": parse_address(f"{host}:{lmgrd}"), "vendor": parse_address(f"{host}:{vendor}")}
    return RelayBackend(ports=ports, **more)


def said(text=FILE, kind="flexnet", listen=LISTEN, backends=None, **more):
    """The findings where every backend has the license file `text`, or its own of `text` by name."""
    texts = text if isinstance(text, dict) else dict.fromkeys(backends or ["fn-a"], text)
    pool = RelayPool(kind=kind, backends=backends or {"fn-a": backend()}, **more)
    same = not isinstance(text, dict)
    licenses = {name: KINDS[kind].read(of, "x.lic" if same else f"{name}.lic") for name, of in texts.items()}
    return findings("mcad", pool, listen, licenses, TODAY)


def test_a_sound_pool():
    """There is nothing to say."""
    assert said() == []


def test_a_daemon_without_a_port():
    """A daemon that takes any port is told with its line and the remedy."""
    (finding,) = said(FILE.replace(" PORT=27001", ""))
    assert finding.startswith("x.lic:2: VENDOR mcad has no PORT=")


def test_a_listener_on_another_port():
    """Clients dial the port of the license file, so the listener has to be on it."""
    (finding,) = said(listen={**LISTEN, "vendor": listener("0.0.0.0:27009", "vendor")})
    assert finding == "x.lic:2: VENDOR mcad is on port 27001, listen.vendor on 27009: clients expect it on 27001"
    (finding,) = said(listen={**LISTEN, "lmgrd": listener("0.0.0.0:27010", "lmgrd")})
    assert finding.startswith("x.lic:1: the SERVER line is on port 27000, listen.lmgrd on 27010")


def test_a_listener_that_is_missing():
    """The finding is what to add. Another pool's listener does not count."""
    (finding,) = said(listen={"lmgrd": LISTEN["lmgrd"], "vendor": listener("0.0.0.0:27001", "vendor", "other")})
    assert finding == (
        "x.lic:2: VENDOR mcad is on port 27001, for which there is no listener: "
        'add {address: "0.0.0.0:27001", pool: mcad, port: vendor} to listen'
    )


def test_a_backend_without_the_port():
    """Every backend needs the daemon's port, and the server's."""
    backends = {"fn-a": backend(), "fn-b": backend(vendor=27002), "fn-c": backend(lmgrd=27003)}
    found = [finding for finding in said(backends=backends) if "does not have" in finding]
    assert found == [
        "x.lic:2: VENDOR mcad is on port 27001, which backend fn-b does not have: add it to its ports",
        "x.lic:1: the SERVER line says 27000, which backend fn-c does not have: correct one of them",
    ]


def test_a_server_line_without_a_port_means_the_usual_one():
    """FlexNet's is 27000."""
    assert said(FILE.replace(" 27000", "")) == []
    (finding,) = said(FILE.replace(" 27000", ""), backends={"fn-a": backend(lmgrd=27005)})
    assert finding.startswith("x.lic:1: the SERVER line has no port, which means 27000, which backend fn-a")


def test_a_license_of_another_host():
    """The address is not the SERVER line's; a name in numbers says nothing."""
    (finding,) = said(backends={"fn-a": backend("fn-x")})
    assert finding.startswith("x.lic:1: the SERVER line is for fn-a, backend fn-a is called fn-x")
    assert said(backends={"fn-a": backend("192.0.2.10")}) == []
    assert said(backends={"fn-a": backend("fn-a.example.com")}) == []
    assert said(backends={"fn-a": backend("fn-x", hostids=(parse_hostid("HOSTNAME=fn-a"),))}) == []


def test_a_name_that_all_files_share_is_the_clients_name():
    """Each server has a license of its own, all with the name that leads clients to lsproxy."""
    texts = {name: FILE.replace("fn-a", "licenses") for name in ("fn-a", "fn-b")}
    assert said(texts, backends={"fn-a": backend("fn-a"), "fn-b": backend("fn-b")}) == []
    texts["fn-b"] = FILE.replace("fn-a", "fn-c")
    found = said(texts, backends={"fn-a": backend("fn-a"), "fn-b": backend("fn-b")})
    assert [finding.partition(" the ")[0] for finding in found] == ["fn-a.lic:1:", "fn-b.lic:1:"]


def test_a_name_that_binds_is_not_shared():
    """A HOSTNAME= that no name of the backend is, is somebody else's; server_name is a name of each."""
    text = FILE.replace("02a1b2c3d4e5", "HOSTNAME=licenses")
    backends = {"fn-a": backend("fn-a"), "fn-b": backend("fn-b")}
    assert len(said(text, backends=backends)) == 2
    assert said(text, backends=backends, server_name="licenses") == []


def test_this_host():
    """FlexNet would send clients to the server's own name. Citrix's files all read so."""
    (finding,) = said(FILE.replace("fn-a", "this_host"))
    assert finding.startswith("x.lic:1: SERVER this_host sends clients on")
    assert said("SERVER this_host HOSTNAME=fn-a\n", "citrix") == []


def test_the_wrong_case():
    """Citrix compares names with case; FlexNet does not."""
    text = "SERVER this_host HOSTNAME=FN-A 27000\n"
    (finding,) = said(text, "citrix")
    assert finding.startswith("x.lic:1: HOSTNAME=FN-A is spelt fn-a for backend fn-a")
    assert said(text, "citrix", backends={"fn-a": backend("FN-A.example.com")}) == []
    assert said(text.replace("this_host", "fn-a")) == []


def test_two_backends_with_one_card():
    """One of two hosts cannot have the card that their common file is bound to."""
    found = said(backends={"fn-a": backend("192.0.2.10"), "fn-b": backend("192.0.2.11")})
    assert [finding.partition(",")[0] for finding in found] == ["x.lic:1: backends fn-a and fn-b share this file"]


def test_redundant_servers_that_are_no_backends():
    """Of three SERVER lines all three have to be backends."""
    triad = "".join(f"SERVER fn-{n} 02a1b2c3d4e{n} 27000\n" for n in range(3))
    backends = {f"fn-{n}": backend(f"fn-{n}") for n in range(3)}
    assert said(triad, backends=backends) == []
    (finding,) = said(triad, backends={"fn-1": backends["fn-1"]})
    assert finding.startswith("x.lic:3: 3 SERVER lines are servers that choose a master")


@pytest.mark.parametrize(
    ("day", "says"),
    [
        ("22-nov-2026", "expires on 2026-11-22, in 0 days"),
        ("23-nov-2026", "expires on 2026-11-23, in 1 day"),
        ("22-dec-2026", "expires on 2026-12-22, in 30 days"),
        ("23-dec-2026", None),
        ("21-nov-2026", "expired on 2026-11-21"),
    ],
)
def test_licenses_that_expire(day, says):
    """Thirty days beforehand and afterwards; the day itself still counts."""
    expected = [] if says is None else [f"x.lic:4: mesh {says}: ask the vendor for a renewal"]
    assert said(f"{FILE}INCREMENT mesh mcad 1.0 {day} 5 KEY\n") == expected


def test_a_renewal_beside_what_expired():
    """Of a feature the line that lasts longest counts; features of one day are told together."""
    old = "".join(f"INCREMENT f{n} mcad 1.0 1-jan-2026 5 KEY\n" for n in range(5))
    (finding,) = said(FILE + old)
    assert finding.startswith("x.lic:4: f0, f1, f2 and 2 more expired on 2026-01-01")
    assert said(FILE + old + old.replace("2026", "2028")) == []


def test_what_cannot_be_read():
    """A line that names a host badly, a file of another make, and a kind that has no files."""
    assert said("SERVER fn-a\nVENDOR mcad PORT=27001\n")[0].startswith("x.lic:1: SERVER is followed by")
    (finding,) = said("<xml/>")
    assert finding.startswith("x.lic: nothing in it reads like a license file of FlexNet")
    tcp = RelayPool(kind="tcp", license_file=Path("x.lic"), backends={"a": backend()})
    assert findings("mcad", tcp, {}, read_licenses(tcp), TODAY) == [
        "pools.mcad: of kind tcp no license file can be read; leave license_file out"
    ]


def test_a_backend_with_one_address():
    """Its listener stands for no port by name."""
    backends = {"a": RelayBackend(address=parse_address("rlm-a:5053"))}
    (finding,) = said("HOST rlm-a ANY\n", "rlm", {}, backends)
    assert finding.endswith('add {address: "0.0.0.0:5053", pool: mcad} to listen')
    assert said("HOST rlm-a ANY\n", "rlm", {"l": listener("0.0.0.0:5053")}, backends) == []


def test_rlm_has_its_own_words():
    """The keywords of the file are used, and port= as it is spelt there."""
    found = said(
        "HOST rlm-a ANY\nISV render\n", "rlm", backends={"a": RelayBackend(address=parse_address("rlm-a:5053"))}
    )
    assert found[0].startswith("x.lic:2: ISV render has no port=")
    assert found[1].startswith("x.lic:1: the HOST line is on port 5053, for which there is no listener")
