"""kill -9 of license servers under load, one at a time and all at once."""

import time

from tests.faults.witness import Load, assert_within_license


def test_kills_of_the_active_one(system):
    """Whoever is active is killed, three times: the other goes on, every promise is kept, every seat as well."""
    keeper = system.keeper()
    for feature in system.features:
        keeper.checkout(feature)
    with Load(system, seed=1) as load:
        for _ in range(3):
            active, epoch = system.wait_active()
            system.servers[active].kill()
            system.wait_active(after_epoch=epoch)
            load.wait_for_grants()
            assert keeper.ask("heartbeat")["seats"] == 2
            system.start_server(active)
    keeper.assert_keeps()


def test_kills_of_the_standby(pair):
    """A standby that is killed and started again costs no switch."""
    active, epoch = pair.wait_active()
    standby = next(name for name in pair.servers if name != active)
    with Load(pair, seed=2) as load:
        for _ in range(2):
            pair.servers[standby].kill()
            load.wait_for_grants()
            pair.start_server(standby)
    assert pair.wait_active() == (active, epoch)


def test_both_killed_and_started_again(system):
    """All servers are killed at one moment under load: what was held before is held after."""
    keepers = [system.keeper(f"keeper{number}") for number in range(4)]
    for keeper in keepers:
        keeper.checkout("cad")
    with Load(system, seed=3) as load:
        for _ in range(2):
            _, epoch = system.wait_active()
            for server in system.servers.values():
                server.kill()
            for server in system.servers.values():
                server.start()
            system.wait_active(after_epoch=epoch)
            load.wait_for_grants()
    for keeper in keepers:
        keeper.assert_keeps()


def test_an_outage_longer_than_the_resume_window(make_system):
    """No time passes while nobody serves: after three seconds without a server, seats with a window of 2.6 are held."""
    system = make_system(ttl=1.0, heartbeat=0.5, resume=2.6).start()
    keeper = system.keeper()
    keeper.checkout("cad", count=3)
    for server in system.servers.values():
        server.kill()
    keeper.hang_up()
    time.sleep(3)
    for server in system.servers.values():
        server.start()
    keeper.assert_keeps()
    assert_within_license(system)


def test_a_takeover_in_the_middle_of_a_pipeline(make_system):
    """
    The name is taken while 900 checkouts are on their way to its holder: those
    answered are held on the next server, those not answered are granted there,
    each once.
    """
    system = make_system(features={"cad": 900}).start()
    active, _ = system.wait_active()
    other = next(name for name in system.servers if name != active)
    keeper = system.keeper()
    keeper.connect()
    numbers = range(100, 1000)
    keeper.last_id = 999
    first = b"".join(b'{"id":%d,"op":"checkout","feature":"cad"}\n' % number for number in numbers[:450])
    second = b"".join(b'{"id":%d,"op":"checkout","feature":"cad"}\n' % number for number in numbers[450:])
    with system.operator(other) as operator:
        keeper.line.write(first)
        taking = operator.send("takeover", force=True)
        keeper.line.write(second)
        assert operator.reply(taking)["ok"]
    keeper.line.hear_all()
    granted = {number: reply for number, reply in keeper.line.replies.items() if reply["ok"]}
    keeper.connect()
    assert set(granted) <= set(keeper.welcome["held"]) <= set(numbers)
    seats = {}
    for number in numbers:
        again = keeper.ask("checkout", id=number, feature="cad")
        assert again["ok"], again
        assert granted.get(number, again) == again
        seats[again["seat"]] = number
    assert len(seats) == 900
    assert system.usage()["cad"]["in_use"] == 900
