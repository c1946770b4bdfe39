"""Who is ended for holding a lock, and when."""

from hypothesis import given
from hypothesis import strategies as st

from licserver.journal.interface import Member, Process
from licserver.journal.patience import END_AFTER_SECONDS, GIVE_UP_SECONDS, Blocker, Verdict, judge

MEMBER = Member("lic-a", "aa" * 16, "h:1", Process(7, 1, "boot"))
seconds = st.floats(0, 20)
members = st.sampled_from([MEMBER, None])


@given(seconds, seconds, st.booleans())
def test_stopped_member(held, waited, may_end_running):
    """A license server of this journal that is stopped is ended at once."""
    blocker = Blocker(7, "python", is_stopped=True, member=MEMBER)
    assert judge(blocker, held, waited, may_end_running=may_end_running) is Verdict.END


@given(seconds, seconds, st.booleans(), st.booleans())
def test_foreign_process(held, waited, is_stopped, may_end_running):
    """A process that is no license server of this journal is never ended, however long it holds the lock."""
    blocker = Blocker(7, "sqlite3", is_stopped=is_stopped, member=None)
    verdict = judge(blocker, held, waited, may_end_running=may_end_running)
    assert verdict is (Verdict.GIVE_UP if waited >= GIVE_UP_SECONDS else Verdict.WAIT)


@given(seconds, seconds, st.booleans())
def test_running_member(held, waited, may_end_running):
    """A running one is ended after three seconds of holding, by a call that may."""
    blocker = Blocker(7, "python", is_stopped=False, member=MEMBER)
    verdict = judge(blocker, held, waited, may_end_running=may_end_running)
    assert (verdict is Verdict.END) == (may_end_running and held >= END_AFTER_SECONDS)


@given(seconds, st.booleans())
def test_unknown_holder(waited, may_end_running):
    """Where the holder cannot be found the call waits, and gives up."""
    verdict = judge(None, waited, waited, may_end_running=may_end_running)
    assert verdict is (Verdict.GIVE_UP if waited >= GIVE_UP_SECONDS else Verdict.WAIT)
