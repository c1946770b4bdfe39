"""From the request key to the hours: every way of making one key count more than once."""

import pytest

from licserver.core.takeover import Returned
from licserver.core.unblocking import activate, request_of
from lsproxy.license.activation import KeyRefused, issue, read_request_key, request_key
from lsproxy.license.hostid import parse_hostid
from tests.licserver.core.takeover_world import HOUR, World
from tests.lsproxy.license.texts import KEY, OTHER_KEY

HOSTIDS = [parse_hostid("HOSTNAME=lic-b")]
DIGEST = f"sha256:{'ab' * 32}"


def asked(world, name="lic-b", hostids=HOSTIDS, digest=DIGEST):
    return request_of(world.state, name, hostids, digest)


def answered(world, hours=72, key=KEY, **server):
    """The vendor reads the request key and sends an activation key back."""
    return issue(read_request_key(request_key(asked(world, **server))), hours, key)


def accept(world, typed, **server):
    """The hours that are left after a key, or why it was refused."""
    changes = activate(world.state, typed, asked(world, **server), KEY.public_key(), world.reading, b"8 others")
    if isinstance(changes, KeyRefused):
        return changes.reason
    world._keep(changes)
    return (world.state.granted - world.state.spent) / HOUR


def world_at(hours):
    world = World()
    world.take()
    world.pass_seconds(hours * HOUR)
    return world


def test_friday():
    """A key adds to what remains; the next request is another one, and the key counts no second time."""
    world = world_at(60)
    key = answered(world)
    world.pass_seconds(2 * HOUR)
    assert accept(world, key) == 82.0
    assert "for extension 1 of takeover 1, was counted already; the next one is for extension 2" in accept(world, key)
    assert accept(world, answered(world, 8)) == 90.0


def test_the_request_stays():
    """Through time, boots and the end of the limit the request key stays the same, until its key was accepted."""
    world = world_at(1)
    key = answered(world)
    before = request_key(asked(world))
    world.boot()
    world.take()
    world.pass_seconds(100 * HOUR)
    assert request_key(asked(world)) == before
    assert accept(world, key) == 72.0
    assert request_key(asked(world)) != before


def test_another_takeover():
    """A key that was not used is worth nothing after the limit was restored."""
    world = world_at(1)
    key = answered(world)
    world.give_to_primary()
    world.pass_seconds(HOUR)
    world.take()
    assert "is for takeover 1, and this is takeover 2" in accept(world, key)


def test_two_servers():
    """Two redundant servers cannot share a key: not by another name, not by the same name on another host."""
    world = world_at(1)
    assert "is for the server 'lic-c'" in accept(world, answered(world, name="lic-c"))
    elsewhere = [parse_hostid("HOSTNAME=lic-c")]
    assert "for another host called lic-b" in accept(world, answered(world, hostids=elsewhere))


def test_another_license():
    """A key for a license that is no longer in force is refused."""
    world = world_at(1)
    assert "for another license" in accept(world, answered(world, digest=f"sha256:{'cd' * 32}"))


def test_a_journal_from_before():
    """A takeover that is begun anew on a journal from before it makes another request, and refuses the old key."""
    world, anew = world_at(1), World()
    key = answered(world)
    anew.nonces = 7
    anew.take()
    assert "answers a request that this server did not make in takeover 1" in accept(anew, key)


def test_not_the_vendor():
    """A customer's own key signs nothing that counts."""
    world = world_at(1)
    assert "is not signed by the vendor's license key" in accept(world, answered(world, key=OTHER_KEY))


def test_refused_keys_change_nothing():
    """What remains after a refused key is what remained before it."""
    world = world_at(60)
    accept(world, "nonsense")
    assert (world.state.granted, world.state.extension) == (72 * HOUR, 0)


@pytest.mark.parametrize(
    ("state_of", "reason"),
    [
        (lambda _world: World().state, "no redundant server has taken the name, so the takeover limit is whole"),
        (lambda world: Returned(world.state, 0.0), "the primary has the name, so takeover 1 is at rest"),
    ],
)
def test_nothing_to_ask(state_of, reason):
    """A request key exists while a redundant server has the name, and otherwise there is a reason."""
    world = world_at(1)
    state = state_of(world)
    refused = request_of(state, "lic-b", HOSTIDS, DIGEST)
    assert refused == KeyRefused(f"there is nothing to unblock: {reason}; a request key exists from a takeover on")
    assert activate(state, answered(world), refused, KEY.public_key(), world.reading, b"8 others") == refused
