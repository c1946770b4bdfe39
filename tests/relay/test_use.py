"""Which server do clients of a relayed pool get, and what do they get when there is none?"""

import time
from contextlib import ExitStack

import pytest

from tests.faults.process import wait_for
from tests.faults.system import free_port
from tests.relay.line import Line, answered, outcome

HOLD = 1.0


@pytest.fixture
def make_pair(site):
    """Servers a and b, lsproxy before them, with these settings of the pool."""

    def make(**settings):
        site.server("a")
        site.server("b")
        site.pool(**settings)
        site.listen()
        return site.start()

    return make


def test_the_backup_serves_only_while_the_preferred_one_is_down(make_pair):
    """Not before, and with automatic failback not after it has been back for a while."""
    site = make_pair(failback="automatic", failback_after=0.3)
    assert [site.who() for _ in range(10)] == ["a"] * 10
    site.servers["a"].kill()
    assert answered(site.door)[0] == "b"
    assert [site.who() for _ in range(5)] == ["b"] * 5
    site.start_server("a")
    site.wait_serving("a")
    assert [site.who() for _ in range(10)] == ["a"] * 10
    assert site.count("b") == 0


def test_a_sticky_pool_stays(make_pair):
    """The one that returned is the backup now, until the other one dies."""
    site = make_pair()
    site.servers["a"].kill()
    site.wait_serving("b")
    site.start_server("a")
    site.wait_health("a", "up")
    time.sleep(0.3)
    assert site.who() == "b"
    site.servers["b"].kill()
    assert answered(site.door)[0] == "a"


def test_a_manual_pool_waits_for_its_operator(make_pair):
    """The one that was lost is kept out until it is said to be ready; for want of another it serves, which is said."""
    site = make_pair(failback="manual")
    site.servers["a"].kill()
    site.wait_serving("b")
    site.start_server("a")
    site.wait_health("a", "up")
    assert site.seen("a")["is_kept_out"]
    assert site.who() == "b"
    site.servers["b"].kill()
    picture = site.wait_serving("a")
    assert "is served for want of another" in picture["note"]
    site.do("ready", "lic", "a")
    site.wait(lambda pool: pool["note"] is None, "it is one like any other")


def test_clients_are_refused_fast(make_pair):
    """With nobody to serve them they wait for `hold`, later ones not at all; the refusal is a reset."""
    site = make_pair(hold=HOLD)
    site.servers["b"].kill()
    site.servers["a"].kill()
    began = time.monotonic()
    assert outcome(site.door) == "reset"
    assert HOLD * 0.7 < time.monotonic() - began < HOLD + 1.5
    time.sleep(0.2)
    began = time.monotonic()
    assert outcome(site.door) == "reset"
    assert time.monotonic() - began < 0.3
    site.start_server("b")
    site.wait_serving("b")
    assert site.who() == "b"


def test_those_who_wait_are_served_in_their_order(make_pair):
    """A server that comes within `hold` answers on the connections that waited, first come, first served."""
    site = make_pair(hold=10)
    site.servers["b"].kill()
    site.servers["a"].kill()
    site.wait_serving(None)
    with ExitStack() as stack:
        lines = []
        for number in range(1, 9):
            lines.append(stack.enter_context(Line(site.door)))
            lines[-1].say("nth")
            wait_for(lambda number=number: site.picture()["waiting"] == number, f"{number} clients wait")
        site.start_server("b")
        numbers = [int(line.hear()) for line in lines]
    assert numbers == sorted(numbers)


def test_no_other_server_is_tried_when_tries_are_exhausted(site):
    """The one in use passes its checks and refuses clients: they are reset after a while, the backup is left alone."""
    for name in ("a", "b"):
        site.server(name, "license", "health")
    broken = {"license": f"127.0.0.1:{free_port()}", "health": f"127.0.0.1:{site.addresses['a']['health']}"}
    site.pool(backends={"a": {"ports": broken}, "b": site.backend("b")}, probe={"ports": ["health"]}, hold=0.5)
    site.listen(port="license")
    site.listen("health", port="health")
    site.start()
    began = time.monotonic()
    assert outcome(site.door) == "reset"
    assert time.monotonic() - began < 4
    assert site.serving() == "a"
    assert site.count("b") == 0


def test_a_name_that_does_not_resolve_at_start(site):
    """Its server is down, with the name in the reason; the other one is served."""
    site.server("b")
    site.pool(backends={"a": {"address": "license-host.invalid:27000"}, "b": site.backend("b")})
    site.listen()
    site.start()
    site.wait_serving("b")
    assert site.who() == "b"
    assert site.health("a") == "down"
    assert "license-host.invalid" in site.seen("a")["last_error"]


@pytest.mark.root
def test_a_name_that_resolves_later_and_then_no_more(make_site, tmp_path):
    """Every dial asks for the address anew: a server is up as soon as, and as long as, its name is known."""
    hosts = tmp_path / "hosts"
    known, unknown = "127.0.0.1 localhost license-host.test\n", "127.0.0.1 localhost\n"
    hosts.write_text(unknown)
    mounted = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
    site = make_site(before=mounted)
    site.server("a")
    site.server("b")
    there = {"address": f"license-host.test:{site.addresses['a']['']}"}
    site.pool(backends={"a": there, "b": site.backend("b")}, failback="automatic", failback_after=0.2)
    site.listen()
    site.start()
    site.wait_serving("b")
    hosts.write_text(known)
    site.wait_serving("a")
    with Line(site.door) as line:
        assert line.ask("who") == "a"
        hosts.write_text(unknown)
        site.wait_serving("b")
        assert site.who() == "b"
        assert line.end() == "reset"
