"""
Which backend a third-party pool uses, and the steps to another one.

Such servers know nothing of an active name, so it is kept from outside: one
backend is `chosen`, and it alone is used. To choose another, the former one is
fenced first, then the heir is activated, then clients are admitted. Without a
fence nothing moves: a server that could still serve is worse than an outage,
and an operator may force it.

    chosen one up and permitted ----------------------------> Use
    another wanted, preferred, or needed: former not fenced -> Fence
                                          former fenced -----> Activate
    fence failed --------------------------------------------> Use (the former, if it can be) or Nobody

The decision is made anew at each check that ends, so it needs no wake-up.
"""

from collections.abc import Iterable, Sequence

import msgspec

from lsproxy.core.choice import Admin, Failback
from lsproxy.core.health import Down, Health, Unchecked, Up


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """
    The facts on one backend.

    `bar`: why it may get no clients whatever happens, or None. `stable_since`: since when it answers without a break,
    by the clock of `Situation.now`. `rests_until`: its activation failed, so it is not tried again before that time,
    `failure` says how.
    """

    name: str
    health: Health
    admin: Admin = Admin.READY
    is_kept_out: bool = False
    bar: str | None = None
    stable_since: float | None = None
    rests_until: float = 0.0
    failure: str | None = None


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """
    `chosen` is the backend that is the active one, `wanted` the one an operator switches to, `heir` the one for which
    `chosen` is or was fenced. `fenced`: whether `chosen` was fenced since it was chosen; `unfenced`: why it could not
    be, while that is not to be tried again. `is_activated`: whether its activation succeeded; until `starts_until` it
    may take its time to answer then. `can_activate`: there is a command that makes a backend answer that does not yet.
    `shared_name`: the name under which only one of the backends may answer, if there is one. `pool` is what sentences
    call the pool. Times in seconds of one clock.
    """

    now: float
    chosen: str | None
    wanted: str | None
    failback: Failback
    failback_after: float
    heir: str | None = None
    fenced: bool = False
    unfenced: str | None = None
    is_activated: bool = True
    starts_until: float = 0.0
    can_activate: bool = False
    shared_name: str | None = None
    refuse_conflict: bool = True
    pool: str = "POOL"


class Use(msgspec.Struct, frozen=True):
    """Send clients to `backend`. `note`: what is not as it should be, for people."""

    backend: str
    note: str | None = None


class Fence(msgspec.Struct, frozen=True):
    """
    Fence `former`, so that `heir` may be activated. Clients stay with `meanwhile`, if any. Connections to `leave` are
    to be cut now.
    """

    former: str
    heir: str
    meanwhile: Use | None = None
    leave: str | None = None


class Activate(msgspec.Struct, frozen=True):
    """Choose `heir`, and activate it. The connections of all others are to be cut."""

    heir: str


class Nobody(msgspec.Struct, frozen=True):
    """Nobody gets new clients. Connections to `leave` are to be cut now."""

    reason: str
    leave: str | None = None


Decision = Use | Fence | Activate | Nobody


def decide(candidates: Sequence[Candidate], situation: Situation) -> Decision:
    """What to do now. `candidates` stand in order of preference."""
    conflict = conflict_of(candidates, situation)
    if conflict is not None and situation.refuse_conflict:
        return Nobody(conflict)
    holder = next((candidate for candidate in candidates if candidate.name == situation.chosen), None)
    if holder is None:
        return _first_choice(candidates, situation)
    fault = why_not_chosen(holder)
    is_usable = isinstance(holder.health, Up) and not situation.fenced and situation.is_activated
    if is_usable and fault is None:
        used = Use(holder.name, conflict)
        heir = _goal(candidates, holder, situation)
        return used if heir is None else _switch(holder, heir, used, situation)
    if _is_awaited(holder, situation) and fault is None:
        return Nobody(f"{holder.name} {state(holder)}")
    last_resort = _last_resort(holder, fault) if is_usable else None
    is_pending = not is_usable and holder in _able([holder], situation)
    if is_pending and not situation.fenced and not situation.is_activated:
        return Activate(holder.name)
    heir = next(iter(_able(_by_turn(candidates, holder, situation), situation)), None)
    if heir is not None:
        return _switch(holder, heir, last_resort, situation)
    if is_pending and situation.fenced:
        return Activate(holder.name)
    if isinstance(holder.health, Unchecked) and _why_never(holder) is None and not situation.fenced:
        return Nobody(f"{holder.name} is not checked yet")
    reserve = [one for one in _reserve(candidates, situation) if one is not holder]
    if last_resort is None and reserve:
        return _switch(holder, reserve[0], None, situation)
    if last_resort is not None:
        return last_resort
    reason = "; ".join(f"{candidate.name} {state(candidate)}" for candidate in candidates)
    return Nobody(reason, _to_leave(holder))


def conflict_of(candidates: Iterable[Candidate], situation: Situation) -> str | None:
    """The sentence on several backends that answer under one name, or None."""
    up = [c.name for c in candidates if isinstance(c.health, Up) and c.admin is not Admin.MAINT]
    if situation.shared_name is None or len(up) <= 1:
        return None
    return (
        f"{' and '.join(up)} answer at once under the name {situation.shared_name}: stop all but one, or set those that"
        " are not to be seen to maint"
    )


def why_not(candidate: Candidate, situation: Situation) -> str | None:
    """Why this backend could not be switched to: the end of a sentence that begins with its name. None if it could."""
    fault = why_not_chosen(candidate)
    if fault is None and not isinstance(candidate.health, Up) and not situation.can_activate:
        fault = state(candidate)
    return fault


def why_not_chosen(candidate: Candidate) -> str | None:
    """What an operator or the license has against this backend: the end of a sentence that begins with its name."""
    never = _why_never(candidate)
    if never is not None:
        return never
    if candidate.admin is Admin.DRAIN:
        return "is drained"
    if candidate.is_kept_out:
        return "was lost and is kept out until `lsproxy ready`"
    return None


def state(candidate: Candidate) -> str:
    """Why this backend is not used: the end of a sentence that begins with its name."""
    fault = why_not_chosen(candidate)
    if fault is not None:
        return fault
    if candidate.failure is not None:
        return candidate.failure
    match candidate.health:
        case Unchecked():
            return "is not checked yet"
        case Down():
            return "does not answer"
        case Up():
            return "answers"


def _first_choice(candidates: Sequence[Candidate], situation: Situation) -> Decision:
    """Nobody was ever chosen: the first that answers, so one that was not asked yet is waited for."""
    for candidate in candidates:
        if isinstance(candidate.health, Unchecked) and why_not_chosen(candidate) is None:
            return Nobody(f"{candidate.name} is not checked yet")
        if isinstance(candidate.health, Up) and why_not_chosen(candidate) is None:
            break
    able = sorted(_able(candidates, situation), key=lambda c: not isinstance(c.health, Up))
    able = able or _reserve(candidates, situation)
    if able:
        return Activate(able[0].name)
    return Nobody("; ".join(f"{candidate.name} {state(candidate)}" for candidate in candidates))


def _switch(holder: Candidate, heir: Candidate, meanwhile: Use | None, situation: Situation) -> Decision:
    if situation.fenced:
        return Activate(heir.name)
    if situation.unfenced is None:
        return Fence(holder.name, heir.name, meanwhile, _to_leave(holder))
    why = f"{heir.name} does not take over, as {holder.name} could not be fenced: {situation.unfenced}"
    if meanwhile is not None:
        return Use(holder.name, why)
    way_out = f"if {holder.name} is off for certain: `lsproxy switch {situation.pool} --to {heir.name} --force`"
    return Nobody(f"{why}; {way_out}", _to_leave(holder))


def _is_awaited(holder: Candidate, situation: Situation) -> bool:
    """Whether the chosen one is given time: it was never asked yet, or was activated just now."""
    if situation.fenced or not situation.is_activated or isinstance(holder.health, Up):
        return False
    return isinstance(holder.health, Unchecked) or situation.now < situation.starts_until


def _last_resort(holder: Candidate, fault: str | None) -> Use | None:
    if fault is None or _why_never(holder) is not None:
        return None
    return Use(holder.name, f"{holder.name} {fault}, and is served for want of another")


def _goal(candidates: Sequence[Candidate], holder: Candidate, situation: Situation) -> Candidate | None:
    """The backend to switch to though the chosen one is good: the one wanted, or one that came back."""
    able = [candidate for candidate in _able(candidates, situation) if candidate is not holder]
    if situation.wanted is not None:
        return next((candidate for candidate in able if candidate.name == situation.wanted), None)
    if situation.failback is not Failback.AUTOMATIC:
        return None
    preferred = candidates[: candidates.index(holder)]
    return next((c for c in able if c in preferred and _is_stable(c, situation)), None)


def _is_stable(candidate: Candidate, situation: Situation) -> bool:
    since = candidate.stable_since
    return since is not None and situation.now - since >= situation.failback_after


def _by_turn(candidates: Sequence[Candidate], holder: Candidate, situation: Situation) -> list[Candidate]:
    """
    The one wanted first, then the one fenced for, those that answer already, preference; the chosen one is no heir of
    its own.
    """
    others = [candidate for candidate in candidates if candidate is not holder]

    def turn(one: Candidate) -> tuple[bool, bool, bool]:
        return one.name != situation.wanted, one.name != situation.heir, not isinstance(one.health, Up)

    return sorted(others, key=turn)


def _able(candidates: Iterable[Candidate], situation: Situation) -> list[Candidate]:
    """Those that may be activated now; one that rests after a failure only answers again when it is looked at."""
    return [c for c in candidates if why_not(c, situation) is None and c.rests_until <= situation.now]


def _reserve(candidates: Iterable[Candidate], situation: Situation) -> list[Candidate]:
    """Those that are drained or kept out, and better than nothing."""
    return [
        c for c in candidates if isinstance(c.health, Up) and _why_never(c) is None and c.rests_until <= situation.now
    ]


def _to_leave(holder: Candidate) -> str | None:
    return None if _why_never(holder) is None else holder.name


def _why_never(candidate: Candidate) -> str | None:
    if candidate.admin is Admin.MAINT:
        return "is in maint until `lsproxy ready`"
    if candidate.bar is not None:
        return f"is kept out ({candidate.bar})"
    return None
