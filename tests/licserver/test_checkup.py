"""What `licserver check` says of the files that a configuration names."""

import json

import pytest

from licserver.checkup import check_files
from licserver.config import load_config
from tests.lsproxy.net.conftest import Authority

USUAL = {
    "name": "lic-a",
    "server_name": "acme-licenses",
    "listen": "127.0.0.1:27101",
    "license_file": "acme.lic",
    "vendor_keys": {"acme": "acme.pub"},
    "journal": "sqlite:///nowhere/acme.db",
}


@pytest.fixture
def said(tmp_path):
    """What is said of a configuration with some keys changed."""
    for name in ("acme.lic", "acme.pub"):
        (tmp_path / name).write_text("something\n")

    def check(**changes):
        (tmp_path / "s.yaml").write_text(json.dumps({**USUAL, **changes}))
        return [sentence.replace(str(tmp_path), "DIR") for sentence in check_files(load_config(tmp_path / "s.yaml"))]

    return check


def test_nothing(said, tmp_path):
    """Good files are not spoken of, and a debug log that is not there yet is not made."""
    certificate, key = Authority(tmp_path).issue("lic-a")
    tls = {"certificate": str(certificate), "key": str(key)}
    assert said(listen={"address": "127.0.0.1:27101", "tls": tls}, debug_log="debug.log") == []
    assert not (tmp_path / "debug.log").exists()


def test_certificate(said, tmp_path):
    """A key that does not belong to its certificate is named."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("lic-a")[0], authority.issue("lic-b")[1]
    tls = {"certificate": str(certificate), "key": str(key)}
    (sentence,) = said(listen={"address": "127.0.0.1:27101", "tls": tls})
    assert sentence.startswith("listen.tls: key DIR/")
    assert "does not belong to certificate" in sentence


def test_debug_log(said, tmp_path):
    """A debug log for which there is no place is named, with what would be right."""
    assert said(debug_log="no/debug.log") == [
        "debug_log: the folder DIR/no does not exist, make it or name another file"
    ]
    (tmp_path / "folder").mkdir()
    assert said(debug_log="folder") == ["debug_log: DIR/folder is a folder, name a file"]
