"""What operators ask, and `status`."""

import pytest

from licserver.journal.memory import Fault
from tests.licserver.house import TTL, House, license_text


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def test_status(house):
    """Status tells all there is to a server, without a hello and in every role."""
    a, b = house.active_pair()
    client = house.session(a)
    house.ask(client, id=2, op="checkout", feature="cad", count=2)
    house.pass_seconds(2.5)
    status = house.ask(house.client(a), id=7, op="status")
    digest = a.server.licenses.digest(house.text)
    wanted = {
        "id": 7, "ok": True, "server": "acme-licenses", "backend": "lic-a", "role": "active", "epoch": 1,
        "journal": "00" * 16, "instance": "lic-a-1", "license": digest, "hostids": [], "takeover": None, "sessions": 1,
        "seats": 2, "redundancy": {"scheme": "duplicate", "role": "duplicate", "primary": None}, "notices": [],
        "members": [
            {"backend": "lic-a", "address": "lic-a:27101", "role": "active"},
            {"backend": "lic-b", "address": "lic-b:27101", "role": "standby"},
        ],
    }  # fmt: skip
    assert {key: status[key] for key in wanted} == wanted
    assert set(status) - set(wanted) == {"revision", "now", "uptime", "release", "heartbeat", "trust"}
    assert status["revision"] == house.store.claim.newest_slot
    standby = house.ask(house.client(b), id=7, op="status")
    assert (standby["role"], standby["epoch"], standby["seats"], standby["license"]) == ("standby", 1, 2, digest)


def test_members_that_died(house):
    """A member that died is down."""
    a, b = house.active_pair()
    a.kill()
    house.pass_until(lambda: b.role == "active")
    house.pass_seconds(2.1)
    members = house.ask(house.client(b), id=7, op="status")["members"]
    assert [member["role"] for member in members] == ["down", "active"]


def test_isolated_status(house):
    """An isolated server says it is, and answers operators."""
    a, _ = house.active_pair()
    operator = house.operator(a)
    for _ in range(1000):
        house.store.fail_next(Fault.LOST)
    house.pass_until(lambda: a.role == "isolated")
    assert house.ask(operator, id=2, op="status")["role"] == "isolated"


@pytest.mark.parametrize("op", ["reread", "install"])
def test_no_license_while_isolated(house, op):
    """While it cannot keep anything a server puts no license in force, says so, and leaves its file alone."""
    a, b = house.active_pair()
    b.machine.freeze()
    operator = house.operator(a)
    for _ in range(1000):
        house.store.fail_next(Fault.LOST)
    house.pass_until(lambda: a.role == "isolated")
    house.pass_seconds(0.2)
    reply = house.ask(operator, id=2, op=op, **({"license": license_text(20)} if op == "install" else {}))
    assert reply["error"] == "not_permitted"
    assert "could not confirm its claim" in reply["message"]
    assert a.server.licenses.read() == house.text


def test_takeover(house):
    """A takeover is answered with the epoch, a refused one with its code."""
    a, b = house.active_pair()
    operator = house.operator(b)
    assert house.ask(operator, id=2, op="takeover", after_epoch=1)["error"] == "not_permitted"
    assert house.ask(operator, id=3, op="takeover", after_epoch=1, force=True) == {"id": 3, "epoch": 2, "ok": True}
    assert house.ask(operator, id=4, op="takeover") == {"id": 4, "epoch": 2, "ok": True}
    assert house.ask(house.operator(a), id=5, op="takeover", after_epoch=1)["error"] == "stale"


def test_stand_down_for_nobody_there(house):
    """The name is given up for a running member only; a standby has nothing to give."""
    a, b = house.active_pair()
    operator = house.operator(a)
    refused = house.ask(operator, id=2, op="stand_down", to="lic-x")
    assert "lic-x is no running member" in refused["message"]
    b.kill()
    assert "running are lic-a" in house.ask(operator, id=3, op="stand_down", to="lic-b")["message"]
    assert a.role == "active"
    c = house.host("lic-c")
    assert house.ask(house.operator(c), id=2, op="stand_down")["error"] == "not_active"


def test_install(house):
    """A new license is verified, kept with the old one beside it, and in force when it is answered."""
    a, b = house.active_pair()
    operator = house.operator(a)
    refused = house.ask(operator, id=2, op="install", license=license_text(20).replace(" 20 ", " 99 "))
    assert "the license in force stays" in refused["message"]
    assert house.ask(operator, id=3, op="install", license=license_text(20))["ok"]
    assert a.server.licenses.read() == license_text(20)
    assert a.server.licenses.path.with_name("lic-a.lic.old").read_text() == house.text
    house.pass_seconds(0.1)
    assert b.state.license_text == license_text(20)
    notices = house.ask(house.operator(b), id=2, op="status")["notices"]
    house.pass_seconds(2.1)
    notices = house.ask(house.operator(b), id=3, op="status")["notices"]
    sentence = "lic-b.lic differs from the license in force, and would replace it if lic-b were the first to start"
    assert sentence in notices[0]["message"]


def test_broken_file(house):
    """A broken file is refused by reread with file and line, the old text stays in force, and status says so."""
    a, _ = house.active_pair()
    operator = house.operator(a)
    a.server.licenses.path.write_text(house.text.replace(" 10 ", " 11 "))
    refused = house.ask(operator, id=2, op="reread")
    assert refused["error"] == "not_permitted"
    assert "lic-a.lic:3: " in refused["message"]
    a.server.reread()
    assert a.state.license_text == house.text
    house.pass_seconds(2.1)
    assert "stays" in house.ask(operator, id=3, op="status")["notices"][0]["message"]
    a.server.licenses.path.unlink()
    house.pass_seconds(2.1)
    assert "cannot be used" in house.ask(operator, id=4, op="status")["notices"][0]["message"]


def test_done_when_kept(house):
    """`remove` and `install` are answered when they are kept; if they may not be, the outcome is unknown."""
    a, b = house.active_pair()
    client, operator = house.session(a), house.operator(a)
    house.ask(client, id=2, op="checkout", feature="cad")
    b.machine.freeze()
    for _ in range(1000):
        house.store.fail_next(Fault.LOST)
    operator.say(id=2, op="remove", seat=1)
    house.pass_seconds(0.5)
    assert operator.answer(2) is None
    house.pass_seconds(TTL)
    assert operator.answer(2)["error"] == "not_active"
    assert not operator.is_closed


def test_stop(house):
    """A server that is told to stop says done, and is."""
    a, _ = house.active_pair()
    assert house.ask(house.operator(a), id=2, op="stop")["ok"]
    assert a.stopped


def test_journal_that_is_away(house):
    """An operation that the journal fails is refused with the journal's sentence."""
    a, b = house.active_pair()
    a.kill()
    for _ in range(1000):
        house.store.fail_next(Fault.LOST)
    reply = house.ask(house.operator(b), id=2, op="takeover")
    assert (reply["error"], "unknown" in reply["message"]) == ("not_permitted", True)
