"""`lsproxy check`: what is wrong with a configuration, without starting anything."""

import json

import pytest

from lsproxy.cli.demo_files import prepare
from tests.faults.system import free_port
from tests.lsproxy.cli.conftest import lsproxy


@pytest.fixture
def demo(tmp_path):
    return prepare(tmp_path, free_port(), free_port())


def test_a_good_one_is_said_to_be_good(demo):
    """Exit status 0."""
    done = lsproxy("check", "-c", demo.proxy_config)
    assert (done.status, done.out) == (0, f"{demo.proxy_config}: lsproxy can be started with it\n")


def test_problems_of_files_are_told_too(demo):
    """A forged license, a folder that is missing, tokens open to others: all at once, exit status 2."""
    license_file = demo.folder / "demo.lic"
    license_file.write_text(license_file.read_text().replace(" 25 ", " 26 "))
    config = demo.proxy_config
    config.write_text(config.read_text().replace("sqlite:state.db", "sqlite:none/state.db"))
    (demo.folder / "demo.pub").write_text("no key")
    done = lsproxy("check", "-c", config)
    assert done.status == 2
    assert "demo.lic:4: cad is not served: its signature is not that of vendor demo" in done.err
    assert f"state: the folder {demo.folder}/none does not exist or is not writable" in done.err
    assert len(json.loads(lsproxy("check", "-c", config, "--json").out)["problems"]) == 2


def test_problems_of_the_file_are_told_with_their_line(demo):
    """As `serve` would."""
    demo.proxy_config.write_text(demo.proxy_config.read_text().replace("pools:", "pols:"))
    done = lsproxy("check", "-c", demo.proxy_config)
    assert done.status == 2
    assert "lsproxy.yaml:5: pols: is an unknown key, did you mean pools?" in done.err
