"""
Are these certificate, key and CA files fit for use, and if not, which of them is wrong?

Everything about a file that can be known before the first connection is refused here, in a sentence that names it.
"""

import os
import stat
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from lsproxy.errors import LsproxyError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class CertificateError(LsproxyError):
    """A certificate, key or CA file that cannot be used; `str()` says which and why."""


def identify(context: SSL.Context, certificate: Path, key: Path) -> None:
    """
    Let `context` prove who it is by the PEM files `certificate` (with its chain, leaf first) and `key`.

    Raises CertificateError.
    """
    leaf, *chain = _certificates(certificate, "certificate")
    context.use_certificate(leaf)
    for issuer in chain:
        context.add_extra_chain_cert(issuer)
    try:
        context.use_privatekey(_private_key(key))
        context.check_privatekey()
    except SSL.Error:
        raise CertificateError(f"key {key} does not belong to certificate {certificate}") from None


def trust(context: SSL.Context, ca: Path) -> None:
    """
    Let `context` trust the certificates in the PEM file `ca`, and no others.

    Raises CertificateError.
    """
    _certificates(ca, "CA file")
    context.load_verify_locations(os.fspath(ca))


def _certificates(path: Path, kind: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise CertificateError(f"{kind} {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise CertificateError(f"{kind} {path} has no certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None


def _private_key(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & _OTHERS:
                raise CertificateError(f"key {path} is open to others (mode {mode:04o}): chmod 600 {path}")
            pem = file.read()
        key = serialization.load_pem_private_key(pem, password=None)
    except OSError as error:
        raise CertificateError(f"key {path} cannot be read: {error.strerror}") from None
    except TypeError:
        raise CertificateError(f"key {path} has a passphrase: a daemon needs one without") from None
    except ValueError:
        raise CertificateError(f"key {path} has no private key in PEM form (-----BEGIN PRIVATE KEY-----)") from None
    return key
