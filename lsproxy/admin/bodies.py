"""What may stand in the body or the query of a call, and what is wrong with this one?"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from lsproxy.admin.exchange import BAD_REQUEST, RefusedError
from lsproxy.core.choice import Admin

MOST_HOLDERS: Final = 1000

S = TypeVar("S", bound=msgspec.Struct)


class Switch(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `switch`."""

    to: str | None = None
    force: bool = False


class State(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `state`."""

    state: Admin


class Remove(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `remove`: a seat's number."""

    seat: Annotated[int, Meta(ge=1)]


class Activate(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `activate`: the vendor's activation key."""

    key: Annotated[str, Meta(min_length=1, max_length=1024)]


class Page(msgspec.Struct, forbid_unknown_fields=True):
    """The query of `usage`, as in protocol.md."""

    feature: str | None = None
    after: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=MOST_HOLDERS)] = 200
    holders: bool = True


class Reached(msgspec.Struct, forbid_unknown_fields=True):
    """The query of `client-config`: the name or address by which clients reach lsproxy, where it listens on all."""

    host: str | None = None


def decoded(body: bytes, kind: type[S]) -> S:
    """A JSON body, an empty one being an empty object. Raises RefusedError, 400."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise RefusedError(BAD_REQUEST, "bad_request", f"the body cannot be taken: {problem}") from problem


def converted(query: Mapping[str, Any], kind: type[S]) -> S:
    """The values of a query. Raises RefusedError, 400."""
    try:
        return msgspec.convert(query, kind, strict=False)
    except msgspec.ValidationError as problem:
        raise RefusedError(BAD_REQUEST, "bad_request", f"the query cannot be taken: {problem}") from problem
