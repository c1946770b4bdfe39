"""The checker: what must alarm, what must not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.promises.checker import check
from tests.promises.history import History, Record, read_history, write_history
from tests.promises.model import simulate
from tests.promises.reference import FAULTS

CAPACITY = {"cad": 2, "mesh": 1}


class Story:
    """A history told line by line: `tell("1.0 A sent", …)`. Trust is 10 s, ttl 2 s."""

    def __init__(self) -> None:
        self.history: History = []
        self.connections: dict[str, int] = {}

    def tell(self, who: str, time: float, kind: str, **message) -> None:
        connection = self.connections.setdefault(who, len(self.connections))
        self.history.append(Record(time, who[0], connection, kind, message))

    def hello(self, who: str, sent: float, received: float | None = None, **welcome) -> None:
        rest = {"epoch": 1, "resumed": False, "held": [], "heartbeat": 1.0, "resume": 13.0, "trust": 10.0}
        rest |= {"backend": f"lic-{welcome.get('epoch', 1)}"} | welcome
        number = int(sent * 1000)
        self.tell(who, sent, "sent", id=number, op="hello", attempt=1)
        self.tell(who, received or sent + 0.1, "received", id=number, ok=True, **rest)

    def ask(self, who: str, handle: int, sent: float, **rest) -> None:
        self.tell(who, sent, "sent", id=handle, op="checkout", **({"feature": "cad", "count": 1, "wait": 0} | rest))

    def grant(self, who: str, handle: int, received: float, seat: int, **rest) -> None:
        whole = {"handle": handle, "seat": seat, "feature": "cad", "count": 1, "version": "1.0", "expires": None}
        self.tell(who, received, "received", id=handle, ok=True, **(whole | {"grace": 60.0} | rest))

    def take(self, who: str, handle: int, sent: float, seat: int, **rest) -> None:
        self.ask(who, handle, sent, **rest)
        self.grant(who, handle, sent + 0.1, seat, **rest)

    def refuse(self, who: str, handle: int, received: float, error: str) -> None:
        self.tell(who, received, "received", id=handle, ok=False, error=error)

    def queued(self, who: str, handle: int, received: float) -> None:
        self.tell(who, received, "received", event="queued", id=handle, position=1)

    def beat(self, who: str, sent: float, seats: int, received: float | None = None) -> None:
        number = int(sent * 1000)
        self.tell(who, sent, "sent", id=number, op="heartbeat")
        self.tell(who, received or sent + 0.1, "received", id=number, ok=True, seats=seats, notices=[])

    def give_back(self, who: str, handle: int, sent: float, *, answered: bool = True) -> None:
        number = int(sent * 1000)
        self.tell(who, sent, "sent", id=number, op="checkin", handle=handle)
        if answered:
            self.tell(who, sent + 0.1, "received", id=number, ok=True)

    def broken(self, removed: tuple[int, ...] = ()) -> set[int]:
        return {violation.promise for violation in check(self.history, CAPACITY, removed)}


@pytest.fixture
def story() -> Story:
    return Story()


# --- 1: durable -------------------------------------------------------------------


def holding(story: Story, *, seat: int = 1) -> None:
    story.hello("A1", 0.0)
    story.take("A1", 7, 1.0, seat)


def test_a_seat_missing_after_a_resume_is_found(story):
    """Granted at 1, not in `held` at 5: lost."""
    holding(story)
    story.hello("A2", 5.0, resumed=True, epoch=2)
    assert story.broken() == {1}


def test_a_forgotten_session_is_found(story):
    """A hello answered with resumed false, 4 s after the last ok, contradicts a live seat."""
    holding(story)
    story.hello("A2", 5.0, resumed=False, epoch=2)
    assert story.broken() == {1}


def test_a_forgotten_session_behind_lsproxy_is_found(story):
    """The event `resumed` with false, or without the handle, contradicts it, too."""
    for rest in ({"resumed": False, "held": []}, {"resumed": True, "held": []}):
        story = Story()
        holding(story)
        story.tell("A1", 5.0, "received", event="resumed", epoch=2, **rest)
        assert story.broken() == {1}


@pytest.mark.parametrize("code", ["ended", "no_seats", "bad_request"])
def test_a_live_seat_refused_when_repeated_is_found(story, code):
    """A held checkout that is repeated gets the same answer, never a refusal."""
    holding(story)
    story.ask("A1", 7, 3.0)
    story.refuse("A1", 7, 3.1, code)
    assert story.broken() == {1}


def test_a_heartbeat_that_counts_too_few_is_found(story):
    """`seats` 0 with one seat live."""
    holding(story)
    story.beat("A1", 3.0, seats=0)
    assert story.broken() == {1}


def test_a_returned_seat_that_comes_back_is_found(story):
    """A checkin that was answered ok and then was not kept."""
    holding(story)
    story.give_back("A1", 7, 2.0)
    story.hello("A2", 5.0, resumed=True, held=[7], epoch=2)
    assert story.broken() == {1}


def test_a_seat_may_run_out_with_its_trust(story):
    """11 s after the last ok nothing that is missing is a contradiction."""
    for resumed in (True, False):
        story = Story()
        holding(story)
        story.hello("A2", 12.5, resumed=resumed, epoch=2)
        assert story.broken() == set()


def test_trust_counts_from_the_sending(story):
    """Asked at 1 and answered at 6, a seat is certain until 11: missing at 12 is no contradiction."""
    story.hello("A1", 0.0)
    story.ask("A1", 7, 1.0, wait=30)
    story.grant("A1", 7, 6.0, seat=1)
    story.hello("A2", 12.0, resumed=True, epoch=2)
    assert story.broken() == set()


def test_old_news_of_an_old_connection_is_no_contradiction(story):
    """`resumed` without the seat, late on a connection that was replaced before the seat was granted."""
    story.hello("A1", 0.0)
    story.hello("A2", 1.0, resumed=True, epoch=2)
    story.take("A2", 7, 2.0, seat=1)
    for resumed in (True, False):
        story.tell("A1", 3.0, "received", event="resumed", epoch=2, resumed=resumed, held=[])
    assert story.broken() == set()


def test_an_unanswered_heartbeat_proves_nothing(story):
    """Trust counts from the last request that was answered."""
    holding(story)
    story.tell("A1", 9.0, "sent", id=9000, op="heartbeat")
    story.hello("A2", 12.5, resumed=False, epoch=2)
    assert story.broken() == set()


def test_a_seat_that_may_have_been_returned_may_be_missing(story):
    """A checkin or bye that was sent, answered or not, frees it."""
    for op in ({"op": "checkin", "handle": 7}, {"op": "bye"}):
        story = Story()
        holding(story)
        story.tell("A1", 2.0, "sent", id=8, **op)
        story.hello("A2", 3.0, resumed=op["op"] == "checkin", epoch=2)
        assert story.broken() == set()


def test_a_removed_seat_may_be_missing(story):
    """An operator took it: told by the event, late, or known to the test alone."""
    holding(story)
    story.hello("A2", 5.0, resumed=True)
    assert story.broken(removed=(1,)) == set()
    story.tell("A2", 5.3, "received", event="removed", handle=7, reason="")
    assert story.broken() == set()


# --- 2: never over ----------------------------------------------------------------


def test_one_seat_too_many_is_found(story):
    """Three live seats of two."""
    for number, who in enumerate(("A1", "B1", "C1")):
        story.hello(who, 0.0)
        story.take(who, 7, 1.0 + number, seat=number + 1)
    assert story.broken() == {2}


def test_a_detached_seat_counts_until_its_trust_ends(story):
    """A's connection is gone at 2 s; its two seats are live until 11, so a third at 10 is one too many, at 12 not."""
    for sent, broken in ((10.0, {2}), (11.5, set())):
        story = Story()
        story.hello("A1", 0.0)
        story.take("A1", 7, 1.0, seat=1, count=2)
        story.hello("B1", 2.0)
        story.take("B1", 7, sent, seat=2)
        assert story.broken() == broken


def test_heartbeats_keep_a_seat_live(story):
    """A seat renewed by heartbeats until 20 is in the way at 25."""
    story.hello("A1", 0.0)
    story.take("A1", 7, 1.0, seat=1, count=2)
    story.beat("A1", 10.0, seats=1)
    story.beat("A1", 19.0, seats=1)
    story.hello("B1", 2.0)
    story.take("B1", 7, 25.0, seat=2)
    assert story.broken() == {2}


def test_a_seat_ends_with_the_sending_of_its_checkin(story):
    """Returned at 2.0 (the answer comes late), granted to another at 2.1: legal."""
    story.hello("A1", 0.0)
    story.take("A1", 7, 1.0, seat=1, count=2)
    story.give_back("A1", 7, 2.0, answered=False)
    story.hello("B1", 0.0)
    story.take("B1", 7, 2.0, seat=2, count=2)
    assert story.broken() == set()


def test_a_license_that_shrinks_takes_no_seat_away():
    """From two seats to one at 5.0: the two held before go on, a new one after is too many."""
    story = Story()
    story.hello("A1", 0.0)
    story.take("A1", 7, 1.0, seat=1, count=2)
    steps = {"cad": [(0.0, 2), (5.0, 1)]}
    story.beat("A1", 8.0, seats=1)
    assert check(story.history, steps) == []
    story.give_back("A1", 7, 9.0)
    story.take("A1", 9, 9.5, seat=2, count=2)
    assert {violation.promise for violation in check(story.history, steps)} == {2}


# --- 3: once ----------------------------------------------------------------------


def test_a_second_seat_for_a_repeated_checkout_is_found(story):
    """The same handle, another seat number."""
    holding(story)
    story.ask("A1", 7, 3.0)
    story.grant("A1", 7, 3.1, seat=2)
    assert story.broken() == {3}


def test_another_answer_to_a_repeated_checkout_is_found(story):
    """The same seat, another version."""
    holding(story)
    story.ask("A1", 7, 3.0)
    story.grant("A1", 7, 3.1, seat=1, version="2.0")
    assert story.broken() == {3}


def test_one_seat_number_for_two_is_found(story):
    """Two sessions with seat 1."""
    holding(story)
    story.hello("B1", 0.0)
    story.take("B1", 7, 2.0, seat=1)
    assert story.broken() == {3}


def test_a_handle_nobody_asked_for_is_found(story):
    """`held` names 9, which this session never sent."""
    holding(story)
    story.hello("A2", 5.0, resumed=True, held=[7, 9], epoch=2)
    assert story.broken() == {3}


def test_more_seats_than_were_asked_for_are_found(story):
    """One checkout of one seat, and the heartbeat says 2."""
    holding(story)
    story.beat("A1", 3.0, seats=2)
    assert story.broken() == {3}


def test_a_grant_after_the_end_is_found(story):
    """Returned, told ok, repeated, granted."""
    holding(story)
    story.give_back("A1", 7, 2.0)
    story.ask("A1", 7, 3.0)
    story.grant("A1", 7, 3.1, seat=1)
    assert story.broken() == {3}


def test_the_same_answer_on_two_connections_is_legal(story):
    """A checkout repeated after a lost answer is granted once, and said twice."""
    story.hello("A1", 0.0)
    story.ask("A1", 7, 1.0)
    story.hello("A2", 2.0, resumed=True, held=[7], epoch=2)
    story.ask("A2", 7, 2.2)
    story.grant("A2", 7, 2.3, seat=1)
    story.grant("A1", 7, 2.4, seat=1)
    story.beat("A2", 2.5, seats=1)
    assert story.broken() == set()


# --- 4: fenced --------------------------------------------------------------------


def test_a_grant_by_a_lost_server_is_found(story):
    """B saw epoch 2 at 1.1; A asks at 2.0 on its connection of epoch 1 and is granted."""
    story.hello("A1", 0.0)
    story.hello("B1", 1.0, epoch=2)
    story.take("A1", 7, 2.0, seat=1)
    assert story.broken() == {4}


def test_a_hello_taken_by_a_lost_server_is_found(story):
    """A hello needs the journal: after epoch 2 was seen, none is answered ok in epoch 1."""
    story.hello("B1", 1.0, epoch=2)
    story.hello("A1", 2.0)
    assert story.broken() == {4}


def test_a_confirmation_later_than_ttl_is_found(story):
    """A heartbeat sent 3 s after epoch 2 was seen is answered by epoch 1; ttl is 2 s."""
    story.hello("A1", 0.0)
    story.hello("B1", 1.0, epoch=2)
    story.beat("A1", 4.2, seats=0)
    assert story.broken() == {4}


def test_one_epoch_of_two_servers_is_found(story):
    """lic-a and lic-b both say that they hold epoch 1."""
    story.hello("A1", 0.0, backend="lic-a")
    story.hello("B1", 0.0, backend="lic-b")
    assert story.broken() == {4}


def test_a_step_back_behind_lsproxy_is_found(story):
    """`resumed` with an older epoch than the hello's."""
    story.hello("A1", 0.0, epoch=3, backend="lic-a")
    story.tell("A1", 1.0, "received", event="resumed", epoch=2, resumed=True, held=[])
    assert story.broken() == {4}


def test_what_was_asked_before_the_takeover_may_be_answered_after_it(story):
    """A checkout of 0.9 answered at 5, and a heartbeat within ttl, are legal; so is everything after `resumed`."""
    story.hello("A1", 0.0)
    story.ask("A1", 7, 0.9)
    story.hello("B1", 1.0, epoch=2)
    story.beat("A1", 2.0, seats=1)
    story.grant("A1", 7, 5.0, seat=1)
    story.tell("A1", 5.5, "received", event="resumed", epoch=2, resumed=True, held=[7])
    story.take("A1", 8, 6.0, seat=2)
    assert story.broken() == set()


# --- 5: in order ------------------------------------------------------------------


def queue_for_the_last(story: Story, *, wait: float = 30) -> None:
    """C holds both seats; A was told at 2.0 that it waits; B says hello."""
    for who in ("A1", "B1", "C1"):
        story.hello(who, 0.0)
    story.take("C1", 5, 1.0, seat=1, count=2)
    story.ask("A1", 7, 1.9, wait=wait, count=2)
    story.queued("A1", 7, 2.0)


def test_a_grant_past_the_queue_is_found(story):
    """C returns, B gets the seats before A, A gets them when B returns them."""
    queue_for_the_last(story)
    story.give_back("C1", 5, 3.0)
    story.take("B1", 7, 3.2, seat=2, count=2)
    story.give_back("B1", 7, 4.0)
    story.grant("A1", 7, 4.2, seat=3, count=2)
    assert story.broken() == {5}


def test_a_smaller_grant_past_the_head_is_found(story):
    """One of two seats is free, A waits for two; B gets the one: A's two would have left none."""
    queue_for_the_last(story)
    story.give_back("C1", 5, 3.0)
    story.take("B1", 7, 3.2, seat=2, wait=10)
    story.give_back("B1", 7, 4.0)
    story.grant("A1", 7, 4.2, seat=3, count=2)
    assert story.broken() == {5}


def test_a_grant_while_the_queue_waits_in_vain_is_found(story):
    """B, who came later, is served at 3.3, and A is told no_seats when its wait of 5 s is over."""
    queue_for_the_last(story, wait=5)
    story.give_back("C1", 5, 3.0)
    story.take("B1", 7, 3.2, seat=2)
    story.refuse("A1", 7, 7.0, "no_seats")
    assert story.broken() == {5}


def test_a_grant_before_a_withdrawal_is_found(story):
    """A leaves the queue at 6 and is told `withdrawn`: it still waited when B was served at 3.3."""
    queue_for_the_last(story)
    story.give_back("C1", 5, 3.0)
    story.take("B1", 7, 3.2, seat=2)
    story.give_back("A1", 7, 6.0)
    story.refuse("A1", 7, 6.1, "withdrawn")
    assert story.broken() == {5}


def test_overtaking_across_a_failover_is_found(story):
    """A's hello at 4 shows that it held nothing yet; B, who came later, was served at 3.3."""
    queue_for_the_last(story)
    story.give_back("C1", 5, 3.0)
    story.take("B1", 7, 3.2, seat=2)
    story.hello("A2", 4.0, resumed=True)
    story.ask("A2", 7, 4.2, wait=30, count=2)
    story.give_back("B1", 7, 4.3)
    story.grant("A2", 7, 4.5, seat=3, count=2)
    assert story.broken() == {5}


def test_who_asked_before_the_queue_was_known_may_be_first(story):
    """B asked before A was told that it waits: the order of the two is not known."""
    for who in ("A1", "B1", "C1"):
        story.hello(who, 0.0)
    story.take("C1", 5, 1.0, seat=1, count=2)
    story.ask("A1", 7, 1.9, wait=30, count=2)
    story.ask("B1", 7, 1.95, wait=30, count=2)
    story.queued("A1", 7, 2.0)
    story.queued("B1", 7, 2.0)
    story.give_back("C1", 5, 3.0)
    story.grant("B1", 7, 3.2, seat=2, count=2)
    story.give_back("B1", 7, 4.0)
    story.grant("A1", 7, 4.2, seat=3, count=2)
    assert story.broken() == set()


def test_a_late_answer_is_no_overtaking(story):
    """A may have been served before B and have heard it later, as there was room for both."""
    queue_for_the_last(story)
    story.history[-2].message["count"] = 1
    story.give_back("C1", 5, 3.0)
    story.take("B1", 7, 3.2, seat=3)
    story.grant("A1", 7, 4.2, seat=2)
    assert story.broken() == set()


def test_after_a_lapse_a_place_may_be_lost(story):
    """A was silent for longer than its trust: its session may have been another one meanwhile."""
    queue_for_the_last(story, wait=60)
    story.give_back("C1", 5, 3.0)
    story.hello("A2", 20.0, resumed=True)
    story.take("B1", 7, 15.0, seat=2, count=2)
    story.give_back("B1", 7, 21.0)
    story.ask("A2", 7, 20.2, wait=60, count=2)
    story.grant("A2", 7, 22.0, seat=3, count=2)
    assert story.broken() == set()


# --- all of them ------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(2, 10))
def test_a_faultless_server_never_alarms(seed, seats, clients):
    """Delays, cuts, sleeps, doubled connections, takeovers and removals of a legal history break no promise."""
    capacity = {"cad": seats, "mesh": 1}
    history, removed = simulate(seed, capacity=capacity, clients=clients, seconds=8.0)
    assert check(history, capacity, removed) == []


PROMISE = dict(zip(FAULTS, (2, 1, 3, 5, 4), strict=True))


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found(fault):
    """Of twelve histories with a fault most show it, and a fault breaks the promise it is about."""
    found = 0
    for seed in range(12):
        capacity = {"cad": 3, "mesh": 1}
        history, removed = simulate(seed, capacity=capacity, seconds=10.0, faults=frozenset({fault}))
        found += PROMISE[fault] in {violation.promise for violation in check(history, capacity, removed)}
    assert found >= 6


def test_a_history_is_read_as_it_was_written(tmp_path, story):
    """The file holds one JSON object a line and gives the same records."""
    holding(story)
    write_history(tmp_path / "history.jsonl", story.history)
    assert read_history(tmp_path / "history.jsonl") == story.history


# --- 6: within the takeover limit ----------------------------------------------------


@pytest.mark.parametrize(("sent", "is_broken"), [(8.0, False), (15.5, True), (14.0, False)])
def test_takeover_limit(story, sent, is_broken):
    """A grant beyond what the redundant server may serve in all its epochs is seen; time that is not proven is not."""
    story.hello("A", 1.0, epoch=2, backend="lic-b")
    story.beat("A", 4.0, 0)
    story.hello("A2", 5.0, epoch=3, backend="lic-a", resumed=True)
    story.beat("A2", 6.0, 0)
    story.hello("A3", 7.0, epoch=4, backend="lic-b", resumed=True)
    story.take("A3", 20_000, sent, 1)
    broken = {one.promise for one in check(story.history, CAPACITY, limits={"lic-b": 11.0})}
    assert broken == ({6} if is_broken else set())
