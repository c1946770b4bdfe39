"""
Does this backend answer, and what does it say it is?

A `status` goes out every `interval` whether or not the last one was answered,
each with its own deadline, so a stopped process is found `fall` intervals and
one deadline after it stopped. The end of the connection is a failed check at
once, and the next connection is dialled in the same turn.

A server that refuses the token is asked its status without one, as it may well serve; the token is tried again beside
that every TOKEN_SECONDS, and the connection on which it is accepted is the one used from then on.
"""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, fail  # noqa: A004 - Twisted's name
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from lsproxy.metrics.buckets import PROBE_BOUNDS, Buckets
from lsproxy.net.dialing import in_words
from lsproxy.proxy.control import Control, ControlLostError
from lsproxy.proxy.dialling import OneProtocol
from lsproxy.seat.messages import UNREADABLE, Status, StatusReply

JITTER = 0.1
SOONEST_SECONDS = 0.01  # between two checks that evidence asked for: a herd of sessions has one thing to say
TOKEN_SECONDS = 5.0
PATIENCE_SECONDS = 5.0  # unanswered for so long, a connection is dialled anew: its path may be gone for good

log = Logger()

_status = msgspec.json.Decoder(StatusReply).decode


class Timing(msgspec.Struct, frozen=True):
    """Seconds: a check every `interval`, answered within `timeout`."""

    interval: float
    timeout: float


class Listening(Protocol):
    """Who is told how the checks end."""

    def check_passed(self, status: StatusReply) -> None:
        """It answered in time."""

    def check_failed(self, reason: str, *, is_lost: bool) -> None:
        """It did not, for this reason; `is_lost`: the connection itself ended or was refused."""


class Prober:
    """Watches the server `name` behind `endpoint`, and carries requests to it."""

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint: IStreamClientEndpoint,
        name: str,
        token: str | None,
        timing: Timing,
        random: Callable[[], float],
        listening: Listening,
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._name = name
        self._token = token
        self._timing = timing
        self._random = random
        self._listening = listening
        self._control: Control | None = None
        self._dial: Deferred[Any] | None = None
        self._trial: Control | None = None
        self._trial_dial: Deferred[Any] | None = None
        self._tried_at = 0.0
        self._refusal: str | None = None
        self._tick: IDelayedCall | None = None
        self.latencies = Buckets(PROBE_BOUNDS)
        """How long passed checks took."""
        self._checked_at = 0.0
        self._answered_at = 0.0

    @property
    def is_running(self) -> bool:
        """Whether it checks."""
        return self._tick is not None

    @property
    def complaint(self) -> str | None:
        """What the server said against the connection itself, such as a refused token."""
        return self._refusal or (None if self._control is None else self._control.complaint)

    def start(self) -> None:
        """Begin to check, now."""
        if self._tick is None:
            self._next_tick()
            self._check()

    def stop(self) -> None:
        """Check no more, and close."""
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        control, self._control = self._control, None
        if control is not None:
            control.abort()
        if self._dial is not None:
            self._dial.cancel()
        self._end_trial()
        self._refusal = None

    def renew(self, token: str | None) -> None:
        """Say `token` from now on. The connection in use stays until the server has accepted it on another one."""
        if token == self._token:
            return
        self._token = token
        self._refusal = None
        if self._control is not None and token is not None:
            self._try_token()

    def suspect(self) -> None:
        """Check beside the regular checks, unless that was done just now: somebody saw something."""
        if self._reactor.seconds() - self._checked_at >= SOONEST_SECONDS:
            self.check()

    def check(self) -> None:
        """Check beside the regular checks."""
        if self._tick is not None:
            self._check()

    def ask(self, kind: Callable[..., msgspec.Struct], timeout: float, **fields: Any) -> Deferred[bytes]:
        """A request of lsproxy.seat.messages, as `Control.ask`; TimeoutError after `timeout` seconds."""
        if self._control is None:
            return fail(ControlLostError(f"{self._name} is not connected"))
        return self._control.ask(kind, **fields).addTimeout(timeout, self._reactor)

    def _next_tick(self) -> None:
        wait = self._timing.interval * (1 - JITTER * self._random())
        self._tick = self._reactor.callLater(wait, self._ticked)

    def _ticked(self) -> None:
        self._next_tick()
        self._check()

    def _check(self) -> None:
        self._checked_at = self._reactor.seconds()
        control = self._control
        if control is None:
            self._connect()
        elif self._checked_at - self._answered_at > max(PATIENCE_SECONDS, 4 * self._timing.timeout):
            control.abort()
        else:
            if self._refusal is not None and self._checked_at - self._tried_at >= TOKEN_SECONDS:
                self._try_token()
            check = control.ask(Status).addTimeout(self._timing.timeout, self._reactor)
            check.addCallbacks(self._answered, self._unanswered, callbackArgs=(self._checked_at,))

    def _connect(self) -> None:
        if self._dial is not None:
            return
        # One that is known to be refused would end the connection.
        token = None if self._refusal is not None else self._token
        control = Control(self._name, token, lambda reason: self._lost(control, reason))
        dial = self._endpoint.connect(OneProtocol(control))
        self._dial = dial
        dial.addTimeout(self._timing.timeout, self._reactor)
        dial.addCallbacks(self._connected, self._not_connected)

    def _connected(self, control: Control) -> None:
        self._dial = None
        if self._tick is None or self._control is not None:
            control.abort()
            return
        self._control = control
        self._answered_at = self._reactor.seconds()
        self._check()

    def _not_connected(self, failure: Failure) -> None:
        self._dial = None
        if self._tick is not None:
            why = "no connection in time" if failure.check(TimeoutError, CancelledError) else in_words(failure)
            self._listening.check_failed(f"{self._name}: {why}", is_lost=True)

    def _try_token(self) -> None:
        self._end_trial()
        self._tried_at = self._reactor.seconds()
        control = Control(
            self._name, self._token, lambda reason: self._lost(control, reason), lambda: self._accepted(control)
        )
        self._trial = control
        self._trial_dial = self._endpoint.connect(OneProtocol(control))
        self._trial_dial.addTimeout(self._timing.timeout, self._reactor)
        self._trial_dial.addErrback(lambda _: None)  # the connection in use tells whether it answers

    def _end_trial(self) -> None:
        trial, self._trial = self._trial, None
        if self._trial_dial is not None:
            self._trial_dial.cancel()
        if trial is not None:
            trial.abort()

    def _accepted(self, control: Control) -> None:
        if control is not self._trial:
            return
        self._trial = self._refusal = None
        former, self._control = self._control, control
        self._answered_at = self._reactor.seconds()
        if former is not None:
            former.abort()

    def _lost(self, control: Control, reason: str) -> None:
        if control is self._trial:
            self._trial = None
            if control.is_token_refused:
                self._note_refusal(reason)
        if control is not self._control:
            return
        self._control = None
        if control.is_token_refused:
            self._note_refusal(reason)
        else:
            self._refusal = None  # whoever answers next may take it
            self._listening.check_failed(reason, is_lost=True)
        if self._tick is not None:
            self._connect()

    def _note_refusal(self, reason: str) -> None:
        if self._refusal is None:
            log.warn("{reason}", event="advice", reason=reason)
        self._refusal, self._tried_at = reason, self._reactor.seconds()

    def _answered(self, line: bytes, asked_at: float) -> None:
        self._answered_at = self._reactor.seconds()
        try:
            status = _status(line)
        except UNREADABLE as problem:
            self._listening.check_failed(f"{self._name}: its status cannot be read: {problem}", is_lost=False)
            return
        if self._tick is not None:
            self.latencies.observe(self._answered_at - asked_at)
            self._listening.check_passed(status)

    def _unanswered(self, failure: Failure) -> None:
        if self._tick is None or failure.check(ControlLostError):
            return
        why = f"no answer within {self._timing.timeout:g} s"
        if not failure.check(TimeoutError):
            why = failure.getErrorMessage()
        self._listening.check_failed(f"{self._name}: {why}", is_lost=False)
