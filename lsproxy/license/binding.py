"""
Which SERVER line of a license file is a given host's.

The host has hostids, and a SERVER line is its own when one of them is among the
line's. Of several such lines it is the one whose host is the server's name:
spelt alike without case, or else alike up to the first dot, or `this_host`.
"""

from collections.abc import Callable, Collection
from typing import Final

import msgspec

from lsproxy.license.hostid import Hostid, matches
from lsproxy.license.model import LicenseFile, ServerLine

THIS_HOST: Final = "this_host"


class Bound(msgspec.Struct, frozen=True):
    """The host may serve the file, as its SERVER line number `index`, from 0."""

    server: ServerLine
    index: int


class Unbound(msgspec.Struct, frozen=True):
    """The host may not serve the file; `reason` is a sentence."""

    reason: str


def bind(license_file: LicenseFile, hostids: Collection[Hostid], name: str) -> Bound | Unbound:
    """Which SERVER line of `license_file` binds the host with `hostids`, whose server is called `name`."""
    own = [
        Bound(server, index)
        for index, server in enumerate(license_file.servers)
        if any(matches(wanted, hostids) for wanted in server.hostids)
    ]
    if not own:
        return Unbound(_why_none(license_file, hostids))
    if len(own) == 1:
        return own[0]
    return _named(own, name) or Unbound(
        f"{license_file.file}: the SERVER lines {_lines(own)} all match this host, and its name {name} picks none of "
        "them; give each server the name of its SERVER line's host"
    )


def _named(own: list[Bound], name: str) -> Bound | None:
    likenesses: tuple[Callable[[str], bool], ...] = (
        lambda host: host == name.lower(),
        lambda host: host.split(".")[0] == name.lower().split(".")[0],
        lambda host: host == THIS_HOST,
    )
    for is_alike in likenesses:
        named = [bound for bound in own if is_alike(bound.server.host.lower())]
        if named:
            return named[0] if len(named) == 1 else None
    return None


def _why_none(license_file: LicenseFile, hostids: Collection[Hostid]) -> str:
    if not license_file.servers:
        return f"{license_file.file}: it has no SERVER line, so it is bound to no host"
    wanted = "; ".join(f"line {server.line} wants {_wanted(server)}" for server in license_file.servers)
    has = ", ".join(hostid.describe() for hostid in hostids) or "no hostid"
    return f"{license_file.file}: it is bound to another host: {wanted}; this host has {has}"


def _wanted(server: ServerLine) -> str:
    return " or ".join(hostid.describe() for hostid in server.hostids) or "a hostid of an unknown kind"


def _lines(own: list[Bound]) -> str:
    return ", ".join(str(bound.server.line) for bound in own)
