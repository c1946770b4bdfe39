"""The `licserver` command."""

import importlib
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from licserver.errors import LicserverError
from lsproxy.errors import LsproxyError

if TYPE_CHECKING:
    from licserver.config import LicserverConfig
    from lsproxy.net.address import Address
    from lsproxy.net.reactor import BoottimeReactor

Result = TypeVar("Result")

_ELSEWHERE: Final = {
    "keygen": "filecommands.keygen",
    "sign": "filecommands.sign",
    "verify": "filecommands.verify_command",
    "hostid": "filecommands.hostid",
    "issue-key": "filecommands.issue_key",
    "register": "paircommands.register",
    "unregister": "paircommands.unregister",
    "request-key": "paircommands.request_key",
    "activate": "paircommands.activate",
}


class _Commands(click.Group):
    """Loads the commands of other files only when they are asked for, so that `--help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _ELSEWHERE:
            file, _, name = _ELSEWHERE[cmd_name].partition(".")
            found: click.Command = getattr(importlib.import_module(f"licserver.{file}"), name)
            return found
        return super().get_command(ctx, cmd_name)


def config_option(required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option -c FILE."""
    path = click.Path(path_type=Path)
    return click.option("-c", "--config", "config", type=path, required=required, metavar="FILE", help="licserver.yaml")


def asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that asks a running server."""
    token = click.option("--token-file", type=click.Path(path_type=Path), help="the operator token's file")
    server = click.option("--server", metavar="PORT@HOST", help="the server to ask (or -c, or LSPROXY_LICENSE)")
    return server(token(config_option(required=False)(command)))


@click.group(cls=_Commands)
@click.version_option(package_name="lsproxy", prog_name="licserver")
def commands() -> None:
    """The license server of lsproxy: serves seats from a signed license file, and never one too many."""


@commands.command()
@config_option(required=True)
def init(config: Path) -> None:
    """
    Create the journal that a configuration names, once, before the first start.

    To be run on a host that the license file names.

    Example: licserver init -c /etc/licserver/licserver.yaml
    """
    from licserver.checkup import check_license, why_not_create  # noqa: PLC0415 slow to load
    from licserver.journals import create_journal  # noqa: PLC0415 slow to load

    loaded = _load(config)
    problems = check_license(loaded) or list(filter(None, [why_not_create(loaded)]))
    if problems:
        raise LicserverError("\n".join(problems))
    journal_id = _run(loaded, create_journal)
    click.echo(f"created the journal {loaded.journal} of {loaded.server_name} ({journal_id})")


@commands.command()
@config_option(required=True)
def serve(config: Path) -> None:
    """
    Run the license server until it is stopped (SIGTERM); SIGHUP rereads its configuration and license file.

    Example: licserver serve -c /etc/licserver/licserver.yaml
    """
    from lsproxy.systemd import passed_descriptors  # noqa: PLC0415 slow to load

    descriptors = passed_descriptors(os.environ, os.getpid())
    from licserver.daemon import serve as run  # noqa: PLC0415 as above, and it loads Twisted's endpoints
    from lsproxy.config.logform import wanted_form  # noqa: PLC0415 slow to load
    from lsproxy.logs import cannot_start  # noqa: PLC0415 as above

    try:
        status = run(config, descriptors)
    except (LicserverError, LsproxyError) as problem:
        for sentence in str(problem).splitlines():
            cannot_start(wanted_form(config), sentence)
        status = 2
    sys.exit(status)


@commands.command()
@config_option(required=True)
def check(config: Path) -> None:
    """
    Say what is wrong with a configuration, its license file and its journal.

    Example: licserver check -c /etc/licserver/licserver.yaml
    """
    from licserver.checkup import check_files, check_journal, check_license  # noqa: PLC0415 slow to load
    from licserver.config import shortcomings  # noqa: PLC0415 as above

    loaded = _load(config)
    problems = check_license(loaded) + check_files(loaded)
    problems += _run(loaded, check_journal)
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(2)
    click.echo(f"{config}: {loaded.name} of {loaded.server_name} can be started")
    for sentence in shortcomings(loaded):
        click.echo(f"note: {sentence}")


@commands.command()
@asking
@click.option("--json", "as_json", is_flag=True, help="the reply as it is")
def status(server: str | None, token_file: Path | None, config: Path | None, *, as_json: bool) -> None:
    """
    What a running server is: its role, epoch, sessions and seats.

    Example: licserver status --server 27101@lic-a.example.com
    """
    reply = ask_running({"op": "status"}, server, token_file, config, needs_token=False)
    if as_json:
        import json  # noqa: PLC0415 only here

        click.echo(json.dumps(reply, indent=2))
        return
    click.echo(f"{reply['backend']} of {reply['server']}: {reply['role']}, epoch {reply['epoch']}")
    click.echo(f"{reply['sessions']} sessions, {reply['seats']} seats in use; license {reply['license']}")
    for member in reply["members"]:
        click.echo(f"  {member['backend']:<20} {member['address']:<28} {member['role']}")
    for part in ("primary", "redundant"):
        if partner := reply["redundancy"].get(part):
            click.echo(
                f"its {part} server is {partner['name']} at {partner['address'] or 'an address it does not say'}"
            )
    notes = [reply["redundancy"].get("fault"), *(notice["message"] for notice in reply.get("notices", ()))]
    for note in filter(None, notes):
        click.echo(f"note: {note}")


@commands.command()
@asking
def reread(server: str | None, token_file: Path | None, config: Path | None) -> None:
    """
    Put the server's configuration and license file in force as they are now; what is wrong changes nothing.

    Example: licserver reread -c /etc/licserver/licserver.yaml
    """
    ask_running({"op": "reread"}, server, token_file, config)
    click.echo("configuration and license file were read again; on the active server the license is in force")


@commands.command()
@asking
@click.option("--force", is_flag=True, help="also from a holder that has just taken the name and answers")
@click.option("--reason", default="", help="for the log")
def takeover(server: str | None, token_file: Path | None, config: Path | None, *, force: bool, reason: str) -> None:
    """
    Make a server the active one.

    Example: licserver takeover -c /etc/licserver/licserver.yaml --reason "maintenance of lic-a"
    """
    request = {"op": "takeover", "force": force, "reason": reason}
    reply = ask_running(request, server, token_file, config)
    click.echo(f"active, epoch {reply['epoch']}")


@commands.command("stand-down")
@asking
@click.option("--to", "heir", help="the member that is to take the name")
@click.option("--reason", default="", help="for the log")
def stand_down(server: str | None, token_file: Path | None, config: Path | None, heir: str | None, reason: str) -> None:
    """
    Make the active server give the name up.

    Example: licserver stand-down -c /etc/licserver/licserver.yaml --to lic-b
    """
    request: dict[str, Any] = {"op": "stand_down", "reason": reason}
    if heir is not None:
        request["to"] = heir
    ask_running(request, server, token_file, config)
    click.echo("stood down")


@commands.command()
@asking
def stop(server: str | None, token_file: Path | None, config: Path | None) -> None:
    """
    Stop a server; it gives the name up first.

    Example: licserver stop -c /etc/licserver/licserver.yaml
    """
    ask_running({"op": "stop"}, server, token_file, config)
    click.echo("stopping")


@commands.group()
def journal() -> None:
    """Commands on the journal."""


@journal.command()
@config_option(required=True)
def accept(config: Path) -> None:
    """
    Go on from a restored journal, knowingly.

    Seats granted since its copy was made are forgotten, and can be granted again. A redundant server begins there
    with its takeover limit spent.

    Example: licserver journal accept -c /etc/licserver/licserver.yaml
    """
    from licserver.acceptance import accept_journal  # noqa: PLC0415 slow to load

    loaded = _load(config)
    problems = _run(loaded, accept_journal)
    if problems:
        raise LicserverError("\n".join(problems))
    click.echo(
        f"{loaded.name} goes on from {loaded.journal} as it is: seats granted since that was copied are forgotten and "
        "can be granted again; a redundant server begins with its takeover limit spent"
    )


def main() -> None:
    """Run the command line: a sentence for a person's mistake, exit status 1 (refused) or 2 (configuration)."""
    try:
        commands()
    except (LicserverError, LsproxyError) as problem:
        from lsproxy.config.problems import ConfigError  # noqa: PLC0415 slow to load

        click.echo(str(problem), err=True)
        sys.exit(2 if isinstance(problem, ConfigError) else 1)


def _load(config: Path) -> "LicserverConfig":
    from licserver.config import load_config  # noqa: PLC0415 slow to load

    return load_config(config)


def _run(
    loaded: "LicserverConfig", task: "Callable[[LicserverConfig, BoottimeReactor], Coroutine[Any, Any, Result]]"
) -> "Result":
    """What a task on the journal answers or raises, carried out in a reactor of its own."""
    from twisted.internet.defer import Deferred  # noqa: PLC0415 as above
    from twisted.python.failure import Failure  # noqa: PLC0415 as above

    from lsproxy.net.reactor import install  # noqa: PLC0415 slow to load

    reactor = install()
    outcome: list[Any] = []

    def carry_out() -> None:
        done = Deferred.fromCoroutine(task(loaded, reactor))
        done.addBoth(outcome.append)
        done.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(carry_out)
    reactor.run()
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    answer: Result = outcome[0]
    return answer


def ask_running(
    request: dict[str, Any],
    server: str | None,
    token_file: Path | None,
    config: Path | None,
    *,
    needs_token: bool = True,
) -> dict[str, Any]:
    """The reply of the server that the options of `asking` name."""
    from licserver.remote import ask  # noqa: PLC0415 as above
    from lsproxy.secretfile import read_secret  # noqa: PLC0415 slow to load

    loaded = None if config is None else _load(config)
    address = _address(server, loaded)
    if loaded is not None:
        token_file = token_file or loaded.token_file
    if needs_token and token_file is None:
        raise click.UsageError("an operator token is needed: --token-file FILE, or -c FILE with a token_file in it")
    token = None if token_file is None or not needs_token else read_secret(token_file)
    if loaded is None:
        return ask(address, request, token, None)
    return ask(address, request, token, loaded.listen.tls, loaded.listen.accept_proxy_protocol)


def _address(server: str | None, loaded: "LicserverConfig | None") -> "Address":
    from lsproxy.net.address import parse_server_list  # noqa: PLC0415 slow to load

    server = server or (None if loaded is not None else os.environ.get("LSPROXY_LICENSE"))
    if server:
        return parse_server_list(server)[0]
    if loaded is None:
        raise click.UsageError("which server? --server PORT@HOST, -c FILE, or LSPROXY_LICENSE in the environment")
    return loaded.listen.address
