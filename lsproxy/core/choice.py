"""
Which backend a pool uses now, and which one it asks to take over.

The highest claim is followed before the pool's own preference, so two proxies
cannot pull in two directions. A claimant that is to get no clients is asked
out of the name by asking the next one in; with no next one a drained or
manual one is served and that is said, one in maint or unbound is not served.

    claimed by a good one ----------------------------> Use
    claimed by one kept out, another stands by -------> AskTakeover
    claimed by one kept out, nobody else -------------> Use (drain, manual) or Nobody (maint, unbound)
    claimed by nobody, one stands by -----------------> AskTakeover
    claimed by nobody, nobody stands by --------------> Nobody

The decision is made anew at each check that ends, so it needs no wake-up.
"""

import enum
from collections.abc import Iterable, Sequence

import msgspec

from lsproxy.core.claims import Claimed, Disputed, Followed, Report, Verdict
from lsproxy.core.health import Down, Health, Unchecked, Up


class Admin(enum.StrEnum):
    """What an operator said of a backend."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


class Failback(enum.StrEnum):
    """What becomes of a preferred backend that returned."""

    STICKY = "sticky"
    AUTOMATIC = "automatic"
    MANUAL = "manual"


class Part(enum.StrEnum):
    """Which one of a pair a backend is."""

    PRIMARY = "primary"
    REDUNDANT = "redundant"


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """
    The facts on one backend.

    `is_lost`: its control connection ended and no new one has answered yet. `bar`: why it may get no clients
    whatever happens (unbound, another server), or None. `stable_since`: since when it stands by without a break,
    by the clock of `Situation.now`. `part`: which one of a pair it said it is, None: of none. `ask_after`: not to be
    asked to take over before that time, `ask_politely_after`: nor from a good holder before that; `refusal`: why it
    did not when it was asked last.
    """

    name: str
    health: Health
    is_lost: bool = False
    admin: Admin = Admin.READY
    is_kept_out: bool = False
    bar: str | None = None
    report: Report | None = None
    stable_since: float | None = None
    part: Part | None = None
    ask_after: float = 0.0
    ask_politely_after: float = 0.0
    refusal: str | None = None


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """
    `serving` is the backend clients are sent to (None: nobody), `wanted` the one an operator switches to.
    Times in seconds of one clock.
    """

    now: float
    serving: str | None
    wanted: str | None
    followed: Followed | None
    failback: Failback
    failback_after: float


class Use(msgspec.Struct, frozen=True):
    """Send clients to `backend`. `note`: what is not as it should be, for people."""

    backend: str
    epoch: int
    note: str | None = None


class AskTakeover(msgspec.Struct, frozen=True):
    """
    Ask `backend` to take over, past `after_epoch`; ask `deposed`, if any, to stand down first. Clients stay with
    `meanwhile`, if any; connections to `leave` are to be cut now.
    """

    backend: str
    after_epoch: int
    deposed: str | None = None
    meanwhile: Use | None = None
    leave: str | None = None


class Nobody(msgspec.Struct, frozen=True):
    """Nobody may be used. Connections to `leave` are to be cut now."""

    reason: str
    leave: str | None = None


Decision = Use | AskTakeover | Nobody


def decide(candidates: Sequence[Candidate], verdict: Verdict, situation: Situation) -> Decision:
    """What to do now. `candidates` stand in order of preference."""
    if isinstance(verdict, Disputed):
        return Nobody("no server can be believed while several claim the name")
    unchecked = [c.name for c in candidates if isinstance(c.health, Unchecked) and c.admin is not Admin.MAINT]
    if unchecked and (situation.followed is None or not isinstance(verdict, Claimed)):
        # One that was not asked yet may hold the name, or claim it on another journal than the first that answered.
        return Nobody(f"{', '.join(unchecked)} not checked yet")
    if isinstance(verdict, Claimed):
        return _with_claimant(candidates, verdict, situation)
    if verdict.is_behind:
        return Nobody("the journal followed so far has gone back")
    return _without_claimant(candidates, verdict.conflicts, situation)


def may_stand_in(candidate: Candidate, followed: Followed | None) -> bool:
    """Whether this backend could be asked to take over, were it not for its pause between two askings."""
    return _why_not_chosen(candidate) is None and _stands_by(candidate, followed)


def kept_away(candidates: Sequence[Candidate], used: Use, situation: Situation) -> str | None:
    """What is to be said where a primary could serve again and `failback` leaves the name with its redundant server."""
    holder = next(candidate for candidate in candidates if candidate.name == used.backend)
    is_limited = holder.part is Part.REDUNDANT and holder.report is not None and holder.report.role == "active"
    if not is_limited or situation.failback is Failback.AUTOMATIC:
        return None
    primary = next((candidate for candidate in candidates if candidate.part is Part.PRIMARY), None)
    if primary is None or primary.admin is not Admin.READY or primary.bar is not None:
        return None
    if not _stands_by(primary, situation.followed):
        return None
    if primary.is_kept_out:
        return f"{primary.name}, the primary, stands by, kept out until `lsproxy ready`; the hours of {holder.name} run"
    return (
        f"{primary.name}, the primary, stands by, and failback: {situation.failback} leaves the name with"
        f" {holder.name} while its hours run; `lsproxy switch` gives it back"
    )


def state(candidate: Candidate) -> str:
    """Why this backend is not served: the end of a sentence that begins with its name."""
    fault = _why_not_chosen(candidate)
    if fault is not None:
        return fault
    if isinstance(candidate.health, Down) or candidate.is_lost or candidate.report is None:
        return "does not answer"
    if candidate.report.role == "standby":
        why = f": {candidate.refusal}" if candidate.refusal else ""
        return f"stands by on journal {candidate.report.journal}{why}"
    return f"is {candidate.report.role}"


def _with_claimant(candidates: Sequence[Candidate], claim: Claimed, situation: Situation) -> Decision:
    holder = next(candidate for candidate in candidates if candidate.name == claim.backend)
    others = [candidate for candidate in candidates if candidate is not holder]
    fault = _why_not_chosen(holder)
    followed = Followed(claim.journal, claim.epoch)
    if fault is None:
        used = Use(holder.name, claim.epoch)
        heir = _goal(candidates, holder, followed, situation)
        return used if heir is None else AskTakeover(heir.name, claim.epoch, deposed=holder.name, meanwhile=used)
    ready = [candidate for candidate in others if may_stand_in(candidate, followed)]
    heir = _first_askable(ready, situation)
    is_last_resort = _why_never(holder) is None
    if heir is not None:
        return AskTakeover(
            heir.name,
            claim.epoch,
            deposed=holder.name,
            meanwhile=Use(holder.name, claim.epoch) if is_last_resort else None,
            leave=None if is_last_resort else holder.name,
        )
    if is_last_resort:
        return Use(holder.name, claim.epoch, f"{holder.name} {fault}, and is served for want of another")
    return Nobody(f"{holder.name} {fault}{_others(others)}", leave=holder.name)


def _without_claimant(candidates: Sequence[Candidate], conflicts: tuple[str, ...], situation: Situation) -> Decision:
    serving = next((candidate for candidate in candidates if candidate.name == situation.serving), None)
    still = _still_served(serving)
    followed = situation.followed
    heir = _first_askable((c for c in _by_turn(candidates, situation) if may_stand_in(c, followed)), situation)
    if heir is None:
        reserve = [c for c in candidates if _why_never(c) is None and _stands_by(c, followed)]
        heir = _first_askable(reserve, situation)
    if heir is not None:
        return AskTakeover(heir.name, _newest_epoch(candidates, heir, followed), meanwhile=still)
    if still is not None:
        return still
    reason = "; ".join([*conflicts, *(f"{c.name} {state(c)}" for c in candidates)])
    leave = serving.name if serving is not None and _why_never(serving) is not None else None
    return Nobody(reason or "the pool has no backend", leave=leave)


def _goal(
    candidates: Sequence[Candidate], holder: Candidate, followed: Followed, situation: Situation
) -> Candidate | None:
    """The backend to switch to though the holder is good: the one wanted, or one that comes back."""
    able = [c for c in candidates if c is not holder and may_stand_in(c, followed)]
    if situation.wanted is not None:
        return _first_askable((c for c in able if c.name == situation.wanted), situation)
    able = [c for c in able if c.ask_politely_after <= situation.now]
    if situation.failback is not Failback.AUTOMATIC:
        return None
    preferred = candidates[: candidates.index(holder)]
    returned = [
        c
        for c in able
        if c in preferred and c.stable_since is not None and situation.now - c.stable_since >= situation.failback_after
    ]
    return _first_askable(returned, situation)


def _by_turn(candidates: Sequence[Candidate], situation: Situation) -> list[Candidate]:
    """The order in which a free name is offered: the one wanted, the one served so far, then preference."""
    sticks = situation.failback is not Failback.AUTOMATIC

    def turn(candidate: Candidate) -> int:
        if candidate.name == situation.wanted:
            return 0
        return 1 if sticks and candidate.name == situation.serving else 2

    return sorted(candidates, key=turn)


def _first_askable(candidates: Iterable[Candidate], situation: Situation) -> Candidate | None:
    return next((candidate for candidate in candidates if candidate.ask_after <= situation.now), None)


def _still_served(serving: Candidate | None) -> Use | None:
    """A lost control connection is a hint, not yet a death: its clients are left where they are until it is down."""
    if serving is None or not serving.is_lost or serving.report is None or _why_never(serving) is not None:
        return None
    if not isinstance(serving.health, Up):
        return None
    return Use(serving.name, serving.report.epoch, f"{serving.name} closed its control connection")


def _stands_by(candidate: Candidate, followed: Followed | None) -> bool:
    report = candidate.report
    return (
        isinstance(candidate.health, Up)
        and not candidate.is_lost
        and report is not None
        and report.role == "standby"
        and (followed is None or report.journal == followed.journal)
    )


def _newest_epoch(candidates: Sequence[Candidate], heir: Candidate, followed: Followed | None) -> int:
    journal = heir.report.journal if heir.report is not None else ""
    epochs = [c.report.epoch for c in candidates if c.report is not None and c.report.journal == journal]
    if followed is not None and followed.journal == journal:
        epochs.append(followed.epoch)
    return max(epochs, default=0)


def _why_never(candidate: Candidate) -> str | None:
    if candidate.admin is Admin.MAINT:
        return "is in maint until `lsproxy ready`"
    if candidate.bar is not None:
        return f"is kept out ({candidate.bar})"
    return None


def _why_not_chosen(candidate: Candidate) -> str | None:
    never = _why_never(candidate)
    if never is not None:
        return never
    if candidate.admin is Admin.DRAIN:
        return "is drained"
    if candidate.is_kept_out:
        return "was lost and is kept out until `lsproxy ready`"
    return None


def _others(candidates: Sequence[Candidate]) -> str:
    return "".join(f"; {candidate.name} {state(candidate)}" for candidate in candidates)
