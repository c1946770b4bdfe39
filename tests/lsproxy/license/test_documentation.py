"""The test vectors of docs/license-file.md are what the code makes and takes."""

import base64
import hashlib
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lsproxy.license.activation import check_activation_key, issue, make_request, request_key, signed_text
from lsproxy.license.grammar import parse
from lsproxy.license.hostid import parse_hostid
from lsproxy.license.signature import canonical_text, sign, verify

SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ*~$=U"
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


def bytes_by_hand(key):
    """A key's bytes by the page alone."""
    *symbols, check = (SYMBOLS.index(symbol) for symbol in key if symbol not in "-\n")
    bits = "".join(f"{symbol:05b}" for symbol in symbols)
    assert int(bits, 2) % 37 == check
    assert int(f"0{bits[len(bits) // 8 * 8 :]}", 2) == 0
    return int(bits[: len(bits) // 8 * 8], 2).to_bytes(len(bits) // 8)


def test_keys_by_hand(vector):
    """The printed request key spells the printed bytes, and the activation key signs the printed rows."""
    request = bytes.fromhex(vector["request"].replace("\n", ""))
    assert bytes_by_hand(vector["request-key"]) == request
    assert hashlib.sha256(vector["hostids"].encode()).digest()[:16] == request[7:23]
    assert vector["digest"].removeprefix("sha256:").startswith(request[23:39].hex())
    activation = bytes_by_hand(vector["activation-key"])
    assert activation[:-64] == b"\xa1\x00\x48" + request
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(vector["public-key"]))
    public.verify(activation[-64:], vector["activation-text"].encode())


def test_keys_by_the_code(vector):
    """The code makes the same keys, and takes them."""
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector["seed"]))
    hostids = [parse_hostid(row) for row in vector["hostids"].splitlines()]
    asked = make_request("lic-b", hostids, vector["digest"].strip(), 2, 1, bytes.fromhex("0123456789abcdef"))
    assert request_key(asked) == vector["request-key"].strip()
    assert signed_text(asked, 72) == vector["activation-text"]
    assert issue(asked, 72, private) == vector["activation-key"].replace("\n", "")
    assert check_activation_key(vector["activation-key"], asked, private.public_key()).hours == 72
