"""The units are what systemd understands, and what they allow is little."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
ANALYZE = shutil.which("systemd-analyze")
MOST_EXPOSURE = 25  # of 100


@pytest.fixture
def unit(tmp_path, request):
    """A copy of a unit, its programs where they are installed here."""
    if ANALYZE is None:
        if os.environ.get("CI") == "true":
            pytest.fail("systemd-analyze is missing")
        pytest.skip("needs systemd-analyze")
    text = (UNITS / request.param).read_text()
    copy = tmp_path / request.param.replace("@", "@lic-a")
    copy.write_text(text.replace("/opt/lsproxy/bin/", f"{Path(sys.executable).parent}/"))
    return copy


def analyze(*arguments):
    done = subprocess.run([ANALYZE, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


UNIT_NAMES = ["lsproxy.service", "licserver@.service"]


@pytest.mark.parametrize("unit", UNIT_NAMES, indirect=True)
def test_systemd_understands_every_line(unit):
    """Unknown keys only warn, so nothing may be said of this unit at all."""
    status, _, said = analyze("verify", "--man=no", unit)
    assert status == 0, said
    assert [line for line in said.splitlines() if unit.name in line or str(unit) in line] == []


@pytest.mark.parametrize("unit", UNIT_NAMES, indirect=True)
def test_a_service_may_do_little(unit):
    """By the exposure that systemd itself computes, in tenths."""
    status, table, said = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager", unit)
    assert status == 0, table + said


def test_every_unit_is_looked_at():
    """A new one needs its place here."""
    assert {path.name for path in UNITS.glob("*.service")} == set(UNIT_NAMES)
