"""
May this server take the active name, and what has to happen first?

A takeover is a few steps; after each the claim is read again and the next step
is judged from it, so that nothing rests on what was true a step ago.

    refuse   the hint is stale, this host may not serve, or the holder answers
             while it is still in its hold-down
    ask      is the holder there (in its hold-down), or would it stand down
    end      it did not answer: its process is ended, because a stopped holder
             may be inside a write that blocks every other one
    raise    epoch + 1, if the claim is still the one judged here

A holder that answers is never ended. Where it cannot hold the journal up and has not confirmed its claim for
`ttl`, the name is taken whatever it answers: it may be cut off from the journal alone.
Whatever goes wrong in these steps costs a switch, never a seat: only the compare
in `raise` and in every append is safety.
"""

from typing import Final

import msgspec

from licserver.journal.interface import Claim

HOLD_DOWN_SECONDS: Final = 5.0
LONGEST_HOLD_DOWN_SECONDS: Final = 60.0


class Refuse(msgspec.Struct, frozen=True):
    """No takeover: `code` and `message` for whoever asked."""

    code: str
    message: str


class AlreadyActive(msgspec.Struct, frozen=True):
    """This server has the name."""


class AskWhetherActive(msgspec.Struct, frozen=True):
    """Ask the holder for its status."""


class AskToStandDown(msgspec.Struct, frozen=True):
    """Ask the holder to give the name up to this server."""


class EndHolder(msgspec.Struct, frozen=True):
    """Make sure that the silent holder cannot hold up the journal."""


class Raise(msgspec.Struct, frozen=True):
    """Raise the epoch, with this hold-down (seconds) for the new holder."""

    hold_down: float


Step = Refuse | AlreadyActive | AskWhetherActive | AskToStandDown | EndHolder | Raise


class Silent(msgspec.Struct, frozen=True):
    """The holder did not answer within the limit, or refused the connection."""


class Answered(msgspec.Struct, frozen=True):
    """The holder answered that its role is `role`, and that it will not stand down because of `reason`."""

    role: str
    reason: str = ""


class StoodDown(msgspec.Struct, frozen=True):
    """The holder agreed and has fallen silent."""


class Unasked(msgspec.Struct, frozen=True):
    """The holder could not be asked because of `reason`, which may be a fault on this side."""

    reason: str


Answer = Silent | Answered | StoodDown | Unasked


class Wish(msgspec.Struct, frozen=True):
    """
    A takeover that is wanted. `after_epoch`: the epoch its wisher saw, if any;
    `may_not_serve`: a reason or empty; `is_serving`: this server has a tenure. Without
    one, a claim of its own is left from a tenure that broke off.
    """

    me: str
    instance: str
    after_epoch: int | None = None
    force: bool = False
    may_not_serve: str = ""
    is_serving: bool = False


class Seen(msgspec.Struct, frozen=True):
    """
    What is known of the judged claim's holder. `age`: seconds since this server
    first saw it hold the name, or saw the name given up; `epoch_age`: since it
    first saw that epoch; `answers` are what the holder said in this takeover, the
    first one first; `ended`: it was made sure that it is gone; `is_lapsed`: its claim
    was not confirmed for `ttl`, and it stands where it cannot hold up the journal.
    """

    age: float
    epoch_age: float
    is_dead: bool = False
    answers: tuple[Answer, ...] = ()
    ended: bool = False
    is_lapsed: bool = False


def next_step(claim: Claim, wish: Wish, seen: Seen, ttl: float) -> Step:  # noqa: C901, PLR0912 one refusal after the other
    """The next step of a takeover. See the module."""
    holder = claim.holder
    is_own = holder is not None and holder.instance == wish.instance
    if is_own and wish.is_serving:
        return AlreadyActive()
    if wish.after_epoch is not None and claim.epoch > wish.after_epoch:
        name = "nobody" if holder is None else holder.name
        sentence = f"epoch {wish.after_epoch} was seen, but the journal is at {claim.epoch} (holder: {name})"
        return Refuse("stale", sentence)
    if wish.may_not_serve:
        return Refuse("not_permitted", wish.may_not_serve)
    if holder is None:
        if claim.heir not in {None, wish.me} and seen.age < ttl and not wish.force:
            return Refuse("not_permitted", f"the name was given up for {claim.heir}, {seen.age:.1f} s ago")
        return Raise(_hold_down(claim, seen))
    if is_own or seen.is_dead or seen.ended:
        return Raise(_hold_down(claim, seen))
    match seen.answers:
        case ():
            is_held_down = seen.epoch_age < claim.hold_down and not wish.force
            return AskWhetherActive() if is_held_down else AskToStandDown()
        case _ if seen.is_lapsed:
            return Raise(_hold_down(claim, seen))
        case (*_, Silent()):
            return EndHolder()
        case (*_, StoodDown()):
            return Raise(_hold_down(claim, seen))
        case (*_, Unasked(reason)):
            sentence = f"{holder.name} does not stand down: it cannot be asked from here: {reason}"
            return Refuse("not_permitted", sentence)
        case (Answered("active"),):
            sentence = (
                f"{holder.name} took the name {seen.epoch_age:.1f} s ago and answers; "
                f"it keeps it for {claim.hold_down:g} s"
            )
            return Refuse("not_permitted", sentence)
        case (Answered(role),) if role != "refuses":
            return AskToStandDown()
        case (*_, Answered(_, reason)):
            return Refuse("not_permitted", f"{holder.name} does not stand down: {reason}")
    raise AssertionError(seen.answers)


def is_free(
    claim: Claim, me: str, instance: str, unchanged: float, is_dead: bool, ttl: float, head_start: float = 0.0
) -> bool:
    """
    Whether a standby may try the name unasked: given up (for anyone, or for it),
    left from its own tenure that broke off, its holder dead, or the claim
    unconfirmed (`unchanged`, seconds) for `ttl`. A name that others may take as well is left to them for
    `head_start` seconds.
    """
    if claim.holder is None:
        return claim.heir == me or unchanged >= head_start + (0.0 if claim.heir is None else ttl)
    return claim.holder.instance == instance or unchanged >= head_start + (0.0 if is_dead else ttl)


def _hold_down(claim: Claim, seen: Seen) -> float:
    """Takeovers that follow each other get longer and longer hold-downs, also where the name was given up between."""
    if seen.epoch_age < 2 * claim.hold_down:
        return min(2 * max(claim.hold_down, HOLD_DOWN_SECONDS), LONGEST_HOLD_DOWN_SECONDS)
    return HOLD_DOWN_SECONDS
