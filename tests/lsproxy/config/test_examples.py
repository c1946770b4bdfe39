"""The examples in conf/ work as they stand, once the files they name are beside them."""

import shutil
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from licserver.config import load_config as load_licserver
from lsproxy.config.check import load_config as load_lsproxy
from lsproxy.config.model import RelayHealth
from lsproxy.license.grammar import parse
from lsproxy.license.signature import sign, verify
from lsproxy.proxy.kinds import KINDS
from lsproxy.secretfile import write_secret

CONF = Path(__file__).parents[3] / "conf"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "conf"
    shutil.copytree(CONF, copy)
    (copy / "acme.lic").write_text((copy / "acme.lic.example").read_text())
    (copy / "acme.pub").write_text("a public key\n")
    write_secret(copy / "operator.token", "a token")
    return copy


def test_the_three_examples_fit_together(folder: Path):
    """Lsproxy knows its two servers by their names and addresses, and they are twins of one journal."""
    config = load_lsproxy(folder / "lsproxy.yaml")
    twins = [load_licserver(folder / f"licserver-{letter}.yaml") for letter in "ab"]
    (pool,) = config.pools.values()
    assert {name: backend.address for name, backend in pool.backends.items()} == {
        twin.name: twin.listen.address for twin in twins
    }
    assert {twin.server_name for twin in twins} == {pool.server_name}
    assert {twin.redundancy.scheme for twin in twins} == {"duplicate"}
    assert len({twin.journal for twin in twins}) == 1
    assert len({twin.state for twin in twins}) == 2
    assert {twin.token_file for twin in twins} == {pool.token_file}


def test_the_pair_fits_together(folder: Path):
    """Primary and redundant server differ in what is each one's own."""
    (folder / "pair.lic").write_text("")
    one, other = (load_licserver(folder / f"pair-{part}.yaml") for part in ("primary", "redundant"))
    assert {one.redundancy.scheme, other.redundancy.scheme} == {"pair"}
    for key in ("server_name", "journal", "ttl", "heartbeat", "resume", "token_file", "license_file"):
        assert getattr(one, key) == getattr(other, key)
    for key in ("name", "listen", "state"):
        assert getattr(one, key) != getattr(other, key)


def test_the_examples_show_the_defaults(folder: Path):
    """What an example sets without need, it sets to the default: it documents it."""
    pool = load_lsproxy(folder / "lsproxy.yaml").pools["acme"]
    text = (folder / "lsproxy.yaml").read_text()
    assert pool.failback == "sticky"
    pool = msgspec.structs.replace(pool, failback=None)
    for line in ("    health:", "    failback:", "    hold:"):
        assert line in text
        text = "".join(row for row in text.splitlines(keepends=True) if not row.startswith(line))
    (folder / "bare.yaml").write_text(text)
    assert load_lsproxy(folder / "bare.yaml").pools["acme"] == pool


def test_the_license_example_signs_and_verifies(folder: Path):
    """Every line of it is served once it is signed."""
    key = Ed25519PrivateKey.generate()
    signed = sign((folder / "acme.lic.example").read_text(), "acme.lic.example", key)
    verified = verify(parse(signed, "acme.lic"), {"acme": key.public_key()})
    assert [line.feature for line in verified.good] == ["cad", "mesh"]
    assert verified.problems == ()


@pytest.mark.parametrize("kind", KINDS)
def test_third_party_examples_show_the_defaults(folder: Path, kind: str):
    """What such an example sets without need, it sets to the default."""
    for example in folder.glob("*.lic.example"):
        example.with_suffix("").write_text(example.read_text())
    (pool,) = load_lsproxy(folder / f"{kind}.yaml").pools.values()
    assert pool.kind == kind
    assert pool.health == RelayHealth()
    assert pool.failback == "sticky"
    assert pool.conflict == "refuse"
    assert pool.binding == "enforce"
    assert pool.hold == (60 if pool.on_activate else 1)
    assert len(pool.backends) == 2
