"""
Were the five promises of docs/protocol.md kept, as far as their clients can know?

Every violation is certain: no delay of a message and no order of what was
under way can explain it. What cannot be told from the outside is passed over.

    1 durable   a seat told `ok` is never contradicted while it is live
    2 over      certainly live seats never exceed the license
    3 once      one checkout, one seat, one answer
    4 fenced    after an epoch was seen, an older one grants nothing and soon confirms nothing
    5 in order  nobody who came after a queued checkout is served before it

and, where the limits are told, 6: no redundant server grants beyond its takeover limit.

1 and 3 show while the history is read (`testimony`), the others need all of it.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from tests.promises.history import History
from tests.promises.known import Confirmation, Take, Violation
from tests.promises.testimony import Testimony

Steps = Sequence[tuple[float, int]]
Capacity = Mapping[str, int | Steps]


def check(
    history: History, capacity: Capacity, removed: Collection[int] = (), limits: Mapping[str, float] | None = None
) -> list[Violation]:
    """
    All violations, in order of time. `capacity`: for each feature the seats
    issued with their overdraft, or steps [(from_time, seats), …] where it
    changes; a feature it does not name is not counted. `removed`: the numbers
    of the seats an operator took back, of which a client may not have heard.
    `limits`: for each redundant server the seconds of its takeover limit,
    which nobody restored or extended.
    """
    testimony = Testimony(history, removed)
    violations = [*testimony.violations, *_fenced(testimony)]
    for backend, seconds in (limits or {}).items():
        violations += _beyond_limit(testimony, backend, seconds)
    features = defaultdict(list)
    for take in testimony.takes:
        features[take.feature].append(take)
    for feature, takes in features.items():
        granted = [take for take in takes if take.grant is not None]
        if feature in capacity:
            violations += _over(feature, granted, capacity[feature])
        violations += _overtaken(takes, granted, capacity.get(feature))
    return sorted(violations, key=lambda violation: violation.time)


def _most(seats: int | Steps, begin: float, end: float) -> int:
    """The most seats the license allowed at any moment from `begin` to `end`."""
    if isinstance(seats, int):
        return seats
    before = [step for time, step in seats if time <= begin]
    return max([*before[-1:], *(step for time, step in seats if begin < time <= end)], default=0)


# --- 2: never over ----------------------------------------------------------------


def _over(feature: str, granted: list[Take], seats: int | Steps) -> Iterator[Violation]:
    """
    Of the seats live at one moment, one was decided last, after its request
    was sent, and all others were live then: what the license allowed at some
    time since the latest of their requests must have held them all.
    """
    moments = []
    for take in granted:
        if take.live_until > take.granted_at:
            moments += [(take.granted_at, 1, take), (take.live_until, 0, take)]
    moments.sort(key=lambda moment: moment[:2])
    live: dict[int, Take] = {}
    for time, begins, take in moments:
        if not begins:
            del live[id(take)]
            continue
        live[id(take)] = take
        total = sum(one.count for one in live.values())
        most = _most(seats, max(one.first_sent for one in live.values()), time)
        if total > most:
            yield Violation(2, time, f"{total} of {feature} are live, {most} are licensed; the last is {take}")


# --- 4: fenced --------------------------------------------------------------------


def _fenced(testimony: Testimony) -> Iterator[Violation]:
    newer_since = _first_newer(testimony.sightings)
    holders: dict[int, str] = {}
    for one in testimony.confirmations:
        if one.kind == "hello" and holders.setdefault(one.epoch, one.backend) != one.backend:
            yield Violation(4, one.received, f"epoch {one.epoch} is held by {holders[one.epoch]} and by {one.backend}")
        since = newer_since(one.epoch)
        if _is_decided_after(one, since):
            yield Violation(
                4,
                one.received,
                f"{one.who}: {one.kind} answered ok in epoch {one.epoch}, asked {one.sent - since:.3f} s"
                " after a newer epoch had been seen",
            )


def _is_decided_after(one: Confirmation, since: float) -> bool:
    """A grant and a hello need the journal, which refuses them at once; other answers may go on for `ttl`."""
    if one.kind == "hello":
        return one.sent > since
    if one.kind == "grant" and one.take is not None and one.take.first_sent > since:
        return True
    return one.sent > since + one.ttl


def _first_newer(sightings: list[tuple[float, int]]) -> Callable[[int], float]:
    """A function: when was an epoch above this one first seen? Infinity if never."""
    first: dict[int, float] = {}
    for time, epoch in sightings:
        first[epoch] = min(time, first.get(epoch, time))
    epochs = sorted(first)
    earliest = [float("inf")] * (len(epochs) + 1)
    for place in range(len(epochs) - 1, -1, -1):
        earliest[place] = min(earliest[place + 1], first[epochs[place]])
    return lambda epoch: earliest[bisect_right(epochs, epoch)]


# --- 6: within the takeover limit ----------------------------------------------------


def _beyond_limit(testimony: Testimony, backend: str, limit: float) -> Iterator[Violation]:
    """
    Within an epoch the server was in control from the first answer that came to the last request that it answered.
    That much is spent at least when a checkout was sent, and afterwards it was decided.
    """
    of = {one.epoch: one.backend for one in testimony.confirmations if one.backend}
    own = sorted((one for one in testimony.confirmations if of.get(one.epoch) == backend), key=lambda one: one.received)
    began: dict[int, float] = {}
    ended: dict[int, float] = {}
    for one in own:
        began.setdefault(one.epoch, one.received)
        ended[one.epoch] = max(one.sent, ended.get(one.epoch, one.sent))
    for one in own:
        if one.take is None or one.kind != "grant" or one.take.granted_at != one.received:
            continue
        sent = one.take.first_sent
        before = sum(max(0.0, min(ended[epoch], sent) - began[epoch]) for epoch in began if epoch < one.epoch)
        spent = before + sent - began[one.epoch]
        if sent > began[one.epoch] and spent > limit:
            yield Violation(6, one.received, f"{backend} granted {one.take} when {spent:.3f} of {limit:g} s were spent")


# --- 5: in order ------------------------------------------------------------------


def _overtaken(takes: list[Take], granted: list[Take], seats: int | Steps | None) -> Iterator[Violation]:
    """
    `late` was asked for after `early` had been told that it waits, and had its
    seat while `early` certainly still waited.
    """
    lates = sorted(granted, key=lambda take: take.first_sent)
    sent = [take.first_sent for take in lates]
    beside = _live_beside(lates)
    for early in takes:
        told = min(early.granted_at, early.refused_at)
        if early.queued_at >= told:
            continue
        for late in lates[bisect_right(sent, early.queued_at) : bisect_right(sent, told)]:
            if late is early:
                continue
            if _waited_at(early, late.granted_at) or _have_no_room(early, late, beside[id(late)], seats):
                yield Violation(
                    5, late.granted_at, f"{late} came after {early} had been queued, and was served before it"
                )


def _waited_at(early: Take, time: float) -> bool:
    """Whether `early` certainly had not been served at `time`."""
    if early.grant is not None:
        return early.missing_at > time and not early.is_removed
    match early.refusal:
        case "no_seats":
            return time < early.first_sent + early.wait
        case "withdrawn":
            return time < early.freed_at < float("inf")
    return False


def _have_no_room(early: Take, late: Take, beside: list[Take], seats: int | Steps | None) -> bool:
    """Whether `early`, had it been served before `late`, would have left `late` no seat."""
    if early.grant is None or seats is None or early.live_until < late.granted_at:
        return False
    others = sum(take.count for take in beside if take is not early)
    return others + early.count + late.count > _most(seats, late.first_sent, late.granted_at)


def _live_beside(lates: list[Take]) -> dict[int, list[Take]]:
    """For each take, by id(), the others that are live from the sending of its request to its answer."""
    starts = sorted(lates, key=lambda take: take.granted_at)
    live: list[Take] = []
    beside = {}
    begun = 0
    for late in lates:
        while begun < len(starts) and starts[begun].granted_at < late.first_sent:
            live.append(starts[begun])
            begun += 1
        live = [take for take in live if take.live_until >= late.first_sent]
        beside[id(late)] = [take for take in live if take.live_until >= late.granted_at]
    return beside
