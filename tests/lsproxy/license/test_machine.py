"""What this machine says of itself."""

import socket
import time
from pathlib import Path

import psutil

from lsproxy.license.hostid import parse_hostid
from lsproxy.license.machine import fully_qualified_name, machine_hostids


def test_name():
    """The host name is among the hostids, in lower case."""
    assert parse_hostid(f"HOSTNAME={socket.gethostname()}") in machine_hostids()


def test_cards():
    """Every network card is there but those without an address; no hostid stands twice."""
    cards = {
        address.address.replace(":", "").lower()
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == psutil.AF_LINK and len(address.address) == 17
    }
    hostids = machine_hostids()
    assert {hostid.value for hostid in hostids if hostid.kind == "ether"} == cards - {"0" * 12}
    assert len(set(hostids)) == len(hostids)


def test_machine_id():
    """The machine id of systemd is there where the machine has one."""
    path = Path("/etc/machine-id")
    text = path.read_text(encoding="ascii").strip() if path.exists() else ""
    own = {hostid.value for hostid in machine_hostids() if hostid.kind == "machine_id"}
    assert own == ({text} if len(text) == 32 else own)


def test_no_loopback():
    """Loopback is no host's own address and `localhost` nobody's own name."""
    values = {hostid.value for hostid in machine_hostids()}
    assert not values & {"127.0.0.1", "::1", "localhost"}
    assert fully_qualified_name("localhost") == ""


def test_time_is_bounded():
    """A resolver that does not answer costs the seconds given, no more; a name with dots is then believed."""
    before = time.monotonic()
    name = fully_qualified_name("Lic-A.nowhere.invalid", seconds=0.0)
    assert time.monotonic() - before < 1.0
    assert name == "lic-a.nowhere.invalid"
