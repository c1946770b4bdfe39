"""How soon do clients of a relayed pool get a server that answers, when the one in use dies, hangs or flaps?"""

import resource
import signal
import socket
import time
from contextlib import ExitStack, suppress

import pytest

from tests.faults.process import wait_for
from tests.faults.system import free_port
from tests.relay.line import SECONDS, Line, answered, outcome

HERD = 5000
TUNED = {"interval": 0.25, "timeout": 0.5}


def test_killed(site):
    """At default settings: a client that comes right after is answered by the other one, on its first connection."""
    site.server("a")
    site.server("b")
    site.pool(health={})
    site.listen()
    site.start()
    wait_for(lambda: site.health("b") == "up", "b could follow")
    with Line(site.door) as old:
        assert old.ask("who") == "a"
        site.servers["a"].kill()
        began = time.monotonic()
        with Line(site.door) as line:
            assert line.ask("who") == "b"
        assert time.monotonic() - began < 0.5
        assert old.end() in {"eof", "reset"}


def test_stopped(site):
    """Its kernel accepts still, it says nothing: found by silence; the request that waited is answered elsewhere."""
    site.server("a")
    site.server("b")
    site.pool(health=TUNED)
    site.listen()
    site.start()
    wait_for(lambda: site.health("b") == "up", "b could follow")
    with Line(site.door) as old:
        assert old.ask("who") == "a"
        site.servers["a"].signal(signal.SIGSTOP)
        began = time.monotonic()
        with Line(site.door) as line:
            assert line.ask("who") == "b"
        assert time.monotonic() - began < 2
        assert old.end() == "reset"
    assert site.health("a") == "down"
    site.servers["a"].signal(signal.SIGCONT)
    site.wait_health("a", "up")
    assert site.who() == "b"


def test_a_black_hole_behind_the_preferred_address(site):
    """SYNs that nobody answers: it never comes up, and says why, in time; the other one is served."""
    with socket.socket() as hole, ExitStack() as stack:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(4):  # these fill its backlog
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        site.server("b")
        site.pool(backends={"a": {"address": f"127.0.0.1:{hole.getsockname()[1]}"}, "b": site.backend("b")})
        site.listen()
        site.start()
        site.wait_serving("b")
        assert site.who() == "b"
        assert site.health("a") == "down"
        assert "0.3 s" in site.seen("a")["last_error"]


def test_one_that_flaps(site):
    """It does not come back before it has been up for a while, so clients of the other one stay where they are."""
    site.server("a")
    site.server("b")
    site.pool(failback="automatic", failback_after=1.0)
    site.listen()
    site.start()
    site.servers["a"].kill()
    site.wait_serving("b")
    with Line(site.door) as line:
        assert line.ask("who") == "b"
        for _ in range(4):
            site.start_server("a")
            site.wait_health("a", "up")
            assert line.ask("who") == "b"
            site.servers["a"].kill()
            site.wait_health("a", "down")
            assert site.who() == "b"
        site.start_server("a")
        site.wait_serving("a")
        assert line.end() == "reset"
    events = site.do("events").splitlines()
    assert sum("took over" in event for event in events) == 2, events


def test_all_ports_of_a_server_move_together(site):
    """One dead port is a dead server: the others are left as well, and their old connections end."""
    for name in ("a", "b"):
        site.server(f"{name}1", "lmgrd")
        site.server(f"{name}2", "vendor")
    ports = {
        name: {"ports": {**site.backend(f"{name}1")["ports"], **site.backend(f"{name}2")["ports"]}} for name in "ab"
    }
    site.pool(backends=ports)
    site.listen("lmgrd", port="lmgrd")
    site.listen("vendor", port="vendor")
    site.start()
    site.wait_serving("a")
    with Line(site.ports["lmgrd"]) as line:
        assert line.ask("who") == "a1 lmgrd"
        assert site.who("vendor") == "a2 vendor"
        site.servers["a2"].kill()
        assert answered(site.ports["vendor"])[0] == "b2 vendor"
        assert answered(site.ports["lmgrd"])[0] == "b1 lmgrd"
        assert line.end() == "reset"
    assert site.count("a1") == 0
    assert "vendor" in site.seen("a")["last_error"]


def test_thousands_moved_at_a_switch(site):
    """Each of them is reset, each finds the new server with its next connection, and nothing of them is left."""
    for name in ("a", "b"):
        site.server(name)
    site.pool(health={})
    site.listen()
    pair = site.start()
    pair.wait_serving("a")
    wait_for(lambda: pair.health("b") == "up", "b could follow")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    empty = pair.proxy.descriptors()
    try:
        with ExitStack() as stack:
            herd = [stack.enter_context(Line(pair.door)) for _ in range(HERD)]
            assert {line.ask("who") for line in herd} == {"a"}
            began = time.monotonic()
            pair.do("switch", "lic", "--to", "b")
            assert {line.end() for line in herd} == {"reset"}
            assert time.monotonic() - began < 10
        with ExitStack() as stack:
            herd = [stack.enter_context(Line(pair.door)) for _ in range(HERD)]
            assert {line.ask("who") for line in herd} == {"b"}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_for(lambda: pair.picture()["clients"] == 0, "all have left")
    wait_for(lambda: pair.proxy.descriptors() <= empty + 8, "their descriptors are given back")
    assert pair.count("a") == 0


def test_out_of_descriptors(make_site):
    """Who is served stays, others wait or are refused, no server is blamed; said once each, over with the shortage."""
    site = make_site(before=["prlimit", "--nofile=80:80"])
    site.server("a")
    site.server("b")
    site.pool()
    site.listen()
    site.start()
    site.wait_serving("a")
    with ExitStack() as stack:
        lines = []
        for _ in range(60):
            with suppress(ConnectionError):  # refused, before or after it was heard
                lines.append(stack.enter_context(Line(site.door)))
                lines[-1].say("who")
            time.sleep(0.01)
        time.sleep(0.5)
        served = [line for line in lines if _is_answered(line)]
        assert 10 < len(served) < 40
        assert {line.hear() for line in served} == {"a"}
        assert {line.ask("who") for line in served} == {"a"}
    wait_for(lambda: site.picture()["clients"] == 0, "all have left")
    assert site.who() == "a"
    log = site.proxy.log
    assert log.count("can accept no more for now") == 1
    assert "is down" not in log
    assert "took over" not in log


def test_killed_and_started_again(pair):
    """A lsproxy that starts anew goes on with the server it used before, also with the preferred one there."""
    pair.do("switch", "lic", "--to", "b")
    pair.proxy.kill()
    assert outcome(pair.door) == "refused"
    pair.start()
    pair.wait_serving("b")
    assert pair.who() == "b"


def test_nobody_listens_on_any(site):
    """It starts all the same, refuses, and serves as soon as one is there."""
    site.server("a", is_started=False)
    site.pool(backends={"a": site.backend("a"), "b": {"address": f"127.0.0.1:{free_port()}"}}, hold=0.2)
    site.listen()
    site.start()
    assert outcome(site.door) == "reset"
    site.start_server("a")
    assert answered(site.door)[0] == "a"


@pytest.mark.parametrize("stopped", ["a", "b"])
def test_lsproxy_ends_politely(pair, stopped):
    """SIGTERM: clients get an EOF, whichever server is hung; the exit status is 0."""
    with Line(pair.door) as line:
        assert line.ask("who") == "a"
        pair.servers[stopped].signal(signal.SIGSTOP)
        pair.proxy.signal(signal.SIGTERM)
        assert line.end() in ({"eof"} if stopped == "b" else {"eof", "reset"})
        assert pair.proxy.wait() == 0


def _is_answered(line: Line) -> bool:
    """Whether an answer is there; not where it waits still, or was refused."""
    line.socket.setblocking(False)
    try:
        return bool(line.socket.recv(1, socket.MSG_PEEK))
    except OSError:
        return False
    finally:
        line.socket.settimeout(SECONDS)
