"""
The messages of seat/1 as types: what a request may hold, what a reply says.

Normative: docs/protocol.md. Requests are decoded strictly in their known keys
(a wrong type is a `bad_request` with the key's name) and generously in unknown
ones, which are ignored. Replies are encoded from these structs.
"""

import typing
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

PROTOCOL: Final = "seat/1"
MOST_UNANSWERED: Final = 1000
HELLO_SECONDS: Final = 5.0
SILENT_HEARTBEATS: Final = 3
SESSION_PATTERN: Final = "^([0-9a-fA-F]{32})?$"
VERSION_PATTERN: Final = r"^[0-9]{1,9}(\.[0-9]{1,9}){0,7}$"
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9998

Id = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Text = Annotated[str, Meta(max_length=1024)]
Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]
Span = Annotated[float, Meta(ge=0, le=1e10)]
Number = Annotated[int, Meta(ge=0, le=2**53 - 1)]
DottedVersion = Annotated[str, Meta(pattern=VERSION_PATTERN)]


# --- requests -----------------------------------------------------------------


class Hello(msgspec.Struct, tag_field="op", tag="hello"):
    """
    Opens or resumes a session, or, with `token`, an operator's connection.

    The keys a session needs are optional here because an operator's hello has
    none of them; `session_problem` names the one that is missing.
    """

    id: Id
    protocol: str = ""
    session: Annotated[str, Meta(pattern=SESSION_PATTERN)] = ""
    attempt: Annotated[int, Meta(ge=0, le=2**53 - 1)] = 0
    user: Annotated[str, Meta(max_length=256)] = ""
    host: Annotated[str, Meta(max_length=256)] = ""
    display: Text = ""
    pid: Annotated[int, Meta(ge=-(2**31), le=2**53 - 1)] = 0
    app: Text = ""
    hostids: Annotated[list[Text], Meta(max_length=64)] = []
    token: Text | None = None


class Checkout(msgspec.Struct, tag_field="op", tag="checkout"):
    """Asks for `count` seats of `feature`, at least `version`, waiting up to `wait` seconds in the queue."""

    id: Id
    feature: Name
    version: DottedVersion = "0"
    count: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 1
    wait: Seconds = 0.0


class Checkin(msgspec.Struct, tag_field="op", tag="checkin"):
    """Returns the seat of `handle`, or leaves the queue."""

    id: Id
    handle: Id


class Heartbeat(msgspec.Struct, tag_field="op", tag="heartbeat"):
    """Says that the session lives."""

    id: Id


class Bye(msgspec.Struct, tag_field="op", tag="bye"):
    """Returns everything and ends the session."""

    id: Id


class Status(msgspec.Struct, tag_field="op", tag="status"):
    """Asks what this server is."""

    id: Id


class Usage(msgspec.Struct, tag_field="op", tag="usage"):
    """Asks who holds what, a page at a time."""

    id: Id
    feature: Name | None = None
    after: Number = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 200
    holders: bool = True


class Takeover(msgspec.Struct, tag_field="op", tag="takeover"):
    """Operator: become active now, unless the journal is past `after_epoch`."""

    id: Id
    reason: Text = ""
    after_epoch: Number | None = None
    force: bool = False


class StandDown(msgspec.Struct, tag_field="op", tag="stand_down"):
    """Operator: give the name up; for `ttl` only `to` may take it."""

    id: Id
    reason: Text = ""
    to: Name | None = None


class Reread(msgspec.Struct, tag_field="op", tag="reread"):
    """Operator: read the license and options files again."""

    id: Id


class Install(msgspec.Struct, tag_field="op", tag="install"):
    """Operator: replace the license file by this text."""

    id: Id
    license: str


class Remove(msgspec.Struct, tag_field="op", tag="remove"):
    """Operator: take seat number `seat` back."""

    id: Id
    seat: Id
    reason: Text = "removed by an operator"


class Stop(msgspec.Struct, tag_field="op", tag="stop"):
    """Operator: stop the server."""

    id: Id


class Register(msgspec.Struct, tag_field="op", tag="register"):
    """Operator: the server `name`, which others reach at `address`, is to be this primary's redundant server."""

    id: Id
    name: Name
    address: Name
    hostids: Annotated[list[Text], Meta(min_length=1, max_length=64)]


class Unregister(msgspec.Struct, tag_field="op", tag="unregister"):
    """Operator: the server `name`, by default whichever it is, is this primary's redundant server no more."""

    id: Id
    name: Name | None = None


class RequestKey(msgspec.Struct, tag_field="op", tag="request_key"):
    """Operator: the key with which the vendor is asked for more hours."""

    id: Id


class Activate(msgspec.Struct, tag_field="op", tag="activate"):
    """Operator: count the hours of the vendor's activation key."""

    id: Id
    key: Text


SessionRequest = Checkout | Checkin | Heartbeat | Bye
OperatorRequest = (
    Takeover | StandDown | Reread | Install | Remove | Stop | Register | Unregister | RequestKey | Activate
)
Request = Hello | SessionRequest | Status | Usage | OperatorRequest


# --- replies ------------------------------------------------------------------


class Done(msgspec.Struct):
    """The bare `ok`: checkin, bye, most operator requests."""

    id: int
    ok: bool = True


class Refusal(msgspec.Struct):
    """
    `ok` false. `error` is a code of protocol.md, `message` the sentence,
    `active` the "host:port" of the active server in a `not_active` that knows it.
    """

    id: int
    error: str
    message: str
    ok: bool = False
    active: str | UnsetType = UNSET


class Welcome(msgspec.Struct):
    """The reply to a session's hello. Times in seconds."""

    id: int
    server: str
    backend: str
    epoch: int
    resumed: bool
    heartbeat: float
    resume: float
    trust: float
    held: list[int]
    ok: bool = True


class OperatorWelcome(msgspec.Struct):
    """The reply to an operator's hello."""

    id: int
    server: str
    backend: str
    epoch: int
    operator: bool = True
    ok: bool = True


class Granted(msgspec.Struct):
    """The reply to a checkout that has its seat. `expires` is "YYYY-MM-DD" or None, `grace` seconds."""

    id: int
    handle: int
    seat: int
    feature: str
    version: str
    count: int
    expires: str | None
    grace: float
    ok: bool = True


class Notice(msgspec.Struct, omit_defaults=True):
    """Something the person at the client may want to know. `remaining` in seconds."""

    code: str
    message: str
    remaining: float | UnsetType = UNSET


class Beat(msgspec.Struct):
    """The reply to a heartbeat: how many seats (handles) the session holds."""

    id: int
    seats: int
    notices: list[Notice]
    ok: bool = True


class TookOver(msgspec.Struct):
    """The reply to `takeover`: this server is active, in `epoch`."""

    id: int
    epoch: int
    ok: bool = True


class RegisteredBefore(msgspec.Struct):
    """The registration that another one has replaced."""

    address: str
    hostids: list[str]


class Registration(msgspec.Struct):
    """
    The reply to `register`: what a redundant server needs to know of its primary `backend` at `address`. `license` is
    the text in force, `vendor_keys` the public keys (PEM) it is checked with, `journal` where all is kept as a
    configuration says it; `ttl`, `heartbeat` and `resume` in seconds. `before` is what stood there until now.
    """

    id: int
    server: str
    backend: str
    address: str
    hostids: list[str]
    license: str
    vendor_keys: dict[str, str]
    journal: str
    ttl: float
    heartbeat: float
    resume: float
    before: RegisteredBefore | None = None
    ok: bool = True


class RequestKeyReply(msgspec.Struct):
    """The reply to `request_key`: `key` asks for extension number `extension` of takeover number `takeover`."""

    id: int
    key: str
    takeover: Number
    extension: Number
    ok: bool = True


class Unblocked(msgspec.Struct):
    """The reply to `activate`: the key granted `hours`; so many seconds are `remaining`."""

    id: int
    hours: Number
    remaining: Span
    ok: bool = True


class MemberStatus(msgspec.Struct):
    """One line of `members`: role is active, standby or down."""

    backend: str
    address: str
    role: str


class TakeoverStatus(msgspec.Struct, frozen=True):
    """
    The takeover limit that runs: of takeover `number`, which began at `since` (RFC 3339 UTC); seconds `spent` and
    `remaining`.
    """

    number: Number
    since: str
    spent: Span
    remaining: Span


class PartnerStatus(msgspec.Struct, frozen=True):
    """The other server of a pair. `address` is None where the license file names no port; `hostids` of a registered."""

    name: str
    address: str | None = None
    hostids: list[str] | UnsetType = UNSET


class RedundancyStatus(msgspec.Struct, frozen=True):
    """
    What a server is among those of its name; `priority` that of a triad's, `redundant` the one that a primary knows,
    `fault` why it could not serve, "" if it could.
    """

    scheme: str = ""
    role: str = ""
    primary: PartnerStatus | None = None
    redundant: PartnerStatus | UnsetType | None = UNSET
    priority: Number | UnsetType = UNSET
    fault: str | UnsetType = UNSET


class StatusReply(msgspec.Struct):
    """
    The reply to `status`. `revision` is the newest slot kept, `uptime` seconds, `now` RFC 3339 UTC; `heartbeat` and
    `trust` (seconds) are what sessions that open now are told.
    """

    id: int
    server: str
    backend: str
    role: str
    epoch: Number
    journal: str
    instance: str
    revision: Number
    license: str
    hostids: list[str]
    redundancy: RedundancyStatus
    members: list[MemberStatus]
    takeover: TakeoverStatus | None
    sessions: Number
    seats: Number
    now: str
    uptime: Span
    release: str
    ok: bool = True
    notices: list[Notice] = []
    heartbeat: Span = 0.0
    trust: Span = 0.0


class HolderUsage(msgspec.Struct):
    """Who holds or waits for a seat. `since` RFC 3339 UTC; `version` the one asked for."""

    seat: Number
    user: str
    host: str
    display: str
    pid: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
    address: str
    count: Number
    version: str
    since: str
    state: str


class FeatureUsage(msgspec.Struct):
    """A feature's seats: issued, in use, reserved, and checkouts queued."""

    feature: str
    version: str
    vendor: str
    issued: Number
    in_use: Number
    reserved: Number
    queued: Number
    expires: str | None
    holders: list[HolderUsage] | UnsetType = UNSET


class UsageReply(msgspec.Struct):
    """The reply to `usage`; `next` is the `after` of the next page, None on the last."""

    id: int
    next: Number | None
    features: list[FeatureUsage]
    ok: bool = True

    @property
    def fault(self) -> str | None:
        """What is no date in it, for who decoded it and believes nobody; None if all are."""
        for feature in self.features:
            if feature.expires is not None and not _is(date.fromisoformat, feature.expires):
                return f"{feature.feature[:64]!r} expires on {feature.expires[:64]!r}, which is no date"
            for holder in () if feature.holders is UNSET else feature.holders:
                if not _is(_moment, holder.since):
                    return f"seat {holder.seat} is held since {holder.since[:64]!r}, which is no time"
        return None


def _moment(text: str) -> datetime:
    """A time of which all zones can say which day it was."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(text)
    return moment


def _is(kind: Callable[[str], object], text: str) -> bool:
    try:
        kind(text)
    except (ValueError, OverflowError):
        return False
    return True


# --- events -------------------------------------------------------------------


class Queued(msgspec.Struct, tag_field="event", tag="queued"):
    """Checkout `id` waits at `position` (1 is the head)."""

    id: int
    position: int


class Superseded(msgspec.Struct, tag_field="event", tag="superseded"):
    """Another connection has this session now; this one is closed."""


class Removed(msgspec.Struct, tag_field="event", tag="removed"):
    """The seat of `handle` was taken back."""

    handle: int
    reason: str


class StandingDown(msgspec.Struct, tag_field="event", tag="standing_down"):
    """This server gives the name up; `active` is the "host:port" that takes it, where known."""

    active: str | None = None


class Resumed(msgspec.Struct, tag_field="event", tag="resumed"):
    """From lsproxy: it said the hello again on another server."""

    epoch: int
    resumed: bool
    held: list[int]


# --- bytes --------------------------------------------------------------------


class Envelope(msgspec.Struct):
    """What lsproxy, and the answer to a wrong request, need of any message."""

    id: int = 0
    op: str = ""
    feature: Any = None


UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding a line raises that is no message: also deeply nested JSON."""

_requests = msgspec.json.Decoder(Request)
_envelopes = msgspec.json.Decoder(Envelope)
_encoder = msgspec.json.Encoder()


def decode_request(line: bytes) -> Request | Refusal:
    """One request, or the refusal that says what is wrong with it (id 0: the connection is to be closed)."""
    try:
        request: Request = _requests.decode(line)
    except UNREADABLE as problem:
        return _explain(line, str(problem))
    return request


def encode(message: msgspec.Struct) -> bytes:
    """One message as a line with its newline."""
    return _encoder.encode(message) + b"\n"


def _explain(line: bytes, problem: str) -> Refusal:
    try:
        envelope = _envelopes.decode(line)
    except UNREADABLE:
        return Refusal(0, "bad_request", "a request is one JSON object on a line, with an integer `id` and an `op`")
    if not 1 <= envelope.id <= 2**53 - 1:
        return Refusal(0, "bad_request", "a request needs an `id`, an integer from 1 to 2^53-1")
    if not envelope.op:
        return Refusal(envelope.id, "bad_request", "a request needs an `op`, such as checkout or heartbeat")
    if envelope.op not in _OPS:
        return Refusal(envelope.id, "unknown_op", f"{envelope.op[:64]!r} is no operation of {PROTOCOL}")
    for pattern, sentence in _PATTERNS.items():
        problem = problem.replace(f"Expected `str` matching regex {pattern!r}", sentence)
    return Refusal(envelope.id, "bad_request", f"{envelope.op}: {problem}")


_PATTERNS = {
    SESSION_PATTERN: "expected 32 hex digits",
    VERSION_PATTERN: "expected a version: one to eight numbers joined by dots",
}
_OPS = frozenset(str(kind.__struct_config__.tag) for kind in typing.get_args(Request))
