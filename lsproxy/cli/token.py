"""The commands on tokens of the admin API."""

import json
import os
import secrets
from pathlib import Path
from typing import Final, Literal

import click

from lsproxy.cli import Misused, Stopped
from lsproxy.config.check import load_config
from lsproxy.config.scalars import UnfitValueError
from lsproxy.config.tokens import SALT_BYTES, TokenExistsError, add_token

DEFAULT_CONFIG: Final = Path("/etc/lsproxy/lsproxy.yaml")
TOKEN_BYTES: Final = 32


@click.group("token")
def token_command() -> None:
    """Tokens for the admin API and the panel."""


@token_command.command("add", epilog="Example: lsproxy token add ops --role operator -c /etc/lsproxy/lsproxy.yaml")
@click.argument("name")
@click.option("--role", type=click.Choice(["viewer", "operator"]), required=True, help="A viewer changes nothing.")
@click.option(
    "-c", "--config", type=click.Path(path_type=Path), default=DEFAULT_CONFIG, show_default=True, metavar="FILE"
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def add(name: str, role: Literal["viewer", "operator"], config: Path, *, as_json: bool) -> None:
    """
    Make a token, print it once, keep its hash.

    A running lsproxy accepts it at once. To take a token back, delete its line in tokens.yaml.
    """
    loaded = load_config(config)
    path = loaded.admin.tokens_file
    owner = _owner(path, loaded.state)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    try:
        add_token(path, name, role, token, secrets.token_bytes(SALT_BYTES))
    except TokenExistsError as refused:
        raise Stopped(str(refused)) from refused
    except UnfitValueError as unfit:
        raise Misused(f"the name {unfit}") from unfit
    if owner is not None:
        os.chown(path, *owner)
    click.echo(json.dumps({"name": name, "role": role, "token": token}) if as_json else token)


def _owner(path: Path, state: Path) -> tuple[int, int] | None:
    """Who must be able to read the file, where root writes it: its owner so far, or the user lsproxy runs as."""
    if os.geteuid() != 0:
        return None
    for known in (path, state, state.parent):
        if known.exists():
            status = known.stat()
            return (status.st_uid, status.st_gid)
    return None
