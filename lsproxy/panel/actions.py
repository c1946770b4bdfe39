"""
What is asked before something is changed, which call of the API changes it, and what is said when it is done?

    a link on the page of a pool -> the question, on a page of its own -> the form -> the call -> the pool again
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import quote

import msgspec

from lsproxy.admin.exchange import BAD_REQUEST, NOT_FOUND, TOO_LARGE, RefusedError
from lsproxy.admin.limits import MOST_LICENSE_BYTES
from lsproxy.panel.words import counted, duration
from lsproxy.proxy.snapshot import PoolSnapshot

Action = Literal["switch", "state", "remove", "license", "activate", "request-key"]
ACTIONS: Final[tuple[Action, ...]] = ("switch", "state", "remove", "license", "activate", "request-key")
Given = Mapping[str, str]

LONGEST_NUMBER: Final = 16
SURE: Final = "sure"
_STATES: Final = {
    "ready": ("Set {backend} ready", "It is checked again and may be chosen.", "Set ready"),
    "drain": (
        "Drain {backend}",
        "Clients are switched to another license server, which has to stand by. It is not chosen until it is ready.",
        "Drain",
    ),
    "maint": (
        "Take {backend} into maint",
        "At once, also where nothing stands by, and it is not checked any more until it is set ready.",
        "Take into maint",
    ),
}
_SWITCH_SEATS: Final = (
    "The one that serves finishes what it has decided and hands the name over. Clients keep their seats and see a pause"
    " of milliseconds."
)
_SWITCH_RELAY: Final = (
    "The commands of on_deactivate and on_activate are run first. Connections to the one that serves are closed, and"
    " clients connect anew."
)


class Question(msgspec.Struct, frozen=True):
    """
    What is asked. `fields` go with the form as they are; `asks` is what is to be filled in. Without a `button` there
    is nothing to send.
    """

    title: str
    sentences: list[str]
    button: str | None = None
    is_grave: bool = False
    fields: dict[str, str] = {}
    asks: Literal["nothing", "license", "key"] = "nothing"


class Call(msgspec.Struct, frozen=True):
    """A call of the admin API."""

    method: str
    path: str
    body: bytes = b""


def question(action: Action, pool: PoolSnapshot, given: Given, holder: str | None = None) -> Question:
    """
    What is asked before `action`; `holder` is who has the seat that is taken back. Raises RefusedError where `given`
    names something that is not there.
    """
    match action:
        case "switch":
            to = _backend(pool, given.get("to", ""))
            how = _SWITCH_SEATS if pool.kind == "licserver" else _SWITCH_RELAY
            now = f"{pool.serving} serves {pool.pool} now." if pool.serving else f"Nobody serves {pool.pool} now."
            return Question(f"Switch {pool.pool} to {to}?", [now, how], f"Switch to {to}", fields={"to": to})
        case "state":
            backend, state = _backend(pool, given.get("backend", "")), _state(given.get("state", ""))
            title, how, button = _STATES[state]
            is_grave = state == "maint" and backend == pool.serving
            sentences = [f"{backend} serves {pool.pool} now."] if backend == pool.serving else []
            fields = {"backend": backend, "state": state}
            return Question(f"{title.format(backend=backend)}?", [*sentences, how], button, is_grave, fields)
        case "remove":
            seat = _seat(given.get("seat", ""))
            who = f"{holder}." if holder else f"Nobody has seat {seat} any more."
            told = "The application is told at once; a well-made one stops. What it has not saved may be lost."
            return Question(f"Take seat {seat} back?", [who, told], "Take back", is_grave=True, fields={"seat": seat})
        case "license":
            how = "It is verified first. Then it is put in force on the active server and sent to every backend."
            return Question(
                f"Install a license file on {pool.pool}", [how, "Nobody loses a seat."], "Install", asks="license"
            )
        case "activate":
            how = "It gives the redundant server that serves more hours. The vendor makes it from a request key."
            return Question(f"Enter an activation key for {pool.pool}", [how], "Activate", asks="key")
        case "request-key":
            how = "Send it to the vendor, who answers with an activation key."
            return Question(f"Request key of {pool.pool}", [how])


def license_again(pool: str, text: str, warnings: Sequence[str]) -> Question:
    """What is asked once more before a license is installed that grants less than somebody may count on."""
    sentences = [f"{warning[0].upper()}{warning[1:]}." for warning in warnings]
    title, fields = f"Install this license on {pool} all the same?", {"text": text, SURE: "yes"}
    return Question(title, sentences, "Install all the same", is_grave=True, fields=fields)


def license_text(given: Given) -> str:
    """The license that was chosen or pasted. Raises RefusedError where it is neither, or both."""
    return _license(given).decode()


def call(action: Action, pool: str, given: Given) -> Call:
    """The call that carries `action` out. Raises RefusedError where something is missing."""
    root = f"/api/v1/pools/{quote(pool, safe='')}"
    match action:
        case "switch":
            return Call("POST", f"{root}/switch", msgspec.json.encode({"to": given.get("to", "")}))
        case "state":
            backend = quote(given.get("backend", ""), safe="")
            state = msgspec.json.encode({"state": _state(given.get("state", ""))})
            return Call("POST", f"{root}/backends/{backend}/state", state)
        case "remove":
            return Call("POST", f"{root}/remove", msgspec.json.encode({"seat": int(_seat(given.get("seat", "")))}))
        case "license":
            return Call("PUT", f"{root}/license", _license(given))
        case "activate":
            return Call("POST", f"{root}/activate", msgspec.json.encode({"key": given.get("key", "").strip()}))
        case "request-key":
            return Call("GET", f"{root}/request-key")


def done(action: Action, said: Mapping[str, Any]) -> str:
    """The sentence on what was done; `said` is what the call answered."""
    match action:
        case "switch":
            return f"{said['pool']} is served by {said['serving']}."
        case "state":
            rows = [f"{said['backend']} is set to {said['state']}."]
            return "\n".join([*rows, *([said["warning"]] if said["warning"] else [])])
        case "remove":
            return f"Seat {said['seat']} was taken back."
        case "license":
            rows = [f"License {said['digest']} is in force on {said['active']}.", *said["warnings"], *said["problems"]]
            return "\n".join(rows)
        case "activate":
            return f"{counted(said['hours'], 'hour')} were added, {duration(said['remaining'])} are left."
        case "request-key":
            return str(said["key"])


def _backend(pool: PoolSnapshot, name: str) -> str:
    if name not in {backend.name for backend in pool.backends}:
        raise RefusedError(NOT_FOUND, "not_found", f"pool {pool.pool} has no backend {name[:64]!r}")
    return name


def _state(name: str) -> str:
    if name not in _STATES:
        raise RefusedError(BAD_REQUEST, "bad_request", f"a backend is {', '.join(_STATES)}, not {name[:64]!r}")
    return name


def _seat(text: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER):
        raise RefusedError(BAD_REQUEST, "bad_request", f"a seat is a number, not {text[:64]!r}")
    return str(int(text))


def _license(given: Given) -> bytes:
    uploaded, pasted = given.get("file", ""), given.get("text", "")
    if bool(uploaded.strip()) == bool(pasted.strip()):
        raise RefusedError(BAD_REQUEST, "bad_request", "choose a license file or paste its text, one of the two")
    # A browser ends the lines of a text field by CR LF, whatever was pasted.
    body = (uploaded or pasted.replace("\r\n", "\n")).encode()
    if len(body) > MOST_LICENSE_BYTES:
        raise RefusedError(TOO_LARGE, "too_large", f"a license file is at most {MOST_LICENSE_BYTES} bytes")
    return body
