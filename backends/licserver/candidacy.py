"""Is the name free for this server, and could this server serve under it?"""

from twisted.internet.interfaces import IReactorTime

from licserver.core import role
from licserver.core.ledger import Ledger
from licserver.core.scheme import head_start
from licserver.journal.interface import Claim, Journal, JournalError, Member
from licserver.licenses import LicenseRefused, Licenses
from licserver.membership import Membership
from licserver.redundancy import Redundancy
from licserver.standby import Standby


class Candidacy:
    """See the module. `standby` knows the claim, the others what stands against taking it."""

    def __init__(
        self,
        reactor: IReactorTime,
        journal: Journal,
        me: Member,
        ttl: float,
        standby: Standby,
        redundancy: Redundancy,
        licenses: Licenses,
        membership: Membership,
    ) -> None:
        self._reactor = reactor
        self._journal = journal
        self._me = me
        self._ttl = ttl
        self._standby = standby
        self._redundancy = redundancy
        self._licenses = licenses
        self._membership = membership

    def is_free(self, claim: Claim) -> bool:
        """Whether nobody confirms the claim, and it is this server's turn."""
        unchanged = self._reactor.seconds() - self._standby.changed_at
        try:
            is_dead = self._journal.holder_is_dead(claim)
        except JournalError:  # out of descriptors, it cannot be looked at
            is_dead = False
        waits = head_start(self._redundancy.role, self._ttl, is_new=self._standby.is_unconfirmed(claim))
        return role.is_free(claim, self._me.name, self._me.instance, unchanged, is_dead, self._ttl, waits)

    def seen(self, claim: Claim, answers: tuple[role.Answer, ...], ended: bool) -> role.Seen:
        """What the next step towards the name is decided by. Raises JournalError."""
        now, standby = self._reactor.seconds(), self._standby
        return role.Seen(
            age=now - standby.holder_since,
            epoch_age=now - standby.epoch_since,
            is_dead=self._journal.holder_is_dead(claim),
            answers=answers,
            ended=ended,
            is_lapsed=not self._redundancy.outfit.is_journal_here and now - standby.changed_at >= self._ttl,
        )

    def license_to_bring(self, judged: Claim, ledger: Ledger) -> str | None:
        """The text that comes into force when the judged claim is followed by this server's. Raises LicenseRefused."""
        if reason := self._redundancy.why_not_registered():
            raise LicenseRefused(reason)
        is_unconfirmed = self._standby.is_unconfirmed(judged)
        return self._licenses.text_to_bring(ledger.license_text, ledger.license_file, is_unconfirmed)

    def why_not(self, claim: Claim, ledger: Ledger) -> str:
        """Why this server may not take the name after `claim`, be it free or not; "" if it may."""
        before_all = self._redundancy.why_not_seen() if claim.epoch == 0 else ""
        return self._membership.twin or before_all or self.why_not_bring(claim, ledger)

    def why_not_bring(self, claim: Claim, ledger: Ledger) -> str:
        """Why it has no license to serve then; "" if it has."""
        try:
            self.license_to_bring(claim, ledger)
        except LicenseRefused as refused:
            return str(refused)
        return ""
