"""The command that reads like `lmutil lmstat`, and the program of that name for tools that start one."""

import os
import ssl
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

import click

from lsproxy.cli import Misused
from lsproxy.lmstat import text
from lsproxy.lmstat.ask import NoFeature, Told, Unreachable, ask
from lsproxy.net.address import Address, AddressError, parse_server_list

# 256 and the number of FlexNet's error, as lmutil ends.
CANNOT_CONNECT: Final = 256 - 15
HOST_UNKNOWN: Final = 256 - 96
VENDOR_DOWN: Final = 256 - 97
NO_FEATURE: Final = 256 - 5


@click.command("lmstat", epilog="Example: lsproxy lmstat -a -c 27000@licenses")
@click.option("-a", "is_all", is_flag=True, help="Servers, vendors, and who holds what.")
@click.option("-i", "is_table", is_flag=True, help="The licensed features, one on a line.")
@click.option("-f", "feature", metavar="FEATURE", help="As -a, for one feature.")
@click.option(
    "-c", "servers", envvar="LSPROXY_LICENSE", metavar="PORT@HOST[,PORT@HOST...]", help="Also LSPROXY_LICENSE."
)
@click.option("--ca", type=click.Path(path_type=Path), metavar="FILE", help="Speak TLS, and trust what this CA signed.")
@click.option("-v", "is_version", is_flag=True, help="Print which lmstat this reads like.")
def lmstat_command(
    servers: str | None, feature: str | None, ca: Path | None, *, is_all: bool, is_table: bool, is_version: bool
) -> None:
    """
    Print what monitoring of FlexNet reads: servers, vendors, features and holders.

    Exit status 241 where no server can be reached, 160 where its host is unknown, 159 where none is active, 251 where
    there is no such feature.
    """
    if is_version:
        _print([text.VERSION])
        return
    addresses, tls = _addresses(servers), _tls(ca)
    has_usage = is_all or feature is not None
    _print(text.heading(datetime.now().astimezone()))
    match ask(addresses, tls, feature=feature, holders=has_usage and not is_table):
        case Unreachable(is_name_unknown=True):
            _end(text.failed(text.HOST_UNKNOWN), HOST_UNKNOWN)
        case Unreachable():
            _end(text.failed(text.CANNOT_CONNECT), CANNOT_CONNECT)
        case NoFeature():
            _end(text.failed(text.NO_FEATURE), NO_FEATURE)
        case Told() as told if is_table:
            _print(text.table(told.features))
        case Told(status, features):
            _print(text.servers(status))
            _print(text.vendors(status, features))
            if not text.is_served(status):
                raise SystemExit(VENDOR_DOWN)
            if has_usage:
                _print(text.usage(status, features, None))


@click.group(
    "lsproxy-lmutil", invoke_without_command=True, no_args_is_help=True, epilog="Example: lsproxy-lmutil lmstat -a"
)
@click.option("-v", "is_version", is_flag=True, help="Print which lmstat this reads like.")
def lmutil(*, is_version: bool) -> None:
    """Stands where monitoring expects FlexNet's lmutil; of its commands it has lmstat."""
    if is_version:
        _print([text.VERSION])


lmutil.add_command(lmstat_command)


def _addresses(servers: str | None) -> tuple[Address, ...]:
    if not servers:
        raise Misused("which server? -c PORT@HOST, or LSPROXY_LICENSE in the environment")
    try:
        return parse_server_list(servers.replace(",", ";"))
    except AddressError as error:
        raise Misused(f"-c: {error}") from error


def _tls(ca: Path | None) -> ssl.SSLContext | None:
    if ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=os.fspath(ca))
    except OSError as error:
        raise Misused(f"--ca: {ca} cannot be used as a CA's certificate: {error.strerror or error}") from error


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _end(lines: Iterable[str], status: int) -> None:
    _print(lines)
    raise SystemExit(status)
