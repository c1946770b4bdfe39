"""
What does the OpenAPI document say of the calls?

It is made of what the calls themselves are made of: the routes, and the types of bodies, queries and replies. Here
stands only which of them belong to which call, and how each can be refused.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from lsproxy import eventnames
from lsproxy.admin.bodies import Activate, Listening, Page, Past, Reached, Remove, State, Switch
from lsproxy.admin.events import Event
from lsproxy.admin.exchange import (
    BAD_REQUEST,
    CONFLICT,
    EVENTS,
    FAULT,
    FORBIDDEN,
    JSON,
    MISDIRECTED,
    NOT_FOUND,
    TOO_LARGE,
    TOO_MANY,
    UNAUTHORIZED,
    UNAVAILABLE,
)
from lsproxy.admin.history import Answer as History
from lsproxy.admin.replies import (
    Activated,
    Alive,
    LoginLink,
    Pools,
    Refusal,
    Reloaded,
    Removed,
    RequestKey,
    StateSet,
    Switched,
    UsagePage,
)
from lsproxy.admin.routes import ROUTES, Call, Route
from lsproxy.proxy.kinds.clientconfig import ClientConfig
from lsproxy.proxy.operator import Installed
from lsproxy.proxy.snapshot import PoolSnapshot

VERSION: Final = "3.1.0"

_REF: Final = "#/components/schemas/{name}"
_NAME: Final = re.compile(r"{(\w+)}")

_EVENT_SCHEMA: Final = {
    "type": "object",
    "description": "One event of the stream: `event` is its name, `id` what Last-Event-ID goes on after.",
    "properties": {
        "id": {"type": "string"},
        "event": {"enum": sorted(eventnames.TOLD)},
        "data": {
            "type": "string",
            "contentMediaType": JSON,
            "contentSchema": {"$ref": _REF.format(name=Event.__name__)},
        },
    },
    "required": ["id", "event", "data"],
}
_REFUSALS: Final = {
    BAD_REQUEST: "The body, the query or the request cannot be taken; the sentence says what is wrong.",
    UNAUTHORIZED: "A token is needed, or this one is none.",
    FORBIDDEN: "The token is a viewer's, and this needs an operator's.",
    NOT_FOUND: "There is no such pool or backend.",
    CONFLICT: "It cannot be done as things are; the sentence says what stands in its way.",
    TOO_LARGE: "The body is too large; the connection is closed.",
    MISDIRECTED: "Without TLS this address is asked for by a name of this machine's loopback alone.",
    TOO_MANY: "Too many wrong tokens came from there; Retry-After says for how many seconds to wait.",
    FAULT: "A fault of lsproxy's own, which its log tells.",
    UNAVAILABLE: "The license server was lost while it was asked: whether it was done is not known.",
}


class _About(msgspec.Struct, frozen=True):
    """
    One call. `reply` is a type of JSON, or the content type of what is none; `body` likewise, None for none.
    `asks_server`: it is refused where no license server can answer.
    """

    summary: str
    reply: Any
    query: Any = None
    body: Any = None
    asks_server: bool = False
    may_conflict: bool = False


_CALLS: Final[Mapping[Call, _About]] = {
    "healthz": _About("Whether this process answers", Alive),
    "metrics": _About("Figures for Prometheus", "text/plain"),
    "login_link": _About("A link that logs a browser in to the panel", LoginLink),
    "pools": _About("All pools", Pools),
    "pool": _About("One pool", PoolSnapshot),
    "switch": _About("Planned switchover", Switched, body=Switch, may_conflict=True),
    "state": _About("Set a backend to ready, drain or maint", StateSet, body=State, may_conflict=True),
    "usage": _About("Who holds what, a page of it", UsagePage, query=Page, asks_server=True),
    "client_config": _About("What clients of a pool need", ClientConfig, query=Reached, may_conflict=True),
    "remove": _About("Take a seat back from its holder", Removed, body=Remove, asks_server=True),
    "license": _About("Put a license file in force", Installed, body="text/plain", asks_server=True),
    "request_key": _About("The key with which the vendor is asked for more hours", RequestKey, asks_server=True),
    "activate": _About("Count the hours of an activation key", Activated, body=Activate, asks_server=True),
    "events": _About("What has happened, then what happens (server-sent events)", EVENTS, query=Listening),
    "history": _About("What was in use, waited and was healthy", History, query=Past),
    "reload": _About("Take the configuration file as it is now", Reloaded, may_conflict=True),
    "openapi": _About("This document", dict[str, Any]),
}


def document(release: str) -> dict[str, Any]:
    """The document of this `release`, as JSON is made of it."""
    kinds = [kind for about in _CALLS.values() for kind in (about.reply, about.query, about.body)]
    structs = [*dict.fromkeys(kind for kind in kinds if isinstance(kind, type)), Event, Refusal]
    _, components = msgspec.json.schema_components(structs, ref_template=_REF, schema_hook=_anything)
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.pattern, {})[route.method.lower()] = _operation(route, components)
    bearer = {"type": "http", "scheme": "bearer", "description": "A token made by: lsproxy token add"}
    return {
        "openapi": VERSION,
        "info": {"title": "lsproxy", "summary": "The admin API", "version": release},
        "servers": [{"url": "../..", "description": "Relative to where this document is"}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"token": bearer}},
    }


def _anything(kind: type) -> dict[str, Any]:
    if kind is object:
        return {"description": "What there is to tell of such an event."}
    raise NotImplementedError


def _operation(route: Route, components: Mapping[str, Any]) -> dict[str, Any]:
    about = _CALLS[route.call]
    refused = {str(status): _refusal(status) for status in sorted(_refusals(route, about))}
    operation: dict[str, Any] = {
        "operationId": route.call,
        "summary": about.summary,
        "security": [] if route.need == "nobody" else [{"token": []}],
        "parameters": [*_names(route), *_query(about.query, components), *_headers(route)],
        "responses": {"200": {"description": "Done", "content": _content(about.reply)}, **refused},
    }
    if route.need != "nobody":
        roles = "operator" if route.need == "operator" else "viewer or operator"
        operation["description"] = f"For tokens of the role {roles}."
    if about.body is not None:
        is_required = isinstance(about.body, str) or bool(components[about.body.__name__].get("required"))
        operation["requestBody"] = {"required": is_required, "content": _content(about.body)}
    return operation


def _refusals(route: Route, about: _About) -> Iterator[int]:
    yield BAD_REQUEST
    if route.need == "nobody":
        return
    yield from (UNAUTHORIZED, MISDIRECTED, TOO_MANY, FAULT)
    if route.need == "operator":
        yield FORBIDDEN
    if about.body is not None:
        yield TOO_LARGE
    if "{" in route.pattern or about.query is Past:
        yield NOT_FOUND
    if about.asks_server or about.may_conflict:
        yield CONFLICT
    if about.asks_server:
        yield UNAVAILABLE


def _refusal(status: int) -> dict[str, Any]:
    said: dict[str, Any] = {"description": _REFUSALS[status], "content": _content(Refusal)}
    header = {UNAUTHORIZED: "WWW-Authenticate", TOO_MANY: "Retry-After"}.get(status)
    return said if header is None else {**said, "headers": {header: {"schema": {"type": "string"}}}}


def _content(kind: Any) -> dict[str, Any]:
    if kind == EVENTS:
        return {kind: {"schema": _EVENT_SCHEMA}}
    if isinstance(kind, str):
        return {kind: {"schema": {"type": "string"}}}
    if not isinstance(kind, type):
        return {JSON: {"schema": {"type": "object"}}}
    return {JSON: {"schema": {"$ref": _REF.format(name=kind.__name__)}}}


def _names(route: Route) -> Iterator[dict[str, Any]]:
    for name in _NAME.findall(route.pattern):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _query(kind: Any, components: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if kind is None:
        return
    schema = components[kind.__name__]
    for name, of_value in schema["properties"].items():
        is_required = name in schema.get("required", ())
        yield {"name": name, "in": "query", "required": is_required, "schema": _without_null(of_value)}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """What is optional in a query is left out, null cannot be said there."""
    said = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    return said[0] if len(said) == 1 else schema


def _headers(route: Route) -> Iterator[dict[str, Any]]:
    if route.call == "events":
        schema = {"type": "string"}
        yield {"name": "Last-Event-ID", "in": "header", "required": False, "schema": schema}
