"""
What a license file of another make says, as far as lsproxy has to know it: for which hosts it is, on which ports its
daemons listen, and when its features expire.

The readers of the makes are in `lsproxy.proxy.kinds`; whether a server is one of the hosts is `lsproxy.core.outside`'s
question.
"""

from datetime import date

import msgspec

from lsproxy.license.hostid import Hostid
from lsproxy.license.model import Problem

OPAQUE_KIND = "id"
"""The kind of a hostid that nobody can see from outside: its value is the hostid as the file has it."""


class Host(msgspec.Struct, frozen=True):
    """
    A line that names a host: FlexNet's and Citrix's SERVER, RLM's HOST. Any one of `hostids` binds it.

    `name` is None where the make has no place for one. Values of hostids keep the case they are written in.
    """

    name: str | None
    hostids: tuple[Hostid, ...]
    port: int | None
    line: int
    keyword: str


class Daemon(msgspec.Struct, frozen=True):
    """A line that names a vendor's daemon: VENDOR, DAEMON, ISV. Without `port` it takes another one at each start."""

    vendor: str
    port: int | None
    line: int
    keyword: str


class Term(msgspec.Struct, frozen=True):
    """A line that grants a feature, until the end of the day `expires` or, where that is None, for ever."""

    feature: str
    expires: date | None
    line: int


class ThirdPartyLicense(msgspec.Struct, frozen=True):
    """A license file as read. A line that names a host and cannot be understood is in `problems` and nowhere else."""

    file: str
    hosts: tuple[Host, ...]
    daemons: tuple[Daemon, ...] = ()
    terms: tuple[Term, ...] = ()
    problems: tuple[Problem, ...] = ()
