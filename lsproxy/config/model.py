"""
What can be said in lsproxy.yaml, of which type, with which defaults?

Durations are seconds. Paths are absolute once read. Keys and values of later
releases are known here by name only, so that they are refused as such and not
taken for misspelt.
"""

from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from lsproxy.config.leaves import (
    Database,
    DeclaredHostid,
    Destination,
    HostName,
    KeptSecretFile,
    ListenAddress,
    Name,
    OutputPath,
    ReadableFile,
    SecretFile,
)
from lsproxy.net.address import Address

Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Interval = Annotated[float, Meta(gt=0, le=3600)]
Count = Annotated[int, Meta(ge=1, le=1000)]

DEFAULT_ADMIN_SOCKET: Final = Path("/run/lsproxy/admin.sock")


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
    """One address where clients of a pool connect."""

    not_built: ClassVar = ("port", "accept_proxy_protocol", "allow", "max_connections", "max_per_source")

    address: ListenAddress
    pool: Name
    tls: ServerTls | None = None


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """One license server. `license_file` overrides the pool's, `hostids` stand beside those it reports."""

    not_built: ClassVar = ("ports", "send_proxy_protocol")

    address: Destination
    tls: BackendTls | None = None
    license_file: ReadableFile | None = None
    hostids: tuple[DeclaredHostid, ...] = ()


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """
    A check goes out every `interval` seconds and is given `timeout` seconds;
    `rise` passed ones bring a backend up, `fall` failed ones down.
    """

    interval: Interval = 0.25
    timeout: Interval = 0.5
    rise: Count = 2
    fall: Count = 2


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """License servers of which one at a time serves `server_name`; `backends` in order of preference."""

    not_built: ClassVar = ("probe", "on_activate", "on_deactivate", "hook_timeout", "hook_retries")

    kind: Annotated[Literal["licserver"], Meta(extra={"not_built": ("flexnet", "rlm", "citrix", "lmx", "tcp")})]
    server_name: Name
    license_file: ReadableFile
    vendor_keys: Annotated[dict[Name, ReadableFile], Meta(min_length=1)]
    backends: Annotated[dict[Name, Backend], Meta(min_length=1)]
    token_file: SecretFile
    health: Health = Health()
    failback: Literal["sticky", "automatic", "manual"] = "sticky"
    failback_after: Seconds = 300.0
    hold: Seconds = 10.0
    binding: Literal["enforce", "warn", "off"] = "enforce"
    conflict: Literal["refuse", "warn"] = "refuse"


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

    not_built: ClassVar = ("notify", "access_log")

    listen: Annotated[dict[Name, Listener], Meta(min_length=1)]
    pools: Annotated[dict[Name, Pool], Meta(min_length=1)]
    state: Database = Path("/var/lib/lsproxy/state.db")
    admin: Admin = Admin()
    log: Log = Log()
