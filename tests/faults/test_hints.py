"""A proxy gone mad: takeover hints to healthy servers, as many as it can."""

import time

from tests.faults.witness import Load

STORM_SECONDS = 11.0  # twice the first hold-down and more: were it not growing, that would be one switch too many
HOLD_DOWNS = (5.0, 10.0, 20.0, 40.0, 60.0)


def test_a_storm_of_hints(make_system):
    """Healthy servers switch no faster than the growing hold-down allows, and no promise is broken."""
    system = make_system(has_proxy=True).start()
    _, first = system.wait_active()
    operators = {name: system.operator(name) for name in system.servers}
    granted = asked = 0
    with Load(system, seed=80) as load:
        begun = time.monotonic()
        while time.monotonic() < begun + STORM_SECONDS:
            for operator in operators.values():
                status = operator.ask("status")
                if status["role"] == "active":
                    continue
                reply = operator.ask("takeover", after_epoch=status["epoch"], reason="a storm")
                assert reply["ok"] or reply["error"] in {"stale", "not_permitted"}, reply
                asked += 1
                granted += reply["ok"]
                assert operator.ask("status")["ok"]
        lasted = time.monotonic() - begun
        load.wait_for_grants()
    for operator in operators.values():
        operator.socket.close()
    _, last = system.wait_active()
    assert asked > 20
    assert granted <= last - first <= _most_switches(lasted)


def test_hints_from_the_past(pair):
    """A hint that names an epoch gone by is stale and changes nothing, however often it is given."""
    active, epoch = pair.wait_active()
    pair.servers[active].kill()
    active, epoch = pair.wait_active(after_epoch=epoch)
    other = next(name for name in pair.servers if name != active)
    pair.start_server(other)
    with Load(pair, seed=81), pair.operator(other) as operator:
        for _ in range(100):
            assert operator.ask("takeover", after_epoch=epoch - 1)["error"] == "stale"
    assert pair.wait_active() == (active, epoch)


def _most_switches(seconds: float) -> int:
    """One at once, and one whenever the last one's hold-down is over."""
    passed, most = 0.0, 1
    for hold_down in HOLD_DOWNS:
        passed += hold_down
        if passed > seconds:
            break
        most += 1
    return most
