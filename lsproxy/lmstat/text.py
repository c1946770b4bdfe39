"""
How do a server's `status` and `usage` read in the text that monitoring of FlexNet knows: `lmutil lmstat`?

Readers match these lines with regular expressions, so every space counts: two
after `Users of NAME:` and after `issued;`, five before a vendor, four before a
user. A word that came from outside must not make a line, or a column, of its
own: what is not a printable character, or is a space, becomes `_`.
"""

import re
from collections.abc import Sequence
from datetime import date, datetime, tzinfo
from typing import Final

from msgspec import UNSET

from lsproxy.seat.messages import FeatureUsage, HolderUsage, MemberStatus, StatusReply

RELEASE: Final = "v11.19.6"
VERSION: Final = f"lmstat {RELEASE} build 1 x64_lsb"
CANNOT_CONNECT: Final = 'Cannot connect to license server system. (-15,570:115 "Operation now in progress")'
HOST_UNKNOWN: Final = "License server machine is down or not responding. (-96,7)"
VENDOR_DOWN: Final = "The desired vendor daemon is down. (-97,121)"
NO_FEATURE: Final = "No such feature exists. (-5,357)"

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_COLUMNS: Final = "{:<31} {:<11} {:<12} {:<12} {}"
_UNUSUAL: Final = re.compile(r"[^!-~]")
_UNUSUAL_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_.-]")
_UNUSUAL_IN_FEATURE: Final = re.compile(r"[^A-Za-z0-9_-]")


def heading(now: datetime) -> list[str]:
    """The first lines of everything; `now` is local time."""
    day = f"{_DAYS[now.weekday()]} {now.month}/{now.day}/{now.year} {_clock(now)}"
    return ["lmutil - Copyright (c) the authors of lsproxy", f"Flexible License Manager status on {day}", ""]


def failed(sentence: str) -> list[str]:
    """What stands after the heading when no server could be asked."""
    return [f"Error getting status: {sentence}"]


def servers(status: StatusReply) -> list[str]:
    """The license servers, the active one as MASTER."""
    members, speaker = _members(status), _speaker(status)
    names = _names(members)
    addresses = ",".join(f"{_port(member)}@{names[member.backend]}" for member in members)
    return [
        f"License server status: {addresses}",
        f"    License file(s) on {names[speaker.backend]}: {_word(status.license)}:",
        "",
        *(f"{names[member.backend]}: {_server(member)}" for member in members),
        "",
    ]


def vendors(status: StatusReply, features: Sequence[FeatureUsage]) -> list[str]:
    """The vendors whose features are licensed; they are up while a server is active."""
    name = _names(_members(status))[_speaker(status).backend]
    state = f"UP {RELEASE}" if is_served(status) else VENDOR_DOWN
    found = sorted({_word(feature.vendor) for feature in features if feature.vendor})
    return [f"Vendor daemon status (on {name}):", "", *(f"     {vendor}: {state}" for vendor in found), ""]


def usage(status: StatusReply, features: Sequence[FeatureUsage], zone: tzinfo | None) -> list[str]:
    """Who holds what. Times in `zone`, None: the machine's."""
    speaker = _speaker(status)
    place = f"{_names(_members(status))[speaker.backend]}/{_port(speaker)}"
    lines = ["Feature usage info:", ""]
    for feature in features:
        lines += _feature(feature, place, zone)
    return lines


def table(features: Sequence[FeatureUsage]) -> list[str]:
    """The licensed features, one on a line (`lmstat -i`)."""
    names = ("Feature", "Version", "#licenses", "Expires", "Vendor")
    rows = [
        (_feature_name(feature), feature.version, str(feature.issued), _expiry(feature), _word(feature.vendor))
        for feature in features
        if feature.vendor
    ]
    return [_COLUMNS.format(*row) for row in (names, ["_" * len(name) for name in names], *rows)]


def is_served(status: StatusReply) -> bool:
    """Whether a server is active that may grant; one that is isolated or blocked says it only of itself."""
    holder = next((member for member in status.members if member.role == "active"), None)
    if status.role in {"isolated", "blocked"} and holder is not None and holder.backend == status.backend:
        return False
    return holder is not None or status.role == "active"


def _members(status: StatusReply) -> list[MemberStatus]:
    """The servers of the name; one that has just started is not in its own list yet."""
    if any(member.backend == status.backend for member in status.members):
        return status.members
    return [*status.members, MemberStatus(status.backend, "", status.role)]


def _speaker(status: StatusReply) -> MemberStatus:
    """The active server, or else the one that was asked."""
    members = _members(status)
    itself = next(member for member in members if member.backend == status.backend)
    return next((member for member in members if member.role == "active"), itself)


def _names(members: Sequence[MemberStatus]) -> dict[str, str]:
    """Readers tell servers apart by what stands before the first dot, in any case."""
    names = {member.backend: _UNUSUAL_IN_NAME.sub("-", member.backend) for member in members}
    if len({name.lower().partition(".")[0] for name in names.values()}) < len(names):
        return {backend: name.replace(".", "-") for backend, name in names.items()}
    return names


def _server(member: MemberStatus) -> str:
    match member.role:
        case "active":
            return f"license server UP (MASTER) {RELEASE}"
        case "down":
            return CANNOT_CONNECT
        case _:
            return f"license server UP {RELEASE}"


def _feature(feature: FeatureUsage, place: str, zone: tzinfo | None) -> list[str]:
    name = _feature_name(feature)
    issued, in_use = _licenses(feature.issued), _licenses(feature.in_use)
    lines = [f"Users of {name}:  (Total of {issued} issued;  Total of {in_use} in use)", ""]
    holders = [] if feature.holders is UNSET else feature.holders
    if holders:
        version, vendor = feature.version or "0", _word(feature.vendor)
        lines += [f'  "{name}" v{version}, vendor: {vendor}, expiry: {_expiry(feature)}', "  floating license", ""]
        lines += [f"    {_holder(holder, place, zone)}" for holder in holders]
    return lines


def _holder(holder: HolderUsage, place: str, zone: tzinfo | None) -> str:
    who = f"{_word(holder.user)} {_UNUSUAL_IN_NAME.sub('_', holder.host) or '-'} {_word(holder.display)}"
    where = f"(v{holder.version}) ({place} {holder.seat})"
    if holder.state == "queued":
        # Readers find the version asked for a second time before a place in the queue.
        return f"{who} {holder.version} {where} queued for {_licenses(holder.count)}"
    since = datetime.fromisoformat(holder.since).astimezone(zone)
    several = f", {_licenses(holder.count)}" if holder.count > 1 else ""
    return f"{who} {where}, start {_DAYS[since.weekday()]} {since.month}/{since.day} {_clock(since)}{several}"


def _feature_name(feature: FeatureUsage) -> str:
    return _UNUSUAL_IN_FEATURE.sub("_", feature.feature)


def _expiry(feature: FeatureUsage) -> str:
    if feature.expires is None:
        return "permanent"
    day = date.fromisoformat(feature.expires)
    return f"{day.day:02}-{_MONTHS[day.month - 1]}-{day.year}"


def _licenses(count: int) -> str:
    return f"{count} license" if count == 1 else f"{count} licenses"


def _clock(time: datetime) -> str:
    return f"{time.hour}:{time.minute:02}"


def _port(member: MemberStatus) -> str:
    return member.address.rpartition(":")[2] or "0"


def _word(text: str) -> str:
    return _UNUSUAL.sub("_", text) or "-"
