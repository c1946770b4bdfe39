"""What is said about certificate, key and CA files that cannot be used."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from lsproxy.net.certificates import CertificateError
from lsproxy.net.tls import client_tls, server_tls


def refusal(*arguments):
    with pytest.raises(CertificateError) as error:
        server_tls(*arguments)
    return str(error.value)


def test_good_files(authority):
    """A certificate, its key and a CA file are taken, the key also where only its owner may read it."""
    certificate, key = authority.issue("a.example.com")
    server_tls(certificate, key, authority.file)
    key.chmod(0o400)
    server_tls(certificate, key)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_key_open_to_others(authority, mode):
    """A key file with any right for group or others is refused with its mode and what to do."""
    certificate, key = authority.issue("a.example.com")
    key.chmod(mode)
    assert refusal(certificate, key) == f"key {key} is open to others (mode {mode:04o}): chmod 600 {key}"


def test_missing_files(authority, tmp_path):
    """A file that is not there is named with its role."""
    certificate, key = authority.issue("a.example.com")
    absent = tmp_path / "absent"
    assert refusal(absent, key) == f"certificate {absent} cannot be read: No such file or directory"
    assert refusal(certificate, absent) == f"key {absent} cannot be read: No such file or directory"
    assert refusal(certificate, key, absent) == f"CA file {absent} cannot be read: No such file or directory"


def test_wrong_contents(authority, tmp_path):
    """A file that holds something else is named, and what it should hold."""
    certificate, key = authority.issue("a.example.com")
    assert "has no certificate in PEM form" in refusal(key, key)
    garbage = tmp_path / "garbage"
    garbage.touch(0o600)
    garbage.write_bytes(b"\x00garbage")
    assert "has no private key in PEM form" in refusal(certificate, garbage)
    assert f"CA file {garbage} has no certificate" in refusal(certificate, key, garbage)


def test_key_of_another_certificate(authority):
    """A key that does not belong to the certificate is found before the first connection."""
    certificate, _key = authority.issue("a.example.com")
    _certificate, other = authority.issue("b.example.com")
    assert refusal(certificate, other) == f"key {other} does not belong to certificate {certificate}"


def test_key_with_a_passphrase(authority):
    """A key with a passphrase is refused rather than asked for on a terminal."""
    certificate, key = authority.issue("a.example.com")
    private = load_pem_private_key(key.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    assert "has a passphrase" in refusal(certificate, key)


def test_client_certificate_without_key(authority):
    """A client's certificate without its key is refused, and a key without certificate too."""
    certificate, key = authority.issue("a.example.com")
    for files in ({"certificate": certificate}, {"key": key}):
        with pytest.raises(CertificateError, match="needs both"):
            client_tls("b.example.com", authority.file, **files)


def test_name_no_certificate_can_prove(authority):
    """A server name that no certificate can carry is refused at once."""
    with pytest.raises(CertificateError, match='"not a name" is not a name'):
        client_tls("not a name", authority.file)


def test_system_authorities():
    """Without a CA file the system's authorities are trusted."""
    client_tls("a.example.com")
