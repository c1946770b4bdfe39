"""How a command asks a running license server: one connection, one request, one reply, without a reactor."""

import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from licserver.config import ListenTls
from licserver.errors import LicserverError
from lsproxy.config.relations import is_loopback
from lsproxy.net.address import Address
from lsproxy.net.network import Network
from lsproxy.net.proxyprotocol import LOCAL_HEADER
from lsproxy.seat.lines import REPLY_LIMIT, LineSplitter

SECONDS: Final = 10.0


class Unreachable(LicserverError):
    """Nobody answered at the address; the sentence says what was tried."""


class TokenExposed(LicserverError):
    """The operator token would go over the network in clear."""


class Declined(LicserverError):
    """The server answered with a refusal; its sentence."""


def ask(
    address: Address,
    request: dict[str, Any],
    token: str | None,
    tls: ListenTls | None,
    announced_from: Sequence[Network] = (),
) -> dict[str, Any]:
    """
    The reply to `request`, a dict as in docs/protocol.md without its id, on an
    operator's connection where there is a `token`, over TLS where the servers of the name have `tls`. From the
    networks `announced_from` the server wants a PROXY protocol header first.

    Raises TokenExposed, Unreachable, or Declined with the server's own sentence.
    """
    if token is not None and tls is None and not is_loopback(address):
        raise TokenExposed(
            f"{address} is on another host, where the operator token needs TLS: give -c FILE, a configuration with "
            "`listen: {address: …, tls: {certificate: FILE, key: FILE}}`"
        )
    requests = [{**request, "id": 2}]
    if token is not None:
        requests.insert(0, {"op": "hello", "token": token, "id": 1})
    try:
        with _connect(address, tls, announced_from) as connection:
            connection.sendall(b"".join(msgspec.json.encode(one) + b"\n" for one in requests))
            return _reply(connection, address)
    except OSError as problem:
        raise Unreachable(f"no license server answers at {address}: {problem}") from problem


def _connect(address: Address, tls: ListenTls | None, announced_from: Sequence[Network]) -> socket.socket:
    connection = socket.create_connection((address.host, address.port), timeout=SECONDS)
    own = connection.getsockname()[0]
    if any(network.covers(own) for network in announced_from):
        connection.sendall(LOCAL_HEADER)
    if tls is None:
        return connection
    context = ssl.create_default_context(cafile=str(tls.trusted))
    if tls.client_ca is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    return context.wrap_socket(connection, server_hostname=address.host)


def _reply(connection: socket.socket, address: Address) -> dict[str, Any]:
    lines = LineSplitter(REPLY_LIMIT)
    while arrived := connection.recv(65_536):
        for line in lines.feed(arrived):
            try:
                reply = msgspec.json.decode(line, type=dict[str, Any])
            except (msgspec.DecodeError, RecursionError) as problem:
                raise Unreachable(f"what answers at {address} is no license server of the seat protocol") from problem
            if reply.get("ok") is False:
                raise Declined(str(reply.get("message", reply.get("error"))))
            if reply.get("id") == 2:  # noqa: PLR2004 the id given to the request above
                return reply
    raise Unreachable(f"{address} closed the connection without an answer")
