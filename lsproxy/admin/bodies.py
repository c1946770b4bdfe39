"""What may stand in the body or the query of a call, and what is wrong with this one?"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from lsproxy.admin.exchange import BAD_REQUEST, RefusedError
from lsproxy.core.choice import Admin

MOST_HOLDERS: Final = 1000

Moment = Annotated[
    str, Meta(extra_json_schema={"anyOf": [{"format": "date-time"}, {"pattern": "^[0-9]{1,10}(\\.[0-9]{1,6})?$"}]})
]
"""RFC 3339, or seconds since 1970."""

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

    seat: Annotated[int, Meta(ge=1, le=2**53 - 1)]


class Activate(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `activate`: the vendor's activation key."""

    key: Annotated[str, Meta(min_length=1, max_length=1024)]


class Page(msgspec.Struct, forbid_unknown_fields=True):
    """The query of `usage`, as in protocol.md."""

    feature: str | None = None
    after: Annotated[int, Meta(ge=0, le=2**53 - 1)] = 0
    limit: Annotated[int, Meta(ge=1, le=MOST_HOLDERS)] = 200
    holders: bool = True


class Reached(msgspec.Struct, forbid_unknown_fields=True):
    """The query of `client-config`: the name or address by which clients reach lsproxy, where it listens on all."""

    host: str | None = None


class Listening(msgspec.Struct, forbid_unknown_fields=True):
    """The query of `events`: those after the one with the id `after`, and with `follow` those to come."""

    after: str | None = None
    follow: bool = True


class Past(msgspec.Struct, forbid_unknown_fields=True):
    """The query of `history`: times are RFC 3339 or seconds since 1970, without `until` up to now."""

    since: Moment
    until: Moment | None = None
    pool: str | None = None


def decoded(body: bytes, kind: type[S]) -> S:
    """A JSON body, an empty one being an empty object. Raises RefusedError, 400."""
    try:
        said = msgspec.json.decode(body or b"{}")
        if isinstance(said, dict):
            said = {key: _whole(value) for key, value in said.items()}
        return msgspec.convert(said, kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
        raise RefusedError(BAD_REQUEST, "bad_request", f"the body cannot be taken: {problem}") from problem


def converted(query: Mapping[str, Any], kind: type[S]) -> S:
    """The values of a query. Raises RefusedError, 400."""
    try:
        return msgspec.convert(query, kind, strict=False)
    except msgspec.ValidationError as problem:
        raise RefusedError(BAD_REQUEST, "bad_request", f"the query cannot be taken: {problem}") from problem


def _whole(value: Any) -> Any:
    """In JSON 5.0 is as good an integer as 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
