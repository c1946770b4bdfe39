"""What does an operator of a relayed pool do, and what do clients notice of it?"""

import signal
import time

from tests.faults.process import wait_for
from tests.relay.line import Line, answered, outcome
from tests.relay.site import QUICK


def test_drain(pair):
    """Clients move to the other server."""
    with Line(pair.door) as line:
        assert line.ask("who") == "a"
        pair.do("drain", "lic", "a")
        assert line.end() == "reset"
    assert pair.who() == "b"


def test_a_drained_one_that_is_the_last(pair):
    """It is served for want of another, and status says so."""
    pair.do("drain", "lic", "a")
    pair.servers["b"].kill()
    assert answered(pair.door, seconds=3)[0] == "a"
    assert "drained" in pair.picture()["note"]
    assert "drained" in pair.do("status")


def test_drain_without_a_standby(pair):
    """It is refused with a sentence, and nothing has changed."""
    pair.servers["b"].kill()
    pair.wait_health("b", "down")
    refused = pair.command("drain", "lic", "a")
    assert refused.returncode == 1
    assert "b" in refused.stderr
    assert pair.who() == "a"


def test_maint_of_the_one_in_use(pair):
    """At once, and nobody asks it anything until it is ready again."""
    with Line(pair.door) as line:
        assert line.ask("who") == "a"
        pair.do("maint", "lic", "a")
        assert line.end() == "reset"
    assert pair.who() == "b"
    with Line(pair.addresses["a"][""]) as line:
        before = int(line.ask("nth"))
        time.sleep(0.5)
    with Line(pair.addresses["a"][""]) as line:
        assert int(line.ask("nth")) == before + 1
    pair.do("ready", "lic", "a")
    pair.wait_health("a", "up")
    assert pair.who() == "b"


def test_maint_of_all(pair):
    """Then clients are refused without a wait, also after a restart of lsproxy."""
    for name in ("b", "a"):
        pair.do("maint", "lic", name)
    began = time.monotonic()
    assert outcome(pair.door) == "reset"
    assert time.monotonic() - began < 0.5
    pair.proxy.signal(signal.SIGTERM)
    assert pair.proxy.wait() == 0
    pair.write()
    pair.proxy.start()
    wait_for(lambda: outcome(pair.door) == "reset", "lsproxy refuses again")
    pair.do("ready", "lic", "a")
    assert answered(pair.door)[0] == "a"


def test_a_switch_to_one_that_is_down(pair):
    """It is refused with the reason."""
    pair.servers["b"].kill()
    pair.wait_health("b", "down")
    refused = pair.command("switch", "lic", "--to", "b")
    assert refused.returncode == 1
    assert "does not answer" in refused.stderr
    assert pair.who() == "a"


def test_a_reload_touches_nobody(pair):
    """A new listener, another health and a third server: who is connected stays."""
    with Line(pair.door) as line:
        assert line.ask("who") == "a"
        pair.server("c")
        pair.pool(health={"interval": 0.2, "timeout": 0.3, "rise": 1, "fall": 2})
        second = pair.listen("second")
        pair.write()
        pair.do("reload")
        wait_for(lambda: outcome(second) == "a", "the new listener serves")
        pair.wait_health("c", "up")
        assert line.ask("who") == "a"


def test_a_reload_that_takes_the_server_in_use_out(pair):
    """Its clients are reset, and find the other one."""
    with Line(pair.door) as line:
        assert line.ask("who") == "a"
        pair.pool(backends={"b": pair.backend("b")})
        pair.write()
        pair.do("reload")
        assert line.end() == "reset"
    assert answered(pair.door)[0] == "b"
    assert [one["name"] for one in pair.picture()["backends"]] == ["b"]


def test_a_reload_that_cannot_be_taken(pair):
    """It is refused whole, with file and line, and the old one goes on."""
    with Line(pair.door) as line:
        assert line.ask("who") == "a"
        pair.pool(hold="soon")
        pair.write()
        refused = pair.command("reload")
        assert refused.returncode == 1
        assert "hold" in refused.stderr
        assert line.ask("who") == "a"
    assert pair.who() == "a"


def test_sorts_of_pools_do_not_turn_into_each_other_unseen(pair):
    """A port that no backend has is refused by check and by reload alike."""
    pair.tree["listen"]["door"]["port"] = "vendor"
    pair.write()
    assert pair.command("reload").returncode == 1
    assert pair.who() == "a"


def test_the_access_log_moves_on(pair):
    """A line for each connection; after it was moved away and lsproxy reloaded, in a new file."""
    assert pair.who() == "a"
    wait_for(lambda: len(pair.accesses()) == 1, "there is a line")
    path = pair.folder / "access.log"
    path.rename(pair.folder / "access.log.1")
    pair.do("reload")
    pair.servers["a"].kill()
    assert answered(pair.door)[0] == "b"
    wait_for(lambda: any('"b"' in line or "backend=b" in line for line in pair.accesses()), "there is a new file")
    assert len((pair.folder / "access.log.1").read_text().splitlines()) == 1


def test_a_listener_whose_address_is_taken(site):
    """Lsproxy does not start, and says which address."""
    site.server("a")
    site.pool()
    site.listen()
    taken = site.addresses["a"][""]
    site.tree["listen"]["other"] = {"address": f"127.0.0.1:{taken}", "pool": "lic"}
    site.write()
    site.proxy.start()
    assert site.proxy.wait() != 0
    assert str(taken) in site.proxy.log


def test_a_reload_forgets_nothing_of_a_server(pair):
    """Other checks are another way to ask the same server: it stays up, and who is connected stays."""
    with Line(pair.door) as line:
        assert line.ask("who") == "a"
        pair.tree["pools"]["lic"]["health"] = {**QUICK, "interval": 5}
        pair.write()
        pair.do("reload")
        assert {one["health"] for one in pair.picture()["backends"]} == {"up"}
        assert pair.serving() == "a"
        assert line.ask("who") == "a"


def test_a_hung_server_is_known_after_a_restart(pair):
    """That a process once answered behind a port outlasts lsproxy, so its silence counts from the first check on."""
    pair.proxy.signal(signal.SIGTERM)
    pair.proxy.wait()
    pair.servers["a"].signal(signal.SIGSTOP)
    pair.start()
    pair.wait_serving("b")
    assert pair.who() == "b"


def test_a_license_file_that_was_mended(site):
    """A reload reads it again under the same name, and the server it now fits is served."""
    license_file = site.folder / "a.lic"
    license_file.write_text("SERVER a INTERNET=192.0.2.99 27000\nVENDOR mcad PORT=27001\n")
    site.server("a")
    site.pool(kind="flexnet", license_file=str(license_file), hold=0.2)
    site.listen()
    site.start()
    site.wait(lambda pool: pool["backends"][0]["binding"] == "unbound", "it is seen to be another host's")
    assert outcome(site.door) == "reset"
    license_file.write_text("SERVER a INTERNET=127.0.0.1 27000\nVENDOR mcad PORT=27001\n")
    site.do("reload")
    site.wait_serving("a")
    assert site.who() == "a"
