"""A pair: who serves when, what is counted, and what happens at the limit."""

import pytest

from licserver.core.scheme import Wanted
from lsproxy.license.activation import issue, read_request_key
from lsproxy.license.signature import sign
from tests.licserver.house import HOUR, RESTORE_SECONDS, TTL, license_text
from tests.licserver.pairs import AT_LIC_A, HOSTIDS, LINES, ONE_LINE, Pair
from tests.lsproxy.license.texts import KEY, OTHER_KEY, VENDOR_KEYS


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path)


@pytest.fixture
def slow(tmp_path):
    """A pair whose hours pass quickly."""
    return Pair(tmp_path, is_slow=True)


def lost_primary(pair):
    """The redundant server, active since the primary died just now."""
    a, b = pair.both()
    a.kill()
    pair.until_role(b, "active")
    return b


def code(reply):
    return reply.get("error", "ok")


# --- who serves --------------------------------------------------------------------


@pytest.mark.parametrize("first", ["lic-a", "lic-b"])
def test_primary_is_preferred(pair, first):
    """Whichever of the two is started first, the primary takes a free name."""
    second = "lic-b" if first == "lic-a" else "lic-a"
    pair.start(first)
    pair.start(second)
    pair.pass_seconds(3)
    assert [pair.hosts[name].role for name in ("lic-a", "lic-b")] == ["active", "standby"]
    assert pair.hosts["lic-a"].state.takeovers == {}


def test_redundant_server_alone(pair):
    """A redundant server that finds nobody takes the name after `ttl`, and counts."""
    a, b = pair.both()
    a.kill()
    b.kill()
    b = pair.start("lic-b")
    assert TTL <= pair.until_role(b, "active") < TTL + 0.5
    assert pair.status(b)["takeover"]["number"] == 1


def test_before_all(pair):
    """In a journal in which nobody has served the primary goes first."""
    b = pair.start("lic-b")
    pair.pass_seconds(10)
    assert b.role == "standby"
    assert "lic-b would be blocked in the place of lic-a" in pair.status(b)["redundancy"]["fault"]
    a = pair.start("lic-a")
    pair.until_role(a, "active")
    pair.pass_seconds(3)
    assert pair.status(b)["redundancy"]["fault"] == ""
    a.kill()
    pair.until_role(b, "active")


@pytest.mark.parametrize("is_known", [True, False])
def test_never_seen(slow, is_known):
    """
    In a journal where its primary never served beside it, or under another state file, a redundant server keeps what
    is held and is blocked, until the vendor gives hours or the primary was in control for long enough.
    """
    a = slow.start("lic-a")
    slow.until_role(a, "active")
    if is_known:
        slow.start("lic-b")
        slow.pass_seconds(3)
        slow.hosts["lic-b"].kill()
    client = slow.session(a)
    slow.ask(client, id=2, op="checkout", feature="cad")
    a.kill()
    b = slow.start("lic-b", identity="another file's")
    slow.until_role(b, "blocked")
    assert slow.session(b, attempt=2).answer(1)["held"] == [2]
    assert activate(slow, b, answer(request_key(slow, b)["key"], 10))["ok"]
    slow.until_role(b, "active")
    b.kill()
    b = slow.start("lic-b", identity="another file's")
    slow.until_role(b, "active")
    assert round(slow.status(b)["takeover"]["remaining"] / HOUR) == 10
    b.kill()
    b = slow.start("lic-b", identity="one more")
    slow.until_role(b, "blocked")
    slow.until_role(slow.start("lic-a"), "active")
    slow.pass_hours(RESTORE_SECONDS / HOUR + 0.2)
    slow.hosts["lic-a"].kill()
    slow.until_role(b, "active")
    assert slow.status(b)["takeover"]["number"] == 2


def test_a_primary_on_an_old_copy(slow):
    """A primary with another state file knows nobody: whom the copy of its journal knows begins with nothing left."""
    a, b = slow.both()
    a.kill()
    b.kill()
    a = slow.start("lic-a", identity="accepted")
    slow.until_role(a, "active")
    a.kill()
    slow.until_role(slow.start("lic-b"), "blocked")


def test_a_new_primary(slow):
    """
    A license with another primary, of the same vendor, that comes into force on the redundant server takes nothing from
    it and gives nothing; a restart changes nothing of that.
    """
    b = lost_primary(slow)
    slow.pass_hours(10)
    operator = slow.operator(b)
    renewed = license_text(10, LINES.replace("02a1b2c3d401", "02a1b2c3d409"))
    assert slow.ask(operator, id=2, op="install", license=renewed)["ok"]
    assert round(slow.status(b)["takeover"]["remaining"] / HOUR) == 62
    b.kill()
    b = slow.start("lic-b", text=renewed)
    slow.until_role(b, "active")
    assert round(slow.status(b)["takeover"]["remaining"] / HOUR) == 62


@pytest.mark.parametrize("way", ["restart", "install"])
def test_a_license_of_ones_own_first(slow, way):
    """A journal begun, or gone on with, under a license of one's own gives no time under the vendor's."""
    own = sign("SERVER b ETHER=02a1b2c3d402\nVENDOR mine\nINCREMENT cad mine 1.0 permanent 1\n", "own", OTHER_KEY)
    b = slow.start("lic-b", text=own, keys={"mine": OTHER_KEY.public_key(), **VENDOR_KEYS})
    slow.until_role(b, "active")
    if way == "restart":
        b.kill()
        b = slow.start("lic-b")
    else:
        assert slow.ask(slow.operator(b), id=2, op="install", license=slow.text)["ok"]
    slow.until_role(b, "blocked")


def test_lost_primary(pair):
    """The loss of the primary opens the redundant server's door at once, and status tells both sides."""
    a, b = pair.both()
    pair.pass_seconds(2.1)
    said = pair.status(a)["redundancy"]
    assert said == {
        "scheme": "pair", "role": "primary", "primary": None, "redundant": {"name": "lic-b", "address": "lic-b:27101"},
        "fault": "",
    }  # fmt: skip
    client = pair.session(a)
    pair.ask(client, id=2, op="checkout", feature="cad")
    a.kill()
    assert pair.until_role(b, "active") < 0.3
    status = pair.status(b)
    assert status["redundancy"]["role"] == "redundant"
    assert status["redundancy"]["primary"] == {"name": "lic-a", "address": "lic-a:27101"}
    assert (status["takeover"]["number"], round(status["takeover"]["remaining"] / HOUR)) == (1, 72)
    again = pair.session(b, attempt=2)
    assert again.answer(1)["held"] == [2]
    pair.pass_seconds(0.2)
    [notice] = pair.ask(again, id=3, op="heartbeat")["notices"]
    assert (notice["code"], notice["message"]) == ("takeover", "redundant server: 71 h 59 min left")


def test_primary_is_back(pair):
    """A primary that is back and was well for a few seconds gets the name; clients are told where to go."""
    b = lost_primary(pair)
    client = pair.session(b)
    pair.ask(client, id=2, op="checkout", feature="cad")
    a = pair.start("lic-a")
    assert 5.0 <= pair.until_role(a, "active", 12.0) < 10.0
    pair.pass_seconds(0.1)
    assert b.role == "standby"
    assert client.heard[-1] == {"event": "standing_down", "active": "lic-a:27101"}
    assert pair.session(a, attempt=2).answer(1)["held"] == [2]
    assert pair.status(a)["takeover"] is None
    pair.pass_seconds(20)
    assert [a.role, b.role] == ["active", "standby"]


def test_primary_that_lags(pair):
    """A primary that cannot follow, or serve, gets nothing."""
    b = lost_primary(pair)
    a = pair.start("lic-a", text=license_text(10, LINES))
    a.server.licenses.hostids = ()  # its network card was exchanged
    pair.pass_seconds(15)
    assert [a.role, b.role] == ["standby", "active"]
    assert "bound to another host" in pair.status(a)["redundancy"]["fault"]


def test_proxy_decides(pair):
    """While an operator's connection is there, such as lsproxy's, the redundant server does not hand back by itself."""
    b = lost_primary(pair)
    operator = pair.operator(b)
    a = pair.start("lic-a")
    for number in range(2, 22):
        pair.ask(operator, id=number, op="status")
        pair.pass_seconds(1)
    assert [a.role, b.role] == ["standby", "active"]
    operator.transport.loseConnection()
    pair.until_role(a, "active", 12.0)


def test_primary_that_dies_again(pair):
    """A primary that dies soon after it got the name has to be well for twice as long the next time."""
    b = lost_primary(pair)
    waits = []
    for _ in range(3):
        a = pair.start("lic-a")
        waits.append(pair.until_role(a, "active", 60.0))
        pair.pass_seconds(0.5)
        a.kill()
        pair.until_role(b, "active")
    assert [least <= wait < least + 5 for wait, least in zip(waits, (5, 10, 20), strict=True)] == [True] * 3


# --- the limit ---------------------------------------------------------------------


def test_limit(slow):
    """At the limit new and waiting checkouts are refused as blocked; live seats stay and can be returned."""
    b = lost_primary(slow)
    holder, waiter = slow.session(b), slow.session(b, "b")
    slow.ask(holder, id=2, op="checkout", feature="cad", count=10)
    slow.pass_hours(71.5)
    waiter.say(id=2, op="checkout", feature="cad", wait=90_000)
    slow.pass_hours(0.3)
    assert b.role == "active"
    slow.pass_hours(0.4)
    assert b.role == "blocked"
    assert code(waiter.answer(2)) == "blocked"
    assert "the takeover limit of 72 h is spent: bring the primary back" in waiter.answer(2)["message"]
    assert code(slow.ask(waiter, id=3, op="checkout", feature="cad")) == "blocked"
    assert slow.ask(holder, id=2, op="checkout", feature="cad", count=10)["ok"]
    beat = slow.ask(holder, id=4, op="heartbeat")
    assert (beat["seats"], beat["notices"][0]["code"]) == (1, "blocked")
    assert slow.ask(holder, id=5, op="checkin", handle=2)["ok"]
    assert code(slow.ask(holder, id=6, op="checkout", feature="cad")) == "blocked"
    assert slow.status(b)["takeover"]["remaining"] == 0


def test_blocked_after_a_restart(slow):
    """A blocked server that is killed and started again is blocked from its first moment, and grants nothing."""
    b = lost_primary(slow)
    slow.pass_hours(72.5)
    b.kill()
    b = slow.start("lic-b")
    slow.until_role(b, "blocked")
    assert code(slow.ask(slow.session(b), id=2, op="checkout", feature="cad")) == "blocked"


def test_frozen_beyond_the_limit(slow):
    """A server that stood still past its limit grants no seat, however late its timers are."""
    b = lost_primary(slow)
    client = slow.session(b)
    b.machine.freeze()
    slow.clock.advance(73 * HOUR)
    b.machine.is_frozen = False
    client.say(id=2, op="checkout", feature="cad")
    slow.clock.advance(0.01)
    assert b.state.held_handles(1) == []


def test_healthy_primary_at_the_limit(slow):
    """At the limit a healthy primary gets the name back, also where somebody else switches otherwise."""
    b = lost_primary(slow)
    operator = slow.operator(b)
    a = slow.start("lic-a")
    for number in range(2, 20):
        slow.pass_hours(4)
        slow.ask(operator, id=number, op="status")
        if b.role != "active":
            break
    slow.pass_hours(0.5)
    assert [a.role, b.role] == ["active", "standby"]
    assert number == 19


def test_restored(slow):
    """The primary in control for long enough makes the limit whole; the next takeover has the next number."""
    b = lost_primary(slow)
    slow.pass_hours(10)
    a = slow.start("lic-a")
    slow.until_role(a, "active")
    slow.pass_hours(RESTORE_SECONDS / HOUR + 0.2)
    a.kill()
    slow.until_role(b, "active")
    takeover = slow.status(b)["takeover"]
    assert (takeover["number"], round(takeover["remaining"] / HOUR)) == (2, 72)


def test_shown_for_a_moment(slow):
    """A primary that is shown for a moment restores nothing."""
    b = lost_primary(slow)
    slow.pass_hours(10)
    a = slow.start("lic-a")
    slow.until_role(a, "active")
    a.kill()
    slow.until_role(b, "active")
    takeover = slow.status(b)["takeover"]
    assert (takeover["number"], round(takeover["remaining"] / HOUR)) == (1, 62)


# --- unblocking --------------------------------------------------------------------


def asked_once(pair, host, **request):
    """What an operator is answered who goes away then."""
    operator = pair.operator(host)
    reply = pair.ask(operator, id=2, **request)
    operator.transport.loseConnection()
    return reply


def request_key(pair, host):
    return asked_once(pair, host, op="request_key")


def activate(pair, host, key):
    return asked_once(pair, host, op="activate", key=key)


def answer(request, hours=72, vendor=KEY):
    """The vendor's answer."""
    return issue(read_request_key(request), hours, vendor)


def test_unblocking(slow):
    """Friday's key adds to what remains; a key at the limit ends the block; each asks for the next extension."""
    b = lost_primary(slow)
    slow.pass_hours(50)
    asked = request_key(slow, b)
    assert (asked["takeover"], asked["extension"]) == (1, 1)
    assert request_key(slow, b)["key"] == asked["key"]
    done = activate(slow, b, answer(asked["key"], 10))
    assert (done["hours"], round(done["remaining"] / HOUR)) == (10, 32)
    slow.pass_hours(33)
    assert b.role == "blocked"
    asked = request_key(slow, b)
    assert asked["extension"] == 2
    assert activate(slow, b, answer(asked["key"]))["ok"]
    assert b.role == "active"
    assert slow.ask(slow.session(b), id=2, op="checkout", feature="cad")["ok"]


def test_nothing_to_unblock(pair):
    """A primary, and a standby, have no request key."""
    a, b = pair.both()
    assert "no takeover limit" in request_key(pair, a)["message"]
    assert "lic-a is active" in request_key(pair, b)["message"]
    client = pair.session(a)
    assert code(pair.ask(client, id=2, op="request_key")) == "not_permitted"


# --- registering -------------------------------------------------------------------


def register(pair, host, name="lic-b", hostids=HOSTIDS["lic-b"] + ("MACHINE_ID=" + "0" * 32,)):
    return asked_once(pair, host, op="register", name=name, address=f"{name}:27101", hostids=hostids)


@pytest.fixture
def one_line(tmp_path):
    """A primary with one SERVER line, on a journal that others reach."""
    pair = Pair(tmp_path, servers=ONE_LINE)
    a = pair.start("lic-a")
    pair.until_role(a, "active")
    outfit = a.server.redundancy.outfit
    a.server.redundancy.outfit = type(outfit)(*(getattr(outfit, f) for f in outfit.__struct_fields__[:4]), False, {})
    return pair, a


def test_registered(one_line):
    """A registered server is redundant as one that the license names: it takes over, counts, and hands back."""
    pair, a = one_line
    told = register(pair, a)
    assert (told["server"], told["backend"], told["license"], told["ttl"]) == ("acme-licenses", "lic-a", pair.text, 0.0)
    b = pair.start("lic-b", AT_LIC_A)
    assert pair.status(a)["redundancy"]["redundant"] == {"name": "lic-b", "address": "lic-b:27101"}
    assert pair.status(b)["redundancy"]["primary"] == {
        "name": "lic-a", "address": "lic-a:27101", "hostids": ["ether=02a1b2c3d401"],
    }  # fmt: skip
    pair.pass_seconds(2.1)
    a.kill()
    pair.until_role(b, "active")
    assert pair.status(b)["takeover"]["number"] == 1
    asked = request_key(pair, b)
    assert activate(pair, b, answer(asked["key"]))["ok"]
    pair.until_role(pair.start("lic-a"), "active", 12.0)


def test_registering_again(one_line):
    """Registering again, also after it was taken back, changes nothing of what is spent."""
    pair, a = one_line
    register(pair, a)
    b = pair.start("lic-b", AT_LIC_A)
    pair.pass_seconds(2.1)
    a.kill()
    pair.until_role(b, "active")
    pair.pass_seconds(60)
    a = pair.start("lic-a")
    outfit = b.server.redundancy.outfit
    a.server.redundancy.outfit = type(outfit)(*(getattr(outfit, f) for f in outfit.__struct_fields__[:4]), False, {})
    pair.until_role(a, "active", 12.0)
    operator = pair.operator(a)
    assert pair.ask(operator, id=2, op="unregister")["ok"]
    assert "no server is registered" in pair.ask(operator, id=3, op="unregister")["message"]
    assert register(pair, a)["ok"]
    a.kill()
    pair.until_role(b, "active")
    assert pair.status(b)["takeover"]["spent"] > 60


@pytest.mark.parametrize(("change", "words"), [
    ({"name": "lic-a"}, "lic-a is the primary itself"),
    ({"hostids": ["nonsense"]}, "'nonsense' is no hostid"),
])  # fmt: skip
def test_not_registered(one_line, change, words):
    """What is wrong with a registration is said."""
    pair, a = one_line
    assert words in register(pair, a, **change)["message"]
    assert a.state.registered is None


def test_one_redundant_server(one_line):
    """A primary has one redundant server: neither another, nor another host of that name."""
    pair, a = one_line
    assert register(pair, a)["ok"]
    assert "lic-b at lic-b:27101 is registered" in register(pair, a, "lic-c", HOSTIDS["lic-c"])["message"]
    assert "lic-b at lic-b:27101 is registered" in register(pair, a, "lic-b", HOSTIDS["lic-c"])["message"]
    c = pair.start("lic-c", AT_LIC_A)
    assert "lic-b is registered as redundant server of lic-a" in c.server.why_not_ready()
    copy = pair.start("lic-b", AT_LIC_A, hostids=HOSTIDS["lic-c"])
    assert "stands on another host" in copy.server.why_not_ready()


def test_unregistered(one_line):
    """A server whose registration was taken back serves no more."""
    pair, a = one_line
    register(pair, a)
    b = pair.start("lic-b", AT_LIC_A)
    assert asked_once(pair, a, op="unregister", name="lic-x")["ok"]
    assert a.state.registered.name == "lic-b"
    assert asked_once(pair, a, op="unregister", name="lic-b")["ok"]
    pair.pass_seconds(2.1)
    a.kill()
    pair.pass_seconds(10)
    assert b.role == "standby"
    assert "not registered" in b.server.why_not_ready()


def test_where_not_to_register(pair, tmp_path):
    """A redundant server, a pair of two SERVER lines, one without a pair, and a journal file elsewhere are refused."""
    a, b = pair.both()
    assert "second SERVER line" in register(pair, a, "lic-c", HOSTIDS["lic-c"])["message"]
    assert "lic-b is itself redundant, its primary is lic-a at lic-a:27101" in register(pair, b, "lic-c")["message"]
    (tmp_path / "other").mkdir()
    other = Pair(tmp_path / "other", servers=ONE_LINE)
    a = other.start("lic-a")
    other.until_role(a, "active")
    assert "need a journal in etcd" in register(other, a)["message"]
    (tmp_path / "single").mkdir()
    single = Pair(tmp_path / "single", servers=ONE_LINE)
    a = single.start("lic-a", Wanted("single"))
    single.until_role(a, "active")
    assert "set `redundancy: pair`" in register(single, a)["message"]
