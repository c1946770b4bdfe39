"""
What is said to etcd's JSON gateway, and what comes back?

Fields are those of etcd's API (https://etcd.io/docs/v3.4/dev-guide/api_reference_v3/)
to the letter: the gateway ignores a field that it does not know, and a compare
that lost its operand that way succeeds. So no request is ever a dict, and the
compares are made by the functions here, each of which a test lets refuse.

In replies 64-bit numbers are strings and zero values are left out; the
decoders and the defaults below take that back. Bytes are base64 both ways.
"""

from typing import Literal, TypeVar

import msgspec

Reply = TypeVar("Reply")

# --- requests ---


class Compare(msgspec.Struct, frozen=True, omit_defaults=True):
    """One condition of a transaction; made by the functions below."""

    key: bytes
    target: Literal["VERSION", "MOD", "VALUE"]
    result: Literal["EQUAL", "GREATER", "LESS", "NOT_EQUAL"]
    version: int | None = None
    mod_revision: int | None = None
    value: bytes | None = None


class Range(msgspec.Struct, frozen=True, omit_defaults=True):
    """Read `key`, or the keys from it up to `range_end`, which is not among them. `limit` 0: all."""

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    revision: int = 0
    keys_only: bool = False


class Put(msgspec.Struct, frozen=True, omit_defaults=True):
    """Write. With a `lease` the key goes when the lease does."""

    key: bytes
    value: bytes
    lease: int = 0


class DeleteRange(msgspec.Struct, frozen=True, omit_defaults=True):
    """Delete `key`, or the keys from it up to `range_end`, which is not among them."""

    key: bytes
    range_end: bytes = b""


class RequestOp(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of a transaction: exactly one of the fields."""

    request_range: Range | None = None
    request_put: Put | None = None
    request_delete_range: DeleteRange | None = None


class Txn(msgspec.Struct, frozen=True):
    """If all of `compare` hold, `success` is done, otherwise `failure`; either way at one revision."""

    compare: list[Compare]
    success: list[RequestOp]
    failure: list[RequestOp] = []


class Compaction(msgspec.Struct, frozen=True):
    """Forget what keys were before `revision`."""

    revision: int


class Authenticate(msgspec.Struct, frozen=True):
    """Ask for a token."""

    name: str
    password: str


class LeaseGrant(msgspec.Struct, frozen=True):
    """A lease of `TTL` seconds, its number chosen by etcd."""

    TTL: int


class Lease(msgspec.Struct, frozen=True):
    """Keep that lease alive, or revoke it."""

    ID: int


class WatchCreate(msgspec.Struct, frozen=True, omit_defaults=True):
    """Changes of a range of keys from `start_revision` on; NODELETE leaves deletions out."""

    key: bytes
    range_end: bytes
    start_revision: int
    filters: list[Literal["NODELETE"]] = []


class WatchRequest(msgspec.Struct, frozen=True):
    """Begin a watch."""

    create_request: WatchCreate


class Alarm(msgspec.Struct, frozen=True):
    """Ask for the alarms that are raised."""

    action: Literal["GET"] = "GET"


class Nothing(msgspec.Struct, frozen=True):
    """A request without arguments."""


def value_is(key: bytes, value: bytes) -> Compare:
    """`key` is there with that value."""
    return Compare(key, "VALUE", "EQUAL", value=value)


def value_is_not(key: bytes, value: bytes) -> Compare:
    """`key` is there with another value."""
    return Compare(key, "VALUE", "NOT_EQUAL", value=value)


def value_is_below(key: bytes, value: bytes) -> Compare:
    """`key` is there, and its bytes sort before `value`."""
    return Compare(key, "VALUE", "LESS", value=value)


def exists(key: bytes) -> Compare:
    """`key` is there."""
    return Compare(key, "VERSION", "GREATER", version=0)


def is_absent(key: bytes) -> Compare:
    """`key` is not there."""
    return Compare(key, "VERSION", "EQUAL", version=0)


def is_unchanged(key: bytes, mod_revision: int) -> Compare:
    """`key` was last written at that revision."""
    return Compare(key, "MOD", "EQUAL", mod_revision=mod_revision)


def put(key: bytes, value: bytes, lease: int = 0) -> RequestOp:
    """Write in a transaction."""
    return RequestOp(request_put=Put(key, value, lease))


def get(key: bytes, range_end: bytes = b"", *, keys_only: bool = False) -> RequestOp:
    """Read in a transaction."""
    return RequestOp(request_range=Range(key, range_end, keys_only=keys_only))


def delete(key: bytes, range_end: bytes = b"") -> RequestOp:
    """Delete in a transaction."""
    return RequestOp(request_delete_range=DeleteRange(key, range_end))


# --- replies ---


class Header(msgspec.Struct, frozen=True):
    """Who answered, and at which revision of the store. 0 where the answer does not say."""

    cluster_id: str = ""
    member_id: str = ""
    revision: int = 0


class KeyValue(msgspec.Struct, frozen=True):
    """A key as it is; `version` counts its writes since it was created."""

    key: bytes
    mod_revision: int = 0
    version: int = 0
    value: bytes = b""


class Answer(msgspec.Struct, frozen=True):
    """What all replies have."""

    header: Header = Header()


class RangeReply(Answer, frozen=True):
    """The keys read, in order; `more`: the limit left some out."""

    kvs: list[KeyValue] = []
    more: bool = False


class ResponseOp(msgspec.Struct, frozen=True):
    """What a step read; empty for one that wrote."""

    response_range: RangeReply = RangeReply()


class TxnReply(Answer, frozen=True):
    """Which branch was taken, and what its steps read."""

    succeeded: bool = False
    responses: list[ResponseOp] = []

    def read(self, step: int) -> list[KeyValue]:
        """What step number `step` of the branch read."""
        return self.responses[step].response_range.kvs


class AuthenticateReply(Answer, frozen=True):
    """The token, secret."""

    token: str = ""


class LeaseReply(Answer, frozen=True):
    """A lease; `TTL` 0: there is none of that number any more."""

    ID: int = 0
    TTL: int = 0


class KeepAliveReply(msgspec.Struct, frozen=True):
    """The first answer of the stream that keeping alive is."""

    result: LeaseReply = LeaseReply()

    @property
    def header(self) -> Header:
        """Of the answer within."""
        return self.result.header


class AlarmMember(msgspec.Struct, frozen=True):
    """One alarm that is raised."""

    memberID: str = ""
    alarm: str = ""


class AlarmReply(Answer, frozen=True):
    """All of them."""

    alarms: list[AlarmMember] = []


class StatusReply(Answer, frozen=True):
    """One member's state; `leader` is empty without one, `dbSize` in bytes."""

    version: str = ""
    dbSize: int = 0
    leader: str = ""


class ClusterMember(msgspec.Struct, frozen=True):
    """One member as the cluster lists it."""

    ID: str
    name: str = ""


class MemberListReply(Answer, frozen=True):
    """All members."""

    members: list[ClusterMember] = []


class WatchedEvent(msgspec.Struct, frozen=True):
    """One change."""

    kv: KeyValue


class WatchAnswer(Answer, frozen=True):
    """Changes of one revision or several, in order. `canceled`: nothing more comes, though the stream stays open."""

    canceled: bool = False
    events: list[WatchedEvent] = []


class WatchMessage(msgspec.Struct, frozen=True):
    """One line of the stream: an answer, or none for an error."""

    result: WatchAnswer | None = None


class ErrorReply(msgspec.Struct, frozen=True):
    """What is in the body of an answer that is no 200. `code` is gRPC's."""

    error: str = ""
    code: int = 0


_encode = msgspec.json.Encoder().encode


def encode(request: msgspec.Struct) -> bytes:
    """The body of a request."""
    return _encode(request)


def decode(body: bytes, kind: type[Reply]) -> Reply:
    """The reply in a body. Raises msgspec.DecodeError."""
    return msgspec.json.decode(body, type=kind, strict=False)
