"""Fence, activate, admit: what is run at a switch, in which order, and what follows when it fails?"""

import json
import time
from pathlib import Path

import pytest

from tests.faults.process import wait_for
from tests.relay.line import Line, answered, outcome

SLOW_SECONDS = 1.0


def test_the_order_of_a_failover(make_fenced, steps):
    """The dead one is fenced, then the next one activated, then clients get in: not before either has ended."""
    site = make_fenced()
    assert steps.done == ["activate a"]
    steps.does("fence", "sleep 0.4; echo fenced >> $here/steps.log")
    steps.does("activate", "sleep 0.4; echo activated >> $here/steps.log")
    site.servers["a"].kill()
    began = time.monotonic()
    with Line(site.door) as line:
        assert line.ask("who") == "b"
    assert time.monotonic() - began > 0.8
    assert steps.done == ["activate a", "fence a", "fenced", "activate b", "activated"]
    assert site.seen("a")["fencing"] == "fenced"
    assert site.seen("b")["activation"] == "activated"


def test_the_order_of_a_planned_switch(make_fenced, steps):
    """Clients of the old one are left alone until it is fenced, then they are reset."""
    site = make_fenced()
    steps.does("fence", "sleep 0.3")
    with Line(site.door) as line:
        assert line.ask("who") == "a"
        assert "served by b" in site.do("switch", "lic", "--to", "b")
        assert line.end() == "reset"
    assert steps.done == ["activate a", "fence a", "activate b"]
    assert site.who() == "b"


def test_a_fence_that_fails_blocks(make_fenced, steps):
    """Nobody is served, status and its exit say why, notify has run, and an operator can force it."""
    site = make_fenced(hold=0.3)
    steps.does("fence", "echo the power switch does not answer; exit 3")
    site.servers["a"].kill()
    reason = site.wait(
        lambda pool: pool["serving"] is None and "could not be fenced" in (pool["reason"] or ""), "it is blocked"
    )
    assert "the power switch does not answer" in reason["reason"]
    assert outcome(site.door) == "reset"
    status = site.command("status")
    assert status.returncode == 1
    assert "the power switch does not answer" in status.stdout
    assert "--force" in status.stdout
    wait_for(lambda: any("the power switch does not answer" in line for line in steps.told), "notify has run")
    assert steps.done == ["activate a", "fence a"]
    site.do("switch", "lic", "--to", "b", "--force", "--yes")
    assert answered(site.door)[0] == "b"
    assert steps.done == ["activate a", "fence a", "activate b"]


def test_a_planned_switch_without_a_fence_does_not_happen(make_fenced, steps):
    """The command says why and exits with 1; clients stay where they are."""
    site = make_fenced()
    steps.does("fence", "exit 1")
    with Line(site.door) as line:
        assert line.ask("who") == "a"
        refused = site.command("switch", "lic", "--to", "b")
        assert refused.returncode == 1
        assert "on_deactivate" in refused.stderr
        assert line.ask("who") == "a"
    assert site.serving() == "a"


def test_a_fence_that_succeeds_when_repeated(make_fenced, steps):
    """As often as the configuration says."""
    site = make_fenced(hook_retries=2)
    steps.does("fence", 'test "$(grep -c "^fence" $here/steps.log)" -ge 3')
    site.servers["a"].kill()
    assert answered(site.door)[0] == "b"
    assert steps.done == ["activate a", "fence a", "fence a", "fence a", "activate b"]


def test_a_fence_that_hangs(make_fenced, steps):
    """Its limit ends it, with all that it has started, and it counts as failed."""
    site = make_fenced(hook_timeout=0.3, hold=0.3)
    steps.does("fence", "sleep 1000 & echo $! > $here/sleeper; wait")
    site.servers["a"].kill()
    site.wait(lambda pool: "fenced" in (pool["reason"] or "") and "0.3 s" in pool["reason"], "it is blocked")
    sleeper = Path("/proc") / (site.folder / "sleeper").read_text().strip()
    wait_for(lambda: not sleeper.exists(), "what it started is ended")


def test_an_activation_that_fails(make_fenced, steps):
    """Its server gets no client; said, and tried again later by an operator."""
    site = make_fenced(hold=0.3, hook_timeout=1)
    steps.does("activate", 'test "$2" != b')
    site.servers["a"].kill()
    site.wait(lambda pool: pool["serving"] is None and "activated" in (pool["reason"] or ""), "it is said")
    assert outcome(site.door) == "reset"
    assert site.count("b") == 0
    steps.does("activate", "true")
    site.do("switch", "lic", "--to", "b")
    assert site.who() == "b"


def test_one_that_only_runs_once_activated(site, steps):
    """A cold standby: nothing answers there until `on_activate` has started it."""
    site.server("a")
    site.server("b", is_started=False)
    hooks = {name: [steps.command(step, "{backend}")] for name, step in _HOOKS}
    site.pool(**hooks, hold=10)
    site.listen()
    site.start()
    site.wait_serving("a")
    assert site.health("b") == "down"
    site.servers["a"].kill()
    with Line(site.door) as line:
        line.say("who")
        wait_for(lambda: steps.done[-1] == "activate b", "b is to be started")
        time.sleep(0.3)
        site.start_server("b")
        assert line.hear() == "b"
    assert steps.done == ["activate a", "fence a", "activate b"]


_HOOKS = [("on_deactivate", "fence"), ("on_activate", "activate")]


@pytest.mark.parametrize("step", ["fence", "activate"])
def test_lsproxy_killed_in_the_middle(make_fenced, steps, step):
    """Started again it fences what may be active, and only then serves another one."""
    site = make_fenced()
    steps.does(step, f"sleep {SLOW_SECONDS}")
    site.servers["a"].kill()
    last = {"fence": "fence a", "activate": "activate b"}[step]
    wait_for(lambda: steps.done[-1] == last, f"{last} is under way")
    site.proxy.kill()
    before = list(steps.done)
    steps.does(step, "true")
    site.start()
    site.wait_serving("b")
    assert site.who() == "b"
    done = steps.done
    assert done[: len(before)] == before
    assert done.index("fence a") < done.index("activate b")
    assert done[-1] == "activate b"


def test_two_of_one_name(site, steps):
    """A second server under the name refuses new clients until one of them is stopped; who was there stays."""
    site.server("a")
    site.server("b", is_started=False)
    site.pool(server_name="CTX", hold=0.2)
    site.listen()
    site.tree["notify"] = [steps.command("notify", "{event}", "{message}")]
    site.start()
    with Line(site.door) as line:
        assert line.ask("who") == "a"
        site.start_server("b")
        picture = site.wait(lambda pool: pool["conflicts"], "the conflict is seen")
        assert "CTX" in picture["conflicts"][0]
        wait_for(lambda: outcome(site.door) == "reset", "new clients are refused")
        assert line.ask("who") == "a"
        status = site.command("status")
        assert status.returncode == 1
        assert "a and b" in status.stdout
        wait_for(lambda: any(told.startswith("notify conflict ") for told in steps.told), "notify has run")
        site.servers["b"].kill()
        assert answered(site.door)[0] == "a"
        assert line.ask("who") == "a"
    assert site.command("status").returncode == 0


def test_two_of_one_name_where_that_is_only_told(site):
    """With `conflict: warn` the one in use goes on."""
    site.server("a")
    site.server("b")
    site.pool(server_name="CTX", conflict="warn")
    site.listen()
    site.start()
    site.wait(lambda pool: pool["conflicts"], "the conflict is seen")
    assert site.who() == "a"


def test_one_of_two_set_to_maint(site):
    """A standby that shall run beside the one in use is set to maint: nobody looks at it then."""
    site.server("a")
    site.server("b")
    site.pool(server_name="CTX", hold=0.2)
    site.listen()
    site.start()
    site.wait(lambda pool: pool["conflicts"], "the conflict is seen")
    site.do("maint", "lic", "b")
    assert answered(site.door)[0] == "a"


def test_status_as_json_tells_of_the_steps(make_fenced):
    """What came of the commands stands with each backend."""
    site = make_fenced()
    site.do("switch", "lic")
    backends = json.loads(site.do("status", "--json"))["pools"][0]["backends"]
    assert {one["name"]: (one["fencing"], one["activation"]) for one in backends} == {
        "a": ("fenced", "activated"),
        "b": (None, "activated"),
    }
