"""Which events are shown."""

from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from lsproxy.admin.events import Events
from lsproxy.oneline import one_line
from lsproxy.panel.eventlist import MOST_SHOWN, Filters, event_list
from lsproxy.panel.words import clock

CLOCK = clock(UTC)
NOW = 1_000_000_000.0
messages = st.text(max_size=5).map(one_line)
told = st.lists(
    st.tuples(st.sampled_from(["takeover", "serving"]), st.sampled_from(["acme", "mcad", None]), messages),
    max_size=30,
)


def shown(happened, **filters):
    events = Events("test", lambda: NOW)
    for event, pool, message in happened:
        events.tell(event, pool, message, {})
    return event_list(events.after(None), Filters(**filters), CLOCK(NOW), CLOCK)


@given(told, st.sampled_from(["", "acme", "other"]), st.sampled_from(["", "takeover"]), st.sampled_from(["", "a", "É"]))
def test_what_is_shown_fits_all_filters_and_what_fits_is_shown(happened, pool, kind, text):
    """The newest first; what was chosen stays a choice."""
    wanted = [
        (event, whose or "", message)
        for event, whose, message in happened
        if pool in {"", whose}
        and kind in {"", event}
        and text.casefold() in f"{whose or ''} {event} {message}".casefold()
    ]
    listed = shown(happened, pool=pool, kind=kind, text=text)
    assert [(entry.kind, entry.pool, entry.message) for entry in listed.entries] == wanted[::-1]
    assert {pool, kind} - {""} <= {*listed.pools, *listed.kinds}


def test_only_the_newest_are_shown():
    """The others are counted."""
    listed = shown([("serving", "acme", str(number)) for number in range(MOST_SHOWN + 5)])
    assert (len(listed.entries), listed.found, listed.left_out) == (MOST_SHOWN, MOST_SHOWN + 5, 5)
    assert listed.entries[0].message == str(MOST_SHOWN + 4)
