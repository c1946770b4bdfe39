"""The commands of licserver on a pair: register, unregister, request-key, activate."""

import time
from pathlib import Path

import click

from licserver.cli import ask_running, asking, config_option


@click.command()
@click.option("--primary", required=True, metavar="HOST:PORT", help="the primary's address")
@click.option("--token-file", required=True, type=click.Path(path_type=Path), help="the operator token's file")
@click.option("--listen", metavar="HOST:PORT", help="where this server is to listen; default 127.0.0.1:27102")
@config_option(required=True)
def register(primary: str, token_file: Path, listen: str | None, config: Path) -> None:
    """
    Become the redundant server of a primary.

    FILE is written, with what the primary tells; one that is there is completed, and kept as FILE.old. A new server
    is called as FILE is, without its suffix. Its license is put beside the journal, where the service may replace it.

    Example: licserver register --primary 127.0.0.1:27101 --token-file operator.token -c /etc/licserver/lic-b.yaml
    """
    from licserver import registering  # noqa: PLC0415 slow to load
    from lsproxy.net.address import parse_address  # noqa: PLC0415 slow to load

    address = None if listen is None else parse_address(listen)
    written = registering.register(parse_address(primary), token_file, address, config, time.time)
    assert written.registered is not None
    where = f"{written.registered.name} at {written.registered.primary}"
    click.echo(f"{written.name} is the redundant server of {where}; start it: licserver serve -c {config}")


@click.command()
@config_option(required=True)
def unregister(config: Path) -> None:
    """
    Take a registration back, on the redundant server or on its primary.

    Example: licserver unregister -c /etc/licserver/lic-b.yaml
    """
    from licserver import registering  # noqa: PLC0415 slow to load

    click.echo(registering.unregister(config))


@click.command("request-key")
@asking
def request_key(server: str | None, token_file: Path | None, config: Path | None) -> None:
    """
    Print the key with which the vendor is asked for more hours.

    Example: licserver request-key -c /etc/licserver/lic-b.yaml
    """
    reply = ask_running({"op": "request_key"}, server, token_file, config)
    click.echo(reply["key"])
    what = f"extension {reply['extension']} of takeover {reply['takeover']}"
    click.echo(f"for {what}: send it to the vendor, and give the answer to `licserver activate`", err=True)


@click.command()
@click.argument("key")
@asking
def activate(key: str, server: str | None, token_file: Path | None, config: Path | None) -> None:
    """
    Count the hours of the vendor's activation key.

    Example: licserver activate 'M08JR-…' -c /etc/licserver/lic-b.yaml
    """
    reply = ask_running({"op": "activate", "key": key}, server, token_file, config)
    click.echo(f"{reply['hours']} h more: {reply['remaining'] / 3600:.1f} h left")
