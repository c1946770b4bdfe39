"""
What can be said in licserver.yaml, and does it make sense as a whole?

Durations are seconds, paths are absolute once read.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from lsproxy.config.leaves import (
    Database,
    DeclaredHostid,
    Destination,
    ListenAddress,
    Name,
    OutputPath,
    ReadableFile,
    SecretFile,
)
from lsproxy.config.load import Finding, ask, load
from lsproxy.config.model import Log, ServerTls
from lsproxy.config.relations import is_loopback, is_wildcard
from lsproxy.net.address import Address

STATE_FOLDER = Path("/var/lib/licserver")

Ttl = Annotated[float, Meta(gt=0, le=60)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Listen(msgspec.Struct, frozen=True, kw_only=True):
    """Where seats are served; written as an address alone, or as `{address: …, tls: {…}}`."""

    shorthand: ClassVar = "address"
    not_built: ClassVar = ("accept_proxy_protocol",)

    address: ListenAddress
    tls: ServerTls | None = None


class Redundancy(msgspec.Struct, frozen=True, kw_only=True):
    """`single`: one server. `duplicate`: any server of the name that the license binds may take it."""

    shorthand: ClassVar = "scheme"
    not_built: ClassVar = ("takeover_limit_hours", "restore_after_minutes", "priority")

    scheme: Annotated[Literal["single", "duplicate"], Meta(extra={"not_built": ("pair", "triad")})] = "single"


class LicserverConfig(msgspec.Struct, frozen=True, kw_only=True):
    """
    The whole of licserver.yaml. `journal` is the path of a SQLite file; without
    a `token_file` no operator is accepted. `trust`, `advertise` and `state` are
    what follows from the rest where they are not given.
    """

    not_built: ClassVar = ("etcd", "options_file", "registered", "accept_proxy_protocol")

    name: Name
    server_name: Name
    listen: Listen
    license_file: ReadableFile
    vendor_keys: Annotated[dict[Name, ReadableFile], Meta(min_length=1)]
    journal: Database
    advertise_given: Destination | None = msgspec.field(default=None, name="advertise")
    redundancy: Redundancy = Redundancy()
    ttl: Ttl = 2.0
    heartbeat: Seconds = 15.0
    resume: Seconds = 45.0
    token_file: SecretFile | None = None
    hostids: tuple[DeclaredHostid, ...] = ()
    state_given: OutputPath | None = msgspec.field(default=None, name="state")
    log: Log = Log()

    @property
    def trust(self) -> float:
        """Seconds for which a client may rely on an answer (the seat protocol's `trust`)."""
        return self.resume - self.ttl - 1

    @property
    def advertise(self) -> Address:
        """The address that clients are told."""
        return self.advertise_given or self.listen.address

    @property
    def state(self) -> Path:
        """The file of the journal id and the highest epoch this server has seen."""
        return self.state_given or STATE_FOLDER / f"{self.name}.state"


def load_config(path: Path) -> LicserverConfig:
    """licserver.yaml at `path`, checked. Raises `lsproxy.config.problems.ConfigError` with every problem of it."""
    return load(path, LicserverConfig, check)


def check(config: LicserverConfig) -> Iterator[Finding]:
    """What does not hold in `config`, parts of which may be `UNREAD`."""
    yield from ask(_trust_outlasts_heartbeat, config)
    yield from ask(_token_stays_private, config)
    yield from ask(_advertised_address_is_one, config)


def _trust_outlasts_heartbeat(config: LicserverConfig) -> Iterator[Finding]:
    if config.heartbeat >= config.trust:
        trust = f"leaves a trust (resume - ttl - 1) of {config.trust:g} s"
        relation = f"{trust}, less than a heartbeat of {config.heartbeat:g} s needs"
        least = math.floor(config.heartbeat + config.ttl + 1) + 1
        yield Finding(("resume",), f"{relation}: raise resume to {least} or more, or lower heartbeat")


def _token_stays_private(config: LicserverConfig) -> Iterator[Finding]:
    if config.token_file is not None and config.listen.tls is None and not is_loopback(config.listen.address):
        beyond = f"{config.listen.address} can be reached from other hosts, where the operator token needs TLS"
        yield Finding(("listen",), f"{beyond}: write {{address: …, tls: {{certificate: FILE, key: FILE}}}}")


def _advertised_address_is_one(config: LicserverConfig) -> Iterator[Finding]:
    if config.advertise_given is None and is_wildcard(config.listen.address):
        yield Finding(("advertise",), f"is missing, clients cannot dial {config.listen.address}: name this host")
