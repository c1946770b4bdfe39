"""The command that runs another one while it holds a seat."""

import signal
import subprocess
from pathlib import Path
from typing import Final

import click

from lsproxy.cli import Misused, Stopped
from lsproxy.client import ClientError, LicenseClient, Seat
from lsproxy.net.address import AddressError

NO_SEAT: Final = 69
NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
SIGNALLED: Final = 128


class _NoSeat(Stopped):
    exit_code = NO_SEAT


@click.command(
    "run",
    epilog="Example: lsproxy run --server 27000@licenses --feature cad -- cad drawing.dwg",
    context_settings={"allow_interspersed_args": False},
)
@click.option("--server", envvar="LSPROXY_LICENSE", metavar="PORT@HOST", help="Also LSPROXY_LICENSE.")
@click.option("--feature", required=True)
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="Seats, all or none.")
@click.option("--version", default="0", help="The lowest that will do.")
@click.option(
    "--wait", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="In the queue, if none is free."
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run_command(
    server: str | None, feature: str, count: int, version: str, wait: float, command: tuple[str, ...]
) -> None:
    """
    Run COMMAND while holding a seat.

    The exit status is the command's, 128 and the signal's number where a signal ended it, 69 without a seat.
    A seat that is lost, after its grace, ends the command (SIGTERM).
    """
    if not server:
        raise Misused("which server? --server PORT@HOST, or LSPROXY_LICENSE in the environment")
    running: list[subprocess.Popen[bytes]] = []
    lost: list[str] = []

    def seat_lost(_seat: Seat, reason: str) -> None:
        lost.append(reason)
        for process in running:
            process.terminate()

    try:
        with (
            LicenseClient(server, app=Path(command[0]).name, on_lost=seat_lost) as client,
            client.checkout(feature, version=version, count=count, wait=wait),
        ):
            status = _run(command, running, lost)
    except AddressError as error:
        raise Misused(f"--server: {error}") from error
    except ClientError as error:
        raise _NoSeat(str(error)) from error
    if lost:
        raise _NoSeat(f"the seat of {feature} was lost: {lost[0]}")
    raise SystemExit(status)


def _run(command: tuple[str, ...], running: list[subprocess.Popen[bytes]], lost: list[str]) -> int:
    try:
        process = subprocess.Popen(command)
    except FileNotFoundError:
        click.echo(f"{command[0]} is not found", err=True)
        return NOT_FOUND
    except OSError as error:
        click.echo(f"{command[0]} cannot be run: {error.strerror}", err=True)
        return NOT_EXECUTABLE
    running.append(process)
    if lost:
        process.terminate()
    # Ctrl-C reaches the command from the terminal; it decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: process.send_signal(number))
    status = process.wait()
    return SIGNALLED - status if status < 0 else status
