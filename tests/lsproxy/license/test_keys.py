"""Which key files are taken."""

import re

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from lsproxy.license.keys import load_private_key, load_public_key
from lsproxy.license.model import LicenseError
from tests.lsproxy.license.texts import KEY

ENCRYPTED = BestAvailableEncryption(b"secret")
ELLIPTIC = generate_private_key(SECP256R1())


def private_pem(key=KEY, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def public_pem(key=KEY):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def written(path, content, mode=0o600):
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_pair(tmp_path):
    """A key pair in PEM files is read."""
    public = load_public_key(written(tmp_path / "acme.pub", public_pem(), 0o644))
    private = load_private_key(written(tmp_path / "acme.key", private_pem(), 0o400))
    public.verify(private.sign(b"text"), b"text")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o601])
def test_private_key_of_many(tmp_path, mode):
    """A private key that others may touch is refused, with what to do."""
    path = written(tmp_path / "acme.key", private_pem(), mode)
    with pytest.raises(LicenseError, match=re.escape(f"others may read (mode {mode:04o}); `chmod 600 {path}` first")):
        load_private_key(path)


@pytest.mark.parametrize(
    ("load", "content", "reason"),
    [
        (load_public_key, b"", "no public key in PEM"),
        (load_public_key, b"\xff\x00", "no public key in PEM"),
        (load_public_key, private_pem(), "this is a private key"),
        (load_public_key, public_pem(ELLIPTIC), "a public key of another kind"),
        (load_private_key, b"", "no private key in PEM"),
        (load_private_key, public_pem(), "no private key in PEM"),
        (load_private_key, private_pem(ELLIPTIC), "a private key of another kind"),
        (load_private_key, private_pem(encryption=ENCRYPTED), "the private key is encrypted"),
    ],
)
def test_no_key(tmp_path, load, content, reason):
    """Another file is refused with its name and the reason, never with what it holds."""
    path = written(tmp_path / "file", content)
    with pytest.raises(LicenseError, match=reason) as refused:
        load(path)
    assert str(refused.value).startswith(f"{path}: ")


@pytest.mark.parametrize("load", [load_public_key, load_private_key])
def test_unreadable(tmp_path, load):
    """A missing file and a folder are refused with the system's reason."""
    with pytest.raises(LicenseError, match="cannot be read: No such file"):
        load(tmp_path / "none")
    with pytest.raises(LicenseError, match="cannot be read: Is a directory"):
        load(tmp_path)
