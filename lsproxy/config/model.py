"""
What can be said in lsproxy.yaml, of which type, with which defaults?

Durations are seconds. Paths are absolute once read. What a pool may say depends
on its `kind`: licserver's take sessions, all others pass bytes on unread.
"""

from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from lsproxy.config.leaves import (
    AddressRange,
    Bytes,
    Database,
    DeclaredHostid,
    Destination,
    HeaderVersion,
    HostName,
    KeptSecretFile,
    ListenAddress,
    Name,
    OutputPath,
    Pattern,
    ReadableFile,
    SecretFile,
)
from lsproxy.net.address import Address

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Interval = Annotated[float, Meta(gt=0, le=3600)]
Count = Annotated[int, Meta(ge=1, le=1000)]
Failback = Literal["sticky", "automatic", "manual"]
Policy = Literal["enforce", "warn", "off"]
Conflict = Literal["refuse", "warn"]

DEFAULT_ADMIN_SOCKET: Final = Path("/run/lsproxy/admin.sock")


HOOK_PLACES: Final = frozenset({"backend", "address", "host", "pool"})
"""What may stand in braces in a hook: the backend, its first address and the host of that, the pool."""

PROBE_PLACES: Final = frozenset({"host", "port"})
"""And in the command of a probe: the host and the port of the backend's first address."""

NOTIFY_PLACES: Final = frozenset({"event", "pool", "message"})


class ServerTls(msgspec.Struct, frozen=True, kw_only=True):
    """TLS where connections are accepted; with `client_ca`, clients must show a certificate it signed. PEM files."""

    certificate: ReadableFile
    key: SecretFile
    client_ca: ReadableFile | None = None


class BackendTls(msgspec.Struct, frozen=True, kw_only=True):
    """
    TLS towards a backend. `ca` signs its certificate (None: the system's CAs),
    `name` is the host name it must prove (None: the host of its address).
    """

    ca: ReadableFile | None = None
    name: HostName | None = None


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """
    One address where clients of a pool connect. `port` names the backends' port it stands for, where they have
    several. Of `allow`, empty means everybody; of `max_per_source`, 0 means any number.
    """

    address: ListenAddress
    pool: Name
    port: Name | None = None
    tls: ServerTls | None = None
    accept_proxy_protocol: tuple[AddressRange, ...] = ()
    allow: tuple[AddressRange, ...] = ()
    max_connections: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000
    max_per_source: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class SeatBackend(msgspec.Struct, frozen=True, kw_only=True):
    """One licserver. `license_file` overrides the pool's, `hostids` stand beside those it reports."""

    address: Destination
    tls: BackendTls | None = None
    send_proxy_protocol: HeaderVersion = ""
    license_file: ReadableFile | None = None
    hostids: tuple[DeclaredHostid, ...] = ()


class RelayBackend(msgspec.Struct, frozen=True, kw_only=True):
    """
    One license server of another make, with one `address` or several `ports` that belong together.
    `license_file` overrides the pool's, `hostids` are declared: nothing is reported.
    """

    address: Destination | None = None
    ports: Annotated[dict[Name, Destination], Meta(min_length=1)] | None = None
    tls: BackendTls | None = None
    send_proxy_protocol: HeaderVersion = ""
    license_file: ReadableFile | None = None
    hostids: tuple[DeclaredHostid, ...] = ()

    @property
    def doors(self) -> dict[str, Address]:
        """Its addresses by the names of its ports; the name of an only `address` is empty."""
        if self.ports is not None:
            return self.ports
        return {} if self.address is None else {"": self.address}


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """
    A check goes out every `interval` seconds and is given `timeout` seconds;
    `rise` passed ones bring a backend up, `fall` failed ones down.
    """

    interval: Interval = 0.25
    timeout: Interval = 0.5
    rise: Count = 2
    fall: Count = 2


class RelayHealth(Health, frozen=True, kw_only=True):
    """As `Health`, slower: such checks are connections that somebody else's server has to take."""

    interval: Interval = 2.0
    timeout: Interval = 3.0
    fall: Count = 3


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a check asks. Every one of `ports` (empty: all) is connected to, by `tls` where that is given; `send` is said,
    `expect` is waited for. With neither, it is waited for that the server ends the connection when this side has.
    `command` is run every `command_interval` seconds; it has to end with status 0 within `command_timeout` seconds and
    to print something that `command_expect` finds.
    """

    send: Bytes = b""
    expect: Bytes = b""
    ports: tuple[Name, ...] = ()
    tls: BackendTls | None = None
    command: tuple[str, ...] = ()
    command_expect: Pattern = ""
    command_interval: Interval = 30.0
    command_timeout: Interval = 10.0


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """
    License servers of which one at a time is used: what all kinds of them have in common. Without `failback` it is
    what suits their servers.
    """

    by_kind: ClassVar[dict[str, type["Pool"]]] = {}

    kind: str
    license_file: ReadableFile | None = None
    failback: Failback | None = None
    failback_after: Seconds = 300.0
    hold: Seconds = 10.0
    binding: Policy = "enforce"
    conflict: Conflict = "refuse"

    @property
    def ports(self) -> tuple[str, ...]:
        """The names of the ports that each backend has; that of an only address is empty."""
        return ("",)


class SeatPool(Pool, frozen=True, kw_only=True):
    """
    Licservers of which one at a time serves `server_name`; `backends` in order of preference. `failback` is by default
    automatic for a pair with a takeover limit, sticky for others.
    """

    kind: Literal["licserver"]
    server_name: Name
    license_file: ReadableFile
    vendor_keys: Annotated[dict[Name, ReadableFile], Meta(min_length=1)]
    backends: Annotated[dict[Name, SeatBackend], Meta(min_length=1)]
    token_file: SecretFile
    health: Health = Health()


class RelayPool(Pool, frozen=True, kw_only=True):
    """
    License servers of another make, or anything on TCP, of which one at a time is used; `backends` in order of
    preference. With `server_name`, two of them that answer at once are a conflict. `on_deactivate` fences the one that
    was used, `on_activate` makes the next one fit for use: commands, each run for at most `hook_timeout` seconds and
    repeated `hook_retries` times.
    """

    kind: Literal["flexnet", "rlm", "citrix", "lmx", "tcp"]
    server_name: Name | None = None
    backends: Annotated[dict[Name, RelayBackend], Meta(min_length=1)]
    probe: Probe = Probe()
    on_activate: tuple[tuple[str, ...], ...] = ()
    on_deactivate: tuple[tuple[str, ...], ...] = ()
    hook_timeout: Interval = 30.0
    hook_retries: Annotated[int, Meta(ge=0, le=100)] = 2
    health: RelayHealth = RelayHealth()
    failback: Failback = "sticky"
    hold: Seconds = 1.0

    @property
    def ports(self) -> tuple[str, ...]:
        """The names of the ports that each backend has: the first one's, as all have the same."""
        return tuple(next(iter(self.backends.values())).doors)


Pool.by_kind.update({"licserver": SeatPool} | dict.fromkeys(("flexnet", "rlm", "citrix", "lmx", "tcp"), RelayPool))


class Admin(msgspec.Struct, frozen=True, kw_only=True):
    """Where the admin API answers: over HTTP with the tokens of `tokens_file`, on `socket` by file permissions."""

    address: ListenAddress = Address("127.0.0.1", 27080)
    socket: OutputPath = DEFAULT_ADMIN_SOCKET
    tokens_file: KeptSecretFile = Path("tokens.yaml")
    tls: ServerTls | None = None


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """How the log is written to standard error."""

    format: Literal["text", "json"] = "text"


class LsproxyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of lsproxy.yaml. `state` is the path of a SQLite file."""

    listen: Annotated[dict[Name, Listener], Meta(min_length=1)]
    pools: Annotated[dict[Name, Pool], Meta(min_length=1)]
    state: Database = Path("/var/lib/lsproxy/state.db")
    admin: Admin = Admin()
    notify: tuple[tuple[str, ...], ...] = ()
    log: Log = Log()
    access_log: OutputPath | None = None
