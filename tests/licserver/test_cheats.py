"""A customer who would like the takeover limit to last longer than the vendor allows, at running servers."""

import pytest

from licserver.core.takeover import Counted
from lsproxy.license.activation import issue, read_request_key
from lsproxy.license.signature import sign
from tests.licserver.house import HOUR, PAIR
from tests.licserver.pairs import LINES, Pair
from tests.licserver.test_redundancy import activate, answer, lost_primary, request_key
from tests.lsproxy.license.texts import KEY, OTHER_KEY, signed


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path, is_slow=True)


@pytest.fixture
def b(pair):
    """The redundant server after an hour in its primary's place."""
    b = lost_primary(pair)
    pair.pass_hours(1)
    return b


def granted(host):
    """Hours that the takeover in the journal has in all."""
    [state] = host.state.takeovers.values()
    assert isinstance(state, Counted)
    return state.granted / HOUR


def spent(pair, host):
    return pair.status(host)["takeover"]["spent"] / HOUR


def test_key_used_twice(pair, b):
    """A key counts once: typed again, after a restart, and after the next key."""
    key = answer(request_key(pair, b)["key"], 10)
    assert activate(pair, b, key)["ok"]
    assert "was counted already" in activate(pair, b, key)["message"]
    b.kill()
    b = pair.start("lic-b")
    pair.until_role(b, "active")
    assert "was counted already" in activate(pair, b, key)["message"]
    assert activate(pair, b, answer(request_key(pair, b)["key"], 5))["ok"]
    assert "was counted already" in activate(pair, b, key)["message"]
    assert granted(b) == 87


def test_altered_key(pair, b):
    """A key for more hours than the vendor gave, or of another signer, is none."""
    asked = read_request_key(request_key(pair, b)["key"])
    given, wished = issue(asked, 10, KEY), issue(asked, 1000, OTHER_KEY)
    assert "not signed by the vendor" in activate(pair, b, wished)["message"]
    mixed = "-".join([*wished.split("-")[:3], *given.split("-")[3:]])
    for key in (mixed, given[:-7], given.replace("0", "1"), "", "hello"):
        assert activate(pair, b, key)["error"] == "not_permitted"
    assert granted(b) == 72


@pytest.mark.parametrize(("name", "card", "words"), [
    ("lic-x", "02a1b2c3d402", "is for the server 'lic-b', and this one is lic-x"),
    ("lic-b", "02a1b2c3d409", "is for another host"),
    ("lic-b", "02a1b2c3d402", "answers a request that this server did not make"),
])  # fmt: skip
def test_key_of_another_server(pair, b, tmp_path, name, card, words):
    """Two redundant servers cannot share a key: it names its server, its host, and the random bits of its takeover."""
    key = answer(request_key(pair, b)["key"])
    folder = tmp_path / "other"
    folder.mkdir()
    other = Pair(folder, servers=LINES.replace("lic-b", name).replace("02a1b2c3d402", card), is_slow=True)
    other.numbers = 100
    primary = other.start("lic-a")
    other.until_role(primary, "active")
    twin = other.host(name, hostids=(f"ETHER={card}",), wanted=PAIR)
    other.pass_seconds(3)
    primary.kill()
    other.until_role(twin, "active")
    assert words in activate(other, twin, key)["message"]


def test_key_of_another_license(pair, b):
    """A key asked for under one license is none under the next."""
    key = answer(request_key(pair, b)["key"])
    operator = pair.operator(b)
    renewed = signed("INCREMENT cad acme 1.0 permanent 20\n", LINES)
    assert pair.ask(operator, id=2, op="install", license=renewed)["ok"]
    assert "another license" in activate(pair, b, key)["message"]
    assert granted(b) == 72


def test_key_of_another_takeover(pair, b):
    """A key that was saved up for the next takeover is of the last one."""
    key = answer(request_key(pair, b)["key"])
    a = pair.start("lic-a")
    pair.until_role(a, "active")
    pair.pass_hours(1)
    a.kill()
    pair.until_role(b, "active")
    assert pair.status(b)["takeover"]["number"] == 2
    assert "is for takeover 1" in activate(pair, b, key)["message"]


def test_own_license(pair, b):
    """A license of the customer's own signs no keys and gives no time: what the vendor's counts for is kept apart."""
    before = spent(pair, b)
    line = "INCREMENT cad mine 1.0 permanent 20 TAKEOVER=900\n"
    own = sign(f"SERVER lic-b ETHER=02a1b2c3d402\nVENDOR mine\n{line}", "own.lic", OTHER_KEY)
    mixed = pair.text + sign(LINES + line, "own.lic", OTHER_KEY).removeprefix(LINES)
    b.server.licenses.vendor_keys = {**b.server.licenses.vendor_keys, "mine": OTHER_KEY.public_key()}
    operator = pair.operator(b)
    assert "of one vendor" in pair.ask(operator, id=2, op="install", license=mixed)["message"]
    assert pair.ask(operator, id=3, op="install", license=own)["ok"]
    pair.pass_hours(10)
    assert pair.ask(operator, id=4, op="install", license=pair.text)["ok"]
    assert spent(pair, b) >= before + 10


def test_longer_license(pair, b):
    """A license that allows more does so from the next takeover on; one that allows less does so now."""
    operator = pair.operator(b)
    line = "INCREMENT cad acme 1.0 permanent 10 TAKEOVER={}\n"
    assert pair.ask(operator, id=2, op="install", license=signed(line.format(500), LINES))["ok"]
    assert granted(b) == 72
    assert pair.ask(operator, id=3, op="install", license=signed(line.format(10), LINES))["ok"]
    assert granted(b) == 10
    assert pair.ask(operator, id=4, op="install", license=pair.text)["ok"]
    assert granted(b) == 10


def test_clock_set_back(pair, b):
    """A wall clock that is set back gains nothing, within a boot and across boots."""
    for boot in range(30):
        b.wall_error -= 3 * HOUR
        pair.pass_hours(0.2)
        b.kill()
        error = b.wall_error - 1000 * HOUR
        b = pair.start("lic-b", boot=f"boot {boot}")
        b.wall_error = error
        pair.until_role(b, "active")
    assert spent(pair, b) >= 1 + 30 * 0.2


def test_killed_every_59_seconds(pair, b):
    """A server that is killed before it counts has counted all the same, also the time in which it was down."""
    began = pair.clock.seconds()
    for _ in range(100):
        b.kill()
        pair.clock.advance(20)
        b = pair.start("lic-b")
        pair.wait(b.server.take_over("a hint", None, force=True))
        pair.clock.advance(39)
    assert spent(pair, b) * HOUR >= pair.clock.seconds() - began


def test_edited_configuration(pair, b):
    """A configured limit lowers the license's for as long as the takeover; a higher one is not looked at."""
    for hours, left in ((500.0, 72), (24.0, 24), (None, 24), (72.0, 24)):
        b.kill()
        b = pair.start("lic-b", wanted=type(b.server.licenses.wanted)("pair", hours))
        pair.until_role(b, "active")
        assert granted(b) == left
