"""Tests of who is connected when: a pool's sessions on a clock that is told."""

import gc
import weakref

import pytest
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from lsproxy.proxy.traffic import MOST_DIALS, SHORTEST_HOLD, Target, Traffic


class Sought:
    """A session that remembers what it was told."""

    def __init__(self, traffic, *, urgent=False):
        self.traffic = traffic
        self.backend = None
        self.is_urgent = urgent
        self.is_dialling = False
        self.reason = None
        self.is_closed = False
        self.dials = []
        traffic.joined(self)

    def dial(self, target):
        self.dials.append(target.backend)
        self.backend = target.backend

    def leave(self):
        self.backend = None
        if self.is_dialling:
            self.is_dialling = False
            self.traffic.settled(self, is_open=False)
        self.traffic.seek(self)

    def give_up(self, reason):
        self.reason = reason

    def close(self):
        self.is_closed = True

    def opened(self):
        self.traffic.settled(self, is_open=True)

    def refused(self):
        backend, self.backend = self.backend, None
        self.traffic.failed(backend)
        self.traffic.seek(self)


A, B = Target("lic-a", object()), Target("lic-b", object())


def started(hold=10.0):
    clock, suspects = Clock(), []
    return clock, Traffic(clock, hold, lambda: 0.5, suspects.append), suspects


def test_dials_at_once_are_bounded():
    """Of a herd only MOST_DIALS connect at once, and each that is done lets the next one in."""
    _, traffic, _ = started()
    herd = [Sought(traffic) for _ in range(MOST_DIALS + 100)]
    for session in herd:
        traffic.seek(session)
    traffic.direct(A)
    dialled = [session for session in herd if session.dials]
    assert len(dialled) == MOST_DIALS
    for session in dialled:
        session.opened()
    assert all(session.dials == ["lic-a"] for session in herd)
    assert traffic.waiting == 100


def test_who_has_something_unanswered_comes_first():
    """An idle session lets those pass that wait for an answer."""
    _, traffic, _ = started()
    herd = [Sought(traffic, urgent=n >= 300) for n in range(400)]
    for session in herd:
        traffic.seek(session)
    traffic.direct(A)
    assert all(session.dials for session in herd[300:])


def test_sessions_are_moved_when_the_target_changes():
    """Sessions connected elsewhere are moved to the new target, once; those there already are not touched."""
    _, traffic, _ = started()
    sessions = [Sought(traffic) for _ in range(3)]
    traffic.direct(A)
    for session in sessions:
        traffic.seek(session)
        session.opened()
    traffic.direct(A)
    traffic.direct(B)
    assert [session.dials for session in sessions] == [["lic-a", "lic-b"]] * 3


def test_refused_dial_pauses_all_and_is_said():
    """A target that refuses one is not dialled by the others for a moment, longer each time, and is suspected."""
    clock, traffic, suspects = started()
    traffic.direct(A)
    first, second = Sought(traffic), Sought(traffic)
    traffic.seek(first)
    first.refused()
    traffic.seek(second)
    assert (len(first.dials), len(second.dials), suspects) == (1, 0, ["lic-a"])
    clock.advance(0.011)
    assert (len(first.dials), len(second.dials)) == (2, 1)
    first.refused()
    second.refused()
    clock.advance(0.011)
    assert len(first.dials) == 2
    clock.advance(0.011)
    assert len(first.dials) == 3


def test_new_target_ends_the_pause():
    """When the target changes nobody waits for the pause of the old one."""
    _, traffic, _ = started()
    traffic.direct(A)
    session = Sought(traffic)
    traffic.seek(session)
    session.refused()
    traffic.direct(B)
    assert session.dials == ["lic-a", "lic-b"]


def test_dials_to_a_server_that_hangs_make_room_for_the_next():
    """However many hellos hang on the old target, the new one is dialled at once."""
    _, traffic, _ = started()
    traffic.direct(A)
    sessions = [Sought(traffic) for _ in range(MOST_DIALS + 1)]
    for session in sessions:
        traffic.seek(session)
        session.is_dialling = bool(session.dials)
    assert sessions[-1].dials == []
    traffic.direct(B)
    assert sum(session.backend == "lic-b" for session in sessions) == MOST_DIALS


def test_who_is_gone_is_forgotten():
    """Clients that come and go while there is no server leave nothing behind."""
    clock, traffic, _ = started()
    for _ in range(100):
        session = Sought(traffic)
        traffic.seek(session)
        traffic.left(session)
    gone = weakref.ref(session)
    del session
    clock.advance(0)
    gc.collect()
    assert gone() is None


def test_a_server_that_always_refuses_is_tried_for_ever():
    """The pause between two dials grows to its limit and no further."""
    clock, traffic, _ = started(hold=1e9)
    traffic.direct(A)
    session = Sought(traffic)
    traffic.seek(session)
    for _ in range(1100):
        session.refused()
        clock.advance(1)
    assert len(session.dials) == 1101


def test_nobody_waits_longer_than_hold_for_a_server():
    """`hold` counts from when there was no server: who comes late waits for the rest, and then not at all."""
    clock, traffic, _ = started()
    early = Sought(traffic)
    traffic.seek(early)
    clock.advance(9)
    late = Sought(traffic)
    traffic.seek(late)
    clock.advance(0.9)
    assert early.reason is None
    clock.advance(0.2)
    assert early.reason == late.reason == "no license server has been checked yet"
    latest = Sought(traffic)
    traffic.seek(latest)
    clock.advance(0)
    assert latest.reason is not None
    assert traffic.waiting == 0
    assert traffic.given_up == 3


def test_hold_begins_anew_when_a_server_was_there():
    """A server that was there for a moment gives `hold` seconds again from its loss."""
    clock, traffic, _ = started()
    clock.advance(8)
    traffic.direct(A)
    clock.advance(5)
    traffic.halt("lic-a does not answer", is_hopeless=False)
    session = Sought(traffic)
    traffic.seek(session)
    clock.advance(9.9)
    assert session.reason is None
    clock.advance(0.2)
    assert session.reason == "lic-a does not answer"


def test_hopeless_is_refused_at_once():
    """When nobody is to be waited for, who waits is refused at once, and who comes too."""
    clock, traffic, _ = started()
    waiting = Sought(traffic)
    traffic.seek(waiting)
    traffic.halt("all in maint", is_hopeless=True)
    clock.advance(0)
    assert waiting.reason == "all in maint"


def test_server_that_accepts_and_never_answers_is_given_up_after_hold():
    """A session whose server never answers its hello does not wait for ever, and without `hold` has a moment."""
    for hold, limit in ((10.0, 10.0), (0.0, SHORTEST_HOLD)):
        clock, traffic, _ = started(hold)
        traffic.direct(A)
        session = Sought(traffic)
        traffic.seek(session)
        clock.advance(limit - 0.1)
        assert session.reason is None
        clock.advance(0.2)
        assert session.reason == "lic-a did not answer in time"


def test_stop_closes_all_and_says_when_they_are_gone():
    """A stop closes every client, and fires when the last one has gone; nothing stays on the clock."""
    clock, traffic, _ = started()
    traffic.start()
    sessions = [Sought(traffic) for _ in range(2)]
    traffic.seek(sessions[0])
    gone = []
    traffic.stop().addCallback(gone.append)
    assert all(session.is_closed for session in sessions)
    traffic.left(sessions[0])
    assert gone == []
    traffic.left(sessions[1])
    assert gone == [None]
    assert clock.getDelayedCalls() == []


@pytest.fixture
def caught():
    """Failures that are logged meanwhile."""
    events = []

    def observe(event):
        if "log_failure" in event:
            events.append(event)

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)


class Faulty(Sought):
    """A session whose dials cannot even be begun."""

    def dial(self, target):
        raise ValueError(target.backend)


def test_dial_that_is_not_begun_takes_no_place(caught):
    """A fault of one session's dial is logged; the places of dials and the sessions behind it are as before."""
    clock, traffic, _ = started()
    faulty = [Faulty(traffic) for _ in range(MOST_DIALS + 1)]
    sound = Sought(traffic)
    for session in (*faulty, sound):
        traffic.seek(session)
    traffic.direct(A)
    assert sound.dials == ["lic-a"]
    assert traffic._dials == 1
    assert len(caught) == len(faulty)
    clock.advance(traffic.hold)
    assert all(session.reason for session in faulty)
