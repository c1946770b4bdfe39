"""
The `lsproxy` command.

A command's file is loaded only when it is called for, so that `lsproxy --help`
is quick: what it says of each command stands here.
"""

import difflib
import importlib
import sys
from typing import Final

import click

_COMMANDS: Final = {
    "demo": "Run the whole system on this machine; Ctrl-C stops it all.",
    "serve": "Run the proxy that a configuration describes.",
    "check": "Say what is wrong with a configuration.",
    "reload": "Have the running proxy read its configuration again.",
    "status": "Show pools, backends, roles, health, sessions and seats.",
    "switch": "Move a pool to another backend.",
    "ready": "Let a backend be chosen again.",
    "drain": "Switch away from a backend and choose it no more.",
    "maint": "Take a backend out at once, also from the checks.",
    "events": "Show what has happened.",
    "remove": "Take a seat back from its holder.",
    "license": "Put a new license file in force.",
    "request-key": "Print the key with which the vendor is asked for more hours.",
    "activate": "Count the hours of the vendor's activation key.",
    "client-config": "Show what clients of a pool need.",
    "notify": "Run the commands of `notify` beside lsproxy.",
    "token": "Add tokens for the admin API.",
    "run": "Run a command while holding a seat.",
    "lmstat": "Print what monitoring of FlexNet reads.",
}
_FILES: Final = {
    "serve": "daemon",
    "check": "daemon",
    "reload": "daemon",
    "ready": "backends",
    "drain": "backends",
    "maint": "backends",
    "switch": "pools",
    "remove": "pools",
    "license": "pools",
    "request-key": "pools",
    "activate": "pools",
    "client-config": "pools",
}


class Stopped(click.ClickException):
    """Ends a command with a sentence on stderr and exit status 1: refused, or not found."""

    def show(self, file: object = None) -> None:
        """Prints the sentence as it is."""
        del file
        click.echo(self.format_message(), err=True)


class Misused(Stopped):
    """The same with exit status 2: wrong usage or configuration."""

    exit_code = 2


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        file = importlib.import_module(f"lsproxy.cli.{_FILES.get(cmd_name, cmd_name)}")
        command: click.Command = getattr(file, f"{cmd_name.replace('-', '_')}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            near = difflib.get_close_matches(name, _COMMANDS, n=1)
            advice = f", did you mean {near[0]}?" if near else "; `lsproxy --help` lists them"
            raise click.UsageError(f"there is no command {name}{advice}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, epilog="Example: lsproxy status --watch")
@click.version_option(package_name="lsproxy", prog_name="lsproxy")
def commands() -> None:
    """Keeps software licenses available: one address before interchangeable license servers."""


def main() -> None:
    """Run the command line: one sentence on stderr for a person's mistake, and its exit status."""
    try:
        commands()
    except Exception as problem:
        from lsproxy.errors import LsproxyError  # noqa: PLC0415 - only where something is wrong

        if not isinstance(problem, LsproxyError):
            raise
        click.echo(str(problem), err=True)
        sys.exit(Misused.exit_code)
