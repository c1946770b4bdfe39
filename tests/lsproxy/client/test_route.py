"""The order of dialing."""

import random

from hypothesis import given
from hypothesis import strategies as st

from lsproxy.client.route import LONGEST_PAUSE, SPREAD, Route
from lsproxy.net.address import Address

A, B, C = (Address(name, 27000) for name in "abc")


def route(*addresses: Address) -> Route:
    return Route(addresses, random.Random(1))


def test_a_round_tries_every_address_without_a_pause():
    """The first round goes through the list in its order, at once; the next begins with a pause."""
    dialed = route(A, B, C)
    assert [dialed.next() for _ in range(3)] == [(0.0, A), (0.0, B), (0.0, C)]
    pause, address = dialed.next()
    assert pause > 0
    assert address == A


def test_a_named_address_comes_first():
    """An address that a server called active is dialed next, and the round goes on after it."""
    dialed = route(A, B)
    dialed.next()
    dialed.named(C)
    assert dialed.next() == (0.0, C)
    assert dialed.next() == (0.0, B)


def test_two_servers_that_name_each_other_cost_no_endless_loop():
    """A name is followed once a round."""
    dialed = route(A, B)
    tried = []
    for _ in range(4):
        pause, address = dialed.next()
        tried.append((pause > 0, address))
        dialed.named(B if address == A else A)
    assert tried == [(False, A), (False, B), (False, A), (False, B)]
    assert dialed.next()[0] > 0


def test_after_a_loss_the_next_address_is_dialed():
    """A server that was lost is tried last."""
    dialed = route(A, B)
    dialed.next()
    dialed.worked()
    assert dialed.next() == (0.0, B)


@given(st.integers(0, 2**32), st.integers(1, 200))
def test_pauses_grow_to_a_limit(seed, rounds):
    """However long nobody answers, a pause is never above the limit, and never none."""
    dialed = Route([A], random.Random(seed))
    dialed.next()
    pauses = [dialed.next()[0] for _ in range(rounds)]
    assert all(0 < pause <= LONGEST_PAUSE for pause in pauses)
    assert all(pause >= LONGEST_PAUSE / 2 for pause in pauses[6:])
    assert 0 <= dialed.spread() <= SPREAD
