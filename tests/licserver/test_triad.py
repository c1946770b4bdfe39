"""A triad: which of three servers takes the name, what the others say, and one name that runs twice."""

import pytest

from licserver.core.scheme import Wanted
from tests.licserver.house import TTL, House, license_text

LETTERS = ("a", "b", "c")
LINES = "".join(f"SERVER lic-{each} ETHER=02a1b2c3d4{each * 2} 27101\n" for each in LETTERS) + "VENDOR acme\n"
TRIAD = Wanted("triad")
STARTED = TTL * 2
"""Seconds after which three servers that start together have found out who serves."""


class Triad(House):
    """Three servers, `lic-a` to `lic-c`, whose SERVER lines stand in this order."""

    def __init__(self, folder):
        super().__init__(folder, license_text(10, LINES))
        self.starts = 0

    def start(self, letter, wanted=TRIAD):
        """One of them, started (again)."""
        self.starts += 1
        hostids = (f"ETHER=02a1b2c3d4{letter * 2}",)
        return self.host(f"lic-{letter}", hostids=hostids, instance=str(self.starts), wanted=wanted)

    def all(self, order=LETTERS, **priorities):
        """All of them, started in that order; who serves after a while."""
        hosts = {each: self.start(each, Wanted("triad", priority=priorities.get(each))) for each in order}
        self.pass_seconds(STARTED)
        return [hosts[each] for each in LETTERS]

    def told(self):
        """What each that lives says of itself."""
        return [host.role for name, host in sorted(self.hosts.items()) if not host.machine.is_dead]


@pytest.fixture
def triad(tmp_path):
    return Triad(tmp_path)


@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_free_name(triad, order):
    """Whichever is started first, the first by priority takes a free name."""
    triad.all(order)
    assert triad.told() == ["active", "standby", "standby"]


def test_priority_configured(triad):
    """A priority in the configuration counts before the order of the SERVER lines, and status shows it."""
    hosts = triad.all(a=3, b=2, c=1)
    assert triad.told() == ["standby", "standby", "active"]
    shown = [triad.ask(triad.client(host), id=9, op="status")["redundancy"] for host in hosts]
    assert [(each["scheme"], each["role"], each["priority"]) for each in shown] == [
        ("triad", "triad", 3), ("triad", "triad", 2), ("triad", "triad", 1),
    ]  # fmt: skip


def test_losses(triad):
    """
    0 s    all three run          > lic-a serves
    4 s    lic-a is lost          > lic-b serves, lic-c leaves it the time
    8 s    lic-a is back          > stands by: the holder is well
    12 s   lic-b is lost          > lic-a serves
    16 s   lic-a hangs            > lic-c serves, the last one; the seat is as it was
    """
    a, b, c = triad.all()
    client = triad.session(a)
    seat = triad.ask(client, id=2, op="checkout", feature="cad")["seat"]
    a.kill()
    assert triad.pass_until(lambda: b.role == "active") < TTL / 2
    triad.pass_seconds(STARTED)
    assert triad.told() == ["active", "standby"]
    a = triad.start("a")
    triad.pass_seconds(STARTED)
    assert triad.told() == ["standby", "active", "standby"]
    b.kill()
    triad.pass_until(lambda: a.role == "active")
    triad.pass_seconds(STARTED)
    assert triad.told() == ["active", "standby"]
    a.machine.freeze()
    assert TTL < triad.pass_until(lambda: c.role == "active") < 2 * TTL
    resumed = triad.session(c, attempt=2)
    assert resumed.answer(1)["held"] == [2]
    assert triad.ask(resumed, id=2, op="checkout", feature="cad")["seat"] == seat


def test_last_one_alone(triad):
    """The last by priority, started alone, serves after its wait."""
    c = triad.start("c")
    assert TTL <= triad.pass_until(lambda: c.role == "active") < 2 * TTL


def test_clients_are_told(triad):
    """A server that stands by names the active one."""
    _, b, c = triad.all()
    said = [triad.session(host).answer(1) for host in (b, c)]
    assert [(each["error"], each["active"]) for each in said] == [("not_active", "lic-a:27101")] * 2


def test_asked_out_of_turn(triad):
    """A hint counts before the priorities: whoever is asked to take over does."""
    _, _, c = triad.all()
    assert triad.ask(triad.operator(c), id=2, op="takeover", reason="test", force=True)["ok"]
    triad.pass_seconds(STARTED)
    assert triad.told() == ["standby", "standby", "active"]


def test_started_twice(triad):
    """A second server of one name is found out: the first says so, in its status too, and takes the name no more."""
    a = triad.start("a")
    triad.pass_until(lambda: a.role == "active")
    again = triad.start("a")
    triad.pass_until(lambda: a.server.membership.twin)
    sentence = "lic-a was started twice, the other one runs as process 2 at lic-a:27101; stop one of the two"
    notices = triad.ask(triad.client(a), id=9, op="status")["notices"]
    assert {"code": "twin", "message": sentence} in notices
    assert (a.role, again.role, again.server.membership.twin) == ("active", "standby", "")
    assert triad.ask(triad.operator(again), id=2, op="takeover", reason="test", force=True)["ok"]
    refused = triad.ask(triad.operator(a), id=2, op="takeover", reason="test", force=True)
    assert (refused["error"], refused["message"]) == ("not_permitted", sentence)
    again.kill()
    triad.pass_until(lambda: a.role == "active")
    assert a.server.membership.twin == ""
    triad.pass_until(lambda: [one.instance for one, _ in a.server.membership.members] == ["lic-a-1"])
