"""
How is a connection made private, and how does each side know who the other one is?

`server_tls` and `client_tls` read the files and say what is wrong with them; `wrap_server` and `wrap_client` put TLS
(1.2 or newer) over an endpoint. A protocol is built only when the handshake is done and the peer is who it has to be,
so a silent peer, garbage or a wrong certificate never reaches one; on the client's side they are `connect`'s failure.
A server's files are looked at while it listens: who connects after they were renewed is shown the new certificate.

A server's refusal of the client's certificate comes after a TLS 1.3 client's own handshake: that client is connected
first and loses the connection then.
"""

from pathlib import Path
from typing import Any

from OpenSSL import SSL
from service_identity import CertificateError as NamelessCertificateError
from service_identity import VerificationError
from service_identity.hazmat import DNS_ID
from service_identity.pyopenssl import verify_hostname, verify_ip_address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectingCancelledError, NoProtocol
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from lsproxy.net.address import Address
from lsproxy.net.certificates import CertificateError, identify, trust
from lsproxy.net.dialing import is_numeric
from lsproxy.net.handshake import Handshake, TLSFactory, TLSTransport
from lsproxy.net.prefaces import UNCOUNTED, EndedBy, Prefaces, TurnedAway
from lsproxy.net.reactor import BoottimeReactor
from lsproxy.net.renewal import Lookout, Renewed

HANDSHAKE_SECONDS = 5.0

_UNKNOWN_CA = "the certificate is signed by none of the trusted CAs"
_PROBLEMS = {  # X509_V_ERR_*, openssl-verification-options(1)
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    18: _UNKNOWN_CA,
    19: _UNKNOWN_CA,
    20: _UNKNOWN_CA,
    21: _UNKNOWN_CA,
    26: "the certificate is not made for this purpose",
}

log = Logger()


class HandshakeError(ConnectError):
    """A TLS handshake failed; `str()` says with whom and why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(string=sentence)  # type: ignore[no-untyped-call]
        self._sentence = sentence

    def __str__(self) -> str:
        return self._sentence


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS(Renewed[SSL.Context]):
    """What a server proves, and whom it believes: as `server_tls`."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        files = [certificate, key, *([] if client_ca is None else [client_ca])]
        super().__init__(f"the certificate {certificate}", files, lambda: _server_context(certificate, key, client_ca))

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: ARG002, N803 - Twisted's interface
        """A connection that waits for the client's first word."""
        return SSL.Connection(self.value, None)


@implementer(IOpenSSLClientConnectionCreator)
class ClientTLS:
    """
    Which name a server has to prove to this client, and what the client proves itself. Raises CertificateError for a
    name that no certificate proves.
    """

    def __init__(self, context: SSL.Context, hostname: str) -> None:
        if not is_numeric(hostname):
            try:
                DNS_ID(hostname)
            except ValueError:
                raise CertificateError(
                    f'"{hostname}" is not a name that a certificate can prove: write a DNS name'
                ) from None
        self._context = context
        self._hostname = hostname

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: ARG002, N803 - Twisted's interface
        """A connection that asks for the server by its name."""
        connection = SSL.Connection(self._context, None)
        if not is_numeric(self._hostname):
            connection.set_tlsext_host_name(self._hostname.encode("ascii"))
        return connection

    def unproved(self, connection: SSL.Connection) -> str | None:
        """Why the server's certificate does not prove the name, or None if it does."""
        verify = verify_ip_address if is_numeric(self._hostname) else verify_hostname
        try:
            verify(connection, self._hostname)
        except (VerificationError, NamelessCertificateError):
            return f'the certificate is not for "{self._hostname}"'
        return None


def server_tls(certificate: Path, key: Path, client_ca: Path | None = None) -> ServerTLS:
    """
    Prove to be `certificate`; with `client_ca`, serve only clients with a certificate signed by one in there.

    Raises CertificateError: also for a key file that others than its owner may open.
    """
    return ServerTLS(certificate, key, client_ca)


def client_tls(
    hostname: str,
    ca: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
) -> ClientTLS:
    """
    Believe a server whose certificate is for `hostname` (DNS name or IP address) and signed by one in `ca`.

    Without `ca` the system's are believed. `certificate` and `key` are shown to a server that asks. Raises
    CertificateError.
    """
    return ClientTLS(client_context(ca, certificate, key), hostname)


def client_context(ca: Path | None = None, certificate: Path | None = None, key: Path | None = None) -> SSL.Context:
    """What `client_tls` believes and shows, whoever the server has to be. Raises CertificateError."""
    context = _context()
    if ca is None:
        context.set_default_verify_paths()
    else:
        trust(context, ca)
    context.set_verify(SSL.VERIFY_PEER, _verified)
    if certificate is not None and key is not None:
        identify(context, certificate, key)
    elif certificate is not None or key is not None:
        raise CertificateError("a client certificate needs both, certificate and key")
    return context


def wrap_server(
    reactor: BoottimeReactor,
    endpoint: IStreamServerEndpoint,
    tls: ServerTLS,
    *,
    handshake_seconds: float = HANDSHAKE_SECONDS,
    prefaces: Prefaces = UNCOUNTED,
) -> IStreamServerEndpoint:
    """
    Accept TLS on what `endpoint` listens on; a handshake that is not done in time is ended. `prefaces` is told of
    handshakes.
    """
    wrapped: IStreamServerEndpoint = _TLSServerEndpoint(reactor, endpoint, tls, handshake_seconds, prefaces)
    return wrapped


def wrap_client(
    reactor: BoottimeReactor,
    endpoint: IStreamClientEndpoint,
    tls: ClientTLS,
    *,
    handshake_seconds: float = HANDSHAKE_SECONDS,
) -> IStreamClientEndpoint:
    """Connect through `endpoint`, then by TLS; `connect` fails with HandshakeError where that does not succeed."""
    wrapped: IStreamClientEndpoint = _TLSClientEndpoint(reactor, endpoint, tls, handshake_seconds)
    return wrapped


@implementer(IStreamServerEndpoint)
class _TLSServerEndpoint:
    def __init__(
        self,
        reactor: BoottimeReactor,
        endpoint: IStreamServerEndpoint,
        tls: ServerTLS,
        limit: float,
        prefaces: Prefaces,
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._tls = tls
        self._limit = limit
        self._prefaces = prefaces

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803 - Twisted's name
        def new_handshake(client: IAddress) -> Protocol:
            assert isinstance(client, IPv4Address | IPv6Address)
            over = self._prefaces.preface_begun(client, is_client=True)
            if over is None:
                return TurnedAway()

            def done(transport: TLSTransport) -> None:
                over(None)
                protocol = protocolFactory.buildProtocol(client)
                if protocol is not None:
                    transport.open(protocol)

            def failed(why: str, ended: EndedBy) -> None:
                over(ended)
                log.info(
                    "TLS handshake with the client {client} failed: {why}",
                    event="tls_refused",
                    client=_address_text(client),
                    why=why,
                )

            return Handshake(self._reactor, self._limit, done, failed)

        served = _Watched(protocolFactory, Lookout(self._reactor, self._tls.look))
        factory = TLSFactory(self._reactor, self._tls, new_handshake, served)
        listening: Deferred[IListeningPort] = self._endpoint.listen(factory)
        return listening


class _Watched:
    """Has the files of a certificate looked at while its server listens."""

    def __init__(self, served: IProtocolFactory, lookout: Lookout) -> None:
        self._served = served
        self._lookout = lookout

    def doStart(self) -> None:
        self._served.doStart()
        self._lookout.start()

    def doStop(self) -> None:
        self._lookout.stop()
        self._served.doStop()


@implementer(IStreamClientEndpoint)
class _TLSClientEndpoint:
    def __init__(self, reactor: BoottimeReactor, endpoint: IStreamClientEndpoint, tls: ClientTLS, limit: float) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._tls = tls
        self._limit = limit

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803 - Twisted's name
        attempt = _Attempt(self._reactor, self._tls, protocolFactory, self._limit)
        attempt.begin(self._endpoint)
        return attempt.connected


class _Attempt:
    """One attempt; `connected` fires once, whatever comes after that aborts."""

    def __init__(self, reactor: BoottimeReactor, tls: ClientTLS, factory: IProtocolFactory, limit: float) -> None:
        self.connected: Deferred[IProtocol] = Deferred(self._cancelled)
        self._reactor = reactor
        self._tls = tls
        self._factory = factory
        self._limit = limit
        self._dialing: Deferred[Any] = Deferred()
        self._server: Any = None
        self._transport: TLSTransport | None = None

    def begin(self, endpoint: IStreamClientEndpoint) -> None:
        self._dialing = endpoint.connect(TLSFactory(self._reactor, self._tls, self._new_handshake))
        self._dialing.addCallbacks(self._dialed, self._fail)

    def _dialed(self, transport: TLSTransport) -> None:
        self._transport = transport

    def _new_handshake(self, server: IAddress) -> Handshake:
        self._server = server
        return Handshake(self._reactor, self._limit, self._done, lambda why, _ended: self._refused(why))

    def _done(self, transport: TLSTransport) -> None:
        if self.connected.called:
            return
        why = self._tls.unproved(transport.getHandle())  # type: ignore[no-untyped-call]
        if why is not None:
            self._refused(why)
            return
        try:
            protocol = self._factory.buildProtocol(self._server)
        except Exception:  # noqa: BLE001 - it is the answer to whoever dials
            self._fail(Failure())
            return
        if protocol is None:
            self._fail(Failure(NoProtocol()))
            return
        if self.connected.called:  # cancelled in buildProtocol
            return
        transport.open(protocol)
        if self.connected.called:  # cancelled in connectionMade
            transport.abortConnection()
        else:
            self.connected.callback(protocol)

    def _refused(self, why: str) -> None:
        error = HandshakeError(f"TLS handshake with the server {_address_text(self._server)} failed: {why}")
        self._fail(Failure(error))

    def _fail(self, failure: Failure) -> None:
        if not self.connected.called:
            self.connected.errback(failure)

    def _cancelled(self, _connected: Deferred[IProtocol]) -> None:
        if self._transport is None:
            self._dialing.cancel()
        else:
            self._transport.abortConnection()
            self._fail(Failure(ConnectingCancelledError(self._server)))


def _server_context(certificate: Path, key: Path, client_ca: Path | None) -> SSL.Context:
    context = _context()
    identify(context, certificate, key)
    if client_ca is not None:
        trust(context, client_ca)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verified)
    return context


def _context() -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle connection keeps no 34 KiB of them
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"lsproxy")  # OpenSSL refuses a resumed session of a verified client without one
    return context


def _verified(connection: SSL.Connection, _certificate: object, error: int, _depth: int, accepted: int) -> bool:
    if not accepted:
        transport: TLSTransport = connection.get_app_data()
        if isinstance(transport.wrappedProtocol, Handshake):
            transport.wrappedProtocol.problem = _PROBLEMS.get(error, f"the certificate is not valid (OpenSSL: {error})")
    return bool(accepted)


def _address_text(address: Any) -> str:
    return str(Address(address.host, address.port))
