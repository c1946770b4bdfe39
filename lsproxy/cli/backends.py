"""The commands on one backend: ready, drain, maint."""

import json
import time
from pathlib import Path
from typing import Final

import click

from lsproxy.cli.asking import PATIENT_SECONDS, Admin, asking

SUCCESSOR_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.05

_pool = click.argument("pool")
_backend = click.argument("backend")
_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.command("ready", epilog="Example: lsproxy ready acme lic-a")
@_pool
@_backend
@asking
@_json
def ready_command(pool: str, backend: str, admin: str, token_file: Path | None, *, as_json: bool) -> None:
    """Let a backend be chosen again, after drain, maint, or a loss under `failback: manual`."""
    _set(Admin(admin, token_file), pool, backend, "ready", as_json=as_json)


@click.command("drain", epilog="Example: lsproxy drain acme lic-a")
@_pool
@_backend
@asking
@_json
def drain_command(pool: str, backend: str, admin: str, token_file: Path | None, *, as_json: bool) -> None:
    """Switch away from a backend and choose it no more; refused while no other stands by."""
    _set(Admin(admin, token_file), pool, backend, "drain", as_json=as_json)


@click.command("maint", epilog="Example: lsproxy maint acme lic-a")
@_pool
@_backend
@asking
@_json
def maint_command(pool: str, backend: str, admin: str, token_file: Path | None, *, as_json: bool) -> None:
    """Take a backend out at once, and check it no more."""
    _set(Admin(admin, token_file), pool, backend, "maint", as_json=as_json)


def _set(asked: Admin, pool: str, backend: str, state: str, *, as_json: bool) -> None:
    answer = asked.post("pools", pool, "backends", backend, "state", state=state, seconds=PATIENT_SECONDS)
    until = time.monotonic() + SUCCESSOR_SECONDS
    while answer["serving"] is None and time.monotonic() < until:
        # maint is at once, the next backend takes over a moment later
        time.sleep(LOOK_SECONDS)
        answer["serving"] = asked.get("pools", pool)["serving"]
    if answer.get("warning"):
        click.echo(f"warning: {answer['warning']}", err=True)
    if as_json:
        click.echo(json.dumps(answer))
        return
    served = f"served by {answer['serving']}" if answer["serving"] else "not served"
    click.echo(f"{backend} is set to {state}; {pool} is {served}")
