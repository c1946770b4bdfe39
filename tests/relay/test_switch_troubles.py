"""What can go wrong in the middle of a switch: missing programs, servers that never come, reloads, impatience."""

import time

from tests.faults.process import wait_for
from tests.relay.line import Line, answered, outcome


def test_a_fence_that_is_not_there(make_fenced, steps):
    """A program that cannot be started has failed like any other: said, forced past, and nothing is stuck."""
    site = make_fenced(on_deactivate=[["/nowhere/fence"]], hold=0.3)
    site.servers["a"].kill()
    site.wait(lambda pool: "/nowhere/fence cannot be started" in (pool["reason"] or ""), "it is said")
    site.start_server("a")
    site.wait_serving("a")
    refused = site.command("switch", "lic", "--to", "b")
    assert refused.returncode == 1
    assert refused.stderr.startswith("a could not be fenced, nothing is switched: on_deactivate: /nowhere/fence")
    site.do("switch", "lic", "--to", "b", "--force", "--yes")
    assert site.who() == "b"
    assert steps.done == ["activate a", "activate b"]


def test_an_activated_one_that_never_answers(make_fenced, steps):
    """It counts as failed after its time, and the two are not fenced in turns without rest."""
    site = make_fenced(hold=0.3, hook_timeout=0.5)
    site.servers["b"].kill()
    wait_for(lambda: site.health("b") == "down", "b is seen to be down")
    refused = site.command("switch", "lic", "--to", "b")
    assert refused.returncode == 1
    assert "b could not be activated: it did not answer within 0.5 s" in refused.stderr
    site.wait_serving("a")
    assert steps.done == ["activate a", "fence a", "activate b", "fence b", "activate a"]
    site.servers["a"].kill()
    time.sleep(3)
    assert len(steps.done) <= 5 + 6


def test_the_old_one_gets_nobody_while_the_next_one_is_activated(make_fenced, steps):
    """Also not those who wait for their first byte: what they said is said to the next one alone."""
    site = make_fenced()
    steps.does("activate", "sleep 1")
    with Line(site.door) as line:
        site.run("switch", site.argv("switch", "lic", "--to", "b"))
        wait_for(lambda: steps.done[-1] == "activate b", "b is being activated")
        assert line.ask("who") == "b"


def test_maint_of_the_one_in_use_is_at_once(make_fenced, steps):
    """Its clients are reset and new ones wait, while it is still being fenced."""
    site = make_fenced()
    steps.does("fence", "sleep 1")
    with Line(site.door) as line:
        assert line.ask("who") == "a"
        site.do("maint", "lic", "a")
        assert line.end(0.5) == "reset"
    assert site.who() == "b"
    assert steps.done == ["activate a", "fence a", "activate b"]


def test_a_switch_during_a_switch(make_fenced, steps):
    """It is refused with what is being done, also back to the one that is still served."""
    site = make_fenced()
    steps.does("fence", "sleep 1")
    site.run("switch", site.argv("switch", "lic", "--to", "b"))
    wait_for(lambda: steps.done[-1] == "fence a", "a is being fenced")
    for back in (["--to", "a"], ["--to", "b", "--force", "--yes"]):
        refused = site.command("switch", "lic", *back)
        assert refused.returncode == 1
        assert refused.stderr.startswith("a is being fenced, so that b may take over: wait for its end")
    site.wait_serving("b")


def test_force_to_the_one_in_use(make_fenced, steps):
    """There is nothing to do, so nothing is run."""
    site = make_fenced()
    steps.does("activate", "exit 1")
    site.do("switch", "lic", "--to", "a", "--force", "--yes")
    assert site.who() == "a"
    assert steps.done == ["activate a"]


def test_a_reload_that_would_leave_the_one_in_use_unfenced(make_fenced, steps):
    """Changing or taking out the backend in use is refused where there is a fence; after a switch it can be done."""
    site = make_fenced()
    backends = site.tree["pools"]["lic"]["backends"]
    taken = backends.pop("a")
    site.write()
    refused = site.command("reload")
    assert refused.returncode == 1
    assert "pools.lic.backends.a: is in use and could not be fenced any more" in refused.stderr
    site.do("switch", "lic", "--to", "b")
    site.do("reload")
    assert site.who() == "b"
    backends["a"] = taken
    site.write()
    site.do("reload")
    wait_for(lambda: site.health("a") == "up", "a is back")
    assert steps.done == ["activate a", "fence a", "activate b"]


def test_the_one_in_use_is_gone_from_the_configuration_at_a_restart(make_fenced, steps):
    """It cannot be fenced, and that is said where everything is said."""
    site = make_fenced()
    site.proxy.kill()
    del site.tree["pools"]["lic"]["backends"]["a"]
    site.start()
    site.wait_serving("b")
    assert steps.done[-1] == "activate b"
    wait_for(lambda: any(told.startswith("notify not_fenced a at ") for told in steps.told), "notify has run")


def test_a_lost_one_is_kept_out_though_it_is_back_before_the_next_one_serves(make_fenced, steps):
    """Under `failback: manual` the loss counts, not when it was over."""
    site = make_fenced(failback="manual")
    steps.does("activate", "sleep 1")
    site.servers["a"].kill()
    wait_for(lambda: steps.done[-1] == "activate b", "b is being activated")
    site.start_server("a")
    assert answered(site.door)[0] == "b"
    assert site.seen("a")["is_kept_out"]


def test_a_server_that_ends_during_a_conflict_is_believed(site):
    """Who was connected stays connected, and an EOF of its server is an EOF."""
    site.server("a")
    site.server("b", is_started=False)
    site.pool(server_name="CTX", hold=0.2)
    site.listen()
    site.start()
    with Line(site.door) as line:
        site.start_server("b")
        site.wait(lambda pool: pool["conflicts"], "the conflict is seen")
        line.say("shut")
        assert line.end() == "eof"
    assert outcome(site.door) == "reset"
