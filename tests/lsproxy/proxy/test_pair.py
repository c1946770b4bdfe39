"""A pool whose servers are a primary and its redundant server."""

import pytest

from lsproxy.config import model
from lsproxy.net.address import Address
from lsproxy.proxy.operator import OperationRefusedError
from tests.lsproxy.proxy.seatserver import DUPLICATE
from tests.lsproxy.proxy.test_pool import of
from tests.lsproxy.proxy.test_session import scenario, session

HOUR = 3600.0
HOLDER = {
    "seat": 1, "user": "u", "host": "h", "display": "", "pid": 1, "address": "192.0.2.7", "count": 1, "version": "1",
    "since": "2026-11-21T20:48:00Z", "state": "held",
}  # fmt: skip


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
    world.a.redundancy = world.b.redundancy = DUPLICATE
    await world.start_pool()
    await world.served_by("lic-a")
    assert world.pool.snapshot().failback == "sticky"


@scenario
async def test_a_primary_that_stands_by_is_remarked(world):
    """With sticky the hours run on while the primary could serve: the pool's note says so until it has the name."""
    make_pair(world)
    await world.start(failback="sticky")
    await world.served_by("lic-a")
    assert world.pool.snapshot().note is None
    await world.operator.switch("lic-b")
    await world.until(lambda: "failback: sticky leaves the name with lic-b" in (world.pool.snapshot().note or ""))
    await world.operator.switch("lic-a")
    await world.until(lambda: world.pool.snapshot().note is None)


@scenario
async def test_a_file_that_differs_is_remarked(world):
    """What a standby says of its own license file stays on show, for it may be what all start with."""
    make_pair(world)
    await world.start()
    notice = {"code": "license", "message": "/b/acme.lic differs from the license in force"}
    world.b.script["status"] = lambda connection, message: (
        connection.say(**world.b.status(message["id"]), notices=[notice]) or True
    )
    await world.until(lambda: of(world, "lic-b").license_note)
    assert of(world, "lic-b").license_note == "lic-b: /b/acme.lic differs from the license in force"
    assert len(world.happened("license_differs")) == 1
    del world.b.script["status"]
    await world.until(lambda: of(world, "lic-b").license_note is None)


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
        await world.until(lambda hours=hours: said(world) is not None and said(world).remaining == hours * HOUR)
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


def wrongly(world, **said):
    """The redundant server says what no status says."""
    world.b.script["status"] = lambda connection, message: (
        connection.say(**{**world.b.status(message["id"]), **said}) or True
    )


@pytest.mark.parametrize(
    "said",
    [
        {"takeover": {"remaining": "x"}},
        {"takeover": {}},
        {"takeover": {"number": 1, "since": "", "spent": 0, "remaining": -1}},
        {"epoch": 10**30},
        {"seats": -1},
        {"uptime": 1e300},
        {"redundancy": {"role": "redundant", "primary": {"hostids": 7}}},
        {"redundancy": {"role": ["redundant"], "priority": {}}},
    ],
)
@scenario
async def test_an_ill_formed_status_is_a_check_that_failed(world, said):
    """That server is down, by a sentence; the pool's picture is there, and the other server serves."""
    make_pair(world)
    await world.start()
    await world.served_by("lic-a")
    wrongly(world, **said)
    await world.until(lambda: of(world, "lic-b").health == "down")
    assert "lic-b" in of(world, "lic-b").last_error
    assert world.pool.snapshot().serving == "lic-a"


@pytest.mark.parametrize(
    "wrong",
    [
        {"expires": "x"},
        {"expires": "2027-02-30"},
        {"in_use": 10**400},
        {"issued": -1},
        {"holders": [{**HOLDER, "since": "x"}]},
        {"holders": [{**HOLDER, "since": "2026-11-21T20:48:00"}]},
        {"holders": [{**HOLDER, "since": "0001-01-01T00:00:00+23:59"}]},
        {"holders": [{**HOLDER, "pid": 10**30}]},
    ],
)
@scenario
async def test_an_ill_formed_usage_is_refused(world, wrong):
    """With a sentence, as if the server had refused it itself."""
    feature = {"feature": "cad", "version": "1", "vendor": "acme", "issued": 1, "in_use": 1, "reserved": 0,
               "queued": 0, "expires": None}  # fmt: skip
    await world.start()
    await world.served_by("lic-a")
    for features in ([{**feature, **wrong}], [feature, {**feature, **wrong}]):
        world.a.script["usage"] = lambda connection, message, features=features: (
            connection.say(id=message["id"], ok=True, next=None, features=features) or True
        )
        with pytest.raises(OperationRefusedError, match="the license server's answer is none of seat/1"):
            await world.operator.usage()
    world.a.script["request_key"] = lambda connection, message: connection.say(id=message["id"], ok=True, key=7) or True
    with pytest.raises(OperationRefusedError, match="none of seat/1"):
        await world.operator.request_key()
