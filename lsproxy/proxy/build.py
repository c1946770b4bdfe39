"""How does configuration become pools and listeners: which files are read, which endpoints are opened?"""

from collections.abc import Callable, Iterable

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from lsproxy.config import model
from lsproxy.core import outside
from lsproxy.core.binding import Binding
from lsproxy.license.hostid import Hostid
from lsproxy.license.thirdparty import ThirdPartyLicense
from lsproxy.net.address import Address
from lsproxy.net.announcing import accept_proxy_protocol, announce
from lsproxy.net.endpoints import client_endpoint, server_endpoint
from lsproxy.net.ends import Ends
from lsproxy.net.prefaces import Prefaces
from lsproxy.net.proxyprotocol import LOCAL_HEADER, LOCAL_HEADER_V1, header_v1, header_v2
from lsproxy.net.reactor import BoottimeReactor
from lsproxy.net.tls import ClientTLS, client_tls, server_tls, wrap_client, wrap_server
from lsproxy.proxy.accesslog import AccessLog
from lsproxy.proxy.backend import Place
from lsproxy.proxy.doors import ONLY, AnnouncingDoors, Doors, PlainDoors
from lsproxy.proxy.kinds import kind, read_licenses
from lsproxy.proxy.licenses import Licenses
from lsproxy.proxy.listener import Limits, Listener, Room, Taker, Tally
from lsproxy.proxy.memory import PoolMemory
from lsproxy.proxy.pool import Announce
from lsproxy.proxy.relay.backend import Place as RelayPlace
from lsproxy.proxy.relay.checks import build_checks
from lsproxy.proxy.relay.pool import RelayPlan, RelayPool
from lsproxy.proxy.relay.seen import look
from lsproxy.proxy.seatpool import SeatPlan, SeatPool
from lsproxy.secretfile import read_secret

DIAL_SECONDS = 2.0
"""For a client's connection: a lost SYN is repeated after 1 s, one that is lost twice is not worth waiting for."""

Plan = SeatPlan | RelayPlan

_HEADERS = {"v1": header_v1, "v2": header_v2}
_LOCAL_HEADERS = {"v1": LOCAL_HEADER_V1, "v2": LOCAL_HEADER}


def plan_pool(reactor: BoottimeReactor, name: str, config: model.Pool, random: Callable[[], float]) -> Plan:
    """
    Read the files that `config` names, and have endpoints for its backends. Raises LsproxyError, one sentence, for a
    file that cannot be used.
    """
    if isinstance(config, model.SeatPool):
        places = {backend: _seat_place(reactor, settings, config) for backend, settings in config.backends.items()}
        return SeatPlan(name, config, Licenses(config), read_secret(config.token_file), places)
    assert isinstance(config, model.RelayPool)
    licenses = read_licenses(config)
    relay_places = {
        backend: _relay_place(reactor, backend, config, licenses.get(backend), random) for backend in config.backends
    }
    return RelayPlan(name, config, shared_name(config, licenses.values()), relay_places)


def build_pool(
    reactor: BoottimeReactor, plan: Plan, memory: PoolMemory, random: Callable[[], float], announce: Announce
) -> SeatPool | RelayPool:
    """The pool of `plan`, not yet started."""
    if isinstance(plan, SeatPlan):
        return SeatPool(reactor, plan, memory, random, announce)
    return RelayPool(reactor, plan, memory, random, announce)


def build_listener(
    reactor: BoottimeReactor,
    name: str,
    config: model.Listener,
    pool: Taker,
    access_log: AccessLog | None,
    room: Room,
    *,
    tally: Tally | None = None,
    inherited: IStreamServerEndpoint | None = None,
) -> Listener:
    """
    The listener `name` for `pool`, not yet started. Raises LsproxyError for TLS files that cannot be used.

    It counts on in `tally`, and listens where it has `inherited` from another one, or else on its address.
    """
    tls = None if config.tls is None else server_tls(config.tls.certificate, config.tls.key, config.tls.client_ca)

    def wrap(endpoint: IStreamServerEndpoint, prefaces: Prefaces) -> IStreamServerEndpoint:
        if config.accept_proxy_protocol:
            endpoint = accept_proxy_protocol(reactor, endpoint, config.accept_proxy_protocol, prefaces=prefaces)
        return endpoint if tls is None else wrap_server(reactor, endpoint, tls, prefaces=prefaces)

    return Listener(
        reactor,
        name,
        inherited or server_endpoint(reactor, config.address.host, config.address.port),
        pool,
        port=config.port or ONLY,
        limits=Limits(config.max_connections, config.max_per_source, config.allow),
        record=None if access_log is None else access_log.record,
        room=room,
        tally=tally,
        wrap=wrap,
    )


def _seat_place(reactor: BoottimeReactor, backend: model.SeatBackend, pool: model.SeatPool) -> Place:
    tls = _tls(backend.tls, backend.address)
    control = _check_endpoint(reactor, backend.address, tls, pool.health.timeout, version=backend.send_proxy_protocol)
    doors = _doors(reactor, {ONLY: backend.address}, {ONLY: tls}, version=backend.send_proxy_protocol)
    return Place(str(backend.address), control, doors)


def _relay_place(
    reactor: BoottimeReactor,
    name: str,
    pool: model.RelayPool,
    license_file: ThirdPartyLicense | None,
    random: Callable[[], float],
) -> RelayPlace:
    backend = pool.backends[name]
    ports = backend.doors
    tls = {port: _tls(backend.tls, address) for port, address in ports.items()}
    version, timeout = backend.send_proxy_protocol, pool.health.timeout
    asked_over = dict.fromkeys(ports) if pool.probe.tls else tls
    checked = {
        port: _check_endpoint(reactor, address, asked_over[port], timeout, version=version)
        for port, address in ports.items()
    }
    is_tls = backend.tls is not None and pool.probe.tls is None
    checks = build_checks(reactor, checked, ports, pool.probe, pool.health, random, is_tls=is_tls)
    host = next(iter(ports.values())).host
    called = [host, *([] if pool.server_name is None else [pool.server_name])]
    proof = pool.probe.tls or backend.tls

    bind = None
    if license_file is not None:
        proven = frozenset[str]() if proof is None else frozenset({proof.name or host})
        bind = _Bind(reactor, license_file, host, called, backend.hostids, kind(pool.kind).is_case_kept, proven)
    return RelayPlace(ports, _doors(reactor, ports, tls, version=version), checks, bind)


class _Bind(msgspec.Struct, frozen=True):
    """
    Looks how `license_file` binds to the backend at `host`, as `RelayPlace.bind`. `proven` are the names that its TLS
    certificate proves while checks pass; the others are as in `outside.bind`.
    """

    reactor: BoottimeReactor
    license_file: ThirdPartyLicense
    host: str
    called: list[str]
    declared: tuple[Hostid, ...]
    is_case_kept: bool
    proven: frozenset[str]

    def __call__(self, *, is_proven: bool) -> Deferred[Binding]:
        looking = look(self.reactor, self.host, self.proven if is_proven and self.proven else None)
        return looking.addCallback(
            lambda seen: outside.bind(
                self.license_file, seen, self.declared, self.called, is_case_kept=self.is_case_kept
            )
        )


def _doors(
    reactor: BoottimeReactor, ports: dict[str, Address], tls: dict[str, ClientTLS | None], *, version: str
) -> Doors:
    plain = {
        port: client_endpoint(reactor, address.host, address.port, timeout=DIAL_SECONDS)
        for port, address in ports.items()
    }

    def over_tls(port: str, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        proof = tls[port]
        return endpoint if proof is None else wrap_client(reactor, endpoint, proof)

    def announced(port: str, ends: Ends) -> IStreamClientEndpoint:
        return over_tls(port, announce(plain[port], _HEADERS[version](ends)))

    if version:
        return AnnouncingDoors(announced)
    return PlainDoors({port: over_tls(port, endpoint) for port, endpoint in plain.items()})


def _check_endpoint(
    reactor: BoottimeReactor, address: Address, tls: ClientTLS | None, timeout: float, *, version: str
) -> IStreamClientEndpoint:
    endpoint = client_endpoint(reactor, address.host, address.port, timeout=timeout)
    if version:
        endpoint = announce(endpoint, _LOCAL_HEADERS[version])
    return endpoint if tls is None else wrap_client(reactor, endpoint, tls)


def _tls(config: model.BackendTls | None, address: Address) -> ClientTLS | None:
    return None if config is None else client_tls(config.name or address.host, config.ca)


def shared_name(config: model.RelayPool, licenses: Iterable[ThirdPartyLicense]) -> str | None:
    """A configured name, or, of kind citrix, the host name that the license file binds to: two must not be up."""
    if config.server_name is not None or config.kind != "citrix":
        return config.server_name
    hostids = (hostid for one in licenses for host in one.hosts for hostid in host.hostids)
    return next((hostid.value for hostid in hostids if hostid.kind == "hostname"), None)
