"""
Who changed what, when, from where, and what came of it? A line of the log for each, the event `audit`.

    audit: ops (operator) from 192.0.2.7: switch acme to=lic-b: done

In a JSON log every part is a field: `who`, `role`, `source`, `action` (the call's name), `pool`, `backend`, what was
asked for, `outcome` (done, refused, failed) and `why`. Nothing secret and nothing long is in it: of a body only what
its call understands is said, a license and an activation key by their digests.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from twisted.logger import Logger

from lsproxy.admin.bodies import Activate, Remove, State, Switch, decoded
from lsproxy.admin.exchange import Asked, RefusedError
from lsproxy.admin.routes import Found

LONGEST_NAME: Final = 64
LONGEST_WHY: Final = 1000
_DIGITS: Final = 16

log = Logger()


def changed(asked: Asked, found: Found, who: str, role: str, outcome: str, why: str = "") -> None:
    """`who` asked for a change; `why` says what stood in its way, where it was not done."""
    fields = {"who": who, "role": role, "source": asked.source, "action": found.call, **_named(found)}
    why = _short(why)
    fields |= _wanted(asked, found.call) | {"outcome": outcome, "why": why}
    ending = f"{outcome}, {why}" if why else outcome
    text = f"audit: {who} ({role}) from {asked.source}: {_what(asked, found)}: {ending}"
    _log(log.info, text, fields)


def kept_out(asked: Asked, found: Found, who: str, why: str) -> None:
    """`who`, "somebody" where nothing is known, may not make this change."""
    why = _short(why)
    fields = {"who": who, "source": asked.source, "action": found.call, **_named(found)}
    text = f"audit: {who} from {asked.source} was refused {_what(asked, found)}: {why}"
    _log(log.warn, text, {**fields, "outcome": "refused", "why": why})


def logged_in(asked: Asked, who: str) -> None:
    """Somebody logged in to the panel by the token or the link of `who`."""
    fields = {"who": who, "source": asked.source, "action": "login", "outcome": "done"}
    _log(log.info, f"audit: {who} logged in to the panel from {asked.source}", fields)


def _log(write: Callable[..., None], text: str, fields: Mapping[str, Any]) -> None:
    write("{log_text}", event="audit", log_text=text, **fields)


def _short(why: str) -> str:
    return why if len(why) <= LONGEST_WHY else f"{why[:LONGEST_WHY]}…"


def _named(found: Found) -> dict[str, str]:
    return {key: name[:LONGEST_NAME] for key, name in found.names.items()}


def _what(asked: Asked, found: Found) -> str:
    wanted = [f"{key}={value}" for key, value in _wanted(asked, found.call).items()]
    return " ".join([found.call, *map(_printable, _named(found).values()), *map(_printable, wanted)])


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)


def _wanted(asked: Asked, call: str) -> dict[str, str]:
    """What the body asks for; nothing of a body that its call does not understand."""
    try:
        match call:
            case "switch":
                switch = decoded(asked.body, Switch)
                named = {} if switch.to is None else {"to": switch.to[:LONGEST_NAME]}
                return {**named, "force": "true"} if switch.force else named
            case "state":
                return {"state": decoded(asked.body, State).state.value}
            case "remove":
                return {"seat": str(decoded(asked.body, Remove).seat)}
            case "activate":
                return {"key": _digest(decoded(asked.body, Activate).key.encode())}
            case "license":
                return {"license": _digest(asked.body)}
            case _:
                return {}
    except (RefusedError, msgspec.MsgspecError, UnicodeEncodeError):
        return {}


def _digest(secret: bytes) -> str:
    return f"sha256:{hashlib.sha256(secret).hexdigest()[:_DIGITS]}…"
