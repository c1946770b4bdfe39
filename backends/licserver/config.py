"""
What can be said in licserver.yaml, and does it make sense as a whole?

Durations are seconds, paths are absolute once read.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

import msgspec
from msgspec import Meta

from licserver.errors import LicserverError
from licserver.journal.etcd_place import EtcdPlace, parse_place
from lsproxy.config.leaves import (
    AddressRange,
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
from lsproxy.config.relations import do_collide, is_loopback, is_wildcard
from lsproxy.config.scalars import Leaf, UnfitValueError
from lsproxy.net.address import Address

STATE_FOLDER = Path("/var/lib/licserver")

_QUORATE = 3

_SQLITE: Leaf = get_args(Database)[1].extra["leaf"]


def _read_journal(text: str, folder: Path) -> Path | EtcdPlace:
    if not text.startswith("etcd:"):
        found: Path = _SQLITE.read(text, folder)
        return found
    try:
        return parse_place(text)
    except LicserverError as problem:
        raise UnfitValueError(str(problem)) from None


JournalUrl = Annotated[Any, Meta(extra={"leaf": Leaf("sqlite:///PATH or etcd://HOST:PORT,…/PREFIX", _read_journal)})]
"""A Path or an EtcdPlace: msgspec's trees take no union of the two."""

Ttl = Annotated[float, Meta(gt=0, le=60)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class ListenTls(ServerTls, frozen=True, kw_only=True):
    """
    TLS where seats are served. `ca` signs the certificates of all servers of the name, by which they know each other;
    None: they all have this `certificate`.
    """

    ca: ReadableFile | None = None

    @property
    def trusted(self) -> Path:
        """The certificates in which this server trusts when it, or a command, asks a server of its name."""
        return self.ca or self.certificate


class Listen(msgspec.Struct, frozen=True, kw_only=True):
    """
    Where seats are served; written as an address alone, or as `{address: …, tls: {…}}`. Connections from the networks
    of `accept_proxy_protocol` begin with a PROXY protocol header.
    """

    shorthand: ClassVar = "address"

    address: ListenAddress
    tls: ListenTls | None = None
    accept_proxy_protocol: tuple[AddressRange, ...] = ()


class Redundancy(msgspec.Struct, frozen=True, kw_only=True):
    """
    `single`: one server. `duplicate`: any server of the name that the license binds may take it. `pair`: a primary,
    and a redundant server that may serve in its place for the license's takeover limit, lowered here by
    `takeover_limit_hours`; the primary in control for `restore_after_minutes` makes the limit whole again. Of a
    `triad`, three servers, the one with the lowest `priority` takes a free name; it is by default the place of
    its SERVER line.
    """

    shorthand: ClassVar = "scheme"

    scheme: Literal["single", "duplicate", "pair", "triad"] = "single"
    priority: Annotated[int, Meta(ge=1, le=3)] | None = None
    takeover_limit_hours: Annotated[float, Meta(gt=0, le=10_000)] | None = None
    restore_after_minutes: Annotated[float, Meta(ge=15, le=10_080)] = 15.0


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """What `licserver register` wrote: the `primary`'s address, its `name` and its hostids."""

    primary: Destination
    name: Name
    hostids: Annotated[tuple[DeclaredHostid, ...], Meta(min_length=1)]


class Etcd(msgspec.Struct, frozen=True, kw_only=True):
    """
    How a journal in etcd is reached: with `ca` by TLS, `certificate` and `key` shown to members that ask for them,
    `user` and the password in `password_file` where etcd's authentication is on. PEM files.
    """

    ca: ReadableFile | None = None
    certificate: ReadableFile | None = None
    key: SecretFile | None = None
    user: Name | None = None
    password_file: SecretFile | None = None


class LicserverConfig(msgspec.Struct, frozen=True, kw_only=True):
    """
    The whole of licserver.yaml. `journal` is the path of a SQLite file or an EtcdPlace; without
    a `token_file` no operator is accepted. `debug_log` is where uses of seats are written down as FlexNet
    does, `metrics` the address at which numbers may be read by anybody. `trust`, `advertise` and `state` are
    what follows from the rest where they are not given.
    """

    not_built: ClassVar = ("options_file",)

    name: Name
    server_name: Name
    listen: Listen
    license_file: ReadableFile
    vendor_keys: Annotated[dict[Name, ReadableFile], Meta(min_length=1)]
    journal: JournalUrl
    etcd: Etcd = Etcd()
    advertise_given: Destination | None = msgspec.field(default=None, name="advertise")
    redundancy: Redundancy = Redundancy()
    registered: Registered | None = None
    ttl: Ttl = 2.0
    heartbeat: Seconds = 15.0
    resume: Seconds = 45.0
    token_file: SecretFile | None = None
    hostids: tuple[DeclaredHostid, ...] = ()
    state_given: OutputPath | None = msgspec.field(default=None, name="state")
    log: Log = Log()
    debug_log: OutputPath | None = None
    metrics: ListenAddress | None = None

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
    yield from ask(_limit_is_of_a_pair, config)
    yield from ask(_priority_is_of_a_triad, config)
    yield from ask(_hostids_of_the_machine_are_not_declared, config)
    yield from ask(_etcd_is_reached_one_way, config)
    yield from ask(_password_stays_private, config)
    yield from ask(_metrics_have_their_port, config)


def shortcomings(config: LicserverConfig) -> Iterator[str]:
    """What `config`, which holds, does not give although its scheme promises it; a sentence each."""
    place: Path | EtcdPlace = config.journal
    if config.redundancy.scheme != "triad":
        return
    if isinstance(place, Path):
        lost = "a triad with its journal in SQLite stands on one host and is lost with it"
        yield f"{lost}; on three hosts the journal is in etcd, with a member on each"
    elif len(place.members) < _QUORATE:
        named = f"{place} names {len(place.members)} of etcd's members"
        yield f"{named}; a triad that outlives the loss of any one host has three, one on each"


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


def _metrics_have_their_port(config: LicserverConfig) -> Iterator[Finding]:
    if config.metrics is not None and do_collide(config.metrics, config.listen.address):
        yield Finding(("metrics",), f"{config.listen.address} is where seats are served, name another port")


def _advertised_address_is_one(config: LicserverConfig) -> Iterator[Finding]:
    if config.advertise_given is None and is_wildcard(config.listen.address):
        yield Finding(("advertise",), f"is missing, clients cannot dial {config.listen.address}: name this host")


def _hostids_of_the_machine_are_not_declared(config: LicserverConfig) -> Iterator[Finding]:
    for number, hostid in enumerate(config.hostids):
        if hostid.kind != "id":
            sentence = f"{hostid.describe()} is found on the machine that has it, what is declared here is ID=…"
            yield Finding(("hostids", number), sentence)


def _limit_is_of_a_pair(config: LicserverConfig) -> Iterator[Finding]:
    redundancy = config.redundancy
    for key in ("takeover_limit_hours", "restore_after_minutes"):
        if redundancy.scheme != "pair" and getattr(redundancy, key) != getattr(Redundancy(), key):
            sentence = f"is for a pair, and the scheme is {redundancy.scheme}: set scheme to pair, or remove it"
            yield Finding(("redundancy", key), sentence)


def _priority_is_of_a_triad(config: LicserverConfig) -> Iterator[Finding]:
    redundancy = config.redundancy
    if redundancy.scheme != "triad" and redundancy.priority is not None:
        sentence = f"is for a triad, and the scheme is {redundancy.scheme}: set scheme to triad, or remove it"
        yield Finding(("redundancy", "priority"), sentence)


def _etcd_is_reached_one_way(config: LicserverConfig) -> Iterator[Finding]:
    etcd = config.etcd
    if etcd != Etcd() and not isinstance(config.journal, EtcdPlace):
        yield Finding(("etcd",), "is for a journal in etcd, and this one is in SQLite: remove it")
    for one, other in (
        ("certificate", "key"),
        ("key", "certificate"),
        ("user", "password_file"),
        ("password_file", "user"),
    ):
        if getattr(etcd, one) is not None and getattr(etcd, other) is None:
            yield Finding(("etcd", one), f"needs {other} beside it")
    if etcd.certificate is not None and etcd.ca is None:
        yield Finding(
            ("etcd", "certificate"), "is shown over TLS only: name the ca that signed the members' certificates"
        )


def _password_stays_private(config: LicserverConfig) -> Iterator[Finding]:
    place = config.journal
    if config.etcd.user is None or config.etcd.ca is not None or not isinstance(place, EtcdPlace):
        return
    for member in place.members:
        if not is_loopback(member):
            sentence = f"would send its password in clear to {member}: name the ca, and let etcd serve clients by TLS"
            yield Finding(("etcd", "user"), sentence)
            return
