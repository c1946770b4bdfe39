"""
Is the primary there, and does it get its name back?

Only a redundant server asks: every second, at the address under which the
primary stands in the list of members. What follows from the answer is decided in `core/handback.py`.
"""

from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from licserver.core.handback import STABLE_SECONDS, Seen, is_well, may_hand_back, next_stable
from licserver.errors import LicserverError
from licserver.journal.interface import Member
from licserver.peer import Peers, Said
from licserver.tenure import Tenure

log = Logger()

ASK_SECONDS: Final = 1.0


class Partner:
    """
    See the module. `others` gives the other running members, `tenure` this server's, if it has the name; `remaining`
    how many seconds it may go on, `is_switched_from_outside` whether somebody else hands the name about.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        peers: Peers,
        journal_id: str,
        others: Callable[[], Sequence[Member]],
        tenure: Callable[[], Tenure | None],
        remaining: Callable[[], float],
        is_switched_from_outside: Callable[[], bool],
    ) -> None:
        self._reactor = reactor
        self._peers = peers
        self._journal_id = journal_id
        self._others = others
        self._tenure = tenure
        self._remaining = remaining
        self._is_switched_from_outside = is_switched_from_outside
        self._asking = LoopingCall(self._ask)
        self._asking.clock = reactor
        self._primary: Member | None = None
        self._well_since: float | None = None
        self._stable = STABLE_SECONDS
        self._handed_back_at: float | None = None
        self._is_missed = False
        self._slot = 0

    def watch(self) -> None:
        """This server is redundant: ask from now on."""
        if not self._asking.running:
            self._asking.start(ASK_SECONDS, now=False)

    def stop(self) -> None:
        """Ask no more."""
        if self._asking.running:
            self._asking.stop()

    def lost(self) -> None:
        """This server took the name, so the primary has lost it."""
        now, handed = self._reactor.seconds(), self._handed_back_at
        self._stable = next_stable(self._stable, None if handed is None else now - handed)
        self._well_since = None

    async def _ask(self) -> None:
        try:
            await self._ask_and_judge()
        except Exception:  # noqa: BLE001 - a server that asks no more would never give the name back
            log.failure("asking the primary failed")

    async def _ask_and_judge(self) -> None:
        tenure = self._tenure()
        caught_up_with, self._slot = self._slot, 0 if tenure is None else tenure.slot
        primary, seen = await self._find()
        self._note(primary)
        is_first_miss = seen is None and not self._is_missed
        self._is_missed = seen is None
        if is_first_miss:
            return  # one answer that is late says little
        if tenure is None or not tenure.is_serving or primary is None or seen is None:
            self._well_since = None
            return
        if not is_well(seen, self._journal_id, tenure.epoch, caught_up_with):
            self._well_since = None
            return
        now = self._reactor.seconds()
        self._well_since = now if self._well_since is None else self._well_since
        if may_hand_back(
            now - self._well_since,
            self._stable,
            self._remaining(),
            is_switched_from_outside=self._is_switched_from_outside(),
        ):
            await self._hand_back(tenure, primary)

    async def _find(self) -> tuple[Member | None, Seen | None]:
        for member in self._others():
            said = await self._peers.ask_status(member)
            if said is not None and said.redundancy.get("role") == "primary":
                return member, _seen(said)
        return None, None

    def _note(self, primary: Member | None) -> None:
        before, self._primary = self._primary, primary
        if before is None and primary is not None:
            log.info("the primary {name} answers", event="primary_answers", name=primary.name)
        elif before is not None and primary is None:
            log.warn("the primary {name} does not answer", event="primary_silent", name=before.name)

    async def _hand_back(self, tenure: Tenure, primary: Member) -> None:
        log.info(
            "the primary {name} is back and has caught up: it gets the name", event="handed_back", name=primary.name
        )
        self._handed_back_at = self._reactor.seconds()
        try:
            await tenure.stand_down(primary.name, primary.address)
        except LicserverError as problem:
            log.warn("the name was given back, but {problem}", event="journal_failed", problem=problem)


def _seen(said: Said) -> Seen:
    fault = said.redundancy.get("fault")
    return Seen(said.role, "primary", str(fault or ""), said.journal, said.epoch, said.revision)
