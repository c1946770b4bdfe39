"""
What every conversation of one server shares: the tentative ledger, who is
attached where, what is to be kept, and what is to be said once it is kept.

Each decision applies its events to the ledger at once, so that the next one
sees them, and leaves them in `events`; what is to be said goes to `outbox`. The
shell takes both together with `take` and says nothing before the journal keeps
the events (rule 2 of docs/design.md). What depends on no event, such as
`isolated`, or an operator's hello by which a server proves that it lives, goes
to `at_once`, because the journal may take its time.
Nothing here does I/O or reads a clock.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from enum import IntEnum
from heapq import heappop, heappush
from itertools import takewhile
from typing import TYPE_CHECKING, Final

import msgspec

from licserver.core import events as ev
from licserver.core.checkout import granted, next_in_queue
from licserver.core.ledger import Held, Ledger, Session, Waiting
from licserver.core.sessions import Terms, detach, is_over
from licserver.core.usage import usage_reply
from licserver.core.uses import Use, denial, uses
from lsproxy.seat.messages import (
    HELLO_SECONDS,
    SILENT_HEARTBEATS,
    Checkout,
    Notice,
    Refusal,
    Removed,
    StandingDown,
    Usage,
)

if TYPE_CHECKING:
    from licserver.core.conversation import Conversation
    from licserver.core.limit import TakeoverLimit


_SPARE: Final = 1000


class Moment(msgspec.Struct, frozen=True, gc=False):
    """Now, by three clocks: seconds since boot, active seconds of the server name, POSIX seconds."""

    boot: float
    active: float
    wall: float


class Says(IntEnum):
    """What a message in the outbox is: an event, an answer that vouches for the claim, any other, or one of usage."""

    EVENT = 0
    VOUCHED = 1
    PLAIN = 2
    PAGE = 3


class Open(msgspec.Struct, frozen=True):
    """This server is active and its claim is confirmed."""


class Shut(msgspec.Struct, frozen=True):
    """
    Sessions are refused with `code` and `message`; `active` is the "host:port"
    that serves instead, where known. `closes`: the connection ends with it.
    """

    code: str
    message: str
    active: str | None = None
    closes: bool = True


Door = Open | Shut
Saying = tuple["Conversation | None", msgspec.Struct | None, Says]
"""What is said to whom, a None to close the connection; a `Use` to nobody is for the witness."""


class Desk:
    """
    See the module. `token` is the operator's, None where there is none; so is `limit` where none can be.

    `denials` counts the checkouts refused, by the code of the refusal.

    `witness` is told, by the shell and in the order of what is said, of every use of seats that is kept.
    """

    def __init__(self, ledger: Ledger, server_name: str, backend: str, terms: Terms, token: str | None) -> None:
        self.ledger = ledger
        self.server_name = server_name
        self.backend = backend
        self.terms = terms
        self.token = token
        self.door: Door = Shut("not_active", f"{backend} is starting")
        self.limit: TakeoverLimit | None = None
        self.witness: Callable[[Use], None] | None = None
        self.denials: Counter[str] = Counter()
        self.notices: list[Notice] = []
        self.wall = 0.0
        self.events: list[ev.AnyEvent] = []
        self.outbox: list[Saying] = []
        self.at_once: list[Saying] = []
        self.errands: list[tuple[Conversation, msgspec.Struct]] = []
        self.pages: OrderedDict[Conversation, deque[Usage]] = OrderedDict()
        self.is_page_unsaid = False
        self.attached: dict[int, Conversation] = {}
        self.fresh: OrderedDict[Conversation, float] = OrderedDict()
        self.heard: OrderedDict[Conversation, float] = OrderedDict()
        self._windows: list[tuple[float, int]] = []
        self._waits: list[tuple[float, int]] = []

    def replace_ledger(self, ledger: Ledger) -> None:
        """Go on from another state, as read from the journal. Who was attached is not; nothing they send is decided."""
        self.ledger = ledger
        self.events, self.outbox = [], []
        for conversation in self.attached.values():
            self._forget(conversation)
        self.attached.clear()
        self.is_page_unsaid = False
        self._read_windows()
        self._read_waits()

    def take(self) -> tuple[list[ev.AnyEvent], list[Saying]]:
        """What is to be kept, and what is to be said when it is."""
        taken = self.events, self.outbox
        self.events, self.outbox = [], []
        return taken

    def unkept(self, sayings: Iterable[Saying], sentence: str) -> list[Saying]:
        """
        What is said in place of `sayings`, whose events may not be kept: nothing
        to sessions, whose connections are closed unanswered, and to others that
        the outcome is unknown. Who was to be hung up on is.
        """
        instead: list[Saying] = []
        for conversation, message, says in sayings:
            if conversation is None:
                continue
            if message is None:
                instead.append((conversation, None, Says.EVENT))
            elif says in {Says.PLAIN, Says.PAGE} and conversation.session is None:
                refusal = Refusal(message.id, "not_active", sentence)  # type: ignore[attr-defined] # every answer has an id
                instead.append((conversation, refusal, Says.PLAIN))
        return instead

    def take_at_once(self) -> list[Saying]:
        """What is to be said now."""
        taken, self.at_once = self.at_once, []
        return taken

    def record(self, event: ev.AnyEvent) -> None:
        """An event was decided."""
        if self.witness is not None:
            self.outbox += [(None, use, Says.EVENT) for use in uses(self.ledger, event)]
        self.ledger.apply(event)
        self.events.append(event)
        match event:
            case ev.SessionDetached(number, deadline):
                heappush(self._windows, (deadline, number))
            case ev.CheckoutQueued():
                heappush(self._waits, (event.deadline, event.seat))
            case ev.Activated():
                for session in self.ledger.sessions.values():
                    if session.deadline is not None:
                        heappush(self._windows, (session.deadline, session.number))

    def denied(self, session: int, asked: Checkout | Waiting, refusal: Refusal) -> None:
        """A checkout was refused, at once or after it had waited."""
        self.denials[refusal.error] += 1
        if self.witness is not None:
            self.outbox.append((None, denial(self.ledger, session, asked, refusal), Says.EVENT))

    def say(self, conversation: "Conversation", message: msgspec.Struct, says: Says) -> None:
        """Say `message` once everything decided so far is kept."""
        self.outbox.append((conversation, message, says))

    def say_at_once(self, conversation: "Conversation", message: msgspec.Struct) -> None:
        """Answer without waiting for the journal."""
        self.at_once.append((conversation, message, Says.PLAIN))

    def hang_up(self, conversation: "Conversation") -> None:
        """Close the connection after all that was said on it. Nothing it sends is decided any more."""
        for request in self.pages.pop(conversation, ()):
            if self.is_page_unsaid:
                sentence = "the connection ended before there was time for this"
                self.say_at_once(conversation, Refusal(request.id, "overloaded", sentence))
            else:
                self._say_page(conversation, request)
        self._forget(conversation)
        self.outbox.append((conversation, None, Says.EVENT))

    def drop(self, conversation: "Conversation", moment: Moment) -> None:
        """Close the connection now, whatever is unsaid on it."""
        self.lost(conversation, moment)
        self.at_once.append((conversation, None, Says.EVENT))

    def lost(self, conversation: "Conversation", moment: Moment) -> None:
        """The connection of a conversation is gone."""
        self._forget(conversation)
        number = conversation.session
        if number is not None and self.attached.get(number) is conversation:
            del self.attached[number]
            if isinstance(self.door, Open):
                self.record(detach(self.ledger.sessions[number], moment.active))

    def turn_page(self) -> bool:
        """
        Answer one request of usage, in turns for who asks for more than one;
        False if there is none whose client reads, or the page before is still unsaid.
        A page takes milliseconds and much room, so the shell does other things between two.
        """
        asking = None if self.is_page_unsaid else next((each for each in self.pages if not each.is_full), None)
        if asking is None:
            return False
        requests = self.pages.pop(asking)
        self._say_page(asking, requests.popleft())
        if requests:
            self.pages[asking] = requests
        return True

    def drop_clients(self, moment: Moment) -> None:
        """Close every connection that is not an operator's."""
        for conversation in [*self.fresh, *self.heard]:
            if not conversation.is_operator:
                self.drop(conversation, moment)

    def open(self, moment: Moment) -> None:
        """The claim is confirmed (again): sessions whose connection was lost meanwhile are detached now."""
        self.door = Open()
        for session in self.ledger.sessions.values():
            if session.deadline is None and session.number not in self.attached:
                self.record(detach(session, moment.active))

    def serve_queue(self, feature: str, moment: Moment) -> None:
        """Grant what can be granted, in order, after room was made."""
        while (due := next_in_queue(self.ledger, feature, moment.wall, self.blocked(moment))) is not None:
            if isinstance(due, tuple):
                ended, refusal = due
                waiting = self.ledger.entry(ended.session, ended.handle)
                assert isinstance(waiting, Waiting)
                self.record(ended)
                self.denied(ended.session, waiting, refusal)
                self.answer_wait(ended.session, refusal)
            else:
                self.record(due)
                entry = self.ledger.entry(due.session, due.handle)
                assert isinstance(entry, Held)
                self.answer_wait(due.session, granted(entry), due.handle)

    def answer_wait(self, session: int, reply: msgspec.Struct, handle: int | None = None) -> None:
        """Answer a waiting checkout wherever it was asked on the session's present connection."""
        conversation = self.attached.get(session)
        if conversation is not None:
            if handle is None:
                assert isinstance(reply, Refusal)
                handle = reply.id
            for _ in range(conversation.asked.pop(handle, 0)):
                self.say(conversation, reply, Says.VOUCHED)

    def close_session(self, session: Session, moment: Moment) -> None:
        """End a session; its seats go to whoever waits."""
        features = {entry.feature for entry in self.ledger.entries_of(session.number)}
        self.record(ev.SessionClosed(session.number))
        self.attached.pop(session.number, None)
        for feature in sorted(features):
            self.serve_queue(feature, moment)

    def remove_seat(self, seat: int, reason: str, moment: Moment) -> Refusal | None:
        """An operator takes a seat back, or a waiting checkout out of the queue."""
        entry = self.ledger.entries.get(seat)
        if entry is None:
            return Refusal(0, "bad_request", f"seat {seat}: nobody holds or waits for it")
        if isinstance(entry, Waiting):
            self.record(ev.WaitEnded(entry.session, entry.handle))
            self.answer_wait(entry.session, Refusal(entry.handle, "withdrawn", f"{entry.feature}: {reason}"))
        else:
            self.record(ev.SeatRemoved(entry.session, entry.handle, reason))
            conversation = self.attached.get(entry.session)
            if conversation is not None:
                self.say(conversation, Removed(entry.handle, reason), Says.EVENT)
        self.serve_queue(entry.feature, moment)
        return None

    def blocked(self, moment: Moment) -> str:
        """Why no seats are granted although this server is active, "" if they are."""
        if self.limit is None:
            return ""
        self.limit.keep(moment)
        return self.limit.blocked

    def has_operator(self) -> bool:
        """Whether an operator's connection is open and not silent."""
        return any(conversation.is_operator for conversation in self.heard)

    def serve_queues(self, moment: Moment) -> None:
        """Look at the head of every queue: also time makes room and ends."""
        for feature in [feature for feature, queue in self.ledger.queues.items() if queue]:
            self.serve_queue(feature, moment)

    def tick(self, moment: Moment) -> None:
        """Do what is due by the clocks. To be called a few times per second."""
        self.wall = moment.wall
        self._end_silent(moment)
        if not isinstance(self.door, Open):
            return
        self._drop_what_is_over()
        if self.limit is not None:
            self.limit.keep(moment)
            notice = self.limit.notice(moment)
            self.notices = [] if notice is None else [notice]
        while self._windows and self._windows[0][0] <= moment.active:
            session = self.ledger.sessions.get(heappop(self._windows)[1])
            if session is not None and is_over(session, moment.active):
                self.close_session(session, moment)
        while self._waits and self._waits[0][0] <= moment.active:
            waiting = self.ledger.entries.get(heappop(self._waits)[1])
            if isinstance(waiting, Waiting):
                self.record(ev.WaitEnded(waiting.session, waiting.handle))
                sentence = f"{waiting.feature}: no seat came free within {waiting.wait:g} s"
                refusal = Refusal(waiting.handle, "no_seats", sentence)
                self.denied(waiting.session, waiting, refusal)
                self.answer_wait(waiting.session, refusal)
        self.serve_queues(moment)

    def dismiss(self, active: str | None) -> None:
        """Tell every session's connection that this server gives the name up, and close it."""
        for conversation in list(self.attached.values()):
            self.say(conversation, StandingDown(active), Says.EVENT)
            self.hang_up(conversation)
        self.attached.clear()

    def _say_page(self, conversation: "Conversation", request: Usage) -> None:
        self.is_page_unsaid = True
        self.say(conversation, usage_reply(self.ledger, request, self.wall), Says.PAGE)

    def _read_windows(self) -> None:
        sessions = self.ledger.sessions.values()
        self._windows = sorted((each.deadline, each.number) for each in sessions if each.deadline is not None)

    def _read_waits(self) -> None:
        queues = self.ledger.queues.values()
        self._waits = sorted((waiting.deadline, waiting.number) for queue in queues for waiting in queue.values())

    def _drop_what_is_over(self) -> None:
        """What was resumed or returned long before its deadline takes no room until then."""
        if len(self._windows) > _SPARE + 2 * len(self.ledger.sessions):
            self._read_windows()
        if len(self._waits) > _SPARE + 2 * sum(map(len, self.ledger.queues.values())):
            self._read_waits()

    def _forget(self, conversation: "Conversation") -> None:
        conversation.is_over = True
        self.fresh.pop(conversation, None)
        self.heard.pop(conversation, None)
        self.pages.pop(conversation, None)

    def _end_silent(self, moment: Moment) -> None:
        for conversation in _heard_before(self.fresh, moment.boot - HELLO_SECONDS):
            sentence = f"no request came within {HELLO_SECONDS:g} s; a connection begins with hello"
            self.say_at_once(conversation, Refusal(0, "hello_required", sentence))
            self.hang_up(conversation)
        for conversation in _heard_before(self.heard, moment.boot - SILENT_HEARTBEATS * self.terms.heartbeat):
            if self.heard[conversation] <= moment.boot - SILENT_HEARTBEATS * self._heartbeat(conversation):
                self.drop(conversation, moment)

    def _heartbeat(self, conversation: "Conversation") -> float:
        session = None if conversation.session is None else self.ledger.sessions.get(conversation.session)
        return self.terms.heartbeat if session is None else session.heartbeat


def _heard_before(heard: "OrderedDict[Conversation, float]", bound: float) -> "list[Conversation]":
    return [conversation for conversation, _ in takewhile(lambda item: item[1] <= bound, heard.items())]
