"""
Does this license file bind to this backend?

Bound, unbound, or unknown: what cannot be known from outside is unknown,
and only unbound keeps a backend out.
"""

from collections.abc import Sequence

import msgspec

from lsproxy.license import binding as license_binding
from lsproxy.license.hostid import Hostid, HostidError, parse_hostid
from lsproxy.license.signature import VerifiedLicense


class Bound(msgspec.Struct, frozen=True):
    """A SERVER line is this backend's; `reason` names it."""

    reason: str


class Unbound(msgspec.Struct, frozen=True):
    """The file is not this backend's, or not genuine; `reason` is a sentence."""

    reason: str


class Unknown(msgspec.Struct, frozen=True):
    """It cannot be told yet; `reason` is a sentence."""

    reason: str


Binding = Bound | Unbound | Unknown


def bind(
    verified: VerifiedLicense, reported: Sequence[str] | None, declared: Sequence[Hostid], backend: str
) -> Binding:
    """
    Whether `backend`, whose status reported these hostids (None: no status yet) and for which `declared` are stated
    in the configuration, may serve `verified`.
    """
    if verified.broken:
        return Unbound(f"a line of the license file is not genuine: {verified.broken[0]}")
    if not verified.good:
        return Unbound(f"{verified.license.file} has no validly signed line that this release serves")
    hostids = [*declared, *_known(reported or ())]
    match license_binding.bind(verified.license, hostids, backend):
        case license_binding.Bound(server):
            return Bound(f"SERVER line {server.line} of {verified.license.file}")
        case license_binding.Unbound(reason):
            return Unknown(f"{backend} has not said its hostids yet") if reported is None else Unbound(reason)


def license_note(verified: VerifiedLicense, served: str, backend: str) -> str | None:
    """What is to be said when `backend` serves the license of digest `served`, and `verified` is the proxy's file."""
    if served == verified.digest:
        return None
    return (
        f"{backend} serves license {served[:19]}, {verified.license.file} is {verified.digest[:19]}: put one file in"
        " force everywhere by `lsproxy license POOL install FILE`"
    )


def _known(texts: Sequence[str]) -> list[Hostid]:
    """A newer server may report kinds of hostids that this release does not know: they bind nothing here."""
    known = []
    for text in texts:
        try:
            known.append(parse_hostid(text))
        except HostidError:
            continue
    return known
