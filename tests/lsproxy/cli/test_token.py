"""`lsproxy token add`: a token is printed once and kept as a hash."""

import json
import os
import pwd
import stat

import pytest
import yaml

from lsproxy.cli.demo_files import prepare
from lsproxy.config.tokens import find_token, load_tokens
from tests.faults.system import free_port
from tests.lsproxy.cli.conftest import lsproxy


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("demo"), free_port(), free_port())


def test_a_token_is_printed_once_and_kept_as_a_hash(demo):
    """What was printed is what the hash is of; the file is its owner's alone."""
    done = lsproxy("token", "add", "ops", "--role", "operator", "-c", demo.proxy_config)
    assert done.status == 0, done.err
    token = done.out.strip()
    path = demo.folder / "tokens.yaml"
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = find_token(token, load_tokens(path))
    assert (found.name, found.role) == ("ops", "operator")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_first_token_before_the_first_start(demo, tmp_path):
    """Made by root, the file is that user's whose the folder of lsproxy's state is, or lsproxy could not read it."""
    nobody = pwd.getpwnam("nobody")
    tree = yaml.safe_load(demo.proxy_config.read_text())
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", nobody.pw_uid, nobody.pw_gid)
    tree["state"] = f"sqlite://{tmp_path}/state/state.db"
    tree["admin"]["tokens_file"] = str(tmp_path / "tokens.yaml")
    config = demo.folder / "before.yaml"
    config.write_text(json.dumps(tree))
    done = lsproxy("token", "add", "ops", "--role", "operator", "-c", config)
    assert done.status == 0, done.err
    assert (tmp_path / "tokens.yaml").stat().st_uid == nobody.pw_uid


def test_a_name_is_given_once(demo):
    """The second time is refused with 1, a name that is none with 2."""
    added = ["token", "add", "eve", "--role", "viewer", "-c", demo.proxy_config]
    assert json.loads(lsproxy(*added, "--json").out)["role"] == "viewer"
    done = lsproxy(*added)
    assert (done.status, "a token named eve already" in done.err) == (1, True)
    done = lsproxy("token", "add", "no name", "--role", "viewer", "-c", demo.proxy_config)
    assert done.status == 2


def test_a_configuration_that_is_missing_is_said(tmp_path):
    """Exit status 2, one sentence."""
    done = lsproxy("token", "add", "ops", "--role", "viewer", "-c", tmp_path / "none.yaml")
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert "none.yaml" in done.err


def test_a_folder_that_is_missing_is_said(tmp_path):
    """Which one, and what to do."""
    made = prepare(tmp_path, free_port(), free_port())
    config = made.proxy_config
    config.write_text(config.read_text().replace("tokens_file: tokens.yaml", "tokens_file: none/tokens.yaml"))
    done = lsproxy("token", "add", "ops", "--role", "operator", "-c", config)
    assert done.status == 2
    assert f"the folder {tmp_path}/none does not exist, make it first" in done.err
