"""A folder with the files a good lsproxy.yaml names, and the good file itself."""

from pathlib import Path

import pytest

GOOD = """\
listen:
  licenses: {address: "0.0.0.0:27000", pool: acme}
pools:
  acme:
    kind: licserver
    server_name: acme-licenses
    license_file: acme.lic
    vendor_keys: {acme: acme.pub}
    backends:
      lic-a: {address: "127.0.0.1:27101"}
      lic-b: {address: "127.0.0.1:27102"}
    token_file: operator.token
    health: {interval: 0.25}
admin: {socket: admin.sock}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("acme.lic", "acme.pub", "server.pem"):
        (tmp_path / name).write_text("something\n")
    for name in ("operator.token", "server.key"):
        (tmp_path / name).write_text("something\n")
        (tmp_path / name).chmod(0o600)
    return tmp_path


@pytest.fixture
def good() -> str:
    return GOOD
