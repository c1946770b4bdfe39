"""
What is wrong with the etcd cluster under a journal, as a person is to be told?

Every member that the configuration names is asked on its own: a cluster goes on
without one of three, and nobody notices that the next loss stops it.
"""

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec
from twisted.internet.defer import Deferred, gatherResults

from licserver.journal.etcd_gateway import Gateway
from licserver.journal.etcd_messages import Alarm, AlarmReply, MemberListReply, Nothing, StatusReply
from licserver.journal.etcd_place import Access, EtcdPlace
from licserver.journal.interface import JournalError, JournalUnusable
from lsproxy.net.address import Address
from lsproxy.net.reactor import BoottimeReactor

ANSWER_SECONDS: Final = 2.0
CLOCK_SECONDS: Final = 10.0
FULL: Final = 0.8

_BAD_RELEASES: Final = {"3.5.0", "3.5.1", "3.5.2"}  # https://etcd.io/blog/2022/data_inconsistency/
_QUOTA: Final = b"etcd_server_quota_backend_bytes "
_NO_LEADER: Final = {"", "0"}
_PAIR: Final = 2
_MEBIBYTE: Final = 1024 * 1024


class _Health(msgspec.Struct):
    health: str = ""


async def problems(reactor: BoottimeReactor, place: EtcdPlace, access: Access, wall: Callable[[], float]) -> list[str]:
    """What is wrong, a sentence each, empty if nothing. Raises JournalUnusable for files that cannot be used."""
    gateway = Gateway(reactor, place, access)
    try:
        asked = [Deferred.fromCoroutine(_of_member(gateway, member, wall)) for member in place.members]
        answers = await gatherResults(asked)
        found = [sentence for _, sentences in answers for sentence in sentences]
        clusters = {cluster for cluster, _ in answers if cluster}
        if len(clusters) > 1:
            found.append(f"{place} names members of {len(clusters)} different clusters; name those of one")
        elif clusters:
            found += await _of_cluster(gateway)
        return found
    finally:
        await gateway.close()


def of_release(member: Address, version: str) -> list[str]:
    """What is to be said of a member's release."""
    if version in _BAD_RELEASES:
        return [f"etcd at {member} is release {version}, which can corrupt its data (3.5.0 to 3.5.2); use a newer one"]
    return []


def of_space(member: Address, used_bytes: int, quota_bytes: float) -> list[str]:
    """What is to be said of a member's database; a quota of 0 is not known."""
    if quota_bytes and used_bytes > FULL * quota_bytes:
        used = f"{used_bytes / _MEBIBYTE:.0f} of the {quota_bytes / _MEBIBYTE:.0f} MiB of its quota"
        way_out = "defragment it (`etcdctl defrag`), or raise --quota-backend-bytes"
        return [f"etcd at {member} has used {used} and refuses writes when it is full; {way_out}"]
    return []


def of_clock(member: Address, member_wall: float, own_wall: float) -> list[str]:
    """What is to be said of a member's clock."""
    ahead = member_wall - own_wall
    if abs(ahead) > CLOCK_SECONDS:
        way = "ahead of" if ahead > 0 else "behind"
        return [f"the clock of etcd at {member} is {abs(ahead):.0f} s {way} this host's; let both be set by NTP"]
    return []


async def _of_member(gateway: Gateway, member: Address, wall: Callable[[], float]) -> tuple[str, list[str]]:
    """The id of its cluster, "" if it does not answer, and what is wrong with it."""
    try:
        status = await gateway.ask_member(member, "/v3/maintenance/status", Nothing(), StatusReply, ANSWER_SECONDS)
        _, dated, health = await gateway.fetch(member, "/health", ANSWER_SECONDS)
        _, _, metrics = await gateway.fetch(member, "/metrics", ANSWER_SECONDS)
    except JournalError as problem:
        return "", [str(problem)]
    found = of_release(member, status.version)
    if status.leader in _NO_LEADER:
        found.append(f"etcd at {member} has no leader: half of the cluster's members or more are lost")
    elif not _is_healthy(health):
        found.append(f"etcd at {member} says that it is not healthy; look into its log")
    found += of_space(member, status.dbSize, _quota(metrics))
    if dated:
        found += of_clock(member, parsedate_to_datetime(dated).timestamp(), wall())
    return status.header.cluster_id, found


async def _of_cluster(gateway: Gateway) -> list[str]:
    try:
        raised = (await gateway.ask("/v3/maintenance/alarm", Alarm(), AlarmReply)).alarms
        members = (await gateway.ask("/v3/cluster/member/list", Nothing(), MemberListReply)).members
    except JournalUnusable:
        raise
    except JournalError as problem:
        return [str(problem)]
    found = [_alarm(each.alarm, each.memberID) for each in raised]
    if len(members) == _PAIR:
        found.append(f"{gateway.place} is a cluster of two, which stands still when either is lost; add a third member")
    return found


def _alarm(alarm: str, member_id: str) -> str:
    if alarm == "NOSPACE":
        return (
            f"member {member_id} of etcd has used up its quota (NOSPACE) and the cluster refuses writes; "
            "defragment it, or raise --quota-backend-bytes, then `etcdctl alarm disarm`"
        )
    return f"member {member_id} of etcd has raised the alarm {alarm}; its data may be damaged: replace that member"


def _is_healthy(answer: bytes) -> bool:
    try:
        return msgspec.json.decode(answer, type=_Health).health == "true"
    except msgspec.DecodeError:
        return False


def _quota(metrics: bytes) -> float:
    """The quota in bytes, 0 where the member shows its metrics elsewhere."""
    for line in metrics.splitlines():
        if line.startswith(_QUOTA):
            return float(line.removeprefix(_QUOTA))
    return 0.0
