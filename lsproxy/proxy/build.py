"""How does configuration become pools and listeners: which files are read, which endpoints are opened?"""

from lsproxy.config import model
from lsproxy.net.endpoints import client_endpoint, server_endpoint
from lsproxy.net.reactor import BoottimeReactor
from lsproxy.net.tls import client_tls, server_tls, wrap_client, wrap_server
from lsproxy.proxy.backend import Place
from lsproxy.proxy.licenses import Licenses
from lsproxy.proxy.listener import Listener
from lsproxy.proxy.pool import Plan, Pool
from lsproxy.secretfile import read_secret

DIAL_SECONDS = 2.0
"""For a session's connection: a lost SYN is repeated after 1 s, one that is lost twice is not worth waiting for."""


def plan_pool(reactor: BoottimeReactor, name: str, config: model.Pool) -> Plan:
    """
    Read the files that `config` names, and have endpoints for its backends. Raises LsproxyError, one sentence, for a
    file that cannot be used.
    """
    places = {backend: _place(reactor, settings, config) for backend, settings in config.backends.items()}
    return Plan(name, config, Licenses(config), read_secret(config.token_file), places)


def build_listener(reactor: BoottimeReactor, name: str, config: model.Listener, pool: Pool) -> Listener:
    """The listener `name` for `pool`, not yet started. Raises LsproxyError for TLS files that cannot be used."""
    endpoint = server_endpoint(reactor, config.address.host, config.address.port)
    if config.tls is not None:
        tls = server_tls(config.tls.certificate, config.tls.key, config.tls.client_ca)
        endpoint = wrap_server(reactor, endpoint, tls)
    return Listener(reactor, name, endpoint, pool)


def _place(reactor: BoottimeReactor, backend: model.Backend, pool: model.Pool) -> Place:
    host, port = backend.address.host, backend.address.port
    control = client_endpoint(reactor, host, port, timeout=pool.health.timeout)
    sessions = client_endpoint(reactor, host, port, timeout=DIAL_SECONDS)
    if backend.tls is not None:
        tls = client_tls(backend.tls.name or host, backend.tls.ca)
        control, sessions = wrap_client(reactor, control, tls), wrap_client(reactor, sessions, tls)
    return Place(str(backend.address), control, sessions)
