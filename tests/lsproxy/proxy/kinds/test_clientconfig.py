"""Tests of what clients are told."""

from pathlib import Path

import msgspec

from lsproxy.config.model import Listener, RelayBackend, RelayPool, SeatBackend, SeatPool
from lsproxy.net.address import parse_address
from lsproxy.proxy.kinds.clientconfig import ClientConfig, client_config, text
from lsproxy.proxy.kinds.known import KINDS

FLEXNET = "SERVER fn-a 02a1b2c3d4e5 27000\nVENDOR mcad PORT=27001\n"
CITRIX = "SERVER this_host HOSTNAME=CTX-A 27000\nVENDOR CITRIX port=7279\n"
RLM = "HOST rlm-a ANY 5053\nISV render port=5054\n"


def config(kind, license_text, *addresses, host="lsproxy.example.com"):
    listen = {
        f"l{n}": Listener(address=parse_address(address), pool="p", port=f"p{n}") for n, address in enumerate(addresses)
    }
    listen["other"] = Listener(address=parse_address("0.0.0.0:9"), pool="other")
    pool = RelayPool(kind=kind, backends={"a": RelayBackend(address=parse_address("fn-a:1"))})
    read = KINDS[kind].read
    return client_config("p", pool, listen, {"a": read(license_text, "x.lic")} if read else {}, None, host)


def test_flexnet():
    """The main port is the SERVER line's; the name that the server tells has to lead to lsproxy."""
    found = config("flexnet", FLEXNET, "0.0.0.0:27001", "0.0.0.0:27000")
    assert found.servers == "27000@lsproxy.example.com"
    assert found.environment == dict.fromkeys(("LM_LICENSE_FILE", "MCAD_LICENSE_FILE"), found.servers)
    assert found.ports == (27001, 27000)
    assert found.hosts == ()
    assert found.notes[0].startswith("make fn-a an alias of lsproxy.example.com in DNS")


def test_a_hosts_file_needs_an_address():
    """Where clients' address of lsproxy is known in numbers, the hosts file can say it."""
    assert config("flexnet", FLEXNET, "192.0.2.1:27000").hosts == ("192.0.2.1 fn-a",)
    assert config("flexnet", FLEXNET, "0.0.0.0:27000", host="192.0.2.2").hosts == ("192.0.2.2 fn-a",)
    assert config("flexnet", FLEXNET, "[::]:27000", host="2001:db8::1").servers == "27000@2001:db8::1"


def test_a_name_that_leads_here_already():
    """The SERVER line has the name by which clients reach lsproxy: nothing is left to do."""
    found = config("flexnet", FLEXNET, "0.0.0.0:27000", host="fn-a.example.com")
    assert not any("alias" in note for note in found.notes)


def test_loopback_leads_nobody_else_here():
    """Names that lead to loopback are of use on this machine alone, which is said."""
    found = config("flexnet", FLEXNET, "127.0.0.1:27000")
    assert found.hosts == ("127.0.0.1 fn-a",)
    assert found.notes[0].startswith("127.0.0.1 is this machine's alone")


def test_a_host_that_is_told_goes_before_the_listeners():
    """Whoever says how clients reach lsproxy knows better than its addresses do."""
    listen = {"l": Listener(address=parse_address("127.0.0.1:7788"), pool="p")}
    pool = RelayPool(kind="tcp", backends={"a": RelayBackend(address=parse_address("fn-a:1"))})
    assert client_config("p", pool, listen, {}, "lic.example.com", "vm").servers == "lic.example.com:7788"
    assert client_config("p", pool, listen, {}, None, "vm").servers == "127.0.0.1:7788"


def test_citrix():
    """No variable: name and port go into Studio, the name spelt as in the license."""
    found = config("citrix", CITRIX, "192.0.2.1:27000", "192.0.2.1:7279", "192.0.2.1:8083")
    assert found.servers == "27000@192.0.2.1"
    assert found.hosts == ("192.0.2.1 CTX-A",)
    assert found.environment == {}
    assert found.ports == (27000, 7279, 8083)


def test_rlm_and_lmx():
    """Their variables take port@host too; their clients stay with the name they were given."""
    found = config("rlm", RLM, "0.0.0.0:5054", "0.0.0.0:5053")
    assert found.environment == dict.fromkeys(("RLM_LICENSE", "render_LICENSE"), "5053@lsproxy.example.com")
    assert found.hosts == ()
    found = config("lmx", "", "0.0.0.0:6200")
    assert found.environment == {"LMX_LICENSE_PATH": "6200@lsproxy.example.com"}


def test_tcp():
    """All listeners, as host:port."""
    found = config("tcp", "", "0.0.0.0:5432", "192.0.2.1:5433")
    assert found.servers == "lsproxy.example.com:5432, 192.0.2.1:5433"


def test_licserver():
    """Our own clients read LSPROXY_LICENSE."""
    pool = SeatPool(
        kind="licserver",
        server_name="acme",
        license_file=Path("a"),
        vendor_keys={"acme": Path("b")},
        backends={"a": SeatBackend(address=parse_address("127.0.0.1:1"))},
        token_file=Path("c"),
    )
    listen = {"l": Listener(address=parse_address("0.0.0.0:27000"), pool="p")}
    found = client_config("p", pool, listen, {}, None, "lic.example.com")
    assert found.environment == {"LSPROXY_LICENSE": "27000@lic.example.com"}


def test_a_pool_without_listener():
    """It says so."""
    found = config("tcp", "")
    assert "no listener leads to pool p" in text(found)


def test_the_text():
    """One thing to a line, in the order in which it is needed."""
    shown = text(
        ClientConfig("mcad", "flexnet", "27000@lic", {"LM_LICENSE_FILE": "27000@lic"}, ("192.0.2.1 a",), (1, 2), ("n",))
    )
    assert shown == (
        "Clients of mcad (flexnet)\n"
        "  license server   27000@lic\n"
        "  environment      LM_LICENSE_FILE=27000@lic\n"
        "  hosts file       192.0.2.1 a\n"
        "  firewall         TCP 1, 2 from clients to lsproxy\n"
        "  note             n\n"
    )


def test_json():
    """Programs get the same as JSON."""
    found = msgspec.json.decode(msgspec.json.encode(config("rlm", RLM, "0.0.0.0:5053")))
    assert found["servers"] == "5053@lsproxy.example.com"
