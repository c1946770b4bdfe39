"""The command that runs the whole system on one machine."""

import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from lsproxy.cli import Misused, Stopped
from lsproxy.cli.asking import Admin
from lsproxy.cli.demo_files import POOL, SERVERS, Demo, licserver, occupied, prepare
from lsproxy.cli.demo_probe import Probe, ask_role
from lsproxy.cli.demo_processes import Child, stop
from lsproxy.cli.demo_table import Board

START_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 0.25
LINK_SECONDS: Final = 5.0

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_port = click.IntRange(1, 65_000)


@click.command("demo", epilog="Example: lsproxy demo --port 27000")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Default: ~/.local/share/lsproxy-demo"
)
@click.option("--port", type=_port, default=27000, show_default=True, help="Where applications connect.")
@click.option("--panel-port", type=_port, default=27080, show_default=True, help="Where the panel is.")
def demo_command(folder: Path | None, port: int, panel_port: int) -> None:
    """
    Run the whole system on this machine: lsproxy, two license servers, a license signed for the occasion.

    A server that is killed is started again after 3 s. Ctrl-C stops it all; what is in DIR is used again next time.
    """
    if port == panel_port:
        raise Misused("--port and --panel-port are the same, the panel needs its own")
    # SIGINT too: a shell starts its background jobs deaf to it.
    for number in _ENDING:
        signal.signal(number, _interrupt)
    where = folder or _default_folder()
    with occupied(where):
        _run(prepare(where, port, panel_port))


def _run(demo: Demo) -> None:
    children: list[Child] = []
    try:
        _start(demo, children)
        admin = Admin(f"unix:{demo.socket}", None)
        _await(demo, children, "the pool was not served", partial(_is_served, admin))
        _introduce(demo, admin)
        _watch(demo, children, admin)
    except KeyboardInterrupt:
        click.echo("stopping")
    finally:
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
        stop(children[::-1])


def _default_folder() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "lsproxy-demo"


def _start(demo: Demo, children: list[Child]) -> None:
    """The preferred server first, so that it is the active one, as the text of every walk-through has it."""
    for name in SERVERS:
        command = licserver("serve", "-c", str(demo.server_config(name)))
        children.append(Child(name, command, demo.folder / f"{name}.log"))
        if name == SERVERS[0]:
            _await(demo, children, f"{name} was not active", partial(_is_active, demo.server_ports[name]))
    serve = [sys.executable, "-c", "from lsproxy.cli import main; main()", "serve", "-c", str(demo.proxy_config)]
    children.append(Child("lsproxy", serve, demo.folder / "lsproxy.log"))


def _await(demo: Demo, children: list[Child], failure: str, is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + START_SECONDS
    while not is_so():
        for child in children:
            ended = child.tend()
            if ended is not None:
                raise Misused(f"{ended}: {child.last_words}")
        if time.monotonic() > until:
            raise Stopped(f"{failure} within {START_SECONDS:g} s, the logs in {demo.folder} say more")
        time.sleep(LOOK_SECONDS / 10)


def _is_active(port: int) -> bool:
    return ask_role(port) == "active"


def _is_served(admin: Admin) -> bool:
    try:
        return admin.get("pools", POOL)["serving"] is not None
    except Stopped:
        return False  # it has only just been started


def _introduce(demo: Demo, admin: Admin) -> None:
    own = _own_command()
    click.echo(f"applications connect to   {demo.port}@127.0.0.1   (features: cad, 25 seats; mesh, 5 seats)")
    click.echo(f"the panel is at           {_login_link(demo, admin)}   (the link counts once)")
    click.echo(f"files and logs are in     {demo.folder}")
    click.echo()
    click.echo("Take a seat for a minute, in another terminal:")
    click.echo(f"    {own} run --server {demo.port}@127.0.0.1 --feature cad -- sleep 60")
    click.echo("Look who holds it, then kill the server that is active (kill -9 PROCESS) and look again:")
    click.echo(f"    {own} status --admin unix:{demo.socket}")
    click.echo()


def _watch(demo: Demo, children: list[Child], admin: Admin) -> None:
    probe = Probe(demo.port)
    probe.start()
    link = ""
    link_at = 0.0
    pools: list[Any] = []
    with Board() as board:
        while True:
            for child in children:
                news = child.tend()
                if news is not None:
                    board.tell(f"{time.strftime('%H:%M:%S')} {news}")
            try:
                if time.monotonic() >= link_at:
                    link = _login_link(demo, admin)
                    link_at = time.monotonic() + LINK_SECONDS
                pools = admin.get("pools")["pools"]
            except Stopped:
                link_at = 0.0
            board.show(pools, {child.name: child.pid for child in children}, probe.waited, link)
            time.sleep(LOOK_SECONDS)


def _login_link(demo: Demo, admin: Admin) -> str:
    return f"http://127.0.0.1:{demo.panel_port}{admin.post('login-link')['path']}"


def _own_command() -> str:
    """How this program is called in this terminal."""
    called = Path(sys.argv[0])
    found = shutil.which("lsproxy")
    is_found = found is not None and Path(found).resolve() == called.resolve()
    return "lsproxy" if is_found else shlex.quote(str(called))


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
