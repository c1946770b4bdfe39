"""The `licserver` command's exit statuses and sentences."""

import json
import subprocess

import pytest

from tests.faults.process import wait_for
from tests.faults.system import COMMANDS, System, free_port


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """A server that runs, for all tests that leave it as it was."""
    made = System(tmp_path_factory.mktemp("cli"), names=["lic-a"])
    made.create_journal()
    made.start_server("lic-a")
    made.wait_active()
    yield made
    made.end()


def licserver(*arguments, **environment):
    """What a command says and how it ends."""
    done = subprocess.run(
        [str(COMMANDS / "licserver"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": "/usr/bin", **environment},
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout.strip(), done.stderr.strip()


@pytest.mark.parametrize("command", [
    "init", "serve", "check", "status", "reread", "takeover", "stand-down", "stop", "register", "unregister",
    "request-key", "activate",
])  # fmt: skip
def test_help(command):
    """Every command has an example."""
    status, said, _ = licserver(command, "--help")
    assert (status, "Example: licserver" in said) == (0, True)


def test_status(system):
    """Status is told for people and for programs, by address, configuration or environment, without a token."""
    host, port = system.addresses["lic-a"]
    by_address = licserver("status", "--server", f"{port}@{host}")
    assert by_address[0] == 0
    assert "lic-a of acme-licenses: active, epoch 1" in by_address[1]
    assert licserver("status", "-c", system.folder / "lic-a.yaml") == by_address
    assert licserver("status", LSPROXY_LICENSE=f"{port}@{host};1@nowhere") == by_address
    status, said, _ = licserver("status", "--json", "--server", f"{port}@{host}")
    assert (status, json.loads(said)["role"]) == (0, "active")


def test_no_server():
    """Which server is asked has to be said; nobody there is one sentence."""
    status, _, problem = licserver("status")
    assert (status, "--server PORT@HOST" in problem) == (2, True)
    port = free_port()
    status, _, problem = licserver("status", "--server", f"{port}@127.0.0.1")
    assert (status, f"no license server answers at 127.0.0.1:{port}" in problem) == (1, True)


def test_token(system):
    """An operator's command needs a token, and the right one; a wrong one is not repeated."""
    host, port = system.addresses["lic-a"]
    status, _, problem = licserver("reread", "--server", f"{port}@{host}")
    assert (status, "--token-file" in problem) == (2, True)
    wrong = system.folder / "wrong.token"
    wrong.touch(0o600)
    wrong.write_text("not-the-token")
    status, _, problem = licserver("reread", "--server", f"{port}@{host}", "--token-file", wrong)
    assert (status, "not the operator token" in problem, "not-the-token" in problem) == (1, True, False)


def test_reread(system):
    """Reread says what is so; of a broken file it says file and line, with status 1."""
    configuration = system.folder / "lic-a.yaml"
    assert licserver("reread", "-c", configuration)[0] == 0
    good = system.license_file.read_text()
    system.license_file.write_text(good.replace("permanent 10", "permanent 11"))
    status, _, problem = licserver("reread", "-c", configuration)
    system.license_file.write_text(good)
    assert status == 1
    assert "the license in force stays" in problem
    assert "acme.lic:3:" in problem


def test_check(system):
    """Check is content with what is good, and says all that is wrong with status 2."""
    assert licserver("check", "-c", system.folder / "lic-a.yaml")[0] == 0
    good = system.license_file.read_text()
    system.license_file.write_text(good.replace("permanent 10", "permanent 11"))
    status, said, problem = licserver("check", "-c", system.folder / "lic-a.yaml")
    system.license_file.write_text(good)
    assert (status, "acme.lic:3:" in said + problem) == (2, True)


def test_wrong_configuration(tmp_path):
    """A configuration with mistakes is a line for each, with status 2."""
    path = tmp_path / "licserver.yaml"
    path.write_text("name: lic-a\nttll: 3\n")
    for command in ("serve", "check", "init", "status"):
        status, _, problem = licserver(command, "-c", path)
        assert status == 2
        assert "ttll" in problem


def test_init_twice(system):
    """A journal is created once."""
    status, _, problem = licserver("init", "-c", system.folder / "lic-a.yaml")
    assert (status, str(system.journal) in problem) == (1, True)


def test_switch_and_stop(tmp_path):
    """Takeover, stand-down and stop do what they say, and say it."""
    system = System(tmp_path)
    try:
        system.start()
        a, b = (tmp_path / f"{name}.yaml" for name in ("lic-a", "lic-b"))
        if system.active() == "lic-b":
            a, b = b, a
        wait_for(lambda: len(_members(a)) == 2, "both know of each other", 10)
        assert licserver("takeover", "-c", b, "--force") == (0, "active, epoch 2", "")
        assert licserver("stand-down", "-c", a) == (1, "", f"{a.stem} is not active")
        assert licserver("stand-down", "-c", b, "--to", a.stem) == (0, "stood down", "")
        wait_for(lambda: system.active() == a.stem, "the heir is active")
        status, _, problem = licserver("takeover", "-c", b)
        assert (status, "keeps it for" in problem) == (1, True)
        assert licserver("stop", "-c", a) == (0, "stopping", "")
        assert system.servers[a.stem].wait(5) == 0
        wait_for(lambda: system.active() == b.stem, "the other one goes on")
    finally:
        system.end()


def _members(path):
    return json.loads(licserver("status", "--json", "-c", path)[1])["members"]
