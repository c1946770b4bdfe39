"""
What do license servers say of themselves now, asked quickly and side by side?

Each server is asked in a thread of its own, which a name that does not resolve
or a host that does not answer cannot make anybody wait for: what has not
answered after `ANSWER_SECONDS` is unreachable.
"""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from typing import Final, Self

import msgspec

from lsproxy.net.address import Address
from lsproxy.seat.lines import REPLY_LIMIT, LineSplitter
from lsproxy.seat.messages import FeatureUsage, Status, StatusReply, Usage, UsageReply, encode

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 1.5
PAGE_SECONDS: Final = 5.0
_PAGE: Final = 1000
_CHUNK: Final = 262_144


class Unreachable(msgspec.Struct, frozen=True):
    """No server could be asked. `is_name_unknown`: for want of an address of any of them."""

    is_name_unknown: bool = False


class NoFeature(msgspec.Struct, frozen=True):
    """No such feature is licensed or held."""


class Told(msgspec.Struct, frozen=True):
    """What the active server says, or one that knows it."""

    status: StatusReply
    features: list[FeatureUsage]


def ask(
    addresses: Sequence[Address], tls: ssl.SSLContext | None, *, feature: str | None, holders: bool
) -> Told | NoFeature | Unreachable:
    """The status of the system behind `addresses` and the usage of `feature`, None: of all, with its holders or not."""
    found = _choose(list(dict.fromkeys(addresses)), tls)
    if isinstance(found, Unreachable):
        return found
    status, address = found
    try:
        with _Line(address, tls) as line:
            features = _features(line, feature, holders=holders)
    except (OSError, msgspec.DecodeError, RecursionError):
        return Unreachable()
    return NoFeature() if features is None else Told(status, features)


class _Line:
    """A connection to one server."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None) -> None:
        plain = socket.create_connection((address.host, address.port), CONNECT_SECONDS)
        try:
            self._socket = plain if tls is None else tls.wrap_socket(plain, server_hostname=address.host)
        except BaseException:
            plain.close()
            raise
        self._lines = LineSplitter(REPLY_LIMIT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def say(self, request: msgspec.Struct, seconds: float) -> bytes:
        """The next line after the request. Raises OSError, also when it does not come within `seconds`."""
        end = time.monotonic() + seconds
        self._socket.settimeout(seconds)
        self._socket.sendall(encode(request))
        while not self._lines.is_overflowing:
            self._socket.settimeout(max(0.001, end - time.monotonic()))
            arrived = self._socket.recv(_CHUNK)
            if not arrived:
                raise ConnectionResetError("closed before it answered")
            lines = self._lines.feed(arrived)
            if lines:
                return lines[0]
        raise OSError(f"a line of more than {REPLY_LIMIT} bytes")


class _Head(msgspec.Struct):
    ok: bool
    error: str = ""


_head = msgspec.json.Decoder(_Head).decode
_status = msgspec.json.Decoder(StatusReply).decode
_usage = msgspec.json.Decoder(UsageReply).decode

_Answers = queue.SimpleQueue[tuple[Address, StatusReply | Exception]]


def _choose(addresses: Sequence[Address], tls: ssl.SSLContext | None) -> tuple[StatusReply, Address] | Unreachable:
    """The active server as soon as it answers, or else the first in order that answers at all."""
    answers: _Answers = queue.SimpleQueue()
    for address in addresses:
        threading.Thread(target=_ask_status, args=(answers, address, tls), daemon=True).start()
    standbys: dict[Address, StatusReply] = {}
    faults: list[Exception] = []
    end = time.monotonic() + ANSWER_SECONDS
    while len(standbys) + len(faults) < len(addresses):
        try:
            address, answer = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        if isinstance(answer, Exception):
            faults.append(answer)
        elif answer.role == "active":
            return answer, address
        else:
            standbys[address] = answer
    for address in addresses:
        if address in standbys:
            return standbys[address], address
    unknown = [fault for fault in faults if isinstance(fault, socket.gaierror)]
    return Unreachable(is_name_unknown=len(unknown) == len(addresses))


def _ask_status(answers: _Answers, address: Address, tls: ssl.SSLContext | None) -> None:
    try:
        with _Line(address, tls) as line:
            answers.put((address, _status(line.say(Status(1), ANSWER_SECONDS))))
    except (OSError, msgspec.DecodeError, RecursionError) as fault:
        answers.put((address, fault))


def _features(line: _Line, feature: str | None, *, holders: bool) -> list[FeatureUsage] | None:
    """All pages as one; None: there is no such feature."""
    found: dict[str, FeatureUsage] = {}
    after: int | None = 0
    while after is not None:
        page = line.say(Usage(1, feature, after, _PAGE, holders), PAGE_SECONDS)
        head = _head(page)
        if not head.ok and head.error == "unknown_feature":
            return None
        reply = _usage(page)
        for one in reply.features:
            known = found.setdefault(one.feature, one)
            if known is not one and isinstance(known.holders, list) and isinstance(one.holders, list):
                known.holders += one.holders
        if reply.next is not None and reply.next <= after:
            raise OSError(f"the page after seat {after} names seat {reply.next} as its last")
        after = reply.next
    return list(found.values())
