"""The units are what systemd understands, what they allow is little, and the files beside them fit."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.systemd

UNITS = Path(__file__).parents[2] / "systemd"
MOST_EXPOSURE = 15  # of 100
INSTALLED = "/opt/lsproxy/bin/"


@pytest.fixture
def folder(tmp_path):
    """All units, their programs where they are installed here."""
    for path in UNITS.iterdir():
        text = path.read_text().replace(INSTALLED, f"{Path(sys.executable).parent}/")
        (tmp_path / path.name.replace("@", "@lic-a")).write_text(text)
    return tmp_path


def analyze(*arguments):
    argv = [shutil.which("systemd-analyze"), *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


SERVICES = sorted(path.name.replace("@", "@lic-a") for path in UNITS.glob("*.service"))
SOCKETS = sorted(path.name.replace("@", "@lic-a") for path in UNITS.glob("*.socket"))


@pytest.mark.parametrize("name", SERVICES + SOCKETS)
def test_systemd_understands_every_line(folder, name):
    """Unknown keys only warn, so nothing may be said of ours at all."""
    status, _, said = analyze("verify", "--man=no", folder / name)
    assert status == 0, said
    assert [line for line in said.splitlines() if "lsproxy" in line or "licserver" in line] == []


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_little(folder, name):
    """By the exposure that systemd itself computes, in tenths."""
    unit = folder / name
    status, table, said = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager", unit)
    assert status == 0, table + said


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_what_the_daemon_expects(folder, name):
    """Told of its readiness, watched, started again, a user of its own; the program takes the options written there."""
    text = (folder / name).read_text()
    for line in ("Type=notify", "WatchdogSec=10", "Restart=always", "StartLimitIntervalSec=0", "NoNewPrivileges=yes"):
        assert f"\n{line}\n" in text
    user = re.search(r"^User=(.+)$", text, re.MULTILINE)[1]
    assert user != "root"
    assert f"\nu {user} " in (UNITS / "sysusers.conf").read_text()
    program, command, *options = re.search(r"^ExecStart=(.+)$", text, re.MULTILINE)[1].split()
    known = subprocess.run([program, command, "--help"], capture_output=True, text=True, timeout=20, check=True).stdout
    assert all(option.partition("=")[0] in known for option in options if option.startswith("-"))


def test_license_servers_see_each_other(folder):
    """One has to end another that hangs, and see that it has ended: no namespace of users or processes between them."""
    text = (folder / "licserver@lic-a.service").read_text()
    apart = r"^(PrivateUsers|PrivatePIDs|DynamicUser|ProtectProc=(noaccess|ptraceable))"
    assert not re.search(apart, text, re.MULTILINE)


@pytest.mark.root
def test_the_users_and_folders_are_made(tmp_path):
    """By systemd-sysusers and systemd-tmpfiles, in an empty root; the folders of secrets are for root alone."""
    (tmp_path / "etc").mkdir()
    for program, file in (("systemd-sysusers", "sysusers.conf"), ("systemd-tmpfiles", "tmpfiles.conf")):
        words = ["--create"] if program == "systemd-tmpfiles" else []
        argv = [shutil.which(program), f"--root={tmp_path}", *words, str(UNITS / file)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stderr
    users = (tmp_path / "etc/passwd").read_text()
    assert all(f"{name}:" in users for name in ("lsproxy", "lsproxy-notify", "licserver"))
    assert re.search(r"^lsproxy:[^:]*:\d+:.*lsproxy-notify", (tmp_path / "etc/group").read_text(), re.MULTILINE)
    for name in ("lsproxy", "licserver"):
        assert (tmp_path / "etc" / name / "credentials").stat().st_mode & 0o777 == 0o700
