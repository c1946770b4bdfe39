"""
Who runs under the names of this journal, and is this server the only one of its name?

A name that runs is refused at the start; but both may have started at once, or one could not be seen then. The list has
the one that joined last; when that is gone, the other one stands in it again.
"""

from collections.abc import Sequence

from twisted.logger import Logger

from licserver.journal.interface import Journal, JournalError, Member

log = Logger()


class Membership:
    """
    The list of members of `journal`, as it was found last; `me` is in it. `twin` says that `me` was started twice, ""
    if it was not.
    """

    def __init__(self, journal: Journal, me: Member) -> None:
        self._journal = journal
        self._me = me
        self._is_leaving = False
        self.members: Sequence[tuple[Member, bool]] = ()
        self.twin = ""

    @property
    def running(self) -> list[Member]:
        """Those of the list whose process runs, this server among them."""
        return [member for member, is_running in self.members if is_running]

    async def look(self) -> bool:
        """Read the list, and stay in it; whether it could be read."""
        try:
            self.members = await self._journal.members()
        except JournalError as problem:
            log.warn("the list of members cannot be read: {problem}", event="journal_failed", problem=problem)
            return False
        await self._stay_listed()
        return True

    def stop(self) -> None:
        """Stay in it no more."""
        self._is_leaving = True

    async def _stay_listed(self) -> None:
        me, before = self._me, self.twin
        twin = next((one for one in self.running if one.name == me.name and one.instance != me.instance), None)
        self.twin = ""
        if twin is not None:
            where = f"as process {twin.process.pid} at {twin.address}"
            self.twin = f"{me.name} was started twice, the other one runs {where}; stop one of the two"
            if not before:
                log.error("{log_sentence}", event="started_twice", log_sentence=self.twin)
        elif not self._is_leaving and me.instance not in {one.instance for one, _ in self.members}:
            try:
                await self._journal.join(me)
            except JournalError as problem:
                log.warn("the list of members cannot be written: {problem}", event="journal_failed", problem=problem)
