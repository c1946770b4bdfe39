"""What one license line allows to be granted, or why this release does not serve it, whoever signed it."""

import re
from collections.abc import Iterable
from datetime import date
from math import inf
from typing import Final

import msgspec
from msgspec.structs import force_setattr

from lsproxy.license.dates import Permanent, day_begins_at, day_ends_at, parse_date, parse_expiry
from lsproxy.license.grammar import UNCOUNTED
from lsproxy.license.hostid import ANY_KIND
from lsproxy.license.model import FeatureLine, LicenseError, LicenseFile
from lsproxy.license.shown import shown
from lsproxy.license.version import Version, parse_version

DEFAULT_GRACE_HOURS: Final = 4.0
DEFAULT_TAKEOVER_HOURS: Final = 72.0

_NOT_BUILT: Final = (
    "DUP_GROUP",
    "BORROW",
    "LINGER",
    "USER_BASED",
    "HOST_BASED",
    "MINIMUM",
    "SUPERSEDE",
)
_PAIR: Final = 2
_COUNT: Final = re.compile(r"[0-9]{1,9}")
_HOURS: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")


class Pool(msgspec.Struct, frozen=True):
    """
    What one line of a license file grants: `issued` seats of `feature` up to `version`, and `overdraft` more.

    `starts` and `expires` are days in UTC, None for no such bound; `starts_at` and `ends_at` say the same in POSIX
    seconds: grants are allowed from `starts_at` to before `ends_at`. `line` is the line's number in its file.
    """

    feature: str
    vendor: str
    version: Version
    version_text: str
    issued: int
    overdraft: int
    starts: date | None
    expires: date | None
    grace_seconds: float
    line: int = 0
    starts_at: float = -inf
    ends_at: float = inf

    def __post_init__(self) -> None:
        force_setattr(self, "starts_at", day_begins_at(self.starts) if self.starts else -inf)
        force_setattr(self, "ends_at", day_ends_at(self.expires) if self.expires else inf)

    def has_started(self, now_wall: float) -> bool:
        """Whether the first day has begun at `now_wall`, POSIX seconds."""
        return now_wall >= self.starts_at

    def has_expired(self, now_wall: float) -> bool:
        """Whether the last day is over at `now_wall`, POSIX seconds."""
        return now_wall >= self.ends_at


def pool_of(line: FeatureLine) -> Pool:
    """The pool of a line that `why_not_served` has nothing against. Raises LicenseError for another."""
    version, expiry = parse_version(line.version), parse_expiry(line.expiry)
    if version is None or expiry is None or (reason := why_not_served(line)):
        raise LicenseError(f"line {line.line} grants nothing: {reason or 'its version or expiry is none'}")
    start = line.get("START")
    grace = line.get("GRACE")
    return Pool(
        feature=line.feature,
        vendor=line.vendor,
        version=version,
        version_text=line.version,
        issued=int(line.count),
        overdraft=int(line.get("OVERDRAFT") or 0),
        starts=parse_date(start) if start else None,
        expires=None if isinstance(expiry, Permanent) else expiry,
        grace_seconds=(DEFAULT_GRACE_HOURS if grace is None else float(grace)) * 3600.0,
        line=line.line,
    )


def takeover_hours(lines: Iterable[FeatureLine]) -> float:
    """
    How long a redundant server may serve `lines`, those of one license file that are served: the least they allow.

    A line without TAKEOVER allows DEFAULT_TAKEOVER_HOURS.
    """
    given = [line.get("TAKEOVER") for line in lines]
    return min((DEFAULT_TAKEOVER_HOURS if hours is None else float(hours) for hours in given), default=0.0)


def why_not_limited(license_file: LicenseFile) -> str:
    """Why the takeover limit of a pair could be evaded by configuration alone, as a sentence; "" if it could not."""
    is_pair = len(license_file.servers) == _PAIR or any(line.get("TAKEOVER") for line in license_file.features)
    if not is_pair or not license_file.servers:
        return ""
    if all(hostid.kind not in {"id", ANY_KIND} for hostid in license_file.servers[0].hostids):
        return ""
    return (
        "the primary is bound by ID= or ANY, which any host may declare, so that a redundant server could pass for the "
        "primary and serve without its takeover limit; bind it by HOSTNAME=, ETHER= or MACHINE_ID="
    )


def why_not_served(line: FeatureLine) -> str:
    """The sentence that says why this release serves no such line, "" if it does. Dates do not matter here."""
    for key, value in line.attributes:
        if reason := _attribute_problem(key, value):
            return reason
    if line.count == UNCOUNTED or int(line.count) == 0:
        return "an uncounted line is node-locked, and node-locked lines are not served by this release"
    return ""


def _attribute_problem(key: str, value: str | None) -> str:
    text = value or ""
    if key in _NOT_BUILT:
        return f"{key} is not served by this release"
    if key == "HOSTID" and text.lower() != ANY_KIND:
        return "a line with a HOSTID is node-locked, and node-locked lines are not served by this release"
    if key == "START" and parse_date(text) is None:
        return f"{shown(text)} is no START; a date such as 21-nov-2026 would be one"
    if key == "OVERDRAFT" and not _COUNT.fullmatch(text):
        return f"{shown(text)} is no OVERDRAFT; a number of at most nine digits would be one"
    if key == "GRACE" and not _HOURS.fullmatch(text):
        return f"{shown(text)} is no GRACE; a number of hours such as 4 or 0.5 would be one"
    if key == "TAKEOVER" and not _HOURS.fullmatch(text):
        return f"{shown(text)} is no TAKEOVER; a number of hours such as 72 or 1.5 would be one"
    return ""
