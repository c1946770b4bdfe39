"""
Who claims the active name of a pool: the one-active-name rule.

Several license servers may believe, or pretend, to be active. Of one journal
the highest epoch is right, because the journal refuses all others. Of two
journals neither can be proven right: the one followed so far stays, and with
none followed nobody is served until an operator decides.

The invariant: a claim is followed only if it is of the journal followed so
far, and at no lower an epoch than was seen of it.
"""

from collections.abc import Mapping

import msgspec

_CLAIMING = frozenset({"active", "blocked"})


class Report(msgspec.Struct, frozen=True):
    """
    What one backend's last status says of its claim: `role` as in protocol.md (active, standby, blocked,
    isolated), the `epoch` it knows, the id of its `journal`, and `instance`, the id of this one start.
    """

    role: str
    epoch: int
    journal: str
    instance: str


class Followed(msgspec.Struct, frozen=True):
    """The journal this pool follows, and the highest epoch seen of it."""

    journal: str
    epoch: int


class Claimed(msgspec.Struct, frozen=True):
    """`backend` holds the name under `epoch`. `conflicts` are the sentences on others that claim it too."""

    backend: str
    epoch: int
    journal: str
    conflicts: tuple[str, ...] = ()


class Unclaimed(msgspec.Struct, frozen=True):
    """
    Nobody who answers holds the name, as far as it may be believed. `is_behind`: the journal followed has gone
    back, so nobody is to be made its holder either.
    """

    conflicts: tuple[str, ...] = ()
    is_behind: bool = False


class Disputed(msgspec.Struct, frozen=True):
    """Several hold the name and none may be believed; an operator decides."""

    conflicts: tuple[str, ...]


Verdict = Claimed | Unclaimed | Disputed


def judge(
    reports: Mapping[str, Report], followed: Followed | None, serving: str | None, *, refuse_conflict: bool
) -> Verdict:
    """
    The claim to follow, from the `reports` of the backends that answer now, in order of preference.

    `serving` is the backend whose clients are served now. With `refuse_conflict` false a dispute goes to the
    backend served, or else to the first in order, and is only said.
    """
    claims = {name: report for name, report in reports.items() if report.role in _CLAIMING}
    if followed is not None:
        conflicts = [
            _foreign(name, report, followed) for name, report in claims.items() if _is_foreign(report, followed)
        ]
        claims = {name: report for name, report in claims.items() if not _is_foreign(report, followed)}
        behind = [_behind(name, report, followed) for name, report in claims.items() if report.epoch < followed.epoch]
        claims = {name: report for name, report in claims.items() if report.epoch >= followed.epoch}
        if not claims:
            return Unclaimed((*conflicts, *behind), is_behind=bool(behind))
        return _highest(claims, serving, tuple(conflicts), refuse_conflict=refuse_conflict)
    if not claims:
        return Unclaimed()
    journals = {report.journal for report in claims.values()}
    if len(journals) == 1:
        return _highest(claims, serving, (), refuse_conflict=refuse_conflict)
    return _dispute(claims, serving, (_two_journals(claims),), refuse_conflict=refuse_conflict)


def next_followed(followed: Followed | None, verdict: Verdict) -> Followed | None:
    """What to follow, and to remember, after `verdict`: its epoch only rises."""
    match verdict:
        case Claimed(_, epoch, journal) if followed is None or epoch > followed.epoch or journal != followed.journal:
            return Followed(journal, epoch)
        case _:
            return followed


def stranger(server: str, backend: str, *, server_name: str, name: str) -> str | None:
    """
    Why a server that says it is `backend` of the active name `server` is not the one configured as `name` under
    `server_name`: a sentence, or None if it is.
    """
    if server != server_name:
        return f"{name} serves the name {server}, this pool is for {server_name}"
    if backend != name:
        return f"the server at {name}'s address says that it is {backend}; the backend's key is the server's name"
    return None


def _is_foreign(report: Report, followed: Followed) -> bool:
    return report.journal != followed.journal


def _highest(
    claims: Mapping[str, Report], serving: str | None, conflicts: tuple[str, ...], *, refuse_conflict: bool
) -> Verdict:
    """The highest epoch of one journal; two servers on one epoch can only be two copies of that journal."""
    epoch = max(report.epoch for report in claims.values())
    best = {name: report for name, report in claims.items() if report.epoch == epoch}
    if len({report.instance for report in best.values()}) > 1:
        return _dispute(best, serving, (*conflicts, _one_epoch(best, epoch)), refuse_conflict=refuse_conflict)
    name, report = next(iter(best.items()))
    return Claimed(name, epoch, report.journal, conflicts)


def _dispute(
    claims: Mapping[str, Report], serving: str | None, conflicts: tuple[str, ...], *, refuse_conflict: bool
) -> Verdict:
    if serving is not None and serving in claims:
        name = serving
    elif refuse_conflict:
        return Disputed(conflicts)
    else:
        name = next(iter(claims))
    return Claimed(name, claims[name].epoch, claims[name].journal, conflicts)


def _foreign(name: str, report: Report, followed: Followed) -> str:
    return (
        f"{name} is active on journal {report.journal}, this pool follows journal {followed.journal} (epoch"
        f" {followed.epoch}): stop {name}, or go on with it by `lsproxy switch POOL --to {name} --force`"
    )


def _behind(name: str, report: Report, followed: Followed) -> str:
    return (
        f"{name} is active at epoch {report.epoch}, but epoch {followed.epoch} of its journal was seen: it runs on a"
        f" copy or an old backup; go on with it by `lsproxy switch POOL --to {name} --force`"
    )


def _two_journals(claims: Mapping[str, Report]) -> str:
    each = ", ".join(f"{name} on journal {report.journal}" for name, report in claims.items())
    return (
        f"several servers are active under one name: {each}; stop all but one, or decide by"
        " `lsproxy switch POOL --to BACKEND --force`"
    )


def _one_epoch(claims: Mapping[str, Report], epoch: int) -> str:
    return (
        f"{' and '.join(claims)} are both active at epoch {epoch}, so their journals are copies of each other; stop"
        " all but one, or decide by `lsproxy switch POOL --to BACKEND --force`"
    )
