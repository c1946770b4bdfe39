"""What does a license server say of itself: the reply to `status`."""

from typing import TYPE_CHECKING

from licserver.core.usage import rfc3339
from licserver.journal.interface import Member
from lsproxy.seat.messages import MemberStatus, Notice, StatusReply

if TYPE_CHECKING:
    from licserver.server import Server


def status(server: "Server", request_id: int, license_digest: str, notices: list[Notice]) -> StatusReply:
    """The reply of `server`, which serves the license of that digest."""
    identity, ledger, desk, tenure = server.identity, server.desk.ledger, server.desk, server.tenure
    me, moment, limit = identity.member, server.moment(), server.redundancy.limit
    limited = limit.notice(moment)
    return StatusReply(
        id=request_id,
        server=identity.server_name,
        backend=me.name,
        role=server.role(),
        epoch=server.epoch,
        journal=server.journal.journal_id,
        instance=me.instance,
        revision=server.slot,
        license=license_digest,
        hostids=[str(hostid) for hostid in identity.hostids],
        redundancy=server.redundancy.shown(),
        members=[
            _member(member, is_running, server.holder_instance) for member, is_running in server.membership.members
        ],
        takeover=None if tenure is None else limit.shown(moment),
        sessions=len(ledger.sessions),
        seats=sum(sum(demand.values()) for demand in ledger.demand.values()),
        now=rfc3339(moment.wall),
        uptime=moment.boot - server.started_at,
        release=identity.release,
        notices=notices if limited is None else [limited, *notices],
        heartbeat=desk.terms.heartbeat,
        trust=desk.terms.trust,
    )


def _member(member: Member, is_running: bool, holder: str | None) -> MemberStatus:
    shown = "down" if not is_running else "active" if member.instance == holder else "standby"
    return MemberStatus(member.name, member.address, shown)
