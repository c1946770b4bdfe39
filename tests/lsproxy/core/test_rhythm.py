"""Tests of when checks go out: the rhythm is played against servers that answer, fall silent and refuse."""

import heapq
import itertools
import math
import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from lsproxy.core.health import Down, Up
from lsproxy.core.rhythm import (
    RISING,
    SOONEST_SECONDS,
    Rhythm,
    Timing,
    begun,
    failed,
    next_at,
    passed,
    wanted,
)

USUAL = Timing(interval=2.0, timeout=3.0, rise=2, fall=3)
ROUNDING = 1e-6

timings = st.builds(
    Timing,
    interval=st.floats(0.05, 10),
    timeout=st.floats(0.05, 10),
    rise=st.integers(1, 4),
    fall=st.integers(1, 5),
)
chances = st.integers(0, 2**32).map(random.Random)


class Play:
    """
    Time, in which checks go out as the rhythm says. `answer(begun_at)` tells how many seconds a check takes and how it
    ends: "passed", "failed" or "refused"; None: it is open until its deadline. `seen` is when somebody saw something.
    """

    def __init__(self, timing, answer, chance, seen=()):
        self.timing = timing
        self.answer = answer
        self.chance = chance
        self.rhythm = Rhythm()
        self.begun_at = []
        self.most_open = 0
        self.changes = []
        self._order = itertools.count()
        self._events = []
        for at in seen:
            self._push(at, "seen")

    def _push(self, at, event, number=0):
        heapq.heappush(self._events, (at, next(self._order), event, number))

    def until(self, end):
        now = 0.0
        while True:
            due = next_at(self.rhythm, self.timing)
            due = math.inf if due is None else max(due, now)
            event_at = self._events[0][0] if self._events else math.inf
            now = min(due, event_at)
            if now > end:
                return self
            before = type(self.rhythm.health)
            if event_at <= due:
                _, _, event, number = heapq.heappop(self._events)
                self._happened(event, number)
            else:
                self._begin(now)
            if type(self.rhythm.health) is not before:
                self.changes.append((now, type(self.rhythm.health)))

    def _begin(self, now):
        self.rhythm = begun(self.rhythm, now, self.chance.random() * 0.1)
        self.begun_at.append(now)
        self.most_open = max(self.most_open, len(self.rhythm.open))
        answer = self.answer(now)
        seconds, how = (math.inf, None) if answer is None else answer
        if seconds < self.timing.timeout:
            self._push(now + seconds, how, self.rhythm.newest)
        else:
            self._push(now + self.timing.timeout, "failed", self.rhythm.newest)

    def _happened(self, event, number):
        if event == "seen":
            self.rhythm = wanted(self.rhythm)
        elif number in {check.number for check in self.rhythm.open}:
            if event == "passed":
                self.rhythm = passed(self.rhythm, number, self.timing)
            else:
                self.rhythm = failed(self.rhythm, number, self.timing, is_certain=event == "refused")

    def down_at(self):
        """When it went down first."""
        return next(at for at, kind in self.changes if kind is Down)


def story(*steps):
    """The seconds from one check to the next, after each of `steps`, each of which lasts half a second."""
    rhythm, now, pauses = Rhythm(), 0.0, []
    for step in steps:
        rhythm = begun(rhythm, now, 0.0)
        if step == "passed":
            rhythm = passed(rhythm, rhythm.newest, USUAL)
        elif step != "open":
            rhythm = failed(rhythm, rhythm.newest, USUAL, is_certain=step == "refused")
        pauses.append(None if (at := next_at(rhythm, USUAL)) is None else round(at - now, 3))
        now += 0.5
    return pauses


def test_the_first_check_goes_out_at_once():
    """Before the first check nothing is waited for."""
    assert next_at(Rhythm(), USUAL) == -math.inf


def test_all_is_well():
    """A server that answers is asked every `interval`."""
    assert story("passed", "passed") == [2, 2]


def test_silence_quickens_the_checks_of_a_server_that_is_up():
    """While a check of a server that is up is unanswered, the next go out `timeout / fall` apart, `fall` in all."""
    assert story("passed", "open", "open", "open") == [2, 1, 1, None]


def test_refusals_follow_each_other_at_once_until_it_is_down():
    """A server that refuses is asked again after 10 ms, and every `interval` once it is down."""
    assert story("passed", "refused", "refused", "refused", "refused") == [2, 0.01, 0.01, 2, 2]


def test_a_wrong_answer_quickens_too():
    """An answer that is wrong is asked for again after `timeout / fall`."""
    assert story("passed", "failed", "passed") == [2, 1, 2]


def test_one_that_comes_up_is_asked_more_often():
    """While passes are counted the checks are a quarter of `interval` apart."""
    down = ["refused"] * USUAL.fall
    assert story(*down, "passed", "passed")[2:] == [2, 2 / RISING, 2]


def test_one_of_which_nothing_is_known_is_looked_at_as_one_in_use():
    """From the start on, a server that refuses is asked after 10 ms, a silent one beside the open check."""
    assert story("refused", "refused", "refused") == [0.01, 0.01, 2]
    assert story("open", "open", "open") == [1, 1, None]
    assert story("failed", "passed") == [1, 2]


def test_jitter_only_shortens():
    """The share that jitter takes is taken off the pause."""
    assert next_at(passed(begun(Rhythm(), 10.0, 0.1), 1, USUAL), USUAL) == 10 + 2 * 0.9


def test_somebody_saw_something():
    """What somebody saw is looked at 10 ms after the last check; while that is unanswered, not again at once."""
    rhythm = wanted(passed(begun(Rhythm(), 0.0, 0.0), 1, USUAL))
    assert next_at(rhythm, USUAL) == SOONEST_SECONDS
    rhythm = wanted(begun(rhythm, 0.5, 0.0))
    assert next_at(rhythm, USUAL) == 0.5 + 1.0
    assert next_at(passed(rhythm, 2, USUAL), USUAL) == 0.5 + SOONEST_SECONDS


def test_what_was_seen_during_a_regular_check_is_looked_at_beside_it():
    """A check that went out before somebody saw something does not answer it: another one goes out beside it."""
    rhythm = wanted(begun(passed(begun(Rhythm(), 0.0, 0.0), 1, USUAL), 2.0, 0.0))
    assert next_at(rhythm, USUAL) == 2.0 + SOONEST_SECONDS


def test_a_pass_makes_older_checks_moot():
    """When a check passes, those before it are open no more, and those after it still are."""
    rhythm = Rhythm()
    for now in (0.0, 1.0, 2.0):
        rhythm = begun(rhythm, now, 0.0)
    rhythm = passed(rhythm, 2, USUAL)
    assert [check.number for check in rhythm.open] == [3]
    assert rhythm.health == Up()


@given(timings, st.floats(0, 1), st.floats(0, 30), chances, st.lists(st.floats(0, 60), max_size=8))
def test_silence_is_found_in_time(timing, share, silent_from, chance, seen):
    """From whatever moment a server is silent, it is down `interval + timeout + (fall - 1) * timeout / fall` later."""
    latency = share * timing.timeout * 0.99

    def answer(now):
        return (latency, "passed") if now + latency < silent_from else None

    bound = timing.interval + timing.timeout + (timing.fall - 1) * timing.timeout / timing.fall
    play = Play(timing, answer, chance, seen).until(silent_from + bound + ROUNDING)
    assert isinstance(play.rhythm.health, Down)
    assert play.down_at() >= silent_from


@given(timings, st.floats(0, 0.5), st.floats(1, 30), st.floats(0, 5), chances)
def test_a_refusal_is_found_at_once(timing, share, refusing_from, later, chance):
    """Once somebody saw that a server refuses, it is down after `(fall - 1) * 10 ms` and `fall` answers."""
    latency = share * SOONEST_SECONDS
    seen_at = refusing_from + later

    def answer(now):
        return (latency, "passed" if now + latency < refusing_from else "refused")

    play = Play(timing, answer, chance, [seen_at])
    play.until(refusing_from)
    bound = seen_at + timing.fall * SOONEST_SECONDS + timing.fall * latency
    play.until(bound + ROUNDING)
    assert isinstance(play.rhythm.health, Down)


@given(timings, st.integers(0, 4), chances)
def test_fewer_failures_than_fall_bring_nobody_down(timing, failures, chance):
    """Also from the start on: one that answers after fewer failed checks than `fall` was never down."""
    answers = itertools.chain(["refused"] * min(failures, timing.fall - 1), itertools.repeat("passed"))
    play = Play(timing, lambda _now: (0.0, next(answers)), chance).until(30)
    assert [kind for _, kind in play.changes] == [Up]


@given(timings, st.floats(0, 0.99), chances, st.lists(st.floats(0, 60), max_size=20))
def test_a_server_that_answers_in_time_stays_up(timing, share, chance, seen):
    """However slow within `timeout`, and whatever somebody thought to see, a server that answers is up."""
    latency = share * timing.timeout
    play = Play(timing, lambda _now: (latency, "passed"), chance, seen).until(60)
    assert [kind for _, kind in play.changes] == [Up]


@given(timings, st.lists(st.sampled_from(["passed", "failed", "refused", None]), min_size=1), chances, st.data())
def test_never_more_than_fall_at_once(timing, answers, chance, data):
    """Whatever the server does, `fall` checks are open at most, and two of them are 10 ms apart, or `interval`."""
    kinds = itertools.cycle(answers)

    def answer(_now):
        kind = next(kinds)
        return None if kind is None else (chance.random() * timing.timeout, kind)

    seen = data.draw(st.lists(st.floats(0, 20), max_size=20))
    play = Play(timing, answer, chance, seen).until(20)
    assert play.most_open <= timing.fall
    shortest = min(SOONEST_SECONDS, timing.interval) * 0.9 - ROUNDING
    assert all(after - before >= shortest for before, after in itertools.pairwise(play.begun_at))


@given(timings, st.lists(st.sampled_from(["passed", "failed", "refused", None]), min_size=1), chances)
def test_woken_at_its_time_it_goes_on(timing, answers, chance):
    """Each check that is due goes out: time never stands still."""
    kinds = itertools.cycle(answers)
    play = Play(timing, lambda _now: None if (kind := next(kinds)) is None else (0.0, kind), chance).until(20)
    assert len(play.begun_at) >= 20 / (timing.interval + timing.timeout) - 1
    assert msgspec.structs.asdict(play.rhythm)["newest"] == len(play.begun_at)
