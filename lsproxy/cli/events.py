"""The command that shows what has happened."""

import json
from pathlib import Path

import click

from lsproxy.cli.asking import Admin, asking


@click.command("events", epilog="Example: lsproxy events --follow")
@asking
@click.option("--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one event on a line.")
def events_command(admin: str, token_file: Path | None, *, follow: bool, as_json: bool) -> None:
    """Show what has happened since lsproxy was started: the last thousand events, oldest first."""
    for event in Admin(admin, token_file).events(is_followed=follow):
        if as_json:
            click.echo(json.dumps(event))
        else:
            pool = f"{event['pool']}: " if event["pool"] else ""
            click.echo(f"{event['time']} {event['event']:<18} {pool}{event['message']}")
