"""
Who is this server, by the license file?

    SERVER lines   scheme      this host is named by         it is
    one            single      that line                     Single
                   duplicate   that line                     Duplicate
                   pair        that line                     Primary
                   pair        its registration at the       Redundant, under the limit
                               primary, which the line names
    two            pair        the first, the second line    Primary; Redundant
    three          triad       any of them                   TriadMember

Everything else is a misfit. A registered server is redundant also where the line
names its host as well, as it does with a pair on one machine.

[Pairs] A takeover limit is counted for the vendor's key and the hostids of the
SERVER lines together, and a pair's license is of one vendor. Otherwise a customer could
put a license of his own in force for a while: it would make his redundant server a
primary, or let a key of his own add hours, and the vendor's limit would be whole again.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from licserver.core.takeover import limit_seconds
from lsproxy.license.activation import KeyRefused, sole_signer
from lsproxy.license.binding import Unbound, bind
from lsproxy.license.hostid import Hostid
from lsproxy.license.model import ServerLine
from lsproxy.license.signature import VerifiedLicense
from lsproxy.license.terms import takeover_hours

_SCHEMES_OF: Final = {1: ("single", "duplicate", "pair"), 2: ("pair",), 3: ("triad",)}
_MOST_SERVERS: Final = 3
_SHARE: Final = 4  # of `ttl` for each priority: time to see the name free and to ask a silent holder (0.1 s + 0.2 s)
_NEW_SHARE: Final = 2  # the same, and to start
_PAIR_BYTES: Final = 16


class Registered(msgspec.Struct, frozen=True):
    """What registering at a primary left in the configuration: its name, "host:port" and hostids."""

    name: str
    address: str
    hostids: tuple[Hostid, ...]


class Wanted(msgspec.Struct, frozen=True):
    """
    What the configuration says of redundancy. `scheme` is single, duplicate, pair or triad; `limit_hours` lowers the
    license's takeover limit; `priority`, from 1, is a triad member's, that of its SERVER line where it is None.
    """

    scheme: str = "single"
    limit_hours: float | None = None
    priority: int | None = None
    registered: Registered | None = None


class Single(msgspec.Struct, frozen=True):
    """The only server of its name."""


class Duplicate(msgspec.Struct, frozen=True):
    """One of several servers of which any takes the name when it is free."""


class Primary(msgspec.Struct, frozen=True):
    """The server of a pair that is under no limit. `pair` is whose limit it restores; see [Pairs]."""

    pair: bytes


class Redundant(msgspec.Struct, frozen=True):
    """
    The server of a pair that serves in its primary's place for `limit` seconds, counted for `pair`; see [Pairs].
    `primary` is the primary's name or host, `address` its "host:port", None where a SERVER line has no port; `signer`
    is the vendor's key.
    """

    pair: bytes
    limit: float
    primary: str
    address: str | None
    signer: bytes


class TriadMember(msgspec.Struct, frozen=True):
    """One of three servers; of those that may take the name the one with the lowest `priority`, from 1, does."""

    priority: int


class Misfit(msgspec.Struct, frozen=True):
    """License and configuration do not fit each other, or this host; `reason` is a sentence."""

    reason: str


Role = Single | Duplicate | Primary | Redundant | TriadMember


def head_start(role: Role | Misfit, ttl: float, *, is_new: bool) -> float:
    """
    For how many seconds a server with that role leaves a free name to those that come before it; `is_new`: nobody has
    confirmed the name since this server started, so that the others may be starting as well.
    """
    match role:
        case Redundant():
            return ttl if is_new else 0.0
        case TriadMember(priority):
            return (priority - 1) * ttl / (_NEW_SHARE if is_new else _SHARE)
        case _:
            return 0.0


def role_of(
    verified: VerifiedLicense,
    vendor_keys: Mapping[str, Ed25519PublicKey],
    hostids: tuple[Hostid, ...],
    name: str,
    wanted: Wanted,
) -> Role | Misfit:
    """The role of the server `name` on the host with `hostids`; `vendor_keys` verified the license."""
    servers = verified.license.servers
    scheme = wanted.scheme
    if (misfit := _misfit(verified, wanted)) is not None:
        return misfit
    pair = signed_by = b""
    if scheme == "pair":
        signer = sole_signer(verified, vendor_keys)
        if isinstance(signer, KeyRefused):
            return Misfit(signer.reason)
        pair, signed_by = _pair_of(servers, signer), signer.public_bytes_raw()
    if wanted.registered is not None:
        return _registered(verified, wanted, wanted.registered, pair, signed_by)
    bound = bind(verified.license, hostids, name)
    if isinstance(bound, Unbound):
        hint = "; `licserver register` makes this host the redundant server of the one it names"
        return Misfit(bound.reason + (hint if scheme == "pair" and len(servers) == 1 else ""))
    match scheme:
        case "triad":
            return _triad_member(wanted.priority, bound.index)
        case "pair" if bound.index == 0:
            return Primary(pair)
        case "pair":
            return Redundant(pair, _limit(verified, wanted), servers[0].host, _address(servers[0]), signed_by)
        case "duplicate":
            return Duplicate()
        case _:
            return Single()


def _misfit(verified: VerifiedLicense, wanted: Wanted) -> Misfit | None:
    """What is wrong with the configuration, whichever host this is."""
    file, count, scheme = verified.license.file, len(verified.license.servers), wanted.scheme
    fitting = _SCHEMES_OF.get(count)
    if fitting is not None and scheme not in fitting:
        lines = "its SERVER line is" if count == 1 else f"its {count} SERVER lines are"
        right = " or ".join(fitting)
        return Misfit(f"{file}: {lines} for a scheme of {right}, and `redundancy` is {scheme}: set it to {right}")
    if wanted.registered is None or (count == 1 and scheme == "pair"):
        return None
    registered = f"this server is registered as redundant server of {wanted.registered.address}"
    back = "take the registration back with `licserver unregister`"
    if count > 1:
        return Misfit(f"{file}: its {count} SERVER lines say who serves, and {registered} as well: {back}")
    return Misfit(f"{registered}, and `redundancy` is {scheme}: set it to pair, or {back}")


def _registered(
    verified: VerifiedLicense, wanted: Wanted, primary: Registered, pair: bytes, signed_by: bytes
) -> Redundant | Misfit:
    bound = bind(verified.license, primary.hostids, primary.name)
    if isinstance(bound, Unbound):
        return Misfit(
            f"the primary {primary.name} at {primary.address}, where this server is registered, may not serve this "
            f"license itself: {bound.reason}"
        )
    return Redundant(pair, _limit(verified, wanted), primary.name, primary.address, signed_by)


def _triad_member(priority: int | None, index: int) -> TriadMember | Misfit:
    if priority is not None and not 1 <= priority <= _MOST_SERVERS:
        return Misfit(f"`priority` is {priority}; a triad has the priorities 1, 2 and 3")
    return TriadMember(index + 1 if priority is None else priority)


def _limit(verified: VerifiedLicense, wanted: Wanted) -> float:
    return limit_seconds(takeover_hours(verified.good), wanted.limit_hours)


def _pair_of(servers: tuple[ServerLine, ...], signer: Ed25519PublicKey) -> bytes:
    """See [Pairs]."""
    rows = "".join(f"server {' '.join(map(str, server.hostids))}\n" for server in servers)
    return hashlib.sha256(signer.public_bytes_raw() + rows.encode()).digest()[:_PAIR_BYTES]


def _address(server: ServerLine) -> str | None:
    return None if server.port is None else f"{server.host}:{server.port}"
