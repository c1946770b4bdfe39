"""
What is not as it should be with a pool, a sentence each, the gravest first?

What servers and the pool say themselves is passed on as it is; only what no
snapshot says is put into words here.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

import msgspec

from lsproxy.proxy.snapshot import BackendSnapshot, PoolSnapshot

Level = Literal["bad", "odd", "info", "good"]
_GRAVITY: Final[Mapping[Level, int]] = {"bad": 0, "odd": 1, "info": 2, "good": 3}


class Remark(msgspec.Struct, frozen=True):
    """One sentence, and how grave it is: `bad` needs somebody now, `odd` soon, `info` is for knowing."""

    level: Level
    text: str


def remarks(pool: PoolSnapshot, standby: Mapping[str, str | None]) -> list[Remark]:
    """
    The sentences on one pool. `standby` says of each backend that is not served why it could not take over, as the
    end of a sentence that begins with its name, None for one that could.
    """
    found = [*_of_pool(pool), *_of_standby(pool, standby)]
    for backend in pool.backends:
        found += _of_backend(backend, is_serving=backend.name == pool.serving)
    found += [Remark("bad" if pool.is_expired else "odd", sentence) for sentence in pool.expiring]
    return sorted(dict.fromkeys(found), key=lambda remark: _GRAVITY[remark.level])


def level_of(pool: PoolSnapshot, found: Iterable[Remark]) -> Level:
    """How the pool is as a whole."""
    if pool.serving is None or pool.conflicts or pool.barrenness is not None:
        return "bad"
    return "odd" if any(remark.level in {"bad", "odd"} for remark in found) else "good"


def _of_pool(pool: PoolSnapshot) -> Iterator[Remark]:
    yield from (Remark("bad", conflict) for conflict in pool.conflicts)
    if pool.serving is None and pool.reason and pool.reason not in pool.conflicts:
        yield Remark("bad", pool.reason)
    if pool.note:
        yield Remark("odd", pool.note)
    if pool.switching_to:
        yield Remark("info", f"{pool.switching_to} is to take over")
    if pool.unsaved:
        yield Remark("odd", pool.unsaved)


def _of_standby(pool: PoolSnapshot, standby: Mapping[str, str | None]) -> Iterator[Remark]:
    if pool.serving is None or any(why is None for why in standby.values()):
        return
    if standby:
        why_not = "; ".join(f"{name} {why}" for name, why in standby.items())
        yield Remark("odd", f"no standby: {why_not}")


def _of_backend(backend: BackendSnapshot, *, is_serving: bool) -> Iterator[Remark]:
    name, role = backend.name, "" if backend.said is None else backend.said.role
    grave: Level = "bad" if is_serving else "odd"
    if backend.takeover_note:
        yield Remark(grave if role == "blocked" else "odd", backend.takeover_note)
    if role == "isolated":
        yield Remark(grave, f"{name} is isolated, it cannot reach the journal: its log says why")
    if backend.is_kept_out:
        yield Remark("odd", f"{name} was lost and is kept out until it is set ready")
    elif backend.admin != "ready":
        yield Remark("info", f"{name} is set to {backend.admin}")
    if backend.binding == "unbound" or (backend.binding == "unknown" and backend.health == "up"):
        yield Remark("odd", f"{name}: {backend.binding}, {backend.binding_reason}")
    if backend.fencing not in {None, "fenced"}:
        yield Remark("odd", f"{name}, fencing: {backend.fencing}")
    if backend.activation not in {None, "activated"}:
        yield Remark("odd", f"{name}, activation: {backend.activation}")
    if backend.license_note:
        yield Remark("odd", backend.license_note)
    if backend.last_error:
        yield Remark("odd", backend.last_error)
