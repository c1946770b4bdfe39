"""Tests of a pool: who is served after what, told over real connections."""

import re
import threading

import pytest
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from lsproxy.config import model
from lsproxy.core.choice import Admin
from lsproxy.errors import LsproxyError
from lsproxy.license.signature import sign
from lsproxy.proxy.build import plan_pool
from lsproxy.proxy.licenses import MOST_PROBLEMS
from lsproxy.proxy.memory import Remembered, StateFileError
from lsproxy.proxy.operator import Operator
from tests.lsproxy.license.texts import OTHER_KEY
from tests.lsproxy.proxy.conftest import LICENSE
from tests.lsproxy.proxy.seatserver import TOKEN, Book
from tests.lsproxy.proxy.test_session import scenario, session


def of(world, name):
    return next(one for one in world.pool.snapshot().backends if one.name == name)


@scenario
async def test_highest_claim_is_followed(world):
    """A pool that starts serves who is active, whatever its own preference, and asks nobody to take over."""
    await world.a.start()
    await world.b.start()
    world.b.activate()
    await world.start_pool()
    await world.served_by("lic-b")
    assert world.book.epoch == 1
    picture = world.pool.snapshot()
    assert picture.is_well
    assert (picture.epoch, picture.journal, picture.address) == (1, "j1", f"127.0.0.1:{world.b.number}")


@scenario
async def test_free_name_is_taken_by_the_first(world):
    """When nobody is active, the first in order is asked to take over, at once."""
    await world.start(active=False)
    await world.served_by("lic-a")
    assert world.book.epoch == 1


@scenario
async def test_late_check_of_one_does_not_depose_the_other(world):
    """A standby that answers first is not asked in before the other one was checked."""
    await world.a.start()
    await world.b.start()
    world.b.activate()
    world.b.is_frozen = True
    await world.start_pool(health=model.Health(interval=0.1, timeout=1.0))
    await deferLater(reactor, 0.3)
    assert world.pool.serving is None
    world.b.thaw()
    await world.served_by("lic-b")
    assert world.book.epoch == 1


@scenario
async def test_failover_is_said_and_remembered(world):
    """A takeover is announced, and chosen backend, journal and epoch survive a restart of the proxy."""
    await world.start()
    await world.served_by("lic-a")
    world.a.kill()
    await world.served_by("lic-b")
    assert world.happened("takeover") == ["lic-b took over from lic-a, epoch 2"]
    assert (sum(world.pool.failovers.counts), sum(world.pool.switchovers.counts)) == (1, 0)
    assert world.pool.unserved_seconds >= world.pool.failovers.sum > 0
    await world.stop_pool()
    assert world.memory.load("acme") == Remembered(chosen="lic-b", journal="j1", epoch=2)


@scenario
async def test_sticky_returned_server_stays_standby(world):
    """With sticky failback the server that returned does not get its clients back."""
    await world.start()
    await world.served_by("lic-a")
    world.a.kill()
    await world.served_by("lic-b")
    await world.a.start()
    await world.until(lambda: of(world, "lic-a").health == "up")
    await deferLater(reactor, 0.2)
    assert world.pool.serving == "lic-b"
    assert world.book.epoch == 2


@scenario
async def test_automatic_failback(world):
    """With automatic failback it gets them back after `failback_after`, without a client losing anything."""
    await world.start(failback="automatic", failback_after=0.2)
    client = await world.client(session(1))
    world.a.kill()
    await world.served_by("lic-b")
    await client.told(event="resumed", epoch=2)
    await world.a.start()
    await world.served_by("lic-a")
    await client.told(event="resumed", epoch=3)
    assert "stand_down" in [message["op"] for _, message in world.b.heard]
    assert not client.is_closed


@scenario
async def test_manual_keeps_out_until_ready(world):
    """With manual failback the lost one stays out, is served only for want of another, and `ready` lets it in."""
    await world.start(failback="manual")
    await world.served_by("lic-a")
    world.a.kill()
    await world.served_by("lic-b")
    assert of(world, "lic-a").is_kept_out
    await world.a.start()
    await world.until(lambda: of(world, "lic-a").health == "up")
    with pytest.raises(LsproxyError, match="kept out until"):
        await world.operator.switch("lic-a")
    await world.operator.set_state("lic-a", Admin.READY)
    await world.operator.switch("lic-a")
    assert world.pool.serving == "lic-a"


@scenario
async def test_planned_switch_has_no_gap(world):
    """A planned switchover moves a busy client without a refusal, and asks the old one to stand down first."""
    await world.start()
    client = await world.client(session(1))
    client.ask("checkout", feature="cad")
    await client.told(id=2)
    for _ in range(5):
        client.ask("heartbeat")
    switching = world.operator.switch()
    for _ in range(5):
        client.ask("heartbeat")
    await switching
    client.ask("heartbeat")
    await client.told(id=13)
    assert all(one["ok"] for one in client.lines if "id" in one)
    assert client.found(event="standing_down") is None
    assert client.found(event="resumed")["held"] == [2]
    assert world.pool.serving == "lic-b"
    assert world.book.seats == 1
    assert (sum(world.pool.failovers.counts), sum(world.pool.switchovers.counts)) == (0, 1)


@scenario
async def test_switch_is_refused_with_a_reason(world):
    """A switch to nobody, to an unknown or to a dead one is refused in a sentence."""
    await world.start()
    await world.served_by("lic-a")
    with pytest.raises(LsproxyError, match="no backend lic-x; it has lic-a, lic-b"):
        await world.operator.switch("lic-x")
    world.b.kill()
    await world.until(lambda: of(world, "lic-b").health == "down")
    with pytest.raises(LsproxyError, match="lic-b cannot take over: it does not answer"):
        await world.operator.switch("lic-b")
    with pytest.raises(LsproxyError, match="nothing to switch to: lic-b does not answer"):
        await world.operator.switch()
    with pytest.raises(LsproxyError, match="nothing to switch to"):
        await world.operator.set_state("lic-a", Admin.DRAIN)
    assert world.pool.serving == "lic-a"


@scenario
async def test_drain_and_maint(world):
    """Drain moves the clients and chooses it no more; maint is at once and unprobed; both survive a restart."""
    await world.start()
    client = await world.client(session(1))
    await world.operator.set_state("lic-a", Admin.DRAIN)
    assert world.pool.serving == "lic-b"
    await client.told(event="resumed")
    await world.operator.set_state("lic-a", Admin.MAINT)
    await deferLater(reactor, 0.05)
    asked = len(world.a.heard)
    await deferLater(reactor, 0.2)
    assert len(world.a.heard) == asked
    assert of(world, "lic-a").health == "unchecked"
    await world.stop_pool()
    await world.start_pool()
    await world.served_by("lic-b")
    assert of(world, "lic-a").admin == "maint"


@scenario
async def test_maint_of_the_served_one_hands_over(world):
    """Maint of the server in use asks it to stand down, and the next one takes over."""
    await world.start()
    client = await world.client(session(1))
    await world.operator.set_state("lic-a", Admin.MAINT)
    await client.told(event="resumed", epoch=2)
    await world.until(lambda: not world.pool.backends["lic-a"].is_watched)


@scenario
async def test_all_in_maint_refuses_at_once(world):
    """With all backends in maint nobody waits: `hold` is nothing."""
    await world.start()
    client = await world.client(session(1))
    await world.operator.set_state("lic-b", Admin.MAINT)
    await world.operator.set_state("lic-a", Admin.MAINT)
    client.ask("heartbeat")
    await client.closed(0.5)
    newcomer = await world.client()
    newcomer.hello(session(2))
    assert "lic-a is in maint" in (await newcomer.told(0.5, id=1, error="no_backend"))["message"]


@scenario
async def test_unbound_server_gets_no_clients(world):
    """An active server on a host the license does not name gets no client, and the bound one is asked in."""
    await world.a.start()
    await world.b.start()
    world.a.hostids = ["hostname=elsewhere"]
    world.a.activate()
    await world.start_pool()
    await world.served_by("lic-b")
    assert of(world, "lic-a").binding == "unbound"
    assert "bound to another host" in of(world, "lic-a").binding_reason
    assert world.happened("backend_barred")


@scenario
async def test_unbound_is_served_where_it_is_not_enforced(world):
    """`binding: warn` serves an unbound server and shows it."""
    await world.a.start()
    await world.b.start()
    world.a.hostids = ["hostname=elsewhere"]
    world.a.activate()
    await world.start_pool(binding="warn")
    await world.served_by("lic-a")
    assert of(world, "lic-a").binding == "unbound"


@scenario
async def test_differing_license_is_said(world):
    """A server that serves another license than the proxy's file is served, and that is shown."""
    world.a.license = "sha256:" + "1" * 64
    await world.start()
    await world.served_by("lic-a")
    await world.until(lambda: of(world, "lic-a").license_note is not None)
    assert "lic-a serves license sha256:1111" in of(world, "lic-a").license_note
    assert world.happened("license_differs")
    assert of(world, "lic-b").license_note is None


@scenario
async def test_a_hold_that_outlasts_trust_is_said(world):
    """Clients would lose their trust while they wait: whoever set it so is told."""
    world.a.trust = 20.0
    await world.start()
    await world.served_by("lic-a")
    assert "heartbeat 15 s + hold 5 s is not under trust (20 s)" in world.happened("hold_too_long")[0]
    assert len(world.happened("hold_too_long")) == 1


@scenario
async def test_two_journals_are_a_conflict(world):
    """Of two servers active on two journals neither is served until `switch --force`, and it is said."""
    world.b.book = Book("j2")
    await world.a.start()
    await world.b.start()
    world.a.activate()
    world.b.activate()
    await world.start_pool()
    await world.until(lambda: world.happened("conflict"))
    picture = world.pool.snapshot()
    assert picture.serving is None
    assert not picture.is_well
    await world.operator.switch("lic-b", force=True)
    assert world.pool.serving == "lic-b"
    assert "lic-a is active on journal j1" in world.pool.snapshot().conflicts[0]


@scenario
async def test_conflict_does_not_touch_the_one_served(world):
    """When another journal's server appears, the one already served stays."""
    await world.start(servers=[world.a])
    await world.served_by("lic-a")
    world.b.book = Book("j2")
    world.b.activate()
    await world.b.start()
    await world.until(lambda: world.happened("conflict"))
    assert world.pool.serving == "lic-a"
    world.b.kill()
    await world.until(lambda: world.happened("conflict_over"))


@scenario
async def test_nobody_is_served_behind_the_epoch_remembered(world):
    """After a restart a server on an older copy of the journal is not served."""
    world.memory.save("acme", Remembered("lic-a", journal="j1", epoch=9))
    await world.start()
    await world.until(lambda: world.happened("conflict"))
    assert world.pool.serving is None
    assert "epoch 9 of its journal was seen" in world.pool.snapshot().conflicts[0]


@scenario
async def test_standby_that_does_not_take_over_is_asked_again(world):
    """A standby that refuses is asked again after a pause; what it said is announced."""
    await world.start()
    await world.served_by("lic-a")
    refusals = []

    def refuse(connection, message):
        refusals.append(message)
        if len(refusals) > 2:
            return False
        connection.say(id=message["id"], ok=False, error="not_permitted", message="not yet")
        return True

    world.b.script["takeover"] = refuse
    world.a.kill()
    await world.served_by("lic-b")
    assert [one["after_epoch"] for one in refusals] == [1, 1, 1]
    assert "lic-b: not yet" in world.happened("takeover_refused")[0]


@scenario
async def test_takeover_that_is_only_said_is_asked_again(world):
    """A standby that says it took over and is not active is put off, and asked again."""
    await world.start()
    await world.served_by("lic-a")
    said = []

    def lie(connection, message):
        said.append(message)
        connection.say(id=message["id"], ok=True, epoch=2)
        return len(said) == 1

    world.b.script["takeover"] = lie
    world.a.kill()
    await world.served_by("lic-b")
    assert world.happened("takeover_refused") == ["lic-b said it took over and is not active"]


@scenario
async def test_wrong_server_at_an_address_is_kept_out(world):
    """A server of another name at a backend's address is neither served nor asked."""
    world.a.name = "lic-z"
    await world.start(servers=[world.a])
    await world.until(lambda: world.pool.snapshot().reason and "says that it is lic-z" in world.pool.snapshot().reason)
    assert world.pool.serving is None


@scenario
async def test_wrong_token_is_shown(world):
    """A token the servers refuse is the last error of the backend."""
    (world.folder / "operator.token").write_text("another")
    await world.start()
    await world.until(lambda: "refuses the pool's operator token" in (of(world, "lic-a").last_error or ""))
    assert "another" not in str(world.pool.snapshot())
    await world.served_by("lic-a")
    assert of(world, "lic-a").health == "up"
    assert not world.happened("backend_down")


@scenario
async def test_a_renewed_token(world):
    """Taken by a reload, refused or not, it costs no client anything; refused, it is remarked."""
    await world.start()
    await world.served_by("lic-a")
    client = await world.client(session(1))
    for token, is_refused in (("another", True), (TOKEN, False)):
        (world.folder / "operator.token").write_text(token)
        world.pool.apply(plan_pool(reactor, "acme", world.config(), lambda: 0.5))
        await world.until(lambda: ("refuses" in (of(world, "lic-a").last_error or "")) == is_refused)  # noqa: B023
        assert world.pool.serving == "lic-a"
    client.ask("heartbeat", id=2)
    assert (await client.told(id=2))["ok"]
    await world.operator.switch("lic-b")
    assert not world.happened("backend_down")


@scenario
async def test_license_install(world):
    """A license is verified, put in force on the active server, sent to the other, and in the proxy's file."""
    await world.start()
    await world.served_by("lic-a")
    new = LICENSE.replace("\n", " \n", 1)
    done = await world.operator.install(new)
    assert (done.active, done.problems) == ("lic-a", [])
    assert (world.folder / "acme.lic").read_text() == new
    assert (world.folder / "acme.lic.old").read_text() == LICENSE
    for server in (world.a, world.b):
        assert [m["license"] for _, m in server.heard if m["op"] == "install"] == [new]


@scenario
async def test_license_that_is_not_genuine_is_not_installed(world):
    """A forged license, or one for another host, goes nowhere."""
    await world.start()
    await world.served_by("lic-a")
    with pytest.raises(LsproxyError, match="signature is not that of"):
        await world.operator.install(LICENSE.replace(" 5", " 500", 1))
    elsewhere = sign(LICENSE.replace("HOSTNAME=lic", "HOSTNAME=x"), "acme.lic", OTHER_KEY)
    with pytest.raises(LsproxyError):
        await world.operator.install(elsewhere)
    assert "install" not in [message["op"] for _, message in world.a.heard]


@scenario
async def test_a_license_that_no_request_holds_is_not_sent(world):
    """The server would end the connection for it, and another one would take over."""
    await world.start()
    await world.served_by("lic-a")
    with pytest.raises(LsproxyError, match="at most 65472 by the network: put the file on the machine"):
        await world.operator.install(LICENSE + "# more\n" * 10_000)
    assert "install" not in [message["op"] for _, message in world.a.heard]


@scenario
async def test_of_many_problems_the_first_are_told(world):
    """The rest is counted."""
    await world.start()
    await world.served_by("lic-a")
    with pytest.raises(LsproxyError) as refused:
        await world.operator.install(LICENSE + "what\n" * 1000)
    assert len(str(refused.value).splitlines()) == MOST_PROBLEMS + 1
    assert re.search(r"\nand [0-9]+ more$", str(refused.value))


@scenario
async def test_a_license_is_examined_in_a_thread(world):
    """Whoever is served meanwhile is served on; one that lost the name meanwhile is not given it."""
    await world.start()
    await world.served_by("lic-a")
    threads = []

    def in_thread(job, *given):
        def noted():
            threads.append(threading.current_thread())
            return job(*given)

        return deferToThread(noted)

    operator = Operator(reactor, world.pool, in_thread)
    new = LICENSE.replace("\n", " \n", 1)
    assert (await operator.install(new)).problems == []
    assert (world.folder / "acme.lic").read_text() == new
    assert len(threads) == 2
    assert threading.main_thread() not in threads


@scenario
async def test_remove_and_usage_ask_the_active_server(world):
    """An operator's remove and usage go to the active server, and are refused while there is none."""
    await world.start()
    await world.served_by("lic-a")
    await world.operator.remove(7, "asked for")
    assert [m["seat"] for _, m in world.a.heard if m["op"] == "remove"] == [7]
    assert (await world.operator.usage()).features == []
    world.b.kill()
    world.a.kill()
    await world.until(lambda: world.pool.serving is None)
    with pytest.raises(LsproxyError, match="is not served: lic-a does not answer"):
        await world.operator.remove(7, "asked for")


@scenario
async def test_unserved_is_announced_after_hold(world):
    """That nobody serves is said aloud when it has been so for `hold`."""
    await world.start(hold=0.2)
    await world.served_by("lic-a")
    world.b.kill()
    world.a.kill()
    await world.until(lambda: world.happened("unserved"))
    assert "lic-b does not answer" in world.happened("unserved")[0]


@scenario
async def test_reload_keeps_counting(world):
    """How long checks took is counted on where a backend is checked otherwise from now on: a counter never falls."""
    await world.start()
    before = world.pool.backends["lic-a"]
    await world.until(lambda: sum(before.latencies.counts) > 1)
    counted = sum(before.latencies.counts)
    world.pool.apply(
        plan_pool(reactor, "acme", world.config(health=model.Health(interval=0.05, timeout=0.1, fall=9)), lambda: 0.5)
    )
    after = world.pool.backends["lic-a"]
    assert after is not before
    assert sum(after.latencies.counts) == counted
    await world.until(lambda: sum(after.latencies.counts) > counted)


@scenario
async def test_reload_keeps_connections(world):
    """Another configuration is applied without touching the clients of a backend that stays."""
    await world.start()
    client = await world.client(session(1))
    config = world.config(hold=1.0, failback="manual")
    world.pool.apply(plan_pool(reactor, "acme", config, lambda: 0.5))
    assert (world.pool.snapshot().hold, world.pool.snapshot().failback) == (1.0, "manual")
    only_a = world.config(backends={"lic-a": config.backends["lic-a"]})
    world.pool.apply(plan_pool(reactor, "acme", only_a, lambda: 0.5))
    client.ask("heartbeat")
    await client.told(id=2)
    assert client.found(event="resumed") is None
    only_b = world.config(backends={"lic-b": config.backends["lic-b"]})
    world.pool.apply(plan_pool(reactor, "acme", only_b, lambda: 0.5))
    await client.told(event="resumed", epoch=2)
    assert world.pool.serving == "lic-b"
    with pytest.raises(LsproxyError, match="a running pool keeps its name"):
        world.pool.apply(plan_pool(reactor, "acme", world.config(server_name="other"), lambda: 0.5))


@scenario
async def test_stop_closes_clients_cleanly(world):
    """A pool that stops closes its clients without a word, and fires when they are gone."""
    await world.start()
    client = await world.client(session(1))
    await world.stop_pool()
    await client.closed()
    assert [one for one in client.lines if one.get("id") != 1] == []


@scenario
async def test_state_that_cannot_be_saved_is_said(world):
    """A full disk under the state file is announced and changes nothing else."""

    class Full:
        def load(self, _pool):
            return Remembered()

        def save(self, _pool, _remembered):
            raise StateFileError("state.db cannot be used as lsproxy's state: disk full")

    world.memory = Full()
    await world.start()
    client = await world.client(session(1))
    await world.until(lambda: world.happened("state_not_saved"))
    assert world.pool.snapshot().unsaved.startswith("what was decided last would be forgotten at a restart: state.db")
    client.ask("heartbeat")
    await client.told(id=2)
