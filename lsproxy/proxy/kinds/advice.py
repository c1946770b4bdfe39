"""
What is likely to go wrong with a pool of third-party license servers, as far as its configuration and its license files
tell beforehand?

Findings are sentences for `lsproxy check` and for the log at the start, with FILE:LINE in front where a line of a
license file is the cause. None of them keeps lsproxy from starting: what is odd on paper may be meant so.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Final

import msgspec

from lsproxy.config.model import Listener, RelayBackend, RelayPool
from lsproxy.core.outside import WHOEVER, is_address, is_same_name
from lsproxy.license.thirdparty import Daemon, Host, Term, ThirdPartyLicense
from lsproxy.proxy.kinds.known import Kind, kind

SOON: Final = timedelta(days=30)

_MOST_NAMED: Final = 3


class _Pool(msgspec.Struct, frozen=True):
    """All that findings are made of; `listeners` are the pool's own, `licenses` by backend."""

    name: str
    config: RelayPool
    kind: Kind
    listeners: Mapping[str, Listener]
    licenses: Mapping[str, ThirdPartyLicense]

    @property
    def files(self) -> Iterator[tuple[ThirdPartyLicense, str]]:
        """Each license file once, with the first backend that has it."""
        seen = set()
        for backend, license_file in self.licenses.items():
            if license_file.file not in seen:
                seen.add(license_file.file)
                yield license_file, backend


def findings(
    name: str,
    pool: RelayPool,
    listeners: Mapping[str, Listener],
    licenses: Mapping[str, ThirdPartyLicense],
    today: date | None,
) -> list[str]:
    """
    What there is to say of the pool called `name`, worst first.

    `listeners` are all of the configuration by name, `licenses` the pool's license files by backend, as
    `read_licenses` gives them. Dates are compared with `today`, the day in UTC; None leaves them out.
    """
    own = {key: listener for key, listener in listeners.items() if listener.pool == name}
    subject = _Pool(name, pool, kind(pool.kind), own, licenses)
    found = [
        *_unread(subject),
        *_ports(subject),
        *_names(subject),
        *_shared_cards(subject),
        *_redundant_servers(subject),
        *([] if today is None else _dates(subject, today)),
    ]
    return list(dict.fromkeys(found))


def _unread(pool: _Pool) -> Iterator[str]:
    for license_file, _ in pool.files:
        yield from map(str, license_file.problems)
        if not (license_file.hosts or license_file.daemons or license_file.terms or license_file.problems):
            yield f"{license_file.file}: nothing in it reads like a license file of {pool.kind.title}; name another"
    if pool.kind.read is None and (pool.config.license_file or any(b.license_file for b in _backends(pool))):
        yield f"pools.{pool.name}: of kind {pool.kind.name} no license file can be read; leave license_file out"


def _ports(pool: _Pool) -> Iterator[str]:
    for backend, license_file in pool.licenses.items():
        for daemon in license_file.daemons:
            yield from _port_of_daemon(daemon, license_file, backend, pool)
        for host in license_file.hosts:
            yield from _port_of_host(host, license_file, backend, pool)


def _port_of_daemon(daemon: Daemon, license_file: ThirdPartyLicense, backend: str, pool: _Pool) -> Iterator[str]:
    where, what = f"{license_file.file}:{daemon.line}", f"{daemon.keyword} {daemon.vendor}"
    if daemon.port is None:
        key = "port" if daemon.keyword == "ISV" else "PORT"
        yield (
            f"{where}: {what} has no {key}=, so its daemon takes another port at each start, where lsproxy is not: "
            f"add {key}=27001 or another fixed one, and a listener on the same port"
        )
        return
    door = _door(pool.config.backends[backend], daemon.port)
    if door is None:
        yield f"{where}: {what} is on port {daemon.port}, which backend {backend} does not have: add it to its ports"
        return
    yield from _listens(daemon.port, door, f"{where}: {what}", pool)


def _port_of_host(host: Host, license_file: ThirdPartyLicense, backend: str, pool: _Pool) -> Iterator[str]:
    port = host.port or pool.kind.main_port
    where = f"{license_file.file}:{host.line}: the {host.keyword} line"
    if port is None or host.name is None:
        return
    door = _door(pool.config.backends[backend], port)
    if door is None:
        says = "says" if host.port else "has no port, which means"
        yield f"{where} {says} {port}, which backend {backend} does not have: correct one of them"
        return
    yield from _listens(port, door, where, pool)


def _listens(port: int, door: str, what: str, pool: _Pool) -> Iterator[str]:
    """Clients dial the port that the license file names, so lsproxy has to listen on the same one."""
    there = {name: listener for name, listener in pool.listeners.items() if (listener.port or "") == door}
    if any(listener.address.port == port for listener in there.values()):
        return
    if there:
        name, listener = next(iter(there.items()))
        yield f"{what} is on port {port}, listen.{name} on {listener.address.port}: clients expect it on {port}"
    else:
        says = f", port: {door}" if door else ""
        yield (
            f'{what} is on port {port}, for which there is no listener: add {{address: "0.0.0.0:{port}", '
            f"pool: {pool.name}{says}}} to listen"
        )


def _names(pool: _Pool) -> Iterator[str]:
    for backend, license_file in pool.licenses.items():
        called = _called(backend, pool)
        if called and license_file.hosts and not any(_is_for(host, called, pool) for host in license_file.hosts):
            host = license_file.hosts[0]
            bound = _bound_names(host)
            remedy = "say in server_name what the servers are called" if bound else "give all files the clients' name"
            yield (
                f"{license_file.file}:{host.line}: the {host.keyword} line is for {' or '.join(bound) or host.name}, "
                f"backend {backend} is called {' or '.join(called)}: correct one of them, or {remedy}"
            )
        if pool.kind.is_case_kept:
            yield from _wrong_case(backend, license_file, called)
    for license_file, _ in pool.files:
        yield from _this_host(license_file, pool)


def _is_for(host: Host, called: list[str], pool: _Pool) -> bool:
    """
    Whether the line is for a host that is `called` so, as far as names tell.

    Where a name is no hostid it may be edited. One that all backends' files share is the clients' name for lsproxy.
    """
    if bound := _bound_names(host):
        return any(is_same_name(name, own) for name in bound for own in called)
    if host.name is None or host.name.lower() in WHOEVER or is_address(host.name):
        return True
    sharing = [of for of in pool.licenses.values() if any(other.name == host.name for other in of.hosts)]
    is_common = len(sharing) == len(pool.config.backends) > 1
    return is_common or any(is_same_name(host.name, own) for own in called)


def _wrong_case(backend: str, license_file: ThirdPartyLicense, called: list[str]) -> Iterator[str]:
    for host in license_file.hosts:
        for wanted in _bound_names(host):
            alike = [own for own in called if is_same_name(wanted, own)]
            if alike and not any(_short(own) == _short(wanted) for own in alike):
                yield (
                    f"{license_file.file}:{host.line}: HOSTNAME={wanted} is spelt {alike[0]} for backend {backend}, "
                    "and here upper and lower case count: spell it as the license does"
                )


def _this_host(license_file: ThirdPartyLicense, pool: _Pool) -> Iterator[str]:
    """Citrix's files come so and may not be changed; there the clients' name for the server is what counts."""
    for host in license_file.hosts:
        if pool.kind.does_redirect and not pool.kind.is_case_kept and (host.name or "").lower() in WHOEVER:
            yield (
                f"{license_file.file}:{host.line}: SERVER {host.name} sends clients on to the server's own name, past "
                "lsproxy: write the name by which clients reach lsproxy"
            )


def _shared_cards(pool: _Pool) -> Iterator[str]:
    for license_file, _ in pool.files:
        sharing = [name for name, of in pool.licenses.items() if of.file == license_file.file]
        cards = {hostid.value for host in license_file.hosts for hostid in host.hostids}
        kinds = {hostid.kind for host in license_file.hosts for hostid in host.hostids}
        if kinds == {"ether"} and len(cards) < len(sharing):
            line = license_file.hosts[0].line
            yield (
                f"{license_file.file}:{line}: backends {' and '.join(sharing)} share this file, which is bound to the "
                f"network card {' and '.join(sorted(cards))}: only one host has it, so give the others a license_file "
                "of their own"
            )


def _redundant_servers(pool: _Pool) -> Iterator[str]:
    for license_file, _ in pool.files:
        if pool.kind.does_redirect and len(license_file.hosts) > len(pool.config.backends):
            line = license_file.hosts[-1].line
            yield (
                f"{license_file.file}:{line}: {len(license_file.hosts)} SERVER lines are servers that choose a master "
                f"among themselves, and pool {pool.name} has {len(pool.config.backends)} of them: make all of them "
                "backends, or have the license issued for one host"
            )


def _dates(pool: _Pool, today: date) -> Iterator[str]:
    for license_file, _ in pool.files:
        by_day: dict[date, list[Term]] = {}
        for term in _last_terms(license_file):
            if term.expires is not None and term.expires <= today + SOON:
                by_day.setdefault(term.expires, []).append(term)
        for day, terms in sorted(by_day.items()):
            says = f"expired on {day}" if day < today else f"expires on {day}, in {_days((day - today).days)}"
            more = f" and {len(terms) - _MOST_NAMED} more" if len(terms) > _MOST_NAMED else ""
            features = ", ".join(term.feature for term in terms[:_MOST_NAMED])
            yield f"{license_file.file}:{terms[0].line}: {features}{more} {says}: ask the vendor for a renewal"


def _last_terms(license_file: ThirdPartyLicense) -> Iterator[Term]:
    """Of each feature the line that lasts longest: expired ones stay in a file beside their renewal."""
    last: dict[str, Term] = {}
    for term in license_file.terms:
        known = last.setdefault(term.feature, term)
        if known.expires is not None and (term.expires is None or term.expires > known.expires):
            last[term.feature] = term
    return iter(last.values())


def _backends(pool: _Pool) -> list[RelayBackend]:
    return list(pool.config.backends.values())


def _door(backend: RelayBackend, port: int) -> str | None:
    return next((name for name, address in backend.doors.items() if address.port == port), None)


def _called(backend: str, pool: _Pool) -> list[str]:
    """The names that the configuration has for `backend`; empty where it has addresses in numbers only."""
    config = pool.config.backends[backend]
    declared = [hostid.value for hostid in config.hostids if hostid.kind in {"hostname", "fqdn"}]
    hosts = [address.host for address in config.doors.values() if not is_address(address.host)]
    return list(dict.fromkeys([*filter(None, [pool.config.server_name]), *hosts, *declared]))


def _bound_names(host: Host) -> list[str]:
    """The names among the hostids of a line."""
    return [hostid.value for hostid in host.hostids if hostid.kind in {"hostname", "fqdn"}]


def _short(name: str) -> str:
    return name.partition(".")[0]


def _days(number: int) -> str:
    return f"{number} day" if number == 1 else f"{number} days"
