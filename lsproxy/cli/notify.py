"""The command that tells people what has happened."""

from pathlib import Path

import click


@click.command("notify", epilog="Example: lsproxy notify -c /etc/lsproxy/lsproxy.yaml")
@click.option(
    "-c", "--config", "config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="lsproxy.yaml"
)
def notify_command(config: Path) -> None:
    """Run the commands of `notify` for an lsproxy that was started with --notify=elsewhere, until SIGTERM."""
    from lsproxy.notifier import serve  # noqa: PLC0415 - slow to load

    serve(config)
