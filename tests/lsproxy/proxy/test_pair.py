"""A pool whose servers are a primary and its redundant server."""

from lsproxy.config import model
from lsproxy.net.address import Address
from tests.lsproxy.proxy.test_pool import of
from tests.lsproxy.proxy.test_session import scenario, session

HOUR = 3600.0


def make_pair(world):
    world.a.redundancy = {"scheme": "pair", "role": "primary", "primary": None, "redundant": {"name": "lic-b"}}
    world.b.redundancy = {
        "scheme": "pair", "role": "redundant",
        "primary": {"name": "lic-a", "address": "lic-a:27101", "hostids": ["hostname=lic-a"]},
    }  # fmt: skip


def left(world, hours, role="active"):
    """The redundant server says that so many hours are left."""
    world.b.takeover = {"number": 1, "since": "2026-11-21T20:48:00Z", "spent": 0.0, "remaining": hours * HOUR}
    world.b.script["status"] = lambda connection, message: (
        connection.say(**{**world.b.status(message["id"]), "role": world.b.role if role == "active" else role}) or True
    )


@scenario
async def test_failback_is_automatic(world):
    """The primary gets its clients back, without a word in the configuration, since its servers say what they are."""
    make_pair(world)
    await world.start(failback_after=0.2)
    client = await world.client(session(1))
    assert world.pool.snapshot().failback == "automatic"
    world.a.kill()
    await world.served_by("lic-b")
    await world.a.start()
    await world.served_by("lic-a")
    await client.told(event="resumed", epoch=3)


@scenario
async def test_failback_as_configured(world):
    """What the configuration says holds, for a pair as for others."""
    make_pair(world)
    await world.start(failback="sticky")
    assert world.pool.snapshot().failback == "sticky"
    await world.stop_pool()
    world.a.redundancy = world.b.redundancy = {}
    await world.start_pool()
    await world.served_by("lic-a")
    assert world.pool.snapshot().failback == "sticky"


@scenario
async def test_primary_is_preferred(world):
    """The redundant server is not gone back to, also where it stands first in the configuration."""
    make_pair(world)
    await world.a.start()
    await world.b.start()
    world.a.activate()
    order = {"lic-b": world.b, "lic-a": world.a}
    backends = {name: model.SeatBackend(address=Address("127.0.0.1", one.number)) for name, one in order.items()}
    await world.start_pool(failback_after=0.05, backends=backends)
    await world.served_by("lic-a")
    await world.until(lambda: of(world, "lic-b").health == "up" and world.b.heard)
    for _ in range(20):
        world.pool.judge()
    assert world.pool.serving == "lic-a"
    assert "takeover" not in [message["op"] for _, message in world.b.heard]


@scenario
async def test_registered_server_is_bound(world):
    """A registered server, which no SERVER line names, is bound where its primary is, and not elsewhere."""
    make_pair(world)
    world.b.hostids = ["hostname=elsewhere"]
    await world.start()
    await world.until(lambda: of(world, "lic-b").binding == "bound")
    assert "registered as redundant server of lic-a" in of(world, "lic-b").binding_reason
    world.b.redundancy = {**world.b.redundancy, "primary": {"name": "lic-x", "hostids": ["hostname=lic-x"]}}
    await world.until(lambda: of(world, "lic-b").binding == "unbound")


@scenario
async def test_hours_left(world):
    """At 24 h, 8 h and 1 h, and when nothing is left, it is said once each; a key's hours make it say so again."""
    make_pair(world)
    await world.start()
    world.b.activate()
    await world.served_by("lic-b")
    for hours in (71.2, 24.0, 23.9, 8.0, 0.9, 0.5):
        left(world, hours)
        await world.until(lambda hours=hours: said(world) is not None and said(world)["remaining"] == hours * HOUR)
    assert [message.rsplit(", ", 1)[1] for message in world.happened("takeover_hours")] == [
        "24 h 00 min left", "8 h 00 min left", "54 min left",
    ]  # fmt: skip
    left(world, 0.0, "blocked")
    await world.until(lambda: world.happened("blocked"))
    assert "lic-b is blocked, the takeover limit is spent" in of(world, "lic-b").takeover_note
    assert world.pool.serving == "lic-b"
    left(world, 20.0)
    await world.until(
        lambda: of(world, "lic-b").takeover_note == "lic-b serves in its primary's place, 20 h 00 min left"
    )
    left(world, 8.0)
    await world.until(lambda: len(world.happened("takeover_hours")) > 3)


def said(world):
    return of(world, "lic-b").said and of(world, "lic-b").said.takeover


@scenario
async def test_unblocking(world):
    """Request key and activation key go to the server that serves, and its answers come back."""
    await world.start()
    await world.served_by("lic-a")
    world.a.script["request_key"] = lambda connection, message: (
        connection.say(id=message["id"], ok=True, key="ABCDE", takeover=2, extension=1) or True
    )
    world.a.script["activate"] = lambda connection, message: (
        connection.say(id=message["id"], ok=True, hours=72, remaining=7.0) or True
    )
    await world.until(lambda: of(world, "lic-a").said)
    asked = await world.operator.request_key()
    assert (asked.key, asked.takeover, asked.extension) == ("ABCDE", 2, 1)
    done = await world.operator.activate("FGHIJ")
    assert (done.hours, done.remaining) == (72, 7.0)
    assert "FGHIJ" in [message.get("key") for _, message in world.a.heard]
