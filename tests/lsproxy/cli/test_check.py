"""`lsproxy check`: what is wrong with a configuration, without starting anything."""

import json
import os
import pwd
from datetime import UTC, datetime, timedelta

import pytest

from lsproxy.cli.demo_files import prepare
from lsproxy.config.check import load_config
from lsproxy.license.signature import load_private_key, sign
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


def test_a_conflict_that_cannot_be_seen_is_told(tmp_path):
    """What stands there but has no effect, and what would give it one; not what is only a default."""
    tree = {
        "listen": {"floats": {"address": f"127.0.0.1:{free_port()}", "pool": "floats"}},
        "pools": {
            "floats": {"kind": "tcp", "conflict": "refuse", "backends": {"tcp-a": {"address": "192.0.2.1:7788"}}}
        },
        "state": f"sqlite://{tmp_path}/state.db",
        "admin": {"socket": str(tmp_path / "admin.sock"), "tokens_file": str(tmp_path / "tokens.yaml")},
    }
    config = tmp_path / "lsproxy.yaml"
    config.write_text(json.dumps(tree))
    idle = "pools.floats.conflict: has no effect, for nothing says that its backends share a name: add server_name"
    assert idle in lsproxy("check", "-c", config).err
    tree["pools"]["floats"]["server_name"] = "floats"
    config.write_text(json.dumps(tree))
    assert idle not in lsproxy("check", "-c", config).err
    del tree["pools"]["floats"]["server_name"], tree["pools"]["floats"]["conflict"]
    config.write_text(json.dumps(tree))
    assert idle not in lsproxy("check", "-c", config).err


def test_a_license_that_ends_is_told(demo):
    """Without being started; it is no reason not to start."""
    license_file = demo.folder / "demo.lic"
    day = (datetime.now(UTC) + timedelta(days=3)).strftime("%d-%b-%Y").lower()
    text = f"SERVER demo HOSTNAME=demo\nVENDOR demo\nINCREMENT cad demo 2027.0 {day} 5\n"
    license_file.write_text(sign(text, "demo.lic", load_private_key(demo.folder / "vendor.key")))
    done = lsproxy("check", "-c", demo.proxy_config)
    assert (done.status, "in 3 days: ask the vendor for a renewal" in done.err) == (0, True), done.err


def test_a_secret_that_is_roots_alone_is_told(demo):
    """Root may read what lsproxy, as the owner of the folder of `state`, may not; what is that user's is no matter."""
    config = load_config(demo.proxy_config)
    tokens = config.admin.tokens_file
    tokens.touch(mode=0o600)
    tokens.write_text("tokens: []\n")
    nobody = pwd.getpwnam("nobody")
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    state = demo.folder / "of-nobody"
    state.mkdir()
    os.chown(state, nobody.pw_uid, nobody.pw_gid)
    demo.proxy_config.write_text(demo.proxy_config.read_text().replace("sqlite:state.db", f"sqlite:{state}/state.db"))
    warned = f"admin.tokens_file: nobody, whose the folder of state is, may not read {tokens}: chown nobody {tokens}"
    assert warned in lsproxy("check", "-c", demo.proxy_config).err
    os.chown(tokens, nobody.pw_uid, nobody.pw_gid)
    assert warned not in lsproxy("check", "-c", demo.proxy_config).err
