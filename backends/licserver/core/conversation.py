"""
One client's dialogue with the server: which request is answered how.

    fresh --hello--> in session --bye, superseded, silence--> over
      |                                                        ^
      +----hello with token--> operator -----------------------+

`status` and `usage` are answered in every state. A conversation decides
nothing by itself: it asks the ledger's decisions and tells the desk.
"""

import hmac
from collections import deque

import msgspec

from licserver.core import events as ev
from licserver.core.checkout import decide_checkout, granted
from licserver.core.desk import Desk, Moment, Open, Says
from licserver.core.ledger import Held, Session, Waiting
from licserver.core.sessions import decide_hello, digest_of, hello_problem, is_over
from lsproxy.seat.messages import (
    MOST_UNANSWERED,
    Beat,
    Bye,
    Checkin,
    Checkout,
    Done,
    Heartbeat,
    Hello,
    OperatorRequest,
    OperatorWelcome,
    Queued,
    Refusal,
    Remove,
    Removed,
    Request,
    Status,
    Superseded,
    Usage,
    Welcome,
)

_NO_DENIALS = frozenset({"bad_request", "ended"})  # the request is wrong, whatever seats there are


class Conversation:
    """
    `address` is the client's, for usage. `asked` counts, per waiting checkout,
    how many answers are due on this connection; `unanswered` all that are.
    `is_full`: more was said than the client reads.
    """

    __slots__ = ("address", "asked", "desk", "is_full", "is_operator", "is_over", "session", "transport", "unanswered")

    def __init__(self, desk: Desk, address: str, transport: object, moment: Moment) -> None:
        self.desk = desk
        self.address = address
        self.transport = transport
        self.session: int | None = None
        self.is_operator = False
        self.is_over = False
        self.is_full = False
        self.asked: dict[int, int] = {}
        self.unanswered = 0
        desk.fresh[self] = moment.boot

    def receive(self, request: Request | Refusal, moment: Moment) -> None:
        """One request, or what is wrong with it, arrived."""
        if self.is_over:
            return
        desk = self.desk
        if self in desk.fresh:
            del desk.fresh[self]
        desk.heard[self] = moment.boot
        desk.heard.move_to_end(self)
        self.unanswered += 1
        if self.unanswered > MOST_UNANSWERED:
            sentence = f"more than {MOST_UNANSWERED} requests are unanswered on this connection"
            self._refuse(request.id, "overloaded", sentence)
            return
        match request:
            case Heartbeat() | Checkout() | Checkin() | Bye():
                session = self._session(request.id)
                if session is not None:
                    self._in_session(session, request, moment)
            case Refusal():
                desk.say_at_once(self, request)
                if request.id == 0:
                    desk.hang_up(self)
            case Usage():
                desk.pages.setdefault(self, deque()).append(request)
            case Status():
                desk.errands.append((self, request))
            case Hello():
                self._hello(request, moment)
            case _:
                self._operate(request, moment)

    def _session(self, request_id: int) -> Session | None:
        """The open session, or None after the refusal was said."""
        door = self.desk.door
        if self.is_operator:
            self._refuse(request_id, "bad_request", "an operator's connection has no session")
        elif self.session is None:
            self._refuse(request_id, "hello_required", "a session's requests come after its hello")
        elif isinstance(door, Open):
            return self.desk.ledger.sessions[self.session]
        else:
            self._shut_out(request_id)
        return None

    def _in_session(self, session: Session, request: Heartbeat | Checkout | Checkin | Bye, moment: Moment) -> None:
        match request:
            case Heartbeat(request_id):
                seats = len(self.desk.ledger.held_handles(session.number))
                self._vouch(Beat(request_id, seats, self.desk.notices))
            case Checkout():
                self._checkout(session, request, moment)
            case Checkin():
                self._checkin(session, request, moment)
            case Bye(request_id):
                for handle in list(self.asked):
                    refusal = Refusal(handle, "withdrawn", f"checkout {handle}: the session said bye")
                    self.desk.answer_wait(session.number, refusal)
                self.desk.close_session(session, moment)
                self.session = None
                self._vouch(Done(request_id))
                self.desk.hang_up(self)

    def _hello(self, request: Hello, moment: Moment) -> None:
        desk = self.desk
        if self.session is not None or self.is_operator:
            self._refuse(request.id, "bad_request", "hello was said on this connection before")
        elif request.token is not None:
            self._operator_hello(request.id, request.token)
        elif (problem := hello_problem(request)) is not None:
            desk.say_at_once(self, problem)
        elif not isinstance(desk.door, Open):
            self._shut_out(request.id)
        else:
            self._session_hello(request, moment)

    def _operator_hello(self, request_id: int, token: str) -> None:
        desk = self.desk
        if desk.token is None or not hmac.compare_digest(token.encode(), desk.token.encode()):
            self._refuse(request_id, "not_permitted", f"hello: this token is not the operator token of {desk.backend}")
            desk.hang_up(self)
            return
        self.is_operator = True
        welcome = OperatorWelcome(request_id, desk.server_name, desk.backend, desk.ledger.epoch)
        desk.say_at_once(self, welcome)

    def _session_hello(self, request: Hello, moment: Moment) -> None:
        desk = self.desk
        known = desk.ledger.session_of(digest_of(request.session))
        if known is not None and is_over(known, moment.active):
            desk.close_session(known, moment)
        event = decide_hello(desk.ledger, request, self.address, desk.terms, moment.wall)
        if isinstance(event, Refusal):
            self._vouch(event)
            desk.hang_up(self)
            return
        desk.record(event)
        number = self.session = event.session
        older = desk.attached.get(number)
        if older is not None:
            desk.say(older, Superseded(), Says.EVENT)
            desk.hang_up(older)
        desk.attached[number] = self
        session = desk.ledger.sessions[number]
        welcome = Welcome(
            id=request.id,
            server=desk.server_name,
            backend=desk.backend,
            epoch=desk.ledger.epoch,
            resumed=isinstance(event, ev.SessionResumed),
            heartbeat=session.heartbeat,
            resume=session.resume,
            trust=session.trust,
            held=desk.ledger.held_handles(number),
        )
        self._vouch(welcome)
        for handle, reason in session.removed:
            desk.say(self, Removed(handle, reason), Says.EVENT)

    def _checkout(self, session: Session, request: Checkout, moment: Moment) -> None:
        desk = self.desk
        outcome = decide_checkout(desk.ledger, session, request, moment.active, moment.wall, desk.blocked(moment))
        match outcome:
            case ev.SeatGranted():
                desk.record(outcome)
                entry = desk.ledger.entries[outcome.seat]
                assert isinstance(entry, Held)
                self._vouch(granted(entry))
            case Held():
                self._vouch(granted(outcome))
            case ev.CheckoutQueued():
                desk.record(outcome)
                self._await(request.id, len(desk.ledger.queues[request.feature]))
            case Waiting():
                queue = desk.ledger.queues[outcome.feature]
                self._await(request.id, 1 + sum(1 for number in queue if number < outcome.number))
            case Refusal():
                if outcome.error not in _NO_DENIALS:
                    desk.denied(session.number, request, outcome)
                self._vouch(outcome)

    def _await(self, handle: int, position: int) -> None:
        self.asked[handle] = self.asked.get(handle, 0) + 1
        self.desk.say(self, Queued(handle, position), Says.EVENT)

    def _checkin(self, session: Session, request: Checkin, moment: Moment) -> None:
        desk, handle = self.desk, request.handle
        entry = desk.ledger.entry(session.number, handle)
        if isinstance(entry, Held):
            desk.record(ev.SeatReturned(session.number, handle))
        elif isinstance(entry, Waiting):
            desk.record(ev.WaitEnded(session.number, handle))
            refusal = Refusal(handle, "withdrawn", f"checkout {handle} was withdrawn by a checkin")
            desk.answer_wait(session.number, refusal)
        elif any(removed == handle for removed, _ in session.removed):
            desk.record(ev.RemovalSeen(session.number, handle))
        self._vouch(Done(request.id))
        if entry is not None:
            desk.serve_queue(entry.feature, moment)

    def _operate(self, request: OperatorRequest, moment: Moment) -> None:
        desk = self.desk
        if not self.is_operator:
            self._refuse(request.id, "not_permitted", "this needs an operator's connection: a hello with a valid token")
        elif isinstance(request, Remove):
            if not isinstance(desk.door, Open):
                self._shut_out(request.id)
                return
            refusal = desk.remove_seat(request.seat, request.reason, moment)
            if refusal is None:
                desk.say(self, Done(request.id), Says.PLAIN)
            else:
                desk.say(self, Refusal(request.id, refusal.error, refusal.message), Says.PLAIN)
        else:
            desk.errands.append((self, request))

    def _vouch(self, reply: msgspec.Struct) -> None:
        self.desk.outbox.append((self, reply, Says.VOUCHED))

    def _refuse(self, request_id: int, code: str, sentence: str) -> None:
        """Refuse for a reason that rests on nothing in the ledger, so also while the journal does not answer."""
        self.desk.say_at_once(self, Refusal(request_id, code, sentence))

    def _shut_out(self, request_id: int) -> None:
        door = self.desk.door
        assert not isinstance(door, Open)
        refusal = Refusal(request_id, door.code, door.message)
        if door.active is not None:
            refusal.active = door.active
        self.desk.say_at_once(self, refusal)
        if door.closes and not self.is_operator:
            self.desk.hang_up(self)
