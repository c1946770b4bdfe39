"""
Does the license file bind to a backend, by what can be seen of it now, and may it be used meanwhile?

It is looked at from the start on, when it comes up and every LOOK_SECONDS. Where unbound ones are kept out:

    not yet looked at                         not to be activated, nor to be used
    answers, not yet looked at since          not to be used, unless it is bound already: only now all can be seen of it
    else                                      by what was seen last
"""

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lsproxy.core.binding import Binding, Bound, Unbound, Unknown

Bind = Callable[..., Deferred[Binding]]

LOOK_SECONDS: Final = 60.0  # names and network cards move seldom

log = Logger()


class Lookout:
    """
    Looks at one backend by `bind`, None where there is no license file; `policy` is off, warn or enforce. `changed` is
    told the binding before, when a look has ended.
    """

    def __init__(
        self, reactor: IReactorTime, bind: Bind | None, policy: str, changed: Callable[[Binding], None]
    ) -> None:
        self._reactor = reactor
        self._changed = changed
        self._look: Deferred[Binding] | None = None
        self.bind = bind
        self.policy = "off" if bind is None else policy
        self.binding: Binding = Unknown("it has not been looked at yet")
        self.looked_at: float | None = None
        self.was_seen = self.was_seen_up = self.policy != "enforce"

    @property
    def is_looking(self) -> bool:
        """Whether a look has not ended."""
        return self._look is not None

    def inherit(self, former: "Lookout") -> None:
        """Go on with what `former` saw of the same backend; by another license it is looked at as soon as may be."""
        self.was_seen |= former.was_seen
        self.was_seen_up |= former.was_seen_up
        if self.bind is not None and former.bind is not None:
            self.binding = former.binding
            self.looked_at = former.looked_at if self.bind == former.bind and not former.is_looking else None

    def is_known(self, *, is_up: bool) -> bool:
        """Whether enough was seen to use it, or to activate it."""
        return self.was_seen_up if is_up else self.was_seen

    def bar(self, *, is_up: bool) -> str | None:
        """Why it may get no clients, the end of a sentence; None if it may, as far as is known."""
        if self.policy == "enforce" and isinstance(self.binding, Unbound) and self.is_known(is_up=is_up):
            return "the license file is not bound to it"
        return None

    def look(self, *, is_up: bool) -> None:
        """Look, where that was not done within LOOK_SECONDS; a backend that is up has proven its certificate."""
        now = self._reactor.seconds()
        is_due = self.looked_at is None or now - self.looked_at >= LOOK_SECONDS
        if self.policy == "off" or self.bind is None or not is_due:
            return
        self.look_away()
        self.looked_at = now
        self._look = look = maybeDeferred(self.bind, is_proven=is_up)
        look.addErrback(_not_seen)
        look.addCallback(self._seen, is_up)
        look.addErrback(_unless_cancelled)

    def look_anew(self, *, is_up: bool) -> None:
        """Look now, whatever was seen."""
        self.looked_at = None
        self.look(is_up=is_up)

    def look_away(self) -> None:
        """Give up a look that has not ended."""
        look, self._look = self._look, None
        if look is not None:
            self.looked_at = None
            look.cancel()

    def _seen(self, binding: Binding, is_up: bool) -> None:
        self._look = None
        self.was_seen = True
        self.was_seen_up |= is_up or isinstance(binding, Bound)
        before, self.binding = self.binding, binding
        self._changed(before)


def _not_seen(failure: Failure) -> Unknown:
    if failure.check(CancelledError):
        failure.raiseException()
    return Unknown(f"it could not be looked at: {failure.getErrorMessage()}")


def _unless_cancelled(failure: Failure) -> None:
    if not failure.check(CancelledError):
        log.failure("while a binding was judged", failure)
