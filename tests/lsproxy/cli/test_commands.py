"""The command line as a whole: what it offers, how quickly, and what becomes of a slip."""

import subprocess
import sys
import time

import click
import pytest

from lsproxy.cli import commands
from tests.lsproxy.cli.conftest import lsproxy

HEAVY = ("twisted", "cryptography", "rich", "yaml", "msgspec", "lsproxy.daemon", "http.client", "ssl")


def leaves(group, path=()):
    """Every command there is."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


def test_help_is_quick():
    """Under 0.2 s, the best of three."""
    took = []
    for _ in range(3):
        begun = time.monotonic()
        assert lsproxy("--help").status == 0
        took.append(time.monotonic() - begun)
    assert min(took) < 0.2


def test_help_loads_nothing_heavy():
    """That is why it is quick."""
    script = (
        "import sys\nfrom lsproxy.cli import commands\n"
        "try: commands(['--help'])\nexcept SystemExit: pass\n"
        f"print(*[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr.strip() == ""


def test_the_commands_are_those_that_were_promised():
    """Every one of them loads."""
    assert [" ".join(path) for path, _ in leaves(commands)] == [
        "demo",
        "serve",
        "check",
        "reload",
        "status",
        "switch",
        "ready",
        "drain",
        "maint",
        "events",
        "remove",
        "license",
        "request-key",
        "activate",
        "client-config",
        "notify",
        "token add",
        "run",
        "lmstat",
    ]


@pytest.mark.parametrize(
    ("path", "command"), list(leaves(commands)), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_has_help_with_an_example(path, command):
    """And every option of it says what it is for."""
    text = command.get_help(click.Context(command))
    assert f"Example: lsproxy {path[0]}" in text
    assert command.help
    for parameter in command.params:
        assert not isinstance(parameter, click.Option) or parameter.help or parameter.metavar or parameter.type.name


def test_a_slip_is_told_the_right_command():
    """Exit status 2."""
    done = lsproxy("statsu")
    assert done.status == 2
    assert "there is no command statsu, did you mean status?" in done.err
    assert lsproxy("frobnicate").err.endswith("there is no command frobnicate; `lsproxy --help` lists them\n")
