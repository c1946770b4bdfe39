"""
What operators ask of a pair: who the redundant server is, and more hours for it.

A refusal is raised as `NotDone`; whatever is answered is kept first.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from twisted.logger import Logger

from licserver.core import events as ev
from licserver.core.desk import Shut
from licserver.core.scheme import Primary, Redundant
from licserver.errors import LicserverError
from licserver.redundancy import shares_hostid
from lsproxy.errors import LsproxyError
from lsproxy.license.activation import NONCE_BYTES, KeyRefused, Request, request_key, sole_signer
from lsproxy.license.hostid import parse_hostid
from lsproxy.seat.messages import (
    Activate,
    Done,
    Register,
    RegisteredBefore,
    Registration,
    RequestKey,
    RequestKeyReply,
    Unblocked,
    Unregister,
)

if TYPE_CHECKING:
    from licserver.server import Server

log = Logger()


class NotDone(LicserverError):
    """The request is refused; the sentence says why."""


class PairOperations:
    """See the module. `digest` is that of the license text in force."""

    def __init__(self, server: "Server", digest: Callable[[], str]) -> None:
        self._server = server
        self._digest = digest

    def perform(self, request: Register | Unregister | RequestKey | Activate) -> msgspec.Struct:
        """Decide; the reply is to be said when everything decided so far is kept. Raises NotDone."""
        match request:
            case Register():
                return self._register(request)
            case Unregister():
                return self._unregister(request)
            case RequestKey(request_id):
                asked = self._asked()
                return RequestKeyReply(request_id, request_key(asked), asked.takeover, asked.extension)
            case Activate(request_id, key):
                return self._activate(request_id, key)

    def _register(self, request: Register) -> Registration:
        server, redundancy = self._server, self._server.redundancy
        me, outfit = server.identity.member, redundancy.outfit
        self._refuse_unless_primary(request.name)
        ledger = server.desk.ledger
        license_file = server.licenses.verify(ledger.license_text, ledger.license_file).license
        if len(license_file.servers) > 1:
            raise NotDone(
                f"the license of {server.identity.server_name} names its redundant server in its second SERVER line: "
                "start that one, it needs no registration"
            )
        known = ledger.registered
        if known is not None and (known.name != request.name or not _is_one_host(known.hostids, request.hostids)):
            raise NotDone(
                f"{known.name} at {known.address} is registered as redundant server of {me.name} already, and there "
                "can be one: `licserver unregister` there, or here at the primary, takes that back"
            )
        hostids = _hostids(request.hostids)
        if outfit.is_journal_here and not shares_hostid(hostids, server.licenses.hostids):
            raise NotDone(
                f"{request.name} is on another host, and {me.name} keeps its journal in a file on this one: "
                "servers on several hosts need a journal in etcd"
            )
        wanted = ev.RedundantRegistered(request.name, request.address, hostids)
        if known != wanted:
            server.desk.record(wanted)
            log.info(
                "{name} at {address} is the redundant server now",
                event="registered",
                name=request.name,
                address=request.address,
            )
        return Registration(
            id=request.id,
            server=server.identity.server_name,
            backend=me.name,
            address=me.address,
            hostids=[str(hostid) for hostid in server.licenses.hostids],
            license=ledger.license_text,
            vendor_keys=dict(outfit.vendor_keys),
            journal=outfit.journal,
            ttl=me.ttl,
            heartbeat=server.desk.terms.heartbeat,
            resume=server.desk.terms.resume,
            before=None if known is None else RegisteredBefore(known.address, list(known.hostids)),
        )

    def _unregister(self, request: Unregister) -> Done:
        self._refuse_unless_primary(request.name or "")
        known = self._server.desk.ledger.registered
        if known is None and request.name is None:
            raise NotDone(f"no server is registered as redundant server of {self._server.identity.member.name}")
        if known is not None and request.name in {None, known.name}:
            self._server.desk.record(ev.RedundantUnregistered())
            log.info("{name} is not the redundant server any more", event="unregistered", name=known.name)
        return Done(request.id)

    def _activate(self, request_id: int, key: str) -> Unblocked:
        server, limit = self._server, self._server.redundancy.limit
        asked, moment, ledger = self._asked(), server.moment(), server.desk.ledger
        signer = sole_signer(
            server.licenses.verify(ledger.license_text, ledger.license_file), server.licenses.vendor_keys
        )
        nonce = server.redundancy.outfit.random(NONCE_BYTES)
        hours = signer if isinstance(signer, KeyRefused) else limit.activate(key, asked, signer, moment, nonce)
        if isinstance(hours, KeyRefused):
            raise NotDone(hours.reason)
        server.redundancy.tell()
        return Unblocked(request_id, hours, limit.remaining_seconds(moment) or 0.0)

    def _asked(self) -> Request:
        self._refuse_unless_open()
        redundancy, me = self._server.redundancy, self._server.identity.member
        if not isinstance(redundancy.limit.role, Redundant):
            raise NotDone(f"{me.name} is under no takeover limit, so there is nothing to unblock")
        asked = redundancy.limit.request(redundancy.licensed_hostids(), self._digest())
        if isinstance(asked, KeyRefused):
            raise NotDone(asked.reason)
        return asked

    def _refuse_unless_primary(self, name: str) -> None:
        me, role = self._server.identity.member, self._server.redundancy.role
        match role:
            case Redundant(primary=primary, address=address):
                where = f" at {address}" if address else ""
                raise NotDone(f"{me.name} is itself redundant, its primary is {primary}{where}: ask that one")
            case Primary():
                pass
            case _:
                raise NotDone(
                    f"{me.name} is no primary: set `redundancy: pair` in its configuration and start it again"
                )
        if name == me.name:
            raise NotDone(f"{name} is the primary itself; the redundant server needs a name of its own")
        self._refuse_unless_open()

    def _refuse_unless_open(self) -> None:
        door = self._server.desk.door
        if isinstance(door, Shut):
            raise NotDone(door.message)


def _is_one_host(known: tuple[str, ...], asking: list[str]) -> bool:
    return not set(known).isdisjoint(asking)


def _hostids(texts: list[str]) -> tuple[str, ...]:
    try:
        return tuple(str(parse_hostid(text)) for text in texts)
    except LsproxyError as problem:
        raise NotDone(str(problem)) from problem
