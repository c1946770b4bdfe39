"""How is another server of the name dialled: as one that wants of those who connect what this server wants."""

from contextlib import suppress

from OpenSSL import SSL
from twisted.internet.interfaces import IStreamClientEndpoint

from licserver.config import Listen
from licserver.journal.interface import Member
from licserver.peer import LIFE_SECONDS
from lsproxy.config.relations import is_loopback
from lsproxy.net import tls
from lsproxy.net.address import parse_address
from lsproxy.net.announcing import announce_where_asked
from lsproxy.net.certificates import CertificateError
from lsproxy.net.endpoints import client_endpoint
from lsproxy.net.reactor import BoottimeReactor


class Dialing:
    """
    Call it with a member for its endpoint. `listen` is this server's; who does not understand another one would take
    it for dead. Certificates are those of the files when it dials, or the last that could be used. Raises LsproxyError
    for TLS files that cannot be used now.
    """

    def __init__(self, reactor: BoottimeReactor, listen: Listen) -> None:
        self._reactor = reactor
        self._listen = listen
        self._proof = _proof(listen)

    def become(self, other: "Dialing") -> None:
        """Dial as `other` does."""
        self._listen, self._proof = other._listen, other._proof  # noqa: SLF001 another one of these

    def __call__(self, member: Member) -> IStreamClientEndpoint:
        """Where `member` is reached."""
        where = parse_address(member.listen)
        endpoint = client_endpoint(self._reactor, where.host, where.port, timeout=LIFE_SECONDS)
        if self._listen.accept_proxy_protocol:
            endpoint = announce_where_asked(endpoint, self._listen.accept_proxy_protocol)
        with suppress(CertificateError):  # half renewed: whoever listens with the same files says so
            self._proof = _proof(self._listen)
        if self._proof is None:
            return endpoint
        proof = tls.ClientTLS(self._proof, parse_address(member.address).host)
        return tls.wrap_client(self._reactor, endpoint, proof)

    def may_be_told(self, member: Member) -> bool:
        """Whether `member` may be sent the operator token: on this host, or over TLS."""
        return self._listen.tls is not None or is_loopback(parse_address(member.listen))


def _proof(listen: Listen) -> SSL.Context | None:
    own = listen.tls
    return None if own is None else tls.client_context(own.trusted, own.certificate, own.key)
