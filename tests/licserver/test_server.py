"""Several servers of one name: who takes it, when, what they serve, and what becomes of one that lost it."""

from itertools import pairwise

import msgspec
import pytest
from twisted.internet.defer import Deferred, fail

from licserver.core.role import Refuse
from licserver.journal.interface import JournalError, JournalUnusable
from licserver.journal.memory import Fault
from tests.licserver.house import ANY_HOST, TTL, House, license_text
from tests.lsproxy.license.texts import signed


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def take_over(host, after_epoch=None, force=False):
    return host.server.take_over("a test", after_epoch, force)


def seats_in_force(host):
    return sum(pool.issued for pools in host.state.pools.values() for pool in pools)


# --- who takes the name ----------------------------------------------------------


def test_free_name_at_start(house):
    """A server that starts takes a name nobody has, in epoch 1, and remembers it."""
    a = house.host("lic-a")
    assert house.pass_until(lambda: a.role == "active") < 0.2
    assert house.store.claim.epoch == 1
    assert a.remembered[-1] == ("00" * 16, 1)


def test_one_of_two(house):
    """Of two servers that start one is active; the other follows, tells clients who is, and remembers the epoch too."""
    a, b = house.active_pair()
    house.pass_seconds(5)
    assert [a.role, b.role, house.store.claim.epoch] == ["active", "standby", 1]
    assert b.remembered[-1] == ("00" * 16, 1)
    client = house.client(b)
    client.hello()
    house.pass_seconds(0.01)
    assert (client.answer(1)["error"], client.answer(1)["active"]) == ("not_active", "lic-a:27101")
    assert client.is_closed


def test_standby_is_warm(house):
    """A standby's ledger is the active one's within a moment."""
    a, b = house.active_pair()
    client = house.session(a)
    house.ask(client, id=2, op="checkout", feature="cad")
    house.pass_seconds(0.05)
    assert b.state.held_handles(1) == [2]


def test_death(house):
    """A dead holder's name is taken at once; seats and queue are as they were, and the next grant follows."""
    a, b = house.active_pair()
    first = house.session(a)
    house.ask(first, id=2, op="checkout", feature="cad", count=10)
    second = house.session(a, "b")
    second.say(id=2, op="checkout", feature="cad", wait=100)
    house.pass_seconds(0.1)
    a.kill()
    assert house.pass_until(lambda: b.role == "active") < 0.3
    assert house.store.claim.epoch == 2
    again = house.session(b, "a", 2)
    assert again.answer(1)["held"] == [2]
    waiting = house.session(b, "b", 2)
    waiting.say(id=2, op="checkout", feature="cad", wait=100)
    house.ask(again, id=3, op="checkin", handle=2)
    house.pass_seconds(0.1)
    assert waiting.answer(2)["ok"]


def test_hang_after_a_hint(house):
    """A holder that hangs is ended and replaced after one unanswered question; thawed, it grants nothing."""
    a, b = house.active_pair()
    client = house.session(a)
    a.machine.freeze()
    client.say(id=2, op="checkout", feature="cad")
    assert house.wait(take_over(b, after_epoch=1)) == 2
    assert a.process in house.store.ended
    a.machine.thaw()
    house.pass_seconds(1)
    assert client.answer(2) is None
    assert client.is_closed
    assert a.role == "standby"


def test_hang_without_a_hint(house):
    """Without a hint a standby takes a name that was not confirmed for `ttl`."""
    a, b = house.active_pair()
    a.machine.freeze()
    assert TTL <= house.pass_until(lambda: b.role == "active") < TTL + 1


def test_frozen_standby_takes_nothing(house):
    """A standby that itself stood still does not mistake its own silence for the holder's."""
    a, b = house.active_pair()
    b.machine.freeze()
    house.pass_seconds(20)
    b.machine.thaw()
    house.pass_seconds(5)
    assert [a.role, b.role, house.store.claim.epoch] == ["active", "standby", 1]


def test_both_thawed(house):
    """Of a holder and a standby that both stood still, as on a suspended machine, one is active afterwards."""
    a, b = house.active_pair()
    client = house.session(a)
    house.ask(client, id=2, op="checkout", feature="cad")
    for host in (a, b):
        host.machine.freeze()
    house.pass_seconds(3600)
    for host in (a, b):
        host.machine.thaw()
    house.pass_seconds(5)
    assert sorted([a.role, b.role]) == ["active", "standby"]
    active = a if a.role == "active" else b
    assert active.state.held_handles(1) == [2]


def test_restart_raises_the_epoch(house):
    """The same server's next start is another epoch, and knows every seat."""
    a = house.host("lic-a")
    client = house.session(a) if house.pass_until(lambda: a.role == "active") else None
    house.ask(client, id=2, op="checkout", feature="cad")
    a.kill()
    again = house.host("lic-a", instance="2")
    house.pass_until(lambda: again.role == "active")
    assert house.store.claim.epoch == 2
    assert house.session(again, "a", 2).answer(1)["held"] == [2]


# --- hints -------------------------------------------------------------------------


def test_stale_hint(house):
    """A hint that names an older epoch than the journal's is stale."""
    a, b = house.active_pair()
    a.kill()
    house.pass_until(lambda: b.role == "active")
    c = house.host("lic-c")
    outcome = house.wait(take_over(c, after_epoch=1))
    assert outcome.code == "stale"
    assert b.role == "active"


def test_already_active(house):
    """A hint to the holder is answered with its epoch."""
    a, _ = house.active_pair()
    assert house.wait(take_over(a, after_epoch=0)) == 1


def test_hold_down(house):
    """A holder that has just taken the name and answers keeps it, unless forced; later it stands down when asked."""
    a, b = house.active_pair()
    refused = house.wait(take_over(b, after_epoch=1))
    assert isinstance(refused, Refuse)
    assert "keeps it for 5 s" in refused.message
    assert house.wait(take_over(b, after_epoch=1, force=True)) == 2
    house.pass_seconds(21)
    assert house.wait(take_over(a, after_epoch=2)) == 3
    assert [a.role, b.role] == ["active", "standby"]


def test_hints_for_a_minute(house):
    """Hints at healthy servers for a minute move the name as often as the protocol allows: after 5, 10, 20 and 40 s."""
    a, b = house.active_pair()
    house.pass_seconds(6)
    epochs = []
    for _ in range(600):
        for host in (a, b):
            if host.role == "standby" and not host.server._taking.locked:
                host.server._reactor.callLater(0, lambda host=host: _hint(host))
        house.pass_seconds(0.1)
        if not epochs or epochs[-1][1] != house.store.claim.epoch:
            epochs.append((house.clock.seconds(), house.store.claim.epoch))
    assert house.store.claim.epoch - 1 <= 4
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(epochs)]
    assert all(gap > least - 1 for gap, least in zip(gaps, (5, 10, 20, 40), strict=False))
    assert sorted([a.role, b.role]) == ["active", "standby"]


def _hint(host):
    Deferred.fromCoroutine(take_over(host, after_epoch=None)).addErrback(lambda _: None)


def test_switch_is_polite(house):
    """A planned switch lets the holder keep and say first what it decided; its clients hear who takes over."""
    a, b = house.active_pair()
    client = house.session(a)
    operator = house.operator(a)
    client.say(id=2, op="checkout", feature="cad")
    operator.say(id=2, op="stand_down", to="lic-b", reason="maintenance")
    house.pass_until(lambda: b.role == "active")
    assert client.answer(2)["ok"]
    assert client.heard[-1] == {"event": "standing_down", "active": "lic-b:27101"}
    assert operator.answer(2)["ok"]
    assert client.is_closed
    assert b.state.held_handles(1) == [2]


def test_heir(house):
    """For `ttl` only the heir may take a name that was given up for it; then anyone."""
    a, b = house.active_pair()
    c = house.host("lic-c")
    operator = house.operator(a)
    c.machine.freeze()
    operator.say(id=2, op="stand_down", to="lic-c")
    house.pass_until(lambda: a.role == "standby")
    house.pass_seconds(TTL - 0.2)
    refused = house.wait(take_over(b))
    assert "given up for lic-c" in refused.message
    assert [a.role, b.role] == ["standby", "standby"]
    house.pass_until(lambda: "active" in {a.role, b.role}, 1.0)


def test_stand_down_for_anyone(house):
    """A name that was given up for anyone is the other's before the giver's."""
    a, b = house.active_pair()
    assert house.ask(house.operator(a), id=2, op="stand_down")["ok"]
    assert house.pass_until(lambda: b.role == "active") < TTL / 2


def test_alone_it_takes_it_back(house):
    """A server that gave its name up, with nobody there to take it, takes it back."""
    a = house.host("lic-a")
    house.pass_until(lambda: a.role == "active")
    assert house.ask(house.operator(a), id=2, op="stand_down")["ok"]
    assert house.pass_until(lambda: a.role == "active") < TTL
    assert house.store.claim.epoch == 2


# --- losing it ---------------------------------------------------------------------


def test_deposed_server_rebuilds(house):
    """A server that lost the name closes its clients unanswered and becomes a warm standby of the next one."""
    a, b = house.active_pair()
    client = house.session(a)
    house.wait(take_over(b, force=True))
    house.pass_seconds(0.2)
    assert client.is_closed
    again = house.session(b, "a", 2)
    house.ask(again, id=2, op="checkout", feature="cad")
    house.pass_seconds(0.1)
    assert [a.role, a.state.held_handles(1)] == ["standby", [2]]


def test_own_tenure_broke_off(house):
    """A server whose journal was away for longer than `ttl` serves again by itself, in a higher epoch, seats kept."""
    a = house.host("lic-a")
    house.pass_until(lambda: a.role == "active")
    client = house.session(a)
    house.ask(client, id=2, op="checkout", feature="cad")
    client.say(id=3, op="checkout", feature="cad")
    for _ in range(1000):
        house.store.fail_next(Fault.LOST)
    house.pass_seconds(TTL + 1)
    assert a.role == "standby"
    assert client.is_closed
    house.store._faults.clear()
    house.pass_until(lambda: a.role == "active")
    assert house.store.claim.epoch >= 2
    assert house.session(a, "a", 2).answer(1)["held"] == [2]


def test_nothing_to_follow_with_a_broken_file(house):
    """It does so too when its own license file was broken meanwhile: the text in force is served."""
    a = house.host("lic-a")
    house.pass_until(lambda: a.role == "active")
    client = house.session(a)
    a.server.licenses.path.write_text("nonsense\n")
    client.say(id=3, op="checkout", feature="cad")
    for _ in range(1000):
        house.store.fail_next(Fault.LOST)
    house.pass_seconds(TTL + 1)
    house.store._faults.clear()
    house.pass_until(lambda: a.role == "active")
    assert seats_in_force(a) == 10


def test_journal_error_after_the_activation(house):
    """A server that took the name and then could not read the journal gives it back, and tries again."""
    a = house.host("lic-a", start=False)
    house.wait(a.start())
    failing = [JournalUnusable("the disk is away")] * 3
    real = a.server._standby._follower.catch_up

    def catch_up(newest):
        if house.store.claim.epoch and failing:
            raise failing.pop()
        return real(newest)

    a.server._standby._follower.catch_up = catch_up
    house.pass_until(lambda: a.role == "active")
    assert not failing
    assert house.store.claim.epoch > 1


def test_given_back_for_another(house):
    """What it could not serve another server takes at once."""
    a, b = house.active_pair()
    catch_up = b.server._standby._follower.catch_up

    def failing(newest):
        if house.store.claim.holder == b.server.identity.member:
            raise JournalUnusable("the disk is away")
        return catch_up(newest)

    b.server._standby._follower.catch_up = failing
    with pytest.raises(JournalUnusable):
        house.wait(take_over(b, force=True))
    assert house.store.claim.holder is None
    assert house.pass_until(lambda: a.role == "active") < TTL


def test_tenure_that_cannot_begin(house):
    """A server that takes the name again and again and can keep nothing leaves it to the other one."""
    a, b = house.active_pair()

    def refuse(*_):
        return fail(JournalError("this server's disk is full"))

    a.journal.append = refuse
    client = house.client(a)
    client.hello()
    house.pass_until(lambda: b.role == "active", TTL + 2)
    house.pass_seconds(10)
    assert b.role == "active"


def test_hint_to_one_that_leaves(house):
    """A holder that is giving the name up does not answer a hint as if it kept it."""
    a, b = house.active_pair()
    house.pass_seconds(6)
    b.machine.freeze()
    leaving, hinted = [], []
    Deferred.fromCoroutine(a.server.tenure.stand_down("lic-b", None)).addBoth(leaving.append)
    Deferred.fromCoroutine(take_over(a)).addBoth(hinted.append)
    house.pass_until(lambda: hinted)
    assert isinstance(hinted[0], Refuse)
    b.machine.thaw()
    house.pass_until(lambda: b.role == "active")


def test_unknown_activation(house):
    """An activation with an unknown outcome that was kept after all is followed by the next epoch, not by silence."""
    house.store.fail_next(Fault.LOST)  # the entry in the list of members
    a = house.host("lic-a", start=False)
    with pytest.raises(Exception, match="unknown"):
        house.wait(a.start())
    house.wait(a.start())
    house.store.fail_next(Fault.KEPT)
    house.pass_until(lambda: a.role == "active")
    assert house.store.claim.epoch == 2


def test_older_journal(house):
    """A server does not take the name in a journal that has gone back behind what it saw."""
    a, b = house.active_pair()
    a.kill()
    house.pass_until(lambda: b.role == "active")
    b.kill()
    c = house.host("lic-c", start=False)
    house.wait(c.server.read_journal())
    house.store.claim = msgspec.structs.replace(house.store.claim, epoch=1)
    with pytest.raises(JournalUnusable, match="older copy"):
        house.wait(take_over(c))


def test_stop_gives_the_name_up(house):
    """A server that stops gives the name up, tells its clients and leaves the list; the other one goes on at once."""
    a, b = house.active_pair()
    client = house.session(a)
    house.wait(a.server.stop())
    assert client.news()[-1] == "standing_down"
    assert house.pass_until(lambda: b.role == "active") < 0.3
    assert list(house.store.members) == ["lic-b"]


def test_stop_while_taking(house):
    """A stop in the middle of a takeover leaves nobody who holds the name and does not serve it."""
    for moment in range(1, 14):
        house = House(house.folder)
        a = house.host("lic-a")
        house.pass_until(lambda a=a: a.server._taking.locked)
        house.pass_seconds(moment * 0.0005)
        house.wait(a.server.stop())
        house.pass_seconds(1)
        assert house.store.claim.holder is None
        b = house.host("lic-b")
        house.pass_until(lambda b=b: b.role == "active")


def test_hint_during_a_stop(house):
    """A hint that comes while a server stops does not make it active again."""
    a, b = house.active_pair()
    b.machine.freeze()
    stopping, hinted = [], []
    Deferred.fromCoroutine(a.server.stop()).addBoth(stopping.append)
    Deferred.fromCoroutine(take_over(a)).addBoth(hinted.append)
    house.pass_until(lambda: stopping and hinted)
    assert "is stopping" in hinted[0].message
    assert house.store.claim.holder is None


def test_stop_twice_while_standing_down(house):
    """A stop during an operator's stand_down waits for its end."""
    a, b = house.active_pair()
    operator = house.operator(a)
    operator.say(id=2, op="stand_down", to="lic-b")
    house.pass_seconds(0.002)
    house.wait(a.server.stop())
    assert house.store.claim.holder is None or house.store.claim.holder.name == "lic-b"
    house.pass_until(lambda: b.role == "active")


# --- which license -------------------------------------------------------------------


def test_renewed_on_one_server_first(house):
    """A license renewed on one server first is no outage: the text in force is served after a takeover."""
    a = house.host("lic-a")
    house.pass_until(lambda: a.role == "active")
    b = house.host("lic-b", license_text(20))
    house.pass_seconds(1)
    a.kill()
    house.pass_until(lambda: b.role == "active")
    assert seats_in_force(b) == 10


def test_own_file_of_an_unconfirmed_name(house):
    """A name nobody confirmed since the start brings the own file into force; the same file changes nothing."""
    a = house.host("lic-a")
    house.pass_until(lambda: a.role == "active")
    a.kill()
    b = house.host("lic-b", license_text(20))
    house.pass_until(lambda: b.role == "active")
    assert seats_in_force(b) == 20
    slots = house.store.claim.newest_slot
    b.kill()
    c = house.host("lic-c", license_text(20))
    house.pass_until(lambda: c.role == "active")
    assert house.store.claim.newest_slot == slots + 1


def test_partly_broken_file(house):
    """A file with one broken line does not replace the text in force, however good its other lines."""
    both = signed("INCREMENT cad acme 1.0 permanent 10\nINCREMENT mesh acme 1.0 permanent 3\n", ANY_HOST)
    a = house.host("lic-a", both)
    house.pass_until(lambda: a.role == "active")
    a.kill()
    b = house.host("lic-b", both.replace("permanent 10", "permanent 99"))
    house.pass_until(lambda: b.role == "active")
    assert seats_in_force(b) == 13


def test_reread(house):
    """A renewed file comes into force on the active server by reread, and so everywhere; on a standby by nothing."""
    a, b = house.active_pair()
    b.server.licenses.path.write_text(license_text(30))
    assert house.ask(house.operator(b), id=2, op="reread")["ok"]
    house.pass_seconds(0.1)
    assert seats_in_force(a) == seats_in_force(b) == 10
    a.server.licenses.path.write_text(license_text(20))
    assert house.ask(house.operator(a), id=2, op="reread")["ok"]
    house.pass_seconds(0.1)
    assert seats_in_force(a) == seats_in_force(b) == 20


def test_wrong_host(house):
    """A text in force that does not bind this host keeps it from the name, whatever hint it gets; why is said."""
    mine = license_text(10, "SERVER lic-a HOSTNAME=lic-a 27101\nVENDOR acme\n")
    a = house.host("lic-a", mine, ["HOSTNAME=lic-a"])
    house.pass_until(lambda: a.role == "active")
    b = house.host("lic-b", mine, ["HOSTNAME=lic-b"])
    assert "bound to another host" in b.server.why_not_ready()
    refused = house.wait(take_over(b, force=True))
    assert (refused.code, "bound to another host" in refused.message) == ("not_permitted", True)
    a.kill()
    house.pass_seconds(10)
    assert b.role == "standby"


def test_ready_with_the_text_in_force(house):
    """A server whose own file is broken is ready as long as the text in force binds it."""
    a = house.host("lic-a")
    house.pass_until(lambda: a.role == "active")
    b = house.host("lic-b", "nonsense\n")
    assert b.server.why_not_ready() == ""
    a.kill()
    house.pass_until(lambda: b.role == "active")
    assert seats_in_force(b) == 10


def test_not_ready_without_any(house):
    """A server that finds no text in force and a broken file of its own is not ready, and takes nothing."""
    a = house.host("lic-a", "nonsense\n")
    assert "no line of the license can be served" in a.server.why_not_ready()
    house.pass_seconds(5)
    assert house.store.claim.epoch == 0
