"""
Which license servers of this name run, as far as etcd can tell?

A member's entry stays until it leaves; its sign of life hangs on a lease, which
its server keeps alive, and is gone `ALIVE_SECONDS` after the server is. Where
the member counts processes as this server does, its process is looked at instead.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from licserver.journal.etcd_gateway import Gateway, Refused
from licserver.journal.etcd_keys import Keys, Listed, end_of, read, write
from licserver.journal.etcd_messages import (
    Answer,
    KeepAliveReply,
    Lease,
    LeaseGrant,
    LeaseReply,
    Txn,
    TxnReply,
    delete,
    get,
    put,
    value_is,
)
from licserver.journal.interface import JournalError, Member
from licserver.journal.process import boot_id, is_alive

ALIVE_SECONDS: Final = 5
KEEP_SECONDS: Final = 1.5

_NO_SUCH_LEASE: Final = 5  # gRPC: not found

log = Logger()


def own_pid_namespace() -> int:
    """The number of the namespace in which this process has its number."""
    return Path("/proc/self/ns/pid").stat().st_ino


def is_known_dead(member: Member, pid_namespace: int) -> bool:
    """Whether the process of `member`, which has its number in that namespace, is known to have ended."""
    process = member.process
    return process.boot_id == boot_id() and pid_namespace == own_pid_namespace() and not is_alive(process)


class Membership:
    """The list of members, and the signs of life of those that joined from here."""

    def __init__(self, reactor: IReactorTime, gateway: Gateway, keys: Keys) -> None:
        self._gateway = gateway
        self._keys = keys
        self._joined: dict[str, Listed] = {}
        self._lease = 0
        self._keeping = LoopingCall(self._keep_alive)
        self._keeping.clock = reactor

    async def join(self, member: Member) -> None:
        """See `interface.Journal.join`."""
        listed = Listed(member, own_pid_namespace())
        try:
            await self._show(listed, is_new=True)
        except Refused as problem:
            if problem.code != _NO_SUCH_LEASE:
                raise
            self._lease = 0
            await self._show(listed, is_new=True)
        self._joined[member.name] = listed
        if not self._keeping.running:
            self._keeping.start(KEEP_SECONDS, now=False)

    async def leave(self, member: Member) -> None:
        """See `interface.Journal.leave`."""
        key, alive = self._keys.member(member.name), self._keys.alive(member.name)
        listed = self._joined.get(member.name)
        if listed is not None and listed.member.instance == member.instance:
            del self._joined[member.name]
        found = (await self._txn(Txn([], [get(key)]))).read(0)
        if found and read(found[0].value, Listed).member.instance == member.instance:
            await self._txn(Txn([value_is(key, found[0].value)], [delete(key), delete(alive)]))

    async def members(self) -> Sequence[tuple[Member, bool]]:
        """See `interface.Journal.members`."""
        keys = self._keys
        ranges = [get(keys.members, end_of(keys.members)), get(keys.lives, end_of(keys.lives))]
        reply = await self._txn(Txn([], ranges))
        alive = {kv.key: kv.value.decode() for kv in reply.read(1)}
        members = []
        for kv in reply.read(0):
            listed = read(kv.value, Listed)
            member = listed.member
            is_running = alive.get(keys.alive(member.name)) == member.instance
            members.append((member, is_running and not is_known_dead(member, listed.pid_namespace)))
        return members

    async def close(self) -> None:
        """Let the signs of life go."""
        if self._keeping.running:
            self._keeping.stop()
        if self._lease:
            try:
                await self._gateway.ask("/v3/lease/revoke", Lease(self._lease), Answer)
            except JournalError as problem:
                log.debug("the lease ends by itself: {problem}", problem=problem)

    async def _keep_alive(self) -> None:
        try:
            if self._lease:
                reply = await self._gateway.ask("/v3/lease/keepalive", Lease(self._lease), KeepAliveReply)
                if reply.result.TTL > 0:
                    return
                self._lease = 0
            for listed in list(self._joined.values()):
                await self._show(listed, is_new=False)
        except JournalError as problem:
            log.debug("the sign of life of this server is late: {problem}", problem=problem)

    async def _show(self, listed: Listed, *, is_new: bool) -> None:
        """Write the sign of life, and the entry of a new member; of one that is not, only while it is the same."""
        if not self._lease:
            self._lease = (await self._gateway.ask("/v3/lease/grant", LeaseGrant(ALIVE_SECONDS), LeaseReply)).ID
        member, entry = listed.member, write(listed)
        key = self._keys.member(member.name)
        sign = put(self._keys.alive(member.name), member.instance.encode(), self._lease)
        await self._txn(Txn([], [put(key, entry), sign]) if is_new else Txn([value_is(key, entry)], [sign]))

    async def _txn(self, txn: Txn) -> TxnReply:
        return await self._gateway.ask("/v3/kv/txn", txn, TxnReply)
