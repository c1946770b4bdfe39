"""
What is this server in its redundancy scheme, and what follows from that while it has the name?

The license text in force decides, before there is one the own file. A server
that is registered is redundant only as long as the journal says so: the primary has kept it there.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec
from msgspec import UNSET
from twisted.logger import Logger

from licserver.core import events as ev
from licserver.core.desk import Desk, Moment
from licserver.core.limit import TakeoverLimit
from licserver.core.scheme import Misfit, Primary, Redundant, Role, TriadMember
from licserver.core.takeover_news import Block, Warn, event_name, sentence
from licserver.journal.interface import Member
from licserver.licenses import LicenseRefused, Licenses
from lsproxy.license.activation import NONCE_BYTES
from lsproxy.license.hostid import Hostid, parse_hostid
from lsproxy.seat.messages import PartnerStatus, RedundancyStatus

log = Logger()


class Outfit(msgspec.Struct, frozen=True):
    """
    What a server of a pair is given. `boot_id` is the kernel's, `random` makes so many random bytes; after
    `restore_seconds` in control the primary restores the limit. `journal` and `vendor_keys` (PEM) are what a
    server that registers here puts into its configuration; `is_journal_here`: it is a file on this host.
    """

    boot_id: str
    random: Callable[[int], bytes]
    restore_seconds: float
    journal: str
    is_journal_here: bool
    vendor_keys: Mapping[str, str]


class Redundancy:
    """See the module. `member` is this server."""

    def __init__(self, desk: Desk, licenses: Licenses, member: Member, outfit: Outfit) -> None:
        self._desk = desk
        self._licenses = licenses
        self._name = member.name
        self._identity = member.identity
        self.outfit = outfit
        self.limit = desk.limit = TakeoverLimit(desk, outfit.boot_id, outfit.restore_seconds)

    @property
    def role(self) -> Role | Misfit:
        """What this server is now."""
        text, file = self._desk.ledger.license_text, self._desk.ledger.license_file
        if not text:
            try:
                text, file = self._licenses.read(), str(self._licenses.path)
            except LicenseRefused as refused:
                return Misfit(str(refused))
        return self._licenses.role(text, file)

    def begin(self, moment: Moment) -> None:
        """This server has the name now, or another license came into force: record what follows."""
        role = self.role
        assert not isinstance(role, Misfit), role.reason
        is_seen = not self.why_not_seen()
        self.limit.serve_as(role, moment, self.outfit.random(NONCE_BYTES), is_seen=is_seen)
        if isinstance(role, Redundant) and not is_seen:
            self._desk.record(ev.RedundantSeen(role.pair, self._name, self._identity))
        if isinstance(role, Primary) and self._seen(role.pair).get(self._name) != self._identity:
            self._desk.record(ev.PrimarySeen(role.pair, self._name, self._identity))

    def see(self, members: Iterable[Member]) -> None:
        """This server has the name, and these are the running members: a primary keeps who could take over from it."""
        role = self.limit.role
        if not isinstance(role, Primary):
            return
        for member in members:
            if member.name != self._name and self._seen(role.pair).get(member.name) != member.identity:
                self._desk.record(ev.RedundantSeen(role.pair, member.name, member.identity))

    def tell(self) -> None:
        """Log what people are to know of the limit."""
        told, self.limit.news = self.limit.news, []
        for each in told:
            say = log.warn if isinstance(each, Warn | Block) else log.info
            say("{log_sentence}", event=event_name(each), log_sentence=sentence(each))

    def why_not_registered(self) -> str:
        """Why the registration in this server's configuration does not count; "" if it does, or there is none."""
        wanted, known = self._licenses.wanted.registered, self._desk.ledger.registered
        if wanted is None:
            return ""
        primary = f"redundant server of {wanted.name} at {wanted.address}"
        if known is None:
            return f"{self._name} is not registered as {primary} any more; `licserver register` does it again"
        if known.name != self._name:
            return (
                f"{known.name} is registered as {primary}, and a primary has one: take this registration back with "
                f"`licserver unregister`"
            )
        if not shares_hostid(known.hostids, self._licenses.hostids):
            return (
                f"the {known.name} that is registered as {primary} stands on another host; `licserver unregister` "
                "there, then `licserver register` here"
            )
        return ""

    def why_not_seen(self) -> str:
        """Why a redundant server would have no time if it took over from this journal; "" if it would have some."""
        role = self.role
        if not isinstance(role, Redundant) or self._seen(role.pair).get(self._name) == self._identity:
            return ""
        return (
            f"{self._name} would be blocked in the place of {role.primary}, which has not served beside it in this "
            f"journal: start {role.primary}, a few seconds will do"
        )

    def _seen(self, pair: bytes) -> Mapping[str, str]:
        return self._desk.ledger.seen_of_pair.get(pair, {})

    def licensed_hostids(self) -> tuple[Hostid, ...]:
        """By which hostids the license or the registration knows a redundant server's host."""
        ledger = self._desk.ledger
        if self._licenses.wanted.registered is not None and ledger.registered is not None:
            return tuple(map(parse_hostid, ledger.registered.hostids))
        return self._licenses.verify(ledger.license_text, ledger.license_file).license.servers[1].hostids

    @property
    def fault(self) -> str:
        """Why this server could not serve what is in force; "" if it could."""
        ledger = self._desk.ledger
        against = self._licenses.why_not(ledger.license_text, ledger.license_file) if ledger.license_text else ""
        return self.why_not_registered() or self.why_not_seen() or against

    def shown(self) -> RedundancyStatus:
        """`redundancy` in the reply to `status`."""
        role, scheme = self.role, self._licenses.wanted.scheme
        match role:
            case Primary():
                return RedundancyStatus(scheme, "primary", redundant=self._redundant(), fault=self.fault)
            case Redundant(primary=name, address=address):
                registered = self._licenses.wanted.registered
                hostids = UNSET if registered is None else [str(hostid) for hostid in registered.hostids]
                primary = PartnerStatus(name, address, hostids)
                return RedundancyStatus(scheme, "redundant", primary, fault=self.fault)
            case Misfit():
                return RedundancyStatus(scheme, "none", fault=self.fault)
            case TriadMember(priority):
                return RedundancyStatus(scheme, "triad", priority=priority, fault=self.fault)
            case _:
                return RedundancyStatus(scheme, scheme)

    def _redundant(self) -> PartnerStatus | None:
        ledger = self._desk.ledger
        if ledger.registered is not None:
            return PartnerStatus(ledger.registered.name, ledger.registered.address)
        servers = self._licenses.verify(ledger.license_text, ledger.license_file).license.servers
        if len(servers) != _PAIR:
            return None
        port = servers[1].port
        return PartnerStatus(servers[1].host, None if port is None else f"{servers[1].host}:{port}")


_PAIR: Final = 2


def shares_hostid(texts: tuple[str, ...] | list[str], own: tuple[Hostid, ...]) -> bool:
    """Whether a host known by the hostids `texts` may be the one that has `own`."""
    return not set(texts).isdisjoint(map(str, own))
