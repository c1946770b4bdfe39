"""The commands on one pool: switch, remove, license, request-key, activate, client-config."""

import json
from pathlib import Path

import click
import msgspec

from lsproxy.cli import Misused, Stopped
from lsproxy.cli.asking import PATIENT_SECONDS, Admin, asking
from lsproxy.proxy.kinds.clientconfig import ClientConfig, text

_pool = click.argument("pool")
_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.command("switch", epilog="Example: lsproxy switch acme --to lic-b")
@_pool
@click.option("--to", "backend", metavar="BACKEND", help="Default: the next that stands by.")
@click.option("--force", is_flag=True, help="Without fencing: forget the remembered journal and epoch.")
@click.option("--yes", is_flag=True, help="Do not ask before --force.")
@asking
@_json
def switch_command(
    pool: str, backend: str | None, admin: str, token_file: Path | None, *, force: bool, yes: bool, as_json: bool
) -> None:
    """
    Move a pool to another backend, as planned: the present one stands down first.

    With --force lsproxy goes on with what that backend has, whatever it saw before: seats may be granted twice.
    """
    asked = Admin(admin, token_file)
    if force and not yes:
        click.echo(f"{pool} will follow {backend or 'the next backend'} without fencing: seats may be granted twice.")
        click.confirm("Go on?", abort=True)
    answer = asked.post("pools", pool, "switch", to=backend, force=force, seconds=PATIENT_SECONDS)
    click.echo(json.dumps(answer) if as_json else f"{pool} is served by {answer['serving']}")


@click.command("remove", epilog="Example: lsproxy remove acme 1042")
@_pool
@click.argument("seat", type=click.IntRange(min=1))
@asking
@_json
def remove_command(pool: str, seat: int, admin: str, token_file: Path | None, *, as_json: bool) -> None:
    """Take seat number SEAT back from its holder."""
    answer = Admin(admin, token_file).post("pools", pool, "remove", seat=seat)
    click.echo(json.dumps(answer) if as_json else f"seat {seat} of {pool} is taken back")


@click.command("license", epilog="Example: lsproxy license acme install new.lic")
@_pool
@click.argument("action", type=click.Choice(["install"]))
@click.argument("file", type=click.Path(path_type=Path))
@asking
@_json
def license_command(pool: str, action: str, file: Path, admin: str, token_file: Path | None, *, as_json: bool) -> None:
    """
    Put a new license file in force: verified first, then on the active server, then sent to every backend.

    Exit status 1 also where it is in force but did not reach every place; what is missing is said.
    """
    del action
    try:
        text = file.read_bytes()
    except OSError as error:
        raise Misused(f"{file} cannot be read: {error.strerror}") from error
    answer = Admin(admin, token_file).put("pools", pool, "license", body=text)
    if as_json:
        click.echo(json.dumps(answer))
    else:
        click.echo(f"{answer['digest']} is in force on {answer['active']}")
    for warning in answer.get("warnings", ()):
        click.echo(f"warning: {warning}", err=True)
    for problem in answer["problems"]:
        click.echo(f"not everywhere yet: {problem}", err=True)
    if answer["problems"]:
        raise SystemExit(Stopped.exit_code)


@click.command("request-key", epilog="Example: lsproxy request-key acme")
@_pool
@asking
@_json
def request_key_command(pool: str, admin: str, token_file: Path | None, *, as_json: bool) -> None:
    """Print the key with which the vendor is asked for more hours for the redundant server that serves POOL."""
    answer = Admin(admin, token_file).get("pools", pool, "request-key")
    if as_json:
        click.echo(json.dumps(answer))
        return
    click.echo(answer["key"])
    what = f"extension {answer['extension']} of takeover {answer['takeover']}"
    click.echo(f"for {what}: send it to the vendor, then lsproxy activate {pool} KEY", err=True)


@click.command("activate", epilog="Example: lsproxy activate acme 'M08JR-…'")
@_pool
@click.argument("key")
@asking
@_json
def activate_command(pool: str, key: str, admin: str, token_file: Path | None, *, as_json: bool) -> None:
    """Count the hours of the vendor's activation KEY for the redundant server that serves POOL."""
    answer = Admin(admin, token_file).post("pools", pool, "activate", key=key)
    click.echo(json.dumps(answer) if as_json else f"{answer['hours']} h more: {answer['remaining'] / 3600:.1f} h left")


@click.command("client-config", epilog="Example: lsproxy client-config mcad --host licenses.example.com")
@_pool
@click.option("--host", metavar="HOST", help="How clients reach lsproxy where it listens on all addresses.")
@asking
@_json
def client_config_command(pool: str, host: str | None, admin: str, token_file: Path | None, *, as_json: bool) -> None:
    """Show what clients of POOL need: the license server line, host names that must lead here, firewall ports."""
    answer = Admin(admin, token_file).get("pools", pool, "client-config", **({} if host is None else {"host": host}))
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        click.echo(text(msgspec.convert(answer, ClientConfig)), nl=False)
