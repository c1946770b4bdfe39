"""What does the page of one pool show? From pictures to what stands on it; no I/O, no clock."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from lsproxy.history.samples import HealthSpan, SeatPoint
from lsproxy.panel.remarks import Level
from lsproxy.panel.words import Clock, counted, duration, moment
from lsproxy.proxy.denials import Denial
from lsproxy.proxy.snapshot import BackendSnapshot, PoolSnapshot
from lsproxy.seat.messages import HolderUsage

_HEALTH_LEVELS: Final[Mapping[str, Level]] = {"up": "good", "down": "bad", "unchecked": "info", "maint": "info"}
_WIDTH: Final = 1000.0
MISSED_SECONDS: Final = 60.0
"""A sample that comes a little late leaves a minute without one: the same outage stands on both sides of it."""
_WHOLE_SECONDS: Final = 1.0
"""What is missing of a stretch by less was all of it."""
_NEARLY_ALWAYS: Final = 0.9995


class Stretch(msgspec.Struct, frozen=True):
    """A part of a strip that is 1000 wide: where a backend had one health, and the words for it."""

    x: float
    width: float
    health: str
    words: str


class Strip(msgspec.Struct, frozen=True):
    """The health of a backend over a time, and a sentence that says the same."""

    stretches: list[Stretch]
    summary: str


class Row(msgspec.Struct, frozen=True):
    """One backend."""

    name: str
    is_serving: bool
    address: str
    ports: str
    health: str
    level: Level
    lasting: str
    role: str
    epoch: str
    admin: str
    binding: str
    binding_reason: str
    sessions: str
    seats: str
    clients: int
    latency: str
    strip: Strip
    may_switch: bool


class Denied(msgspec.Struct, frozen=True):
    """A checkout that was refused."""

    when: str
    who: str
    host: str
    feature: str
    count: int
    code: str
    message: str


class Holding(msgspec.Struct, frozen=True):
    """One seat, or a checkout that waits for one."""

    seat: int
    feature: str
    user: str
    host: str
    program: str
    address: str
    count: int
    version: str
    since: str
    lasting: str
    state: str


def rows(
    pool: PoolSnapshot,
    standby: Mapping[str, str | None],
    spans: Mapping[str, Sequence[HealthSpan]],
    since: float,
    now: float,
    clock: Clock,
) -> list[Row]:
    """The backends; `spans` are their health from `since` to `now`."""
    return [
        _row(backend, pool, strip(spans.get(backend.name, ()), since, now, clock), standby.get(backend.name, ""))
        for backend in pool.backends
    ]


def strip(spans: Sequence[HealthSpan], since: float, until: float, clock: Clock) -> Strip:
    """The strip from `since` to `until`; where nothing is known it is empty."""
    scale = _WIDTH / max(1.0, until - since)
    stretches = []
    seen = dict.fromkeys(("up", "maint", "unchecked", "down"), 0.0)
    outages, last_down = 0, -math.inf
    for span in spans:
        begin, end = max(span.since, since), min(span.until, until)
        if end <= begin:
            continue
        down = min(span.down, end - begin)
        seen["down"] += down
        seen["up" if span.health == "down" else span.health] += end - begin - down
        if span.health == "down":
            outages += begin - last_down > MISSED_SECONDS
            last_down = end
        stretches.append(
            Stretch(
                round((begin - since) * scale, 2),
                round((end - begin) * scale, 2),
                span.health,
                _stretch_words(span.health, begin, end, down, clock),
            )
        )
    return Strip(stretches, _summary(seen, outages))


def holding(feature: str, holder: HolderUsage, now: float, clock: Clock) -> Holding:
    """One entry of `usage`."""
    since = datetime.fromisoformat(holder.since).timestamp()
    program = " · ".join(part for part in (holder.display, f"process {holder.pid}" if holder.pid else "") if part)
    return Holding(
        seat=holder.seat,
        feature=feature,
        user=holder.user,
        host=holder.host,
        program=program,
        address=holder.address,
        count=holder.count,
        version=holder.version,
        since=moment(clock(since), clock(now)),
        lasting=duration(now - since),
        state=holder.state,
    )


def denied(denials: Sequence[Denial], ago: float, now: float, clock: Clock) -> list[Denied]:
    """The newest first. `ago` is what a time of theirs plus it makes a time of `now`'s clock."""
    return [
        Denied(
            when=moment(clock(one.at + ago), clock(now)),
            who=one.user,
            host=one.host,
            feature=one.feature,
            count=one.count,
            code=one.code,
            message=one.message,
        )
        for one in reversed(denials)
    ]


def seats_sentence(points: Sequence[SeatPoint]) -> str:
    """What a chart of these points shows, for those who cannot see it; "" where there is nothing to draw."""
    if not points:
        return ""
    peak = max(points, key=lambda point: point.used_max)
    limit = points[-1].issued
    queued = max(point.queued_max for point in points)
    of_limit = "" if limit is None else f" of {limit}"
    waited = f"; at most {counted(queued, 'checkout')} waited" if queued else ""
    return f"at most {peak.used_max}{of_limit} seats in use{waited}"


def _row(backend: BackendSnapshot, pool: PoolSnapshot, health: Strip, why_not: str | None) -> Row:
    said = backend.said
    return Row(
        name=backend.name,
        is_serving=backend.name == pool.serving,
        address=backend.address,
        ports=", ".join(f"{port} {address}" for port, address in backend.ports.items() if port),
        health=backend.health,
        level=_HEALTH_LEVELS.get(backend.health, "info"),
        lasting=duration(backend.changed_for),
        role="–" if said is None else said.role,  # noqa: RUF001 - a dash for what is not known
        epoch="–" if said is None else str(said.epoch),  # noqa: RUF001 - as above
        admin="kept out" if backend.is_kept_out else backend.admin,
        binding=backend.binding,
        binding_reason=backend.binding_reason,
        sessions="–" if said is None else str(said.sessions),  # noqa: RUF001 - as above
        seats="–" if said is None else str(said.seats),  # noqa: RUF001 - as above
        clients=backend.connections,
        latency="–" if backend.latency is None else f"{backend.latency * 1000:.1f} ms",  # noqa: RUF001 - as above
        strip=health,
        may_switch=backend.name != pool.serving and why_not is None,
    )


def _hour(when: float, clock: Clock) -> str:
    return clock(when).strftime("%a %H:%M")


def _stretch_words(health: str, begin: float, end: float, down: float, clock: Clock) -> str:
    """A sample knows how long a server was down since the one before, but not when."""
    when = f"{_hour(begin, clock)} {{}} {_hour(end, clock)}"
    if health == "down" and down < end - begin - _WHOLE_SECONDS:
        return f"down for {_at_least_a_second(down)} between {when.format('and')}"
    return f"{health} from {when.format('to')}"


def _at_least_a_second(seconds: float) -> str:
    return duration(max(1.0, seconds))


def _summary(seen: Mapping[str, float], outages: int) -> str:
    known = sum(seen.values())
    if not known:
        return "no history yet"
    up = seen["up"] / known
    parts = ["up over 99.9%" if _NEARLY_ALWAYS <= up < 1 else f"up {up:.1%}"]
    if outages:
        parts.append(f"down {counted(outages, 'time')}, {_at_least_a_second(seen['down'])} in all")
    if seen["maint"]:
        parts.append(f"in maint {duration(seen['maint'])}")
    return ", ".join(parts)
