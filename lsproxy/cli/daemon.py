"""The commands that run lsproxy: serve, check, reload."""

import json
import os
from pathlib import Path

import click

from lsproxy.cli import Misused
from lsproxy.cli.asking import Admin, asking
from lsproxy.config.problems import ConfigError
from lsproxy.errors import LsproxyError

_config = click.option(
    "-c", "--config", "config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="lsproxy.yaml"
)
_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.command("serve", epilog="Example: lsproxy serve -c /etc/lsproxy/lsproxy.yaml")
@_config
@click.option("--stop-timeout", type=click.FloatRange(0.1, 3600), default=10.0, show_default=True, metavar="SECONDS")
@click.option(
    "--notify",
    type=click.Choice(["here", "elsewhere"]),
    default="here",
    show_default=True,
    help="Whether the commands of `notify` are run here, or by `lsproxy notify`.",
)
def serve_command(config: Path, stop_timeout: float, notify: str) -> None:
    """Run the proxy until it is stopped (SIGTERM); SIGHUP has it read its configuration again."""
    from lsproxy.systemd import passed_descriptors  # noqa: PLC0415 - slow to load

    descriptors = passed_descriptors(os.environ, os.getpid())
    from lsproxy.config.logform import wanted_form  # noqa: PLC0415 - slow to load
    from lsproxy.daemon import serve  # noqa: PLC0415 - slow to load
    from lsproxy.logs import cannot_start  # noqa: PLC0415 - slow to load

    try:
        serve(config, stop_timeout, descriptors, notifies=notify == "here")
    except LsproxyError as problem:
        for sentence in str(problem).splitlines():
            cannot_start(wanted_form(config), sentence)
        raise SystemExit(Misused.exit_code) from None


@click.command("check", epilog="Example: lsproxy check -c /etc/lsproxy/lsproxy.yaml")
@_config
@_json
def check_command(config: Path, *, as_json: bool) -> None:
    """Say what is wrong with a configuration and the files it names, without starting anything."""
    from lsproxy.checkup import check  # noqa: PLC0415 - slow to load

    problems, warnings = [], []
    try:
        found = check(config)
        problems, warnings = found.problems, found.warnings
    except ConfigError as error:
        problems = [str(problem) for problem in error.problems]
    if as_json:
        click.echo(json.dumps({"config": str(config), "problems": problems, "warnings": warnings}))
    else:
        for sentence in [*problems, *(f"warning: {warning}" for warning in warnings)]:
            click.echo(sentence, err=True)
        if not problems:
            click.echo(f"{config}: lsproxy can be started with it")
    if problems:
        raise SystemExit(Misused.exit_code)


@click.command("reload", epilog="Example: lsproxy reload")
@asking
@_json
def reload_command(admin: str, token_file: Path | None, *, as_json: bool) -> None:
    """Have the running proxy take its configuration file as it is now; no connection is dropped."""
    answer = Admin(admin, token_file).post("reload")
    if as_json:
        click.echo(json.dumps(answer))
        return
    for change in answer["changes"]:
        click.echo(change)
    if not answer["changes"]:
        click.echo("read again, no changes of the configuration")
