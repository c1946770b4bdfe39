"""The test vector of docs/license-file.md is what the code makes and takes."""

import base64
import hashlib
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lsproxy.license.grammar import parse
from lsproxy.license.signature import canonical_text, sign, verify

PAGE = Path(__file__).parents[3] / "docs" / "license-file.md"


@pytest.fixture(scope="module")
def vector():
    return dict(
        re.findall(r"^```vector-([a-z-]+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    )


def test_by_hand(vector):
    """The printed key made the printed signature over the printed rows, and the digest is theirs."""
    (encoded,) = re.findall(r'SIGN="ed25519:(.*)"', vector["license"])
    rows = vector["canonical"].encode()
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(vector["public-key"]))
    public.verify(base64.b64decode(encoded), rows)
    assert vector["digest"].strip() == f"sha256:{hashlib.sha256(rows).hexdigest()}"


def test_by_the_code(vector):
    """The code makes the same text, signature and digest."""
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector["seed"]))
    parsed = parse(vector["license"], "acme.lic")
    assert [canonical_text(parsed, feature) for feature in parsed.features] == [vector["canonical"]]
    unsigned = re.sub(r" \\\n    SIGN=.*", "", vector["license"])
    assert "SIGN" not in unsigned
    assert sign(unsigned, "acme.lic", private) == vector["license"]
    verified = verify(parsed, {"acme": private.public_key()})
    assert (len(verified.good), verified.digest) == (1, vector["digest"].strip())
