"""The command that shows the pools."""

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import click

from lsproxy.cli import Stopped
from lsproxy.cli.asking import Admin, asking
from lsproxy.cli.shown import describe, is_well

REFRESH_SECONDS: Final = 1.0
_HOME: Final = "\x1b[H"
_CLEAR: Final = "\x1b[H\x1b[2J"
_REST_OF_LINE: Final = "\x1b[K"
_REST_OF_SCREEN: Final = "\x1b[J"


@click.command("status", epilog="Example: lsproxy status --watch")
@asking
@click.option("--json", "as_json", is_flag=True, help="As JSON; with --watch one line each second.")
@click.option("--watch", is_flag=True, help="Show it every second, until Ctrl-C.")
def status_command(admin: str, token_file: Path | None, *, as_json: bool, watch: bool) -> None:
    """
    Show pools, backends, roles, health, sessions and seats.

    Exit status 1 when a pool is not served, or another server claims its name.
    """
    asked = Admin(admin, token_file)
    answer = asked.get("pools")
    pools = answer["pools"]
    if watch:
        _watch(asked, as_json=as_json)
    elif as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        for line in describe(pools, answer.get("remarks", ())):
            click.echo(line)
    if not all(map(is_well, pools)):
        raise SystemExit(Stopped.exit_code)


def _watch(asked: Admin, *, as_json: bool) -> None:
    is_terminal = sys.stdout.isatty()
    if is_terminal and not as_json:
        click.echo(_CLEAR, nl=False)
    while True:
        lines = _look(asked, as_json=as_json)
        if is_terminal and not as_json:
            rows = [f"{line}{_REST_OF_LINE}" for line in [time.strftime("%H:%M:%S"), "", *lines]]
            click.echo(_HOME + "\n".join(rows) + _REST_OF_SCREEN)
        else:
            click.echo("\n".join(lines))
        time.sleep(REFRESH_SECONDS)


def _look(asked: Admin, *, as_json: bool) -> list[str]:
    """What there is to show now; an lsproxy that restarts is waited for."""
    try:
        answer: Any = asked.get("pools")
    except Stopped as stopped:
        return [json.dumps({"error": str(stopped)}) if as_json else str(stopped)]
    return [json.dumps(answer)] if as_json else list(describe(answer["pools"], answer.get("remarks", ())))
