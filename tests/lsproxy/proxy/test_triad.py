"""A pool whose servers are members of a triad."""

from lsproxy.config import model
from lsproxy.net.address import Address
from tests.lsproxy.proxy.test_pool import of
from tests.lsproxy.proxy.test_session import scenario, session


def make_triad(world):
    for server, priority in ((world.a, 2), (world.b, 1)):
        server.redundancy = {"scheme": "triad", "role": "triad", "priority": priority, "primary": None, "fault": ""}


@scenario
async def test_free_name_goes_by_priority(world):
    """With nobody active the server with the lower priority is asked to take over, wherever it stands in the pool."""
    make_triad(world)
    await world.start(active=False)
    await world.served_by("lic-b")
    client = await world.client(session(1))
    assert client.found(id=1)["backend"] == "lic-b"


@scenario
async def test_active_one_counts_before_priority(world):
    """Whoever is active is followed, and stays although one of lower priority stands by: a triad does not go back."""
    make_triad(world)
    await world.a.start()
    await world.b.start()
    world.a.activate()
    backends = {
        name: model.SeatBackend(address=Address("127.0.0.1", one.number))
        for name, one in (("lic-a", world.a), ("lic-b", world.b))
    }
    await world.start_pool(failback_after=0.05, backends=backends)
    await world.served_by("lic-a")
    await world.until(lambda: of(world, "lic-b").health == "up")
    for _ in range(20):
        world.pool.judge()
    assert (world.pool.serving, world.pool.failback) == ("lic-a", "sticky")
    assert "takeover" not in [message["op"] for _, message in world.b.heard]
