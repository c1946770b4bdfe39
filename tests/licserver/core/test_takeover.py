"""The takeover limit as stories, and against everybody who would like it to last longer."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from licserver.core import events as ev
from licserver.core.takeover import (
    Counted,
    Returned,
    Whole,
    applied,
    elapsed_seconds,
    limit_seconds,
    taken_by_another,
    taken_by_primary,
    taken_by_redundant,
    time_passed,
)
from licserver.core.takeover_news import Announce, Block, Extend, Restore, Unblock, Warn
from tests.licserver.core.takeover_world import HOUR, NOON, RESTORE_SECONDS, World, seconds_to_wait

SIGNED = 2 * HOUR  # what the license of the random worlds allows

DO = {
    r"redundant takes the name": World.take,
    r"redundant takes the name with a limit of (\d+) h": lambda world, hours: world.take(hours * HOUR),
    r"primary takes the name": World.give_to_primary,
    r"a license with a limit of (\d+) h": lambda world, hours: world.change_limit(hours * HOUR),
    r"activation key for (\d+) h": World.activate,
    r"killed": World.kill,
    r"booted": World.boot,
    r"wall clock (-?\d+) h": lambda world, hours: setattr(world, "wall_error", world.wall_error + hours * HOUR),
    r"time passed": lambda _world: None,
}
TELL = {
    Announce: lambda told: f"Announce: takeover {told.number}, {told.remaining / HOUR:g} h left",
    Warn: lambda told: f"Warn: {told.remaining / HOUR:g} h left",
    Block: lambda told: f"Block: takeover limit of {told.granted / HOUR:g} h spent",
    Extend: lambda told: f"Extend: {told.hours:g} h more, {told.remaining / HOUR:g} h left",
    Unblock: lambda told: f"Unblock: {told.hours:g} h more",
    Restore: lambda told: f"Restore: the next takeover is {told.number}",
}


def tell(story):
    """The story as it happens: its events, each followed by what was told up to the next."""
    world, lines = World(), []

    def catch_up(begun):
        lines.extend(
            f"{'' if at == begun else f'{at / HOUR:.4g}h':8}> {TELL[type(told)](told)}" for at, told in world.told
        )
        world.told.clear()

    for line in story.strip().splitlines():
        if re.match(r"[\d.]*h? *>", line):
            continue
        at, happens = line.split("h", 1)
        world.pass_seconds(float(at) * HOUR - world.now)
        catch_up(None)
        lines.append(line)
        [(do, found)] = [(do, found) for words, do in DO.items() if (found := re.fullmatch(words, happens.strip()))]
        do(world, *map(int, found.groups()))
        catch_up(world.now)
    return "\n".join(lines)


STORIES = {
    "The limit is spent, and a key ends the block for its hours.": """
0h      redundant takes the name
        > Announce: takeover 1, 72 h left
48h     > Warn: 24 h left
64h     > Warn: 8 h left
71h     > Warn: 1 h left
72h     > Block: takeover limit of 72 h spent
80h     activation key for 72 h
        > Unblock: 72 h more
128h    > Warn: 24 h left
144h    > Warn: 8 h left
151h    > Warn: 1 h left
152h    > Block: takeover limit of 144 h spent
200h    time passed
""",
    "Friday's key adds to what remains, so that nobody comes in on Sunday.": """
0h      redundant takes the name
        > Announce: takeover 1, 72 h left
48h     > Warn: 24 h left
49h     activation key for 72 h
        > Extend: 72 h more, 95 h left
50h     activation key for 1 h
        > Extend: 1 h more, 95 h left
121h    > Warn: 24 h left
137h    > Warn: 8 h left
144h    > Warn: 1 h left
145h    > Block: takeover limit of 145 h spent
150h    time passed
""",
    "A primary that is back for a moment interrupts the count and restores nothing.": """
0h      redundant takes the name
        > Announce: takeover 1, 72 h left
10h     primary takes the name
10.2h   redundant takes the name
        > Announce: takeover 1, 62 h left
20h     primary takes the name
20.1h   killed
30h     primary takes the name
30.1h   redundant takes the name
        > Announce: takeover 1, 52.2 h left
58.3h   > Warn: 24 h left
60h     time passed
""",
    "A primary in control for a quarter of an hour makes the limit whole; the next takeover has the next number.": """
0h      redundant takes the name
        > Announce: takeover 1, 72 h left
48h     > Warn: 24 h left
64h     > Warn: 8 h left
71h     > Warn: 1 h left
72h     > Block: takeover limit of 72 h spent
80h     primary takes the name
80.1h   killed
90h     primary takes the name
90.15h  > Restore: the next takeover is 2
100h    redundant takes the name
        > Announce: takeover 2, 72 h left
148h    > Warn: 24 h left
149h    time passed
""",
    "A primary that comes back to a blocked server and dies leaves it blocked.": """
0h      redundant takes the name with a limit of 4 h
        > Announce: takeover 1, 4 h left
3h      > Warn: 1 h left
4h      > Block: takeover limit of 4 h spent
5h      primary takes the name
5.2h    redundant takes the name
        > Block: takeover limit of 4 h spent
6h      activation key for 2 h
        > Unblock: 2 h more
7h      > Warn: 1 h left
8h      > Block: takeover limit of 6 h spent
9h      time passed
""",
    "Time goes on while the server is down, and only the last of the warnings that were missed is told.": """
0h      redundant takes the name
        > Announce: takeover 1, 72 h left
1h      killed
66h     redundant takes the name
        > Warn: 6 h left
71h     > Warn: 1 h left
71.5h   killed
99h     redundant takes the name
        > Block: takeover limit of 72 h spent
100h    activation key for 1 h
        > Unblock: 1 h more
101h    > Block: takeover limit of 73 h spent
102h    time passed
""",
    "A boot is counted by the wall clock, set forward by 10 h between; set back, it loses nothing that was served.": """
0h      redundant takes the name
        > Announce: takeover 1, 72 h left
10h     booted
11h     wall clock 10 h
11h     redundant takes the name
38h     > Warn: 24 h left
39h     wall clock -100 h
40h     booted
40h     redundant takes the name
54h     > Warn: 8 h left
61h     > Warn: 1 h left
62h     > Block: takeover limit of 72 h spent
63h     time passed
""",
    "A lower limit, of the license or the configuration, holds at once; a higher one not before the next takeover.": """
0h      redundant takes the name with a limit of 48 h
        > Announce: takeover 1, 48 h left
1h      a license with a limit of 168 h
2h      killed
2h      redundant takes the name with a limit of 72 h
3h      activation key for 10 h
        > Extend: 10 h more, 55 h left
4h      a license with a limit of 24 h
10h     > Warn: 24 h left
20h     a license with a limit of 72 h
26h     > Warn: 8 h left
27h     a license with a limit of 1 h
        > Block: takeover limit of 27 h spent
28h     activation key for 2 h
        > Unblock: 2 h more
29h     > Warn: 1 h left
30h     > Block: takeover limit of 29 h spent
31h     activation key for 2 h
        > Unblock: 2 h more
31h     primary takes the name
31.1h   redundant takes the name with a limit of 0 h
        > Announce: takeover 1, 2 h left
        > Warn: 1 h left
32.1h   > Block: takeover limit of 30 h spent
33h     time passed
""",
    "Where the license allows no takeover the server is blocked from its first moment.": """
0h      redundant takes the name with a limit of 0 h
        > Block: takeover limit of 0 h spent
1h      activation key for 1 h
        > Unblock: 1 h more
2h      > Block: takeover limit of 1 h spent
3h      time passed
""",
    "A pair whose primary was never lost has nothing to restore.": """
0h      primary takes the name
1h      killed
2h      primary takes the name
3h      redundant takes the name
        > Announce: takeover 1, 72 h left
4h      time passed
""",
}


@pytest.mark.parametrize("title", STORIES)
def test_story(title):
    """Each story happens as it is told."""
    assert tell(STORIES[title]) == STORIES[title].strip()


class Cheats(RuleBasedStateMachine):
    """
    A customer with root on the redundant server's machine: kills, boots, clocks set, limits edited, the primary shown
    for a moment. Seconds that were served but had not reached the journal when the server was killed count as lost.
    """

    def __init__(self):
        super().__init__()
        self.world = World(SIGNED)

    @rule(limit=st.sampled_from([2.0, 1.5, 0.1]))
    def take(self, limit):
        """Start the redundant server, or register and configure it anew."""
        self.world.take(limit * HOUR)

    @rule(seconds=st.sampled_from([0.25, 59.0, 61.0, 1000.0, 3333.333]))
    def pass_seconds(self, seconds):
        self.world.pass_seconds(seconds)

    @rule(times=st.integers(1, 20), unconfirmed=st.sampled_from([0.0, 0.4]))
    def kill_every_59_s(self, times, unconfirmed):
        for _ in range(times):
            self.world.take()
            self.world.pass_seconds(59.0)
            self.world.kill(unconfirmed)

    @rule(times=st.integers(1, 20), back=st.sampled_from([0.0, 60.0, 3600.0]))
    def boot_every_minute(self, times, back):
        for _ in range(times):
            self.world.take()
            self.world.pass_seconds(59.0)
            self.world.boot()
            self.world.wall_error -= back

    @rule(unconfirmed=st.sampled_from([0.0, 0.4]))
    def kill(self, unconfirmed):
        self.world.kill(unconfirmed)

    @rule()
    def boot(self):
        self.world.boot()

    @rule(seconds=st.sampled_from([-1e9, -86_400.0, -61.0, 30.0, 86_400.0]))
    def set_wall_clock(self, seconds):
        self.world.wall_error += seconds

    @rule(seconds=st.sampled_from([-1e6, -50.0, 50.0]))
    def set_uptime(self, seconds):
        """Start the server in a time namespace, or set its virtual machine back."""
        self.world.kill()
        self.world.booted_at -= seconds

    @rule(limit=st.sampled_from([2.0, 1.5, 0.1]))
    def edit_limit(self, limit):
        self.world.change_limit(limit * HOUR)

    @rule(seconds=st.sampled_from([1.0, 500.0, RESTORE_SECONDS]), error=st.sampled_from([-1e6, 0.0, 20.0]))
    def show_primary(self, seconds, error):
        self.world.kill()
        self.world.primary_error = error
        self.world.give_to_primary()
        self.world.pass_seconds(seconds)
        self.world.kill()

    @precondition(lambda self: self.world.holder == "redundant" and isinstance(self.world.state, Counted))
    @rule(hours=st.sampled_from([1, 2]))
    def activate(self, hours):
        self.world.activate(hours)

    @invariant()
    def nothing_is_gained(self):
        world = self.world
        assert world.served <= SIGNED + world.allowed + world.lost + 0.001
        assert world.served <= world.spent + world.lost + 0.001

    @invariant()
    def kept_every_minute(self):
        world = self.world
        if world.holder == "redundant" and not world.state.is_spent:
            assert elapsed_seconds(world.state.reading, world.reading) < 60.0

    @invariant()
    def nothing_is_granted_but_by_the_vendor(self):
        if isinstance(self.world.state, Counted):
            assert self.world.state.granted <= SIGNED + self.world.allowed


TestCheats = Cheats.TestCase
TestCheats.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["pass", "kill", "wall"]), st.floats(0.001, 1500.0), st.floats(-1e7, 1e7, width=32)),
        max_size=20,
    )
)
def test_one_boot(steps):
    """Within one boot what is spent is what has passed, to the millisecond, whatever is killed and set meanwhile."""
    world = World(SIGNED)
    world.take()
    for what, seconds, error in steps:
        if what == "kill":
            world.kill()
        elif what == "wall":
            world.wall_error = error
        world.pass_seconds(seconds)
        world.take()
    counts = len(world.batches)
    assert world.spent == pytest.approx(min(world.now, world.state.granted), abs=0.001 * counts)
    assert world.spent >= min(world.now, world.state.granted) - 1e-6


@given(
    uptime=st.floats(0.0, 1e8),
    spent=st.floats(0.0, 400_000.0).map(lambda seconds: round(seconds, 3)),
    limit=st.floats(0.0, 170.0).map(lambda hours: limit_seconds(hours, None)),
    late=st.floats(0.0, 40.0),
)
def test_woken_at_its_own_time(uptime, spent, limit, late):
    """A shell that sleeps for as long as it was told finds something to keep, at whatever uptime and limit."""
    reading = ev.Reading("boot", uptime, uptime, uptime)
    state = Counted(1, 0.0, limit, limit, min(spent, limit), reading, 0, b"")
    now = ev.Reading("boot", uptime + late, uptime + late, uptime + late)
    wait = seconds_to_wait(state, now, RESTORE_SECONDS)
    if state.is_spent:
        assert wait is None
        return
    woken = ev.Reading("boot", now.uptime + wait, now.active + wait, now.wall + wait)
    [change] = time_passed(state, woken, RESTORE_SECONDS)
    after = applied(state, change)
    assert time_passed(after, woken, RESTORE_SECONDS) == ()
    returned = Returned(state, uptime)
    wait = seconds_to_wait(returned, now, RESTORE_SECONDS)
    assert time_passed(returned, ev.Reading("", 0.0, now.active + wait, 0.0), RESTORE_SECONDS)


READING = ev.Reading("boot", 100.0, 50.0, 1000.0)
COUNTED = Counted(3, 1000.0, 10.0, 10.0, 4.0, READING, 1, b"nonce")


@pytest.mark.parametrize(
    ("state", "change"),
    [
        (Whole(3), ev.TakeoverBegun(2, 10.0, b"", READING)),
        (Whole(3), ev.TakeoverCounted(0.0, READING)),
        (Whole(3), ev.TakeoverRestored(4)),
        (COUNTED, ev.TakeoverBegun(3, 10.0, b"", READING)),
        (COUNTED, ev.TakeoverCounted(3.0, READING)),
        (COUNTED, ev.TakeoverCounted(11.0, READING)),
        (COUNTED, ev.PrimaryReturned(3.0, 60.0)),
        (COUNTED, ev.TakeoverResumed(READING)),
        (COUNTED, ev.TakeoverExtended(3, 1, 72, b"")),
        (COUNTED, ev.TakeoverExtended(2, 2, 72, b"")),
        (COUNTED, ev.TakeoverLowered(10.0)),
        (COUNTED, ev.TakeoverRestored(4)),
        (Returned(COUNTED, 60.0), ev.TakeoverRestored(3)),
        (Returned(COUNTED, 60.0), ev.TakeoverCounted(5.0, READING)),
    ],
)
def test_changes_out_of_order(state, change):
    """A change that was not decided on the state is a fault of the journal, and is said to be one."""
    with pytest.raises(ValueError, match="does not follow"):
        applied(state, change)


@pytest.mark.parametrize(
    ("before", "now", "elapsed"),
    [
        (("a", 100.0, 0.0, 1000.0), ("a", 107.0, 3.0, 0.0), 7.0),
        (("a", 100.0, 0.0, 1000.0), ("a", 107.0, 9.0, 0.0), 9.0),
        (("a", 100.0, 0.0, 1000.0), ("b", 7.0, 3.0, 1060.0), 60.0),
        (("a", 100.0, 0.0, 1000.0), ("b", 7.0, 3.0, 900.0), 3.0),
        (("a", 100.0, 5.0, 1000.0), ("b", 7.0, 4.0, 900.0), 0.0),
        (("a", 100.0, 0.0, 1000.0), ("a", 99.0, 3.0, 1060.0), 60.0),
    ],
)
def test_elapsed(before, now, elapsed):
    """The uptime within a boot, the wall clock across boots, and never less than the active seconds."""
    assert elapsed_seconds(ev.Reading(*before), ev.Reading(*now)) == elapsed


def test_the_primarys_clock():
    """A primary whose clock is hours ahead spends none of the redundant server's time when it takes the name back."""
    reading = ev.Reading("b's boot", 100.0, 50.0, NOON)
    state = Counted(1, NOON, 72 * HOUR, 72 * HOUR, 0.0, reading, 0, b"")
    [returned] = taken_by_primary(state, ev.Reading("a's boot", 9.0, 60.0, NOON + 100 * HOUR))
    assert returned.spent == 10.0
    [returned] = taken_by_primary(state, ev.Reading("b's boot", 130.0, 60.0, NOON + 100 * HOUR))
    assert returned.spent == 30.0


def test_another_license_in_between():
    """While a server that is not of the pair has the name, its primary is not in control."""
    reading = ev.Reading("boot", 100.0, 50.0, NOON)
    state = Returned(Counted(1, NOON, 72 * HOUR, 72 * HOUR, 9.0, reading, 0, b""), 50.0)
    [left] = taken_by_another(state, ev.Reading("boot", 110.0, 60.0, NOON))
    [back] = taken_by_primary(applied(state, left), ev.Reading("boot", 5000.0, 5000.0, NOON))
    assert back.active == 5000.0
    assert taken_by_another(applied(state, left), reading) == taken_by_another(Whole(2), reading) == ()


def test_limit():
    """The configuration lowers the license's limit and never raises it."""
    hours = [limit_seconds(72.0, None), limit_seconds(72.0, 24.0), limit_seconds(72.0, 100.0), limit_seconds(0.0, 9.0)]
    assert hours == [72 * HOUR, 24 * HOUR, 72 * HOUR, 0.0]


def test_quiet():
    """Where nobody took over, and while the primary stays, nothing is kept; a repeated start of the primary neither."""
    returned = Returned(COUNTED, 60.0)
    assert seconds_to_wait(Whole(), READING, RESTORE_SECONDS) is None
    assert time_passed(Whole(), READING, RESTORE_SECONDS) == ()
    assert taken_by_primary(Whole(), READING) == taken_by_primary(returned, READING) == ()


def test_what_a_change_keeps():
    """A takeover's first change holds all that later counts rest on: number, limit, random bits and the clocks."""
    assert taken_by_redundant(Whole(7), READING, 72 * HOUR, b"8 random") == (
        ev.TakeoverBegun(7, 72 * HOUR, b"8 random", READING),
    )
