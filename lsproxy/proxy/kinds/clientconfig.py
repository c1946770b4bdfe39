"""
What do the clients of a pool have to be told, so that they ask lsproxy: the `port@host` line, the names that have to
lead here, the ports that firewalls have to let through?
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from lsproxy.config.model import Listener, Pool, SeatPool
from lsproxy.config.relations import is_loopback, is_wildcard
from lsproxy.core.outside import WHOEVER, is_address, is_same_name
from lsproxy.license.thirdparty import ThirdPartyLicense
from lsproxy.net.address import Address, format_server_list
from lsproxy.proxy.kinds.known import Kind, kind

SEAT_VARIABLE: Final = "LSPROXY_LICENSE"


class ClientConfig(msgspec.Struct, frozen=True):
    """
    What clients of `pool` need. `servers` is their license server: `port@host`, of kind tcp `host:port`.

    `environment` is name and value of the variables that say so, `hosts` are lines for a hosts file (or the same as
    DNS records), `ports` the TCP ports between clients and lsproxy. `notes` are sentences.
    """

    pool: str
    kind: str
    servers: str
    environment: dict[str, str]
    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    notes: tuple[str, ...]


def client_config(
    name: str,
    pool: Pool,
    listeners: Mapping[str, Listener],
    licenses: Mapping[str, ThirdPartyLicense],
    host: str | None,
    machine: str,
) -> ClientConfig:
    """
    What clients of the pool called `name` need.

    `listeners` are all of the configuration by name; `licenses` the pool's license files by backend, empty for kind
    licserver. `host` is the name or address by which clients reach lsproxy; where it is not told, it is the listener's,
    or for one on all addresses what this `machine` is called.
    """
    own = [_reached(listener.address, host, machine) for listener in listeners.values() if listener.pool == name]
    if not own:
        return ClientConfig(name, pool.kind, "", {}, (), (), (f"no listener leads to pool {name}: add one to listen",))
    ports = tuple(dict.fromkeys(address.port for address in own))
    if isinstance(pool, SeatPool):
        servers = format_server_list((own[0],))
        return ClientConfig(name, pool.kind, servers, {SEAT_VARIABLE: servers}, (), ports, ())
    known = kind(pool.kind)
    main = _main(own, known, licenses)
    if known.main_port is None:
        servers = ", ".join(map(str, own))
        return ClientConfig(name, pool.kind, servers, {}, (), ports, ())
    servers = format_server_list((main,))
    names = _names_to_lead_here(main.host, known, licenses)
    return ClientConfig(
        name,
        pool.kind,
        servers,
        _environment(servers, known, licenses),
        tuple(f"{main.host} {lead}" for lead in names if is_address(main.host)),
        ports,
        (*_alias_notes(main.host, names), *_NOTES.get(pool.kind, ())),
    )


def text(config: ClientConfig) -> str:
    """The same for people, lines ended by newlines."""
    lines = [f"Clients of {config.pool} ({config.kind})"]
    if config.servers:
        lines.append(f"  license server   {config.servers}")
    lines += [f"  environment      {name}={value}" for name, value in config.environment.items()]
    lines += [f"  hosts file       {line}" for line in config.hosts]
    if config.ports:
        lines.append(f"  firewall         TCP {', '.join(map(str, config.ports))} from clients to lsproxy")
    lines += [f"  note             {note}" for note in config.notes]
    return "".join(f"{line}\n" for line in lines)


_NOTES: Final[Mapping[str, tuple[str, ...]]] = {
    "flexnet": (
        "of several entries in LM_LICENSE_FILE name lsproxy once, and no license server behind it",
        "a license file that clients have a copy of has to name lsproxy in its SERVER line",
    ),
    "citrix": (
        "set name and port in Studio or by the policies License server host name and License server port",
        "spell the name as the license file does: upper and lower case count",
    ),
    "rlm": ("of several entries in RLM_LICENSE name lsproxy once, and no license server behind it",),
    "lmx": ("automatic discovery (UDP 6200) finds the servers, not lsproxy: have clients use the path",),
}


def _main(own: list[Address], known: Kind, licenses: Mapping[str, ThirdPartyLicense]) -> Address:
    """The listener where clients ask first: on the port of the SERVER or HOST line, else on none of a daemon's."""
    files = licenses.values()
    first = {host.port or known.main_port for license_file in files for host in license_file.hosts}
    later = {daemon.port for license_file in files for daemon in license_file.daemons}
    for address in own:
        if address.port in (first or {known.main_port}):
            return address
    return next((address for address in own if address.port not in later), own[0])


def _reached(address: Address, host: str | None, machine: str) -> Address:
    stands_for_all = machine if is_wildcard(address) else address.host
    return Address(host or stands_for_all, address.port)


def _environment(servers: str, known: Kind, licenses: Mapping[str, ThirdPartyLicense]) -> dict[str, str]:
    """The variable of all vendors, and those that only one vendor's programs read."""
    if not known.variable:
        return {}
    vendors = dict.fromkeys(daemon.vendor for license_file in licenses.values() for daemon in license_file.daemons)
    # FlexNet's are in upper case by its manual, RLM's as the ISV line spells them.
    names = [vendor.upper() if known.name == "flexnet" else vendor for vendor in vendors]
    return {known.variable: servers, **{f"{vendor}{known.vendor_suffix}": servers for vendor in names}}


def _names_to_lead_here(main: str, known: Kind, licenses: Mapping[str, ThirdPartyLicense]) -> list[str]:
    """The names that a license server sends its clients to."""
    if not known.does_redirect:
        return []
    names: list[str] = []
    for license_file in licenses.values():
        for host in license_file.hosts:
            if host.name and host.name.lower() not in WHOEVER:
                names.append(host.name)
            else:
                names += [hostid.value for hostid in host.hostids if hostid.kind in {"hostname", "fqdn"}]
    return [name for name in dict.fromkeys(names) if not is_address(name) and not is_same_name(name, main)]


def _alias_notes(main: str, names: list[str]) -> list[str]:
    is_local = is_loopback(Address(main, 0))
    if not names or (is_address(main) and not is_local):
        return []
    them = " and ".join(names)
    if is_local:
        there = f"clients elsewhere need {them} to lead to an address they can reach: say it by --host"
        return [f"{main} is this machine's alone; {there}"]
    return [f"make {them} an alias of {main} in DNS: clients go on to the name that the license server tells them"]
